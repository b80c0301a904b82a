"""The ports behind which a lane keeps what it saw, and seals the words of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from allegro.core.base.events import Event
from allegro.core.base.sequence import Entry, Position
from allegro.core.forge.marks import Mark


class Version(msgspec.Struct, frozen=True):
    """The newest version of one forge object that was journalled.

    `extra` is the forge's comment count for an issue, 0 else; `turn` counts the changes within
    this second of the forge's clock.
    """

    subject: str
    hash: str
    updated_s: int
    turn: int = 0
    extra: int = 0


class Journal(Protocol):
    """A lane's durable, ordered events. `append` returns when they are on disk."""

    @property
    def head(self) -> Position: ...
    @property
    def acked(self) -> Position: ...
    @property
    def has_room(self) -> bool: ...
    async def append(
        self,
        events: Sequence[Event],
        mark: tuple[str, Mark] | None = None,
        versions: Sequence[Version] = (),
    ) -> Position: ...
    async def read(
        self, after_seq: int, limit_bytes: int, limit_entries: int = 2_000
    ) -> list[Entry]: ...
    async def acknowledge(self, position: Position) -> None: ...
    async def chain_at(self, seq: int) -> bytes | None: ...
    async def restart(self, journal_id: str, reason: str) -> None: ...
    async def marks(self) -> dict[str, Mark]: ...
    async def versions(self) -> dict[str, Version]: ...
    async def forget_versions(self) -> None: ...


class Sealer(Protocol):
    """Turns words into bytes that only the house can read."""

    def seal(self, event_id: str, words: bytes) -> bytes: ...
