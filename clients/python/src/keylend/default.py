"""The server of the environment: `KEYLEND_URL`, `KEYLEND_TOKEN` or `KEYLEND_TOKEN_FILE`."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import Optional

from .client import ADDRESS, AsyncClient, Client
from .leased import AsyncLeasedKey, LeasedKey

__all__ = ["alease", "async_client", "client", "lease"]

_lock = threading.Lock()
_client: Optional[Client] = None
# An event loop's connections are of no use to another one.
_async_clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncClient] = weakref.WeakKeyDictionary()


def _settings() -> tuple[str, Optional[str]]:
    token = os.environ.get("KEYLEND_TOKEN")
    file = os.environ.get("KEYLEND_TOKEN_FILE")
    if not token and file:
        token = Path(file).read_text(encoding="utf-8").strip()
    return os.environ.get("KEYLEND_URL") or ADDRESS, token or None


def client() -> Client:
    """The client of the environment, made when it is first asked for."""
    global _client  # noqa: PLW0603
    with _lock:
        if _client is None:
            _client = Client(*_settings())
        return _client


def async_client() -> AsyncClient:
    """The client of the environment for the event loop that runs."""
    loop = asyncio.get_running_loop()
    with _lock:
        if loop not in _async_clients:
            # A client's connections hold their loop, which would stay for as long as the process.
            for ended in [known for known in _async_clients if known.is_closed()]:
                del _async_clients[ended]
            _async_clients[loop] = AsyncClient(*_settings())
        return _async_clients[loop]


def lease(pool: str, *, ttl: Optional[float] = None, wait: Optional[float] = None) -> AbstractContextManager[LeasedKey]:
    """`Client.lease` of the client of the environment."""
    return client().lease(pool, ttl=ttl, wait=wait)


def alease(
    pool: str, *, ttl: Optional[float] = None, wait: Optional[float] = None
) -> AbstractAsyncContextManager[AsyncLeasedKey]:
    """`AsyncClient.lease` of the client of the environment."""
    return async_client().lease(pool, ttl=ttl, wait=wait)


def _forget() -> None:
    """In a new process: the connections are its parent's."""
    global _client, _lock  # noqa: PLW0603
    _lock = threading.Lock()
    _client = None
    _async_clients.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
