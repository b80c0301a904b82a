"""Turns what a duty has to tell into sealed, journalled events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from allegro.core.base.canonical import keyed_hex
from allegro.core.base.events import Event, content_id
from allegro.core.base.sequence import Position
from allegro.core.base.timestamps import rfc3339
from allegro.core.effects.findings import Leaf
from allegro.core.effects.receipts import commit_name, words_name
from allegro.core.forge.marks import Mark
from allegro.core.ports import Clock, Dice, Journal, Sealer, Version
from allegro.core.protocol.payloads.actions import ActionIntent
from allegro.core.protocol.payloads.base import Payload


class Author(msgspec.Struct, frozen=True):
    """In whose name events are made: the lane, and the secret of its fleet for names and ids."""

    lane: str
    secret: bytes


class Recorder:
    """Makes events and appends them. `grew` is set after each append, for the link's sender."""

    def __init__(
        self,
        journal: Journal,
        sealer: Sealer,
        clock: Clock,
        dice: Dice,
        *,
        by: Author,
        epochs: Callable[[], dict[str, int]] = dict,
    ) -> None:
        """`epochs` returns the highest epoch of each role that this lane knows."""
        self.journal = journal
        self.grew = asyncio.Event()
        self._sealer = sealer
        self._clock = clock
        self._dice = dice
        self._lane = by.lane
        self._secret = by.secret
        self._epochs = epochs

    def event(
        self,
        payload: Payload,
        *,
        subject: str = "",
        words: Any = None,
        id_: str = "",
    ) -> Event:
        """Return an event. `payload` stays clear and holds no words; `words` are sealed (H7).

        Every intent carries the epochs this lane knew when it began (R3).
        """
        if isinstance(payload, ActionIntent):
            payload = msgspec.structs.replace(payload, epochs=self._epochs())
        now_s = self._clock.now_s()
        id_ = id_ or self._new_id(now_s)
        sealed = b"" if words is None else self._sealer.seal(id_, msgspec.json.encode(words))
        return Event(
            id=id_,
            type=payload.type_.value,
            source=f"lane:{self._lane}",
            time=rfc3339(now_s),
            subject=subject,
            data=payload.clear(),
            sealed=sealed,
        )

    def _new_id(self, now_s: float) -> str:
        """Return an id that sorts by time, so that the archive's index of ids grows at its end.

        With ids in random order a backlog of a million is archived four times slower.
        """
        return f"{int(now_s * 1000):012x}{self._dice.token(10).hex()}"

    def version_id(self, subject: str, content_hash: str, updated_s: int, returns: int) -> str:
        """Return the id that every lane gives this version of a forge object."""
        return content_id(self._secret, subject, content_hash, updated_s, returns)

    def end_id(self, session: str) -> str:
        """Return the id of a session's one end: recorded twice, it is archived once."""
        return keyed_hex(self._secret, "session end", session)[:40]

    def named_id(self, purpose: str, *parts: str) -> str:
        """Return the id of what this lane tells once: recorded twice, it is archived once."""
        return keyed_hex(self._secret, purpose, self._lane, *parts)[:40]

    def chat_id(self, key: str) -> str:
        """Return the id of the event of what was read by chat: the same on every lane that read it."""
        return keyed_hex(self._secret, "chat", key)[:40]

    def content(self, text: str) -> str:
        """Name words without telling them: the same words give the same name in this fleet."""
        return words_name(self._secret, text)

    def commit(self, parents: Sequence[str], changes: Mapping[str, Leaf]) -> str:
        """Name what a commit holds without telling it."""
        return commit_name(self._secret, parents, changes)

    async def append(
        self,
        events: Sequence[Event],
        mark: tuple[str, Mark] | None = None,
        versions: Sequence[Version] = (),
    ) -> Position:
        """Append in one commit. Raises JournalFull or EdgeError with nothing written."""
        position = await self.journal.append(events, mark, versions)
        self.grew.set()
        return position

    async def tell(
        self,
        payload: Payload,
        *,
        subject: str = "",
        words: Any = None,
    ) -> Position:
        """Make and append one event."""
        return await self.append([self.event(payload, subject=subject, words=words)])
