"""Leases API keys from a keylend server, and reports how they did.

>>> with keylend.lease("stability") as key:          # doctest: +SKIP
...     answer = requests.get(url, headers={"Authorization": f"Bearer {key.api_key}"})
...     key.saw(answer)

Address and token come from ``KEYLEND_URL`` and ``KEYLEND_TOKEN``.
"""

from .client import AsyncClient, Client
from .default import alease, async_client, client, lease
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
from .leased import AsyncLeasedKey, LeasedKey
from .outcome import Outcome

__all__ = [
    "AsyncClient",
    "AsyncLeasedKey",
    "Client",
    "Forbidden",
    "InvalidRequest",
    "KeylendError",
    "LeaseGone",
    "LeasedKey",
    "NoUsableKey",
    "Outcome",
    "ServerError",
    "UnknownKey",
    "Unreachable",
    "alease",
    "async_client",
    "client",
    "lease",
]
