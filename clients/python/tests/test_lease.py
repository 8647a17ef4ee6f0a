"""The better way: a lease is taken, and its use is reported by itself."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Optional

import httpx
import pytest
from conftest import Server, asked_at, until

import keylend


class Failed(Exception):
    """As requests and httpx have one: it carries a response."""

    def __init__(self, status: int, headers: Optional[dict[str, str]] = None) -> None:
        super().__init__(f"status {status}")
        self.response = httpx.Response(status, headers=headers)


class Refused(Exception):
    """As aiohttp and urllib have one: it carries a status."""

    def __init__(self, **carried: Any) -> None:
        super().__init__("refused")
        for name, value in carried.items():
            setattr(self, name, value)


def used_and_state(server: Server) -> tuple[int, str]:
    key = server.key("stability", "sk-lent-0123456789")
    assert key["leases"] == []
    return key["usage_count"], key["state"]


ENDINGS: list[tuple[Any, Any, tuple[int, str]]] = [
    # what was seen, the exception, count and state afterwards
    (None, None, (1, "usable")),
    (200, None, (1, "usable")),
    (500, None, (1, "usable")),
    (401, None, (0, "disabled")),
    (403, None, (0, "disabled")),
    (402, None, (0, "disabled")),
    (429, None, (0, "resting")),
    (httpx.Response(429, headers={"Retry-After": "7"}), None, (0, "resting")),
    (None, ValueError("no"), (0, "usable")),
    (200, ValueError("no JSON in the answer"), (1, "usable")),
    (500, ValueError("no"), (0, "usable")),
    (None, Failed(401), (0, "disabled")),
    (None, Failed(402), (0, "disabled")),
    (None, Failed(429, {"Retry-After": "30"}), (0, "resting")),
    (None, Failed(503), (0, "usable")),
    (None, Refused(status=403), (0, "disabled")),
    (None, Refused(code=402), (0, "disabled")),
    (None, Refused(status_code=429), (0, "resting")),
    (None, Refused(code="429"), (0, "usable")),
    (200, Refused(status=401), (0, "disabled")),
    (None, KeyboardInterrupt(), (0, "usable")),
    (None, SystemExit(403), (0, "usable")),
    (None, keylend.Forbidden("no role", code="forbidden", status=403), (0, "usable")),
    (200, keylend.Forbidden("no role", code="forbidden", status=403), (1, "usable")),
]


@pytest.mark.parametrize(("seen", "error", "expected"), ENDINGS)
def test_how_a_use_ends_is_reported(server: Server, seen: Any, error: Any, expected: tuple[int, str]) -> None:
    server.add("stability", "sk-lent-0123456789")
    try:
        with keylend.lease("stability") as key:
            assert (key.api_key, key.usage_count, key.pool) == ("sk-lent-0123456789", 0, "stability")
            if seen is not None:
                key.saw(seen)
            if error is not None:
                raise error
    except BaseException as raised:
        assert raised is error
    assert used_and_state(server) == expected


@pytest.mark.parametrize(("seen", "error", "expected"), ENDINGS)
def test_how_an_awaited_use_ends_is_reported(server: Server, seen: Any, error: Any, expected: tuple[int, str]) -> None:
    server.add("stability", "sk-lent-0123456789")

    async def use() -> None:
        async with keylend.alease("stability") as key:
            if seen is not None:
                key.saw(seen)
            if error is not None:
                raise error

    try:
        asyncio.run(use())
    except BaseException as raised:
        assert raised is error or isinstance(error, (KeyboardInterrupt, SystemExit))
    assert used_and_state(server) == expected


def test_a_hint_is_a_number_or_a_date_rounded_up(server: Server) -> None:
    server.add("stability", "sk-lent-0123456789")
    with keylend.lease("stability") as key:
        key.saw(429, retry_after="1800.2")
    shown = server.key("stability", "sk-lent-0123456789")
    assert shown["state"] == "resting"
    outcome = keylend.outcome.of_status
    assert outcome(429, "1800.2") == keylend.Outcome("rate_limited", 1801)
    assert outcome(429, "Sun, 06 Nov 1994 08:49:37 GMT") == keylend.Outcome("rate_limited", 0)
    unclear: list[Any] = [None, "", "soon", "nan", "inf", "1e300", 10**400, object(), []]
    for hint in unclear:
        assert outcome(429, hint) == keylend.Outcome("rate_limited", None)
    response = httpx.Response(429, headers={"Retry-After": "7"})
    assert keylend.outcome.of_response(response) == keylend.Outcome("rate_limited", 7)
    assert keylend.outcome.of_response(response, 8) == keylend.Outcome("rate_limited", 8)


def test_what_is_said_at_once_is_reported_once(server: Server, client: keylend.Client) -> None:
    server.add("stability", "sk-lent-0123456789")
    for say, expected in [
        ("unused", (0, "usable")),
        ("used", (1, "usable")),
        ("rate_limited", (1, "resting")),
    ]:
        with client.lease("stability") as key:
            assert getattr(key, say)() is True
            assert used_and_state(server) == expected
            # A lease that has ended is told of, and is no error.
            assert getattr(key, say)() is False
    assert used_and_state(server) == (1, "resting")


def test_a_lease_lasts_longer_when_it_is_renewed(server: Server, client: keylend.Client) -> None:
    server.add("stability", "sk-lent-0123456789")
    with client.lease("stability", ttl=60) as key:
        before = key.expires_at
        assert before.tzinfo is not None
        assert key.renew(3600) > before
        assert key.expires_at > before


def test_a_lease_that_lapsed_is_told_and_raises_nothing(
    server: Server, client: keylend.Client, caplog: pytest.LogCaptureFixture
) -> None:
    server.add("stability", "sk-lent-0123456789")
    with caplog.at_level(logging.WARNING, "keylend"), client.lease("stability", ttl=1) as key:
        until(lambda: server.key("stability", "sk-lent-0123456789")["leases"] == [])
        assert "0123456789" not in repr(key) and key.lease_id not in repr(key)
    assert "the lease had ended" in caplog.text and "sk-lent" not in caplog.text


def test_without_a_key_it_says_why_and_when(server: Server, client: keylend.Client) -> None:
    with pytest.raises(keylend.NoUsableKey) as empty, client.lease("stability"):
        pass
    assert (empty.value.status, empty.value.keys["total"], empty.value.retry_after) == (503, 0, None)
    assert "keylend keys add" in str(empty.value)
    server.add("stability", "sk-lent-0123456789")
    with client.lease("stability") as key:
        key.rate_limited(60)
    with pytest.raises(keylend.NoUsableKey) as resting, client.lease("stability"):
        pass
    assert resting.value.next_due_at is not None and 1 <= (resting.value.retry_after or 0) <= 60


def test_who_waits_gets_the_key_that_comes_free(server: Server, client: keylend.Client) -> None:
    server.add("stability", "sk-lent-0123456789")
    held = [client.take_lease("stability") for _ in range(4)]
    got = []

    def wait() -> None:
        with client.lease("stability", wait=30) as key:
            got.append(key.api_key)

    waiting = threading.Thread(target=wait)
    waiting.start()
    client.report(held[0].lease_id, keylend.Outcome("unused"))
    waiting.join(60)
    assert got == ["sk-lent-0123456789"]


def test_a_crowd_of_threads_uses_each_key_as_often_as_it_may(server: Server, client: keylend.Client) -> None:
    keys = [f"sk-crowd-{number}-0123456789" for number in range(8)]
    server.add("crowd", *keys)
    used: Counter[str] = Counter()

    def use(_: int) -> None:
        try:
            with client.lease("crowd") as key:
                used[key.api_key] += 1
        except keylend.NoUsableKey:
            pass

    with ThreadPoolExecutor(32) as crowd:
        list(crowd.map(use, range(64)))
    assert used == Counter(dict.fromkeys(keys, 4))
    assert all(server.key("crowd", key)["usage_count"] == 4 for key in keys)


def test_a_crowd_of_tasks_uses_each_key_as_often_as_it_may(server: Server) -> None:
    keys = [f"sk-crowd-{number}-0123456789" for number in range(8)]
    server.add("crowd", *keys)
    used: Counter[str] = Counter()

    async def use(client: keylend.AsyncClient) -> None:
        try:
            async with client.lease("crowd") as key:
                used[key.api_key] += 1
        except keylend.NoUsableKey:
            pass

    async def crowd() -> None:
        async with keylend.AsyncClient(server.url) as client:
            await asyncio.gather(*(use(client) for _ in range(50)))

    asyncio.run(crowd())
    assert used == Counter(dict.fromkeys(keys, 4))
    assert all(server.key("crowd", key)["usage_count"] == 4 for key in keys)


def test_a_task_that_is_cancelled_reports_its_lease_unused(server: Server) -> None:
    server.add("stability", "sk-lent-0123456789")

    async def use(has: asyncio.Event) -> None:
        async with keylend.alease("stability"):
            has.set()
            await asyncio.Event().wait()

    async def cancel() -> None:
        has = asyncio.Event()
        task = asyncio.ensure_future(use(has))
        await has.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert used_and_state(server) == (0, "usable")


def test_the_environment_names_server_and_token(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    with pytest.raises(keylend.Unreachable) as away:
        asked_at(monkeypatch, "http://127.0.0.1:1")
        keylend.Client("http://127.0.0.1:1", deadline=0.2).stats()
    assert "KEYLEND_URL" in str(away.value) and away.value.sent is False
    file = tmp_path / "token"
    file.write_text("klt_of_a_file\n", encoding="utf-8")
    asked_at(monkeypatch, server.url)
    monkeypatch.setenv("KEYLEND_TOKEN_FILE", str(file))
    assert keylend.default._settings() == (server.url, "klt_of_a_file")
    assert "klt_of_a_file" not in repr(keylend.client())
