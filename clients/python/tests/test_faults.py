"""What goes wrong on the way is tried again where that is safe, and told where it is not."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from typing import Optional

import pytest
from conftest import Server, Way, said

import keylend


def lost(_: bytes) -> Optional[bytes]:
    """The server took the request, and nobody heard."""
    return None


def leases(server: Server) -> int:
    return len(server.key("stability", "sk-lent-0123456789")["leases"])


def test_a_lease_whose_answer_was_lost_is_the_same_lease(server: Server, way: Way) -> None:
    server.add("stability", "sk-lent-0123456789")
    way.faults = [lost, lambda answer: answer[: len(answer) // 2], lambda _: said("200 OK", "<html>")]
    client = keylend.Client(way.url, deadline=20)
    with pytest.raises(keylend.KeylendError):
        # A page in the place of the answer is not tried again: it will come again.
        client.take_lease("stability")
    assert leases(server) == 1 and len(way.requests) == 3
    assert len({line for request in way.requests for line in request.splitlines() if b"Idempotency" in line}) == 1
    way.requests.clear()
    way.faults = [lost, lost]
    with client.lease("stability"):
        assert leases(server) == 2
    assert leases(server) == 1 and server.key("stability", "sk-lent-0123456789")["usage_count"] == 1


def test_a_report_whose_answer_was_lost_was_taken(server: Server, way: Way) -> None:
    server.add("stability", "sk-lent-0123456789")
    client = keylend.Client(way.url)
    with client.lease("stability") as key:
        way.faults = [lost]
        assert key.used() is True
    shown = server.key("stability", "sk-lent-0123456789")
    assert (shown["usage_count"], shown["leases"]) == (1, [])


def test_a_count_whose_answer_was_lost_is_not_counted_again(server: Server, way: Way) -> None:
    server.add("stability", "sk-lent-0123456789")
    client = keylend.Client(way.url)
    way.faults = [lost]
    with pytest.raises(keylend.Unreachable) as unknown:
        client.increment_usage("stability", api_key="sk-lent-0123456789")
    assert unknown.value.sent and "sk-lent" not in str(unknown.value)
    assert server.key("stability", "sk-lent-0123456789")["usage_count"] == 1
    # Nothing was done yet: it is asked again.
    way.before = [said("503 Service Unavailable", json.dumps({"code": "overloaded", "detail": "ask again"}))]
    assert client.increment_usage("stability", api_key="sk-lent-0123456789") == 2


def test_a_server_that_cannot_for_a_moment_is_asked_again(server: Server, way: Way) -> None:
    server.add("stability", "sk-lent-0123456789")
    away = json.dumps({"code": "store_unavailable", "detail": "ask again"})
    way.before = [
        said("503 Service Unavailable", away, "Retry-After: 0\r\nContent-Type: application/problem+json\r\n"),
        said("502 Bad Gateway", "<html>"),
        said("504 Gateway Timeout"),
        None,
    ]
    with keylend.Client(way.url).lease("stability") as key:
        assert key.api_key == "sk-lent-0123456789"
    assert len(way.requests) == 6


def test_what_no_server_of_ours_says_is_told(server: Server, way: Way) -> None:
    client = keylend.Client(way.url, deadline=0.3)
    for answer, kind in [
        (said("200 OK", "<html>"), keylend.ServerError),
        (said("404 Not Found", "nothing"), keylend.InvalidRequest),
        (said("301 Moved Permanently", "", "Location: http://127.0.0.1:1/\r\n"), keylend.ServerError),
        (said("500 Internal Server Error", "[]"), keylend.ServerError),
        (b"no http at all", keylend.Unreachable),
    ]:
        way.before = [answer] * 9
        with pytest.raises(kind) as told:
            client.take_lease("stability")
        assert "KEYLEND_URL" in str(told.value), told.value
    way.before = [said("503 Service Unavailable", json.dumps({"code": "store_unavailable", "detail": "x"}))] * 9
    with pytest.raises(keylend.ServerError) as away:
        client.take_lease("stability")
    assert (away.value.code, away.value.status) == ("store_unavailable", 503)


def test_a_server_that_was_away_is_found_again(server: Server, client: keylend.Client) -> None:
    server.add("stability", "sk-lent-0123456789")
    with client.lease("stability"):
        pass
    address = server.url.removeprefix("http://")
    server.stop()
    server.start(address)
    # The connection that was kept is dead.
    with client.lease("stability"):
        pass
    assert server.key("stability", "sk-lent-0123456789")["usage_count"] == 2


@pytest.mark.parametrize("body", ["{}", "[]", '"x"', "null", "", '{"pool": 1, "id": null, "expires_at": "soon"}'])
def test_json_that_is_not_ours_is_told_as_a_page_is(server: Server, way: Way, body: str) -> None:
    server.add("stability", "sk-lent-0123456789")
    client = keylend.Client(way.url, deadline=5)
    for ask in (
        lambda: client.take_lease("stability"),
        lambda: client.find_usable_key("stability"),
        lambda: client.increment_usage("stability", id="0" * 24),
        lambda: client.renew("a.b.c", 5),
        lambda: client.generate("stability"),
    ):
        way.before = [said("200 OK", body)]
        with pytest.raises(keylend.ServerError) as told:
            ask()
        assert "KEYLEND_URL" in str(told.value)
    for hints in ({"keys": 3, "next_due_at": "soon"}, {"keys": None, "next_due_at": 7}):
        way.before = [said("503 Service Unavailable", json.dumps({"code": "no_usable_key", "detail": "x", **hints}))]
        with pytest.raises(keylend.NoUsableKey) as none:
            client.take_lease("stability")
        assert (none.value.keys, none.value.next_due_at) == ({}, None)


def test_a_report_that_cannot_be_made_is_told_and_raises_nothing(
    server: Server, way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    server.add("stability", "sk-lent-0123456789")
    client = keylend.Client(way.url, deadline=0.3)
    with caplog.at_level(logging.WARNING, "keylend"):
        with client.lease("stability") as key:
            way.before = [None] * 99
            assert key.used() is False
        way.before = []
        with pytest.raises(ValueError, match="the block's own"), client.lease("stability"):
            way.before = [said("200 OK", "{}")]
            raise ValueError("the block's own")
        # No error of this package: a client that is closed.
        with client.lease("stability") as key:
            client.close()
    told = [record.getMessage() for record in caplog.records if record.name == "keylend"]
    assert len(told) == 3 and all("could not be reported" in line for line in told)
    assert not any("sk-lent" in line or key.lease_id in line for line in told)


def test_an_awaited_report_that_cannot_be_made_raises_nothing(server: Server, way: Way) -> None:
    server.add("stability", "sk-lent-0123456789")

    async def use() -> None:
        async with keylend.AsyncClient(way.url, deadline=0.3) as client:
            async with client.lease("stability") as key:
                way.before = [None] * 99
                assert await key.unused() is False
            way.before = []
            async with client.lease("stability"):
                way.before = [None] * 99
                raise ValueError("the block's own")

    with pytest.raises(ValueError, match="the block's own"):
        asyncio.run(use())


def test_a_server_that_says_at_once_is_not_asked_without_end(server: Server, way: Way) -> None:
    away = json.dumps({"code": "store_unavailable", "detail": "ask again"})
    way.before = [said("503 Service Unavailable", away, "Retry-After: 0\r\n")] * 9999
    with pytest.raises(keylend.ServerError):
        keylend.Client(way.url, deadline=1).stats()
    assert 2 <= len(way.requests) < 20


def test_a_server_that_hangs_is_asked_again_where_that_is_safe(server: Server, way: Way) -> None:
    server.add("stability", "sk-lent-0123456789")
    go_on = threading.Event()

    def hang(_: bytes) -> Optional[bytes]:
        assert go_on.wait(60)
        return None

    client = keylend.Client(way.url, timeout=0.3)
    way.faults = [hang]
    lease = client.take_lease("stability")
    assert len(way.requests) == 2 and leases(server) == 1
    client.report(lease.lease_id, keylend.Outcome("unused"))
    way.requests.clear()
    way.faults = [hang]
    with pytest.raises(keylend.Unreachable) as unknown:
        client.increment_usage("stability", api_key="sk-lent-0123456789")
    assert unknown.value.sent and len(way.requests) == 1
    go_on.set()


def test_a_proxy_of_the_environment_is_not_for_this_machine(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with keylend.Client(server.url, deadline=0.2) as client:
        assert client.stats("stability")["name"] == "stability"

    async def ask() -> None:
        async with keylend.AsyncClient(server.url, deadline=0.2) as awaited:
            assert (await awaited.stats("stability"))["name"] == "stability"

    asyncio.run(ask())


def test_a_loop_that_has_ended_keeps_no_client(server: Server) -> None:
    server.add("stability", "sk-lent-0123456789")

    async def use() -> None:
        async with keylend.alease("stability") as key:
            await key.unused()

    for _ in range(3):
        asyncio.run(use())
    assert len(keylend.default._async_clients) == 1
