"""What can go wrong. No text holds a key or a token."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Optional

__all__ = [
    "Forbidden",
    "InvalidRequest",
    "KeylendError",
    "LeaseGone",
    "NoUsableKey",
    "ServerError",
    "UnknownKey",
    "Unreachable",
]


class KeylendError(Exception):
    """The server answered with a problem, or not at all.

    ``code`` is the problem's stable name, ``status`` its HTTP status, ``request_id`` what the server's log calls the
    request; None where there was no such answer.
    """

    def __init__(
        self,
        detail: str,
        *,
        code: Optional[str] = None,
        status: Optional[int] = None,
        request_id: Optional[str] = None,
        retry_after: Optional[float] = None,
    ) -> None:
        super().__init__(f"{code}: {detail}" if code else detail)
        self.detail = detail
        self.code = code
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after
        #: How many times it was asked.
        self.attempts = 1


class Unreachable(KeylendError):
    """No answer came: whether the server did what it was asked is not known, unless ``sent`` is False."""

    def __init__(self, detail: str, *, sent: bool = True) -> None:
        super().__init__(detail)
        self.sent = sent


class ServerError(KeylendError):
    """The server, its store, or something before it could not do it now."""


class NoUsableKey(KeylendError):
    """No key of the pool can be handed out now.

    ``retry_after``: seconds until one may be, None where nothing changes by itself; ``keys``: how many are in which
    state; ``next_due_at``: when the next one is due.
    """

    keys: Mapping[str, int]
    next_due_at: Optional[datetime]


class LeaseGone(KeylendError):
    """The lease was settled before, or has lapsed."""


class UnknownKey(KeylendError):
    """The pool has no such key."""


class Forbidden(KeylendError):
    """The token is missing or unknown, or may not do that."""


class InvalidRequest(KeylendError):
    """What was asked has not its shape, or cannot be: another pool, another limit, a key that is there already."""
