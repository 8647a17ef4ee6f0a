"""Each route as an exchange."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Optional
from urllib.parse import quote

from .errors import InvalidRequest, LeaseGone
from .exchange import Exchange, Request, ask
from .instant import written
from .outcome import Outcome
from .wire import Found, Generated, KeyShown, LeaseReply, Reported, Verified, instant, members

#: A command that makes a key may take an hour, and the provider's answer a minute more.
_GENERATING = 3700.0
#: The longest that a provider is waited for.
_VERIFYING = 70.0


def _pool(pool: str, rest: str) -> str:
    return f"/v1/pools/{quote(pool, safe='')}/{rest}"


def _key(id: Optional[str], api_key: Optional[str]) -> dict[str, str]:
    if (id is None) == (api_key is None):
        raise TypeError("name the key by its id or by its api_key")
    return {"id": id} if id is not None else {"api_key": str(api_key)}


def lease(pool: str, *, ttl: Optional[float], wait: Optional[float], deadline: float) -> Exchange[LeaseReply]:
    """Reserves one use of a key. Repeated as the same request, so that an answer that was lost is found again."""
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    if wait is not None:
        headers["Prefer"] = f"wait={int(wait)}"
    body = None if ttl is None else {"ttl_seconds": int(ttl)}
    request = Request("POST", _pool(pool, "leases"), body, headers, patience=wait or 0.0)
    return (yield from ask(request, LeaseReply.of, repeatable=True, deadline=deadline + (wait or 0.0)))


def report(lease_id: str, outcome: Outcome, *, deadline: float) -> Exchange[Optional[Reported]]:
    """Ends a lease. None = an attempt whose answer was lost had ended it."""
    body: dict[str, Any] = {"outcome": outcome.word}
    if outcome.retry_after is not None:
        body["retry_after_seconds"] = outcome.retry_after
    request = Request("POST", f"/v1/leases/{quote(lease_id, safe='')}/report", body)
    try:
        return (yield from ask(request, Reported.of, repeatable=True, deadline=deadline))
    except LeaseGone as gone:
        if gone.attempts > 1:
            return None
        raise


def renew(lease_id: str, ttl: float, *, deadline: float) -> Exchange[datetime]:
    """Lets a lease last longer."""
    request = Request("POST", f"/v1/leases/{quote(lease_id, safe='')}/renew", {"ttl_seconds": int(ttl)})
    return (yield from ask(request, lambda told: instant(told["expires_at"]), repeatable=True, deadline=deadline))


def find_usable_key(pool: str, max_uses: Optional[int], *, deadline: float) -> Exchange[Found]:
    """The key to use next, stamped; neither reserved nor counted, so that it can be asked again."""
    params = {} if max_uses is None else {"max_uses": str(max_uses)}
    request = Request("POST", _pool(pool, "find_usable_key"), params=params)
    return (yield from ask(request, Found.of, repeatable=True, deadline=deadline))


def increment_usage(pool: str, id: Optional[str], api_key: Optional[str], *, deadline: float) -> Exchange[int]:
    """Counts one use, and is not deduplicated: never sent again where it may have been counted."""
    request = Request("POST", _pool(pool, "increment_usage"), _key(id, api_key))
    return (yield from ask(request, lambda told: int(told["usage_count"]), repeatable=False, deadline=deadline))


def look_up(pool: str, id: Optional[str], api_key: Optional[str], *, deadline: float) -> Exchange[KeyShown]:
    """Reads one key."""
    request = Request("POST", _pool(pool, "look_up"), _key(id, api_key))
    return (yield from ask(request, KeyShown.of, repeatable=True, deadline=deadline))


def show_key(pool: str, id: str, *, deadline: float) -> Exchange[KeyShown]:
    """Reads one key, as an operator."""
    request = Request("GET", _pool(pool, f"keys/{quote(id, safe='')}"))
    return (yield from ask(request, KeyShown.of, repeatable=True, deadline=deadline))


def change_key(pool: str, id: str, change: Mapping[str, Any], *, deadline: float) -> Exchange[KeyShown]:
    """Sets what is named of a key: the same however often it is asked."""
    request = Request("PATCH", _pool(pool, f"keys/{quote(id, safe='')}"), dict(change))
    return (yield from ask(request, KeyShown.of, repeatable=True, deadline=deadline))


def add_keys(pool: str, api_keys: Sequence[str], *, deadline: float) -> Exchange[Mapping[str, Any]]:
    """Adds keys; those that are there already stay as they are."""
    request = Request("POST", _pool(pool, "keys"), {"api_keys": list(api_keys)})
    return (yield from ask(request, members, repeatable=True, deadline=deadline))


def import_key(
    pool: str, api_key: str, usage_count: int, last_used: Optional[datetime], is_active: bool, *, deadline: float
) -> Exchange[bool]:
    """Adds one key as it was, in one step. False = the pool has it already."""
    line = {
        "pool": pool,
        "api_key": api_key,
        "usage_count": usage_count,
        "last_used": None if last_used is None else written(last_used),
        "is_active": is_active,
    }
    body = json.dumps(line) + "\n"
    request = Request("POST", _pool(pool, "keys"), body, content_type="application/x-ndjson")
    told = yield from ask(request, members, repeatable=True, deadline=deadline)
    if told["invalid"]:
        raise InvalidRequest(f"the key was not added: {told['lines'][0]['reason']}")
    return bool(told["added"])


def stats(pool: Optional[str], *, deadline: float) -> Exchange[Mapping[str, Any]]:
    """What the pools hold, or one of them."""
    path = "/v1/stats" if pool is None else _pool(pool, "stats")
    return (yield from ask(Request("GET", path), members, repeatable=True, deadline=deadline))


def verify(pool: str, id: str, *, deadline: float) -> Exchange[Verified]:
    """Has the provider asked whether a key is alive."""
    request = Request("POST", _pool(pool, f"keys/{quote(id, safe='')}/verify"), patience=_VERIFYING)
    return (yield from ask(request, Verified.of, repeatable=True, deadline=deadline))


def generate(pool: str, *, deadline: float) -> Exchange[Generated]:
    """Has a key made: never asked twice for one."""
    request = Request("POST", _pool(pool, "generate"), patience=_GENERATING)
    return (yield from ask(request, Generated.of, repeatable=False, deadline=deadline))
