"""An exchange with the server, without any input or output of its own.

An operation is a generator: it yields a `Request` to be sent or a `Pause` to be made, is sent the `Answer`, and returns
what came of it. So both clients share every line that decides something.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Callable, Optional, TypeVar, Union

from .errors import (
    Forbidden,
    InvalidRequest,
    KeylendError,
    LeaseGone,
    NoUsableKey,
    ServerError,
    UnknownKey,
    Unreachable,
)
from .instant import parse

__all__ = ["Answer", "Exchange", "Pause", "Request", "ask"]

T = TypeVar("T")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


@dataclass(frozen=True)
class Request:
    """What is sent."""

    method: str
    path: str
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    #: How long the server is waited for, in seconds, beyond what the client waits for any answer.
    patience: float = 0.0

    def content(self) -> Optional[bytes]:
        """The body as it is sent."""
        if self.body is None:
            return None
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        """The body; None where it is no JSON."""
        try:
            return json.loads(self.content)
        except ValueError:
            return None


@dataclass(frozen=True)
class Pause:
    """A wait, in seconds."""

    seconds: float


Exchange = Generator[Union[Request, Pause], Optional[Answer], T]


def ask(request: Request, read: Callable[[Any], T], *, repeatable: bool, deadline: float) -> Exchange[T]:
    """Asks until there is an answer, `deadline` seconds at most, and returns what `read` makes of its JSON.

    What is not repeatable is sent again only where the server surely did nothing with it.
    """
    until = time.monotonic() + deadline
    pause, attempts = _FIRST_PAUSE, 0
    while True:
        attempts += 1
        try:
            answer = yield request
            assert answer is not None, "a request is answered"
            told = answer.json()
            if answer.status < 300:
                try:
                    return read(told)
                except (KeyError, TypeError, ValueError):
                    # Not keylend's: judged below, as a page in the place of an answer is.
                    told = None
            error: KeylendError = problem(answer, told)
        except Unreachable as unreachable:
            error = unreachable
        error.attempts = attempts
        if not _is_worth_repeating(error, repeatable):
            raise error
        # Beside what the server says, so that a crowd that was told the same does not come back as one.
        wait = (error.retry_after or 0.0) + pause * random.uniform(0.5, 1.0)
        if time.monotonic() + wait >= until:
            raise error
        yield Pause(wait)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _is_worth_repeating(error: KeylendError, repeatable: bool) -> bool:
    if isinstance(error, Unreachable):
        return repeatable or not error.sent
    # Said before anything is done.
    if error.code in ("overloaded", "too_many_requests"):
        return True
    return repeatable and isinstance(error, ServerError) and error.status in (502, 503, 504)


_KINDS: Mapping[str, type[KeylendError]] = {
    "no_usable_key": NoUsableKey,
    "lease_gone": LeaseGone,
    "unknown_key": UnknownKey,
    "unauthenticated": Forbidden,
    "forbidden": Forbidden,
}


def problem(answer: Answer, told: Any) -> KeylendError:
    """The error that an answer stands for."""
    body = told if isinstance(told, dict) else {}
    code = body.get("code") if isinstance(body.get("code"), str) else None
    detail = body.get("detail")
    if not isinstance(detail, str):
        detail = f"the server answered {answer.status} with something that is not keylend's: see to KEYLEND_URL"
    otherwise = InvalidRequest if 400 <= answer.status < 500 else ServerError
    kind = _KINDS.get(code, otherwise) if code else otherwise
    error = kind(
        detail,
        code=code,
        status=answer.status,
        request_id=answer.headers.get("x-request-id"),
        retry_after=_seconds(answer.headers.get("retry-after")),
    )
    if isinstance(error, NoUsableKey):
        keys = body.get("keys")
        error.keys = keys if isinstance(keys, dict) else {}
        try:
            error.next_due_at = parse(body.get("next_due_at"))
        except ValueError:
            error.next_due_at = None
    return error


def _seconds(text: Optional[str]) -> Optional[float]:
    return float(text) if text is not None and text.isdigit() else None
