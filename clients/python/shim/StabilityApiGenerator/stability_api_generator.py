"""The module in which the old generator was."""

from keylend.compat import StabilityApiGenerator

__all__ = ["StabilityApiGenerator"]
