"""What a use came to: by a provider's status, or by an exception that carries one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Optional, Union

from .errors import KeylendError

__all__ = ["Outcome", "of_exception", "of_status"]


@dataclass(frozen=True)
class Outcome:
    """How a lease ends: `used`, `unused`, `rate_limited`, `exhausted` or `rejected`."""

    word: str
    #: How long a key that is `rate_limited` rests, in seconds; None = as long as the pool says.
    retry_after: Optional[int] = None


USED, UNUSED = Outcome("used"), Outcome("unused")
REJECTED, EXHAUSTED = Outcome("rejected"), Outcome("exhausted")


def of_status(status: int, retry_after: Union[str, float, None] = None) -> Optional[Outcome]:
    """What a provider's status means; None where it tells nothing of the key."""
    if status in (401, 403):
        return REJECTED
    if status == 402:
        return EXHAUSTED
    if status == 429:
        return Outcome("rate_limited", _seconds(retry_after))
    return USED if 200 <= status < 300 else None


def of_response(response: Any, retry_after: Union[str, float, None] = None) -> Optional[Outcome]:
    """The same of a response of requests, httpx, aiohttp or urllib."""
    status = _status(response)
    hint = _header(response) if retry_after is None else retry_after
    return None if status is None else of_status(status, hint)


def of_exception(error: BaseException) -> Optional[Outcome]:
    """What an exception with which a use ended means for its key; None where it tells nothing of it."""
    # Keylend's own status tells of its token, and the code of a SystemExit of this process.
    if isinstance(error, KeylendError) or not isinstance(error, Exception):
        return None
    for carrier in (getattr(error, "response", None), error):
        status = None if carrier is None else _status(carrier)
        if status is not None and not 200 <= status < 300:
            return of_status(status, _header(carrier))
    return None


def _status(carrier: Any) -> Optional[int]:
    for name in ("status_code", "status", "code"):
        status = getattr(carrier, name, None)
        if isinstance(status, int) and not isinstance(status, bool) and 100 <= status < 600:
            return status
    return None


def _header(carrier: Any) -> Optional[str]:
    headers = getattr(carrier, "headers", None)
    try:
        value = headers.get("Retry-After") if headers is not None else None
    except (AttributeError, TypeError):
        return None
    return value if isinstance(value, str) else None


def _seconds(hint: Union[str, float, None]) -> Optional[int]:
    """A hint in whole seconds, rounded up: a number, or a date (RFC 9110, 10.2.3); None where it is neither."""
    if hint is None:
        return None
    try:
        seconds = float(hint)
    except OverflowError:
        return None
    except (TypeError, ValueError):
        try:
            until = parsedate_to_datetime(str(hint))
        except (TypeError, ValueError, IndexError):
            return None
        if until.tzinfo is None:
            until = until.replace(tzinfo=timezone.utc)
        seconds = (until - datetime.now(timezone.utc)).total_seconds()
    return max(0, math.ceil(seconds)) if math.isfinite(seconds) and seconds < 10**9 else None
