"""The clients: one that waits, one that is awaited. What they ask and how they judge it is in `operations`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any, Optional, TypeVar

import httpx

from . import operations
from .errors import Unreachable
from .exchange import Answer, Exchange, Pause, Request
from .leased import AsyncLeasedKey, LeasedKey
from .outcome import Outcome
from .wire import Found, Generated, KeyShown, LeaseReply, Reported, Verified

__all__ = ["AsyncClient", "Client"]

T = TypeVar("T")

#: Where keylend is where nobody says otherwise.
ADDRESS = "http://127.0.0.1:5000"

# The server closes a connection that is idle for 10 s: an older one is not used again.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=50, keepalive_expiry=5.0)

# What is on this machine is asked straight, whatever proxy the environment names: that one would see tokens and keys.
_STRAIGHT = {"all://127.0.0.1": None, "all://localhost": None, "all://[::1]": None}


class _Settings:
    """How a server is asked."""

    def __init__(self, url: str, token: Optional[str], timeout: float, deadline: float) -> None:
        self.url = httpx.URL(url.rstrip("/"))
        self.timeout = timeout
        self.deadline = deadline
        self._headers = {} if token is None else {"Authorization": f"Bearer {token.strip()}"}

    def build(self, request: Request) -> dict[str, Any]:
        """The arguments of httpx for it."""
        content = request.content()
        headers = {"Accept": "application/json", **self._headers, **request.headers}
        if content is not None:
            headers["Content-Type"] = request.content_type
        return {
            "method": request.method,
            "url": f"{self.url}{request.path}",
            "content": content,
            "headers": headers,
            "params": dict(request.params),
            "timeout": httpx.Timeout(self.timeout, read=self.timeout + request.patience),
        }


def _answer(response: httpx.Response) -> Answer:
    return Answer(
        response.status_code, {name.lower(): value for name, value in response.headers.items()}, response.content
    )


def _unreachable(url: httpx.URL, error: httpx.HTTPError) -> Unreachable:
    sent = not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
    where = f"{url.scheme}://{url.host}:{url.port or {'http': 80, 'https': 443}.get(url.scheme, '')}"
    return Unreachable(f"keylend at {where} did not answer ({type(error).__name__}): see to KEYLEND_URL", sent=sent)


class Client:
    """A keylend server, asked by whatever threads like. Closed by `close`, or as a context manager.

    `timeout`: how long one answer is waited for; `deadline`: how long something is tried again; both in seconds.
    """

    def __init__(
        self, url: str = ADDRESS, token: Optional[str] = None, *, timeout: float = 20.0, deadline: float = 30.0
    ) -> None:
        self._settings = _Settings(url, token, timeout, deadline)
        self._http = httpx.Client(limits=_LIMITS, mounts=_STRAIGHT, follow_redirects=False)

    def __repr__(self) -> str:
        return f"<keylend.Client at {self._settings.url.host}>"

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    def _run(self, exchange: Exchange[T]) -> T:
        answer: Optional[Answer] = None
        error: Optional[Unreachable] = None
        while True:
            try:
                step = exchange.send(answer) if error is None else exchange.throw(error)
            except StopIteration as end:
                result: T = end.value
                return result
            answer, error = None, None
            if isinstance(step, Pause):
                time.sleep(step.seconds)
                continue
            try:
                answer = _answer(self._http.request(**self._settings.build(step)))
            except httpx.HTTPError as failure:
                error = _unreachable(self._settings.url, failure)

    @contextmanager
    def lease(self, pool: str, *, ttl: Optional[float] = None, wait: Optional[float] = None) -> Iterator[LeasedKey]:
        """A key for one use, which is reported when the block is left.

        Without an exception it was used, unless the key `saw` something else; with one it was not, unless the
        exception carries a status that tells of the key. `ttl`: seconds until it lapses; `wait`: how many seconds to
        wait where no key is free.
        """
        key = LeasedKey(self, self.take_lease(pool, ttl=ttl, wait=wait))
        try:
            yield key
        except BaseException as error:
            key._leave(error)
            raise
        key._leave(None)

    def take_lease(self, pool: str, *, ttl: Optional[float] = None, wait: Optional[float] = None) -> LeaseReply:
        """A lease that the caller reports by itself."""
        return self._run(operations.lease(pool, ttl=ttl, wait=wait, deadline=self._settings.deadline))

    def report(self, lease_id: str, outcome: Outcome) -> Optional[Reported]:
        """Ends a lease. None = an attempt whose answer was lost had ended it."""
        return self._run(operations.report(lease_id, outcome, deadline=self._settings.deadline))

    def renew(self, lease_id: str, ttl: float) -> datetime:
        """Lets a lease last longer; answers until when."""
        return self._run(operations.renew(lease_id, ttl, deadline=self._settings.deadline))

    def find_usable_key(self, pool: str, max_uses: Optional[int] = None) -> Found:
        """The key to use next, stamped, neither reserved nor counted."""
        return self._run(operations.find_usable_key(pool, max_uses, deadline=self._settings.deadline))

    def increment_usage(self, pool: str, *, id: Optional[str] = None, api_key: Optional[str] = None) -> int:
        """Counts one use; answers the count. Where no answer came, it may be counted: it is not repeated."""
        return self._run(operations.increment_usage(pool, id, api_key, deadline=self._settings.deadline))

    def look_up(self, pool: str, *, id: Optional[str] = None, api_key: Optional[str] = None) -> KeyShown:
        """Reads one key, masked."""
        return self._run(operations.look_up(pool, id, api_key, deadline=self._settings.deadline))

    def show_key(self, pool: str, id: str) -> KeyShown:
        """Reads one key, masked, as an operator."""
        return self._run(operations.show_key(pool, id, deadline=self._settings.deadline))

    def change_key(self, pool: str, id: str, **change: Any) -> KeyShown:
        """Sets `is_active`, `usage_count`, `note`, .. of a key, as an operator."""
        return self._run(operations.change_key(pool, id, change, deadline=self._settings.deadline))

    def add_keys(self, pool: str, api_keys: Sequence[str]) -> Mapping[str, Any]:
        """Adds keys, as an operator; answers what became of them."""
        return self._run(operations.add_keys(pool, api_keys, deadline=self._settings.deadline))

    def import_key(
        self,
        pool: str,
        api_key: str,
        *,
        usage_count: int = 0,
        last_used: Optional[datetime] = None,
        is_active: bool = True,
    ) -> bool:
        """Adds one key as it was, as an operator. False = the pool has it already."""
        deadline = self._settings.deadline
        return self._run(operations.import_key(pool, api_key, usage_count, last_used, is_active, deadline=deadline))

    def stats(self, pool: Optional[str] = None) -> Mapping[str, Any]:
        """What the pools hold, or one of them."""
        return self._run(operations.stats(pool, deadline=self._settings.deadline))

    def verify(self, pool: str, id: str) -> Verified:
        """Has the provider asked whether a key is alive, as an operator."""
        return self._run(operations.verify(pool, id, deadline=self._settings.deadline))

    def generate(self, pool: str) -> Generated:
        """Has a key made, or a person asked for one, as an operator."""
        return self._run(operations.generate(pool, deadline=self._settings.deadline))


class AsyncClient:
    """The same as `Client`, to be awaited, on asyncio. Closed by `aclose`, or as an async context manager."""

    def __init__(
        self, url: str = ADDRESS, token: Optional[str] = None, *, timeout: float = 20.0, deadline: float = 30.0
    ) -> None:
        self._settings = _Settings(url, token, timeout, deadline)
        self._http = httpx.AsyncClient(limits=_LIMITS, mounts=_STRAIGHT, follow_redirects=False)

    def __repr__(self) -> str:
        return f"<keylend.AsyncClient at {self._settings.url.host}>"

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes its connections."""
        await self._http.aclose()

    async def _run(self, exchange: Exchange[T]) -> T:
        answer: Optional[Answer] = None
        error: Optional[Unreachable] = None
        while True:
            try:
                step = exchange.send(answer) if error is None else exchange.throw(error)
            except StopIteration as end:
                result: T = end.value
                return result
            answer, error = None, None
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                continue
            try:
                answer = _answer(await self._http.request(**self._settings.build(step)))
            except httpx.HTTPError as failure:
                error = _unreachable(self._settings.url, failure)

    @asynccontextmanager
    async def lease(
        self, pool: str, *, ttl: Optional[float] = None, wait: Optional[float] = None
    ) -> AsyncIterator[AsyncLeasedKey]:
        """A key for one use, which is reported when the block is left, as `Client.lease` says."""
        key = AsyncLeasedKey(self, await self.take_lease(pool, ttl=ttl, wait=wait))
        try:
            yield key
        except BaseException as error:
            # Whoever is cancelled again while it reports leaves the report to go on.
            await asyncio.shield(asyncio.ensure_future(key._leave(error)))
            raise
        await asyncio.shield(asyncio.ensure_future(key._leave(None)))

    async def take_lease(self, pool: str, *, ttl: Optional[float] = None, wait: Optional[float] = None) -> LeaseReply:
        """A lease that the caller reports by itself."""
        return await self._run(operations.lease(pool, ttl=ttl, wait=wait, deadline=self._settings.deadline))

    async def report(self, lease_id: str, outcome: Outcome) -> Optional[Reported]:
        """Ends a lease. None = an attempt whose answer was lost had ended it."""
        return await self._run(operations.report(lease_id, outcome, deadline=self._settings.deadline))

    async def renew(self, lease_id: str, ttl: float) -> datetime:
        """Lets a lease last longer; answers until when."""
        return await self._run(operations.renew(lease_id, ttl, deadline=self._settings.deadline))

    async def find_usable_key(self, pool: str, max_uses: Optional[int] = None) -> Found:
        """The key to use next, stamped, neither reserved nor counted."""
        return await self._run(operations.find_usable_key(pool, max_uses, deadline=self._settings.deadline))

    async def increment_usage(self, pool: str, *, id: Optional[str] = None, api_key: Optional[str] = None) -> int:
        """Counts one use; answers the count. Where no answer came, it may be counted: it is not repeated."""
        return await self._run(operations.increment_usage(pool, id, api_key, deadline=self._settings.deadline))

    async def look_up(self, pool: str, *, id: Optional[str] = None, api_key: Optional[str] = None) -> KeyShown:
        """Reads one key, masked."""
        return await self._run(operations.look_up(pool, id, api_key, deadline=self._settings.deadline))

    async def add_keys(self, pool: str, api_keys: Sequence[str]) -> Mapping[str, Any]:
        """Adds keys, as an operator; answers what became of them."""
        return await self._run(operations.add_keys(pool, api_keys, deadline=self._settings.deadline))

    async def stats(self, pool: Optional[str] = None) -> Mapping[str, Any]:
        """What the pools hold, or one of them."""
        return await self._run(operations.stats(pool, deadline=self._settings.deadline))

    async def verify(self, pool: str, id: str) -> Verified:
        """Has the provider asked whether a key is alive, as an operator."""
        return await self._run(operations.verify(pool, id, deadline=self._settings.deadline))

    async def generate(self, pool: str) -> Generated:
        """Has a key made, or a person asked for one, as an operator."""
        return await self._run(operations.generate(pool, deadline=self._settings.deadline))
