"""The bounded types that answers and events of lanes are made of."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from allegro.core.base.untrusted import MAX_NUMBER, Name, Number

MAX_FOREIGN_TEXT = 1_000_000
MAX_ROLES = 16
MAX_NAMES = 64

Id = Annotated[int, Meta(ge=1, lt=MAX_NUMBER)]
"""A number that a forge gives to something: from 1."""

Commit = Annotated[str, Meta(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})\Z")]
"""A full git object id."""

Foreign = Annotated[str, Meta(max_length=MAX_FOREIGN_TEXT)]
"""Text that a person wrote on the forge, whole."""

Seconds = Annotated[float, Meta(ge=0, lt=MAX_NUMBER)]

Names = Annotated[tuple[Name, ...], Meta(max_length=MAX_NAMES)]
"""Names of lanes, roles or tools, few."""

Epochs = Annotated[dict[Name, Number], Meta(max_length=MAX_ROLES)]
"""Roles with the epoch under which each is held."""
