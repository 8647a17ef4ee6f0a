"""Instants: RFC 3339 on the wire, aware datetimes here."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Optional

__all__ = ["local", "parse", "written"]


def parse(text: Any) -> Optional[datetime]:
    """The instant of a text; None where there is none."""
    if not isinstance(text, str):
        return None
    # Before Python 3.11 a Z is not understood.
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def written(instant: datetime) -> str:
    """An instant as the server reads it; one without a zone is of this machine's."""
    in_utc = instant.astimezone(timezone.utc)
    return in_utc.strftime("%Y-%m-%dT%H:%M:%S.") + f"{in_utc.microsecond // 1000:03}Z"


def local(instant: Optional[datetime]) -> Optional[datetime]:
    """An instant by this machine's clock, without a zone, as `datetime.now()` has it."""
    return None if instant is None else instant.astimezone().replace(tzinfo=None)
