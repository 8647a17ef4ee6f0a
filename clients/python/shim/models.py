"""For those whose models.py held nothing but this class."""

from keylend.compat import StabilityApiKey

__all__ = ["StabilityApiKey"]
