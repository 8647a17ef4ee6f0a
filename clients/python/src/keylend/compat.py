"""Drop-ins for the classes that kept Stability keys in MongoDB themselves. One import takes their place:

    from keylend.compat import StabilityApiKey

They have the old contract: `find_usable_key` reserves and counts nothing, `increment_usage` counts. Exact is
`keylend.lease`.
"""

from __future__ import annotations

import datetime
import logging
from typing import Any, Optional

from . import default
from .errors import KeylendError, NoUsableKey, UnknownKey
from .instant import local

__all__ = ["StabilityApiGenerator", "StabilityApiKey"]

_log = logging.getLogger("keylend")

#: The credits that a new key had.
_CREDITS = 25


class StabilityApiKey:
    """A key of the pool `stability`."""

    #: A subclass can name another pool.
    pool = "stability"

    def __init__(
        self,
        api_key: Optional[str],
        usage_count: int = 0,
        last_used: Optional[datetime.datetime] = None,
        is_active: bool = True,
        _id: Any = None,
    ) -> None:
        self.api_key = api_key
        self.usage_count = usage_count
        #: None = never; only a key that was found can be that.
        self.last_used: Optional[datetime.datetime] = last_used or datetime.datetime.now()
        self.is_active = is_active
        self._id = _id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._id} usage_count={self.usage_count} is_active={self.is_active}>"

    def save(self) -> Any:
        """Writes count and switch, as an operator; a key that the pool does not have is added. Returns its id."""
        if self._id is None:
            assert self.api_key is not None, "a key that is new has a text"
            default.client().import_key(
                self.pool,
                self.api_key,
                usage_count=self.usage_count,
                last_used=self.last_used,
                is_active=self.is_active,
            )
            self._id = default.client().look_up(self.pool, api_key=self.api_key).id
        default.client().change_key(self.pool, str(self._id), usage_count=self.usage_count, is_active=self.is_active)
        return self._id

    @classmethod
    def find_usable_key(cls, max_uses: int = 3) -> Optional[StabilityApiKey]:
        """The key to use next, with at most so many uses counted; None where there is none. It is stamped."""
        try:
            found = default.client().find_usable_key(cls.pool, max_uses)
        except NoUsableKey:
            return None
        return cls(found.api_key, found.usage_count, local(found.last_used), True, found.id)

    @classmethod
    def increment_usage(cls, api_key: str) -> bool:
        """Counts one use. False = there is no such key."""
        try:
            default.client().increment_usage(cls.pool, api_key=api_key)
        except UnknownKey:
            return False
        return True

    @classmethod
    def find_by_id(cls, key_id: Any) -> Optional[StabilityApiKey]:
        """A key by its id, as an operator, its text masked; None where there is none."""
        id = str(key_id)
        if len(id) != 24 or any(digit not in "0123456789abcdef" for digit in id):
            return None
        try:
            shown = default.client().show_key(cls.pool, id)
        except UnknownKey:
            return None
        key = cls(shown.masked, shown.usage_count, local(shown.last_used), shown.is_active, shown.id)
        # Never used: the constructor took the present for that.
        key.last_used = local(shown.last_used)
        return key

    @classmethod
    def check_credits(cls, api_key: str) -> Optional[int]:
        """The credits that the old system would show: max(0, 25 - usage_count); None where there is no such key."""
        try:
            shown = default.client().look_up(cls.pool, api_key=api_key)
        except UnknownKey:
            return None
        return max(0, _CREDITS - int(shown.usage_count))


class StabilityApiGenerator:
    """Asks keylend for a new key. It opens no browser and makes no account: keylend runs the command that the operator
    configured, or asks a person."""

    #: A subclass can name another pool.
    pool = "stability"

    def __init__(self) -> None:
        #: The old class left the key here; it stays with the server now.
        self.api_key: Optional[str] = None

    def generate_api_key(self) -> bool:
        """True = a key was made and can be used. False = a person was asked for one, or it failed: the log says why."""
        try:
            generated = default.client().generate(self.pool)
        except KeylendError as error:
            _log.error("no key was generated for pool %s: %s", self.pool, error)
            return False
        if generated.key is None:
            _log.warning(
                "a person was asked for a key of pool %s, %s open: keylend keys add --pool %s --verify -",
                self.pool,
                generated.key_requests,
                self.pool,
            )
            return False
        if generated.key.state == "disabled":
            _log.error("the key %s was added, and its provider says it is %s", generated.key.id, generated.key.verdict)
            return False
        return True

    def close(self) -> None:
        """There is nothing to close; the old class had a browser."""
