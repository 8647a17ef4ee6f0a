"""Each method of both clients, against the server, and what both need of it."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Callable

import pytest
from conftest import Server, Way, said

import keylend

KEY = "sk-asked-0123456789"

#: Asks a method of a client by its name, and waits for what it answers.
Ask = Callable[..., Any]


@pytest.fixture(params=["waits", "awaited"])
def ask(request: pytest.FixtureRequest, way: Way) -> Iterator[Ask]:
    """A client of either kind; its requests go by `way`."""
    if request.param == "waits":
        with keylend.Client(way.url, deadline=1) as client:
            yield lambda name, *given, **named: getattr(client, name)(*given, **named)
        return

    async def awaited(name: str, *given: Any, **named: Any) -> Any:
        async with keylend.AsyncClient(way.url, deadline=1) as client:
            return await getattr(client, name)(*given, **named)

    yield lambda *given, **named: asyncio.run(awaited(*given, **named))


def test_what_services_ask(server: Server, ask: Ask) -> None:
    server.add("stability", KEY)
    found = ask("find_usable_key", "stability", 3)
    assert (found.api_key, found.usage_count, found.last_used.tzinfo is None) == (KEY, 0, False)
    assert ask("find_usable_key", "stability").id == found.id
    assert ask("increment_usage", "stability", id=found.id) == 1
    assert ask("increment_usage", "stability", api_key=KEY) == 2
    for by in ({"id": found.id}, {"api_key": KEY}):
        shown = ask("look_up", "stability", **by)
        assert (shown.id, shown.usage_count, shown.is_active, shown.state) == (found.id, 2, True, "usable")
        assert KEY not in repr(shown) and KEY not in repr(found)
    lease = ask("take_lease", "stability", ttl=30)
    assert ask("renew", lease.lease_id, 600) > lease.expires_at
    assert KEY not in repr(lease) and lease.lease_id not in repr(lease)
    assert ask("report", lease.lease_id, keylend.Outcome("used")).usage_count == 3
    with pytest.raises(keylend.LeaseGone) as gone:
        ask("report", lease.lease_id, keylend.Outcome("used"))
    assert (gone.value.code, gone.value.status) == ("lease_gone", 410) and gone.value.request_id
    with pytest.raises(keylend.UnknownKey):
        ask("look_up", "stability", id="0" * 24)
    with pytest.raises(TypeError):
        ask("look_up", "stability")
    with pytest.raises(keylend.InvalidRequest) as unknown:
        ask("take_lease", "no-such-pool")
    assert unknown.value.code == "unknown_pool"


def test_what_operators_ask(server: Server, ask: Ask) -> None:
    assert ask("add_keys", "stability", [KEY, KEY, "two words"])["added"] == 1
    assert ask("stats", "stability")["keys"]["total"] == 1
    assert "stability" in [pool["name"] for pool in ask("stats")["pools"]]
    generated = ask("generate", "made")
    assert (generated.outcome, generated.key.state, generated.request_id) == ("added", "usable", None)
    asked = ask("generate", "stability")
    assert (asked.outcome, asked.key) == ("asked", None) and asked.request_id and asked.key_requests >= 1
    with pytest.raises(keylend.ServerError) as failed:
        ask("generate", "refused")
    assert (failed.value.code, failed.value.status, failed.value.attempts) == ("generation_failed", 502, 1)
    with pytest.raises(keylend.InvalidRequest) as cannot:
        ask("verify", "made", generated.key.id)
    assert cannot.value.code == "cannot_verify"


def test_a_verdict_and_a_key_that_was_made_are_read(way: Way, ask: Ask) -> None:
    verdict = {"id": "0" * 24, "verdict": "exhausted", "credits": 0.5, "reason": None, "state": "disabled"}
    way.before = [said("200 OK", json.dumps(verdict))]
    verified = ask("verify", "stability", "0" * 24)
    assert (verified.verdict, verified.credits, verified.state) == ("exhausted", 0.5, "disabled")
    way.before = [said("201 Created", json.dumps({"pool": "stability", "outcome": "added", **verdict}))]
    assert ask("generate", "stability").key == verified
    # Never asked for twice where it may have been made.
    way.requests.clear()
    way.before = [None]
    with pytest.raises(keylend.Unreachable):
        ask("generate", "stability")
    assert len(way.requests) == 1


def test_a_key_is_changed_and_shown(server: Server, client: keylend.Client) -> None:
    assert client.import_key("stability", KEY, usage_count=2) is True
    assert client.import_key("stability", KEY) is False
    id = client.look_up("stability", api_key=KEY).id
    assert client.change_key("stability", id, usage_count=1, is_active=False).state == "disabled"
    shown = client.show_key("stability", id)
    assert (shown.usage_count, shown.is_active) == (1, False)


def test_what_both_clients_have_in_common_is_asked_alike() -> None:
    for name, awaited in vars(keylend.AsyncClient).items():
        if name.startswith("_") or name == "aclose":
            continue
        same = [inspect.signature(method).parameters for method in (awaited, getattr(keylend.Client, name))]
        assert same[0] == same[1], name


#: A process of its own, for this one has threads, and prints what the child found.
FORKS = """
import os
import keylend

parents = keylend.client()
with keylend.lease("stability") as key:
    key.unused()
child = os.fork()
if child == 0:
    try:
        with keylend.lease("stability"):
            print(keylend.client() is not parents, flush=True)
    finally:
        os._exit(0)
os.waitpid(child, 0)
with keylend.lease("stability"):
    print(keylend.client() is parents)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_has_connections_of_its_own(server: Server) -> None:
    server.add("stability", KEY)
    done = subprocess.run(
        [sys.executable, "-c", FORKS],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("True\nTrue\n", "")
    assert server.key("stability", KEY)["usage_count"] == 2


def test_a_token_is_in_no_text(server: Server, way: Way) -> None:
    token = "klt_not_to_be_seen"
    client = keylend.Client(way.url, token, deadline=0.2)
    way.before = [
        said("401 Unauthorized", json.dumps({"code": "unauthenticated", "detail": "a token is needed"})),
        None,
    ]
    for kind in (keylend.Forbidden, keylend.Unreachable):
        with pytest.raises(kind) as told:
            client.increment_usage("stability", api_key=KEY)
        for text in (str(told.value), repr(told.value), repr(vars(told.value)), repr(client)):
            assert not re.search(f"{token}|{KEY}", text)
    assert told.value.__cause__ is None and told.value.__context__ is None
    assert f"authorization: bearer {token}".encode() in way.requests[0].lower()
