"""How a setting's meaning and range are written down."""

from __future__ import annotations

from msgspec import Meta


def about(text: str, *, ge: float | None = None, le: float | None = None) -> Meta:
    """Return what a setting means, and the range (both ends included) of its number."""
    return Meta(description=text, ge=ge, le=le)
