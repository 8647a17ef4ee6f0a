"""What the server answers, as values. None shows a key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Optional

from .instant import parse

__all__ = ["Found", "Generated", "KeyShown", "LeaseReply", "Reported", "Verified", "instant", "members"]


@dataclass(frozen=True)
class LeaseReply:
    """A key on lease."""

    pool: str
    id: str
    usage_count: int
    expires_at: datetime
    api_key: str = field(repr=False)
    lease_id: str = field(repr=False)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> LeaseReply:
        """Of the server's answer."""
        return cls(
            pool=told["pool"],
            id=told["id"],
            usage_count=told["usage_count"],
            expires_at=instant(told["expires_at"]),
            api_key=told["api_key"],
            lease_id=told["lease_id"],
        )


@dataclass(frozen=True)
class Found:
    """A key that `find_usable_key` chose; `last_used` as it is after its stamp."""

    pool: str
    id: str
    usage_count: int
    last_used: datetime
    api_key: str = field(repr=False)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Found:
        """Of the server's answer."""
        return cls(told["pool"], told["id"], told["usage_count"], instant(told["last_used"]), told["api_key"])


@dataclass(frozen=True)
class KeyShown:
    """A key as it is shown: masked."""

    id: str
    masked: Optional[str]
    #: Another program can have left something else there; then it is no whole number, or None.
    usage_count: Any
    last_used: Optional[datetime]
    is_active: bool
    state: str

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> KeyShown:
        """Of the server's answer."""
        return cls(
            id=told["id"],
            masked=told["masked"],
            usage_count=told["usage_count"],
            last_used=parse(told["last_used"]),
            is_active=told["is_active"],
            state=told["state"],
        )


@dataclass(frozen=True)
class Reported:
    """The key of a lease that was reported, afterwards."""

    id: str
    usage_count: Any
    state: str

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Reported:
        """Of the server's answer."""
        return cls(told["id"], told["usage_count"], told["state"])


@dataclass(frozen=True)
class Verified:
    """What a provider said of a key: `alive`, `rejected`, `exhausted`, `rate_limited` or `unknown`, and then why."""

    id: str
    verdict: str
    credits: Optional[float]
    reason: Optional[str]
    state: str

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Verified:
        """Of the server's answer."""
        return cls(told["id"], told["verdict"], told["credits"], told["reason"], told["state"])


@dataclass(frozen=True)
class Generated:
    """What came of asking for a new key: `added`, with what is known of it, or `asked`, a person."""

    pool: str
    outcome: str
    key: Optional[Verified]
    request_id: Optional[str]
    key_requests: Optional[int]

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Generated:
        """Of the server's answer."""
        key = Verified.of(told) if told["outcome"] == "added" else None
        return cls(told["pool"], told["outcome"], key, told.get("request_id"), told.get("key_requests"))


def instant(text: str) -> datetime:
    """An instant that is always there."""
    parsed = parse(text)
    if parsed is None:
        raise ValueError("the server always says when")
    return parsed


def members(told: Any) -> Mapping[str, Any]:
    """An answer that is handed on as it is."""
    if not isinstance(told, dict):
        raise ValueError("the server always answers with an object")
    return told
