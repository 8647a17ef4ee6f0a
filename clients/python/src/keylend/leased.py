"""A key on lease, and how its use ends."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Any, Optional, Union

from .errors import KeylendError, LeaseGone
from .outcome import EXHAUSTED, REJECTED, UNUSED, USED, Outcome, of_exception, of_response, of_status
from .wire import LeaseReply

if TYPE_CHECKING:
    from .client import AsyncClient, Client

__all__ = ["AsyncLeasedKey", "LeasedKey"]

_log = logging.getLogger("keylend")


class _Leased:
    """What both kinds have in common: the key, and what was seen of it."""

    def __init__(self, reply: LeaseReply) -> None:
        self.pool: str = reply.pool
        self.id: str = reply.id
        self.usage_count: int = reply.usage_count
        self.expires_at: datetime = reply.expires_at
        self._reply = reply
        self._seen: Optional[Outcome] = None
        self._settled = False

    @property
    def api_key(self) -> str:
        """The key's text."""
        return self._reply.api_key

    @property
    def lease_id(self) -> str:
        """What names the lease: whoever knows it can end it."""
        return self._reply.lease_id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of pool {self.pool}, key {self.id}>"

    def saw(self, answer: Any, retry_after: Union[str, float, None] = None) -> None:
        """Remembers what the provider answered, a status or a response, until the lease ends.

        401 and 403 mean rejected, 402 exhausted, 429 rate_limited with its Retry-After, 2xx used. Any other status
        tells nothing of the key.
        """
        outcome = of_status(answer, retry_after) if isinstance(answer, int) else of_response(answer, retry_after)
        if outcome is not None:
            self._seen = outcome

    def _outcome(self, error: Optional[BaseException]) -> Outcome:
        """How the use ended, with this exception or without one."""
        of_error = None if error is None else of_exception(error)
        if of_error is not None:
            return of_error
        if self._seen is not None:
            return self._seen
        return USED if error is None else UNUSED

    def _lost(self, outcome: Outcome, error: Exception) -> None:
        """A report that could not be made costs a use at most: it is told, and hides no error of the caller's."""
        if isinstance(error, LeaseGone):
            _log.warning("key %s of pool %s: the lease had ended before it was %s", self.id, self.pool, outcome.word)
        else:
            # What is not of this package may quote what was sent.
            why = error if isinstance(error, KeylendError) else type(error).__name__
            _log.warning("key %s of pool %s could not be reported %s: %s", self.id, self.pool, outcome.word, why)


class LeasedKey(_Leased):
    """A key on lease: `with client.lease("stability") as key`."""

    def __init__(self, client: Client, reply: LeaseReply) -> None:
        super().__init__(reply)
        self._client = client

    def used(self) -> bool:
        """Ends the lease now: the provider was asked. False = it did not: see `end`."""
        return self.end(USED)

    def unused(self) -> bool:
        """Ends the lease now: the provider was not asked."""
        return self.end(UNUSED)

    def rejected(self) -> bool:
        """Ends the lease now: the provider does not take the key, which is disabled."""
        return self.end(REJECTED)

    def exhausted(self) -> bool:
        """Ends the lease now: the provider gives no more on the key, which is disabled."""
        return self.end(EXHAUSTED)

    def rate_limited(self, seconds: Optional[int] = None) -> bool:
        """Ends the lease now: the key must slow down, and rests so long; as long as the pool says without it."""
        return self.end(Outcome("rate_limited", seconds))

    def end(self, outcome: Outcome) -> bool:
        """Ends the lease now, so. False = it had ended before, or could not be reported: the log says which."""
        self._settled = True
        try:
            self._client.report(self.lease_id, outcome)
        except Exception as lost:  # The use is over, and its caller has an exception of its own, or an answer.
            self._lost(outcome, lost)
            return False
        return True

    def renew(self, ttl: float) -> datetime:
        """Lets the lease last so many seconds from now, and never shorter than it would have."""
        self.expires_at = self._client.renew(self.lease_id, ttl)
        return self.expires_at

    def _leave(self, error: Optional[BaseException]) -> None:
        if not self._settled:
            self.end(self._outcome(error))


class AsyncLeasedKey(_Leased):
    """A key on lease: `async with client.lease("stability") as key`."""

    def __init__(self, client: AsyncClient, reply: LeaseReply) -> None:
        super().__init__(reply)
        self._client = client

    async def used(self) -> bool:
        """Ends the lease now: the provider was asked. False = it did not: see `end`."""
        return await self.end(USED)

    async def unused(self) -> bool:
        """Ends the lease now: the provider was not asked."""
        return await self.end(UNUSED)

    async def rejected(self) -> bool:
        """Ends the lease now: the provider does not take the key, which is disabled."""
        return await self.end(REJECTED)

    async def exhausted(self) -> bool:
        """Ends the lease now: the provider gives no more on the key, which is disabled."""
        return await self.end(EXHAUSTED)

    async def rate_limited(self, seconds: Optional[int] = None) -> bool:
        """Ends the lease now: the key must slow down, and rests so long; as long as the pool says without it."""
        return await self.end(Outcome("rate_limited", seconds))

    async def end(self, outcome: Outcome) -> bool:
        """Ends the lease now, so. False = it had ended before, or could not be reported: the log says which."""
        self._settled = True
        try:
            await self._client.report(self.lease_id, outcome)
        except Exception as lost:  # The use is over, and its caller has an exception of its own, or an answer.
            self._lost(outcome, lost)
            return False
        return True

    async def renew(self, ttl: float) -> datetime:
        """Lets the lease last so many seconds from now, and never shorter than it would have."""
        self.expires_at = await self._client.renew(self.lease_id, ttl)
        return self.expires_at

    async def _leave(self, error: Optional[BaseException]) -> None:
        if not self._settled:
            await self.end(self._outcome(error))
