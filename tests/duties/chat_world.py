"""Lanes that read one chat: real journal, real files, virtual time, and a service in memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from allegro.adapters.crypto.signatures import verify
from allegro.core.authority.freeze import FreezeSet
from allegro.core.authority.gate import LaneTrust
from allegro.core.base.errors import Refusal
from allegro.core.base.events import Event, decode_event
from allegro.core.base.sequence import Kept
from allegro.core.chat.allow import AllowList
from allegro.core.chat.answers import Waiting
from allegro.core.chat.inbox import Inbox
from allegro.core.chat.received import Sender
from allegro.core.chat.texts import plain_text
from allegro.core.settings import LaneIdentity, LaneSettings, TelegramSettings
from allegro.lane.chat.acts import Acts
from allegro.lane.chat.box import Box
from allegro.lane.chat.from_house import FromHouse
from allegro.lane.chat.links import Asked, Links, Turn
from allegro.lane.chat.reader import Reader
from allegro.lane.context.recorder import Author, Recorder
from allegro.lane.context.state import KeptState, LaneState
from allegro.lane.folder.chat import load_inbox, save_inbox
from allegro.lane.folder.files import LaneFiles
from allegro.lane.folder.forms import load_freezes, save_freezes
from allegro.lane.uplink.trust import Trust
from allegro.testing.channels import MemoryChat
from allegro.testing.virtual import PlainSealer, SeededDice, VirtualClock
from tests.core.builders import TRUST

from .contexts import context_of
from .lane import FORGE, journal_in

ROSA, STRANGER = Sender(77, 77), Sender(77, 78)
DIGEST = "ab" * 32


class Killed(BaseException):
    """kill -9: nothing that stands after it runs."""


class Points:
    """Counts passages; at the one that was asked for the program dies."""

    def __init__(self) -> None:
        self.passed: list[str] = []
        self.at: int | None = None

    def __call__(self, name: str) -> None:
        self.passed.append(name)
        if len(self.passed) - 1 == self.at:
            raise Killed(name)


class Watched:
    """Stands before a chat and passes a point before and after each call of it."""

    def __init__(self, chat: MemoryChat, points: Points) -> None:
        self._chat = chat
        self._points = points
        self.name = chat.name

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._chat, name)

        async def call(*arguments: Any) -> Any:
            self._points(f"before {name}")
            result = await found(*arguments)
            self._points(f"after {name}")
            return result

        return call


class Notices:
    """The alerts that a lane told: their digests by notice, and what was pressed below them."""

    def __init__(self) -> None:
        self.digests: dict[str, str] = {}
        self.pressed: list[tuple[str, str]] = []
        self.refusal: Refusal | None = None

    def digest_of(self, notice: str) -> str | None:
        return self.digests.get(notice)

    async def press(self, verb: str, notice: str) -> Refusal | None:
        self.pressed.append((verb, notice))
        return self.refusal


class ChatLane:
    """One lane that reads `chat`. `turn` says whether it is its turn; `start` begins it anew."""

    def __init__(
        self, folder: Path, chat: MemoryChat, clock: VirtualClock, name: str = "a"
    ) -> None:
        self.files = LaneFiles(folder / name)
        self.files.folder.mkdir(exist_ok=True)
        if not self.files.freezes.exists():
            save_freezes(self.files.freezes, FreezeSet())
        self.name, self.chat, self.clock = name, chat, clock
        self.turn = Turn(True, 1, 1)
        self.asked: Asked | None = None
        self.digests: dict[str, str] = {}
        self.notices = Notices()
        self.points = Points()
        self.linked = True
        self.content = False
        self.save: Callable[[Inbox], None] = partial(save_inbox, self.files.chat)
        self.events: list[Event] = []

    async def start(self) -> None:
        """Begin the program; what the last one held in memory is gone."""
        self.journal = await journal_in(self.files.folder, self.clock)
        kept = KeptState(
            LaneTrust(TRUST), load_freezes(self.files.freezes), self._save_freezes, lambda _: None
        )
        self.state = state = LaneState(
            clock=self.clock, journal=self.journal, kept=kept, forge=FORGE, safe_mode=False
        )
        recorder = Recorder(
            self.journal, PlainSealer(), self.clock, SeededDice(1), by=Author(self.name, b"s" * 32)
        )
        settings = LaneSettings(
            LaneIdentity(self.name, str(self.files.folder)),
            telegram=TelegramSettings(content=self.content),
        )
        ctx = context_of(state, recorder, self.clock, settings)
        trust = Trust(ctx, verify)
        links = Links(
            turn=lambda: self.turn, freeze=trust.stop, is_linked=lambda: self.linked,
            asked=lambda: self.asked, digest_of=self.digests.get, notices=self.notices,
        )  # fmt: skip
        self.trust = trust
        self.from_house = FromHouse(ctx, lambda: self.linked)
        self.box = Box(load_inbox(self.files.chat), self._save)
        chat: Any = Watched(self.chat, self.points)
        self.reader = Reader(ctx, chat, AllowList(frozenset({ROSA})), self.box, links)
        self.acts = Acts(ctx, chat, self.box, links)

    def _save(self, inbox: Inbox) -> None:
        self.points("before store")
        self.save(inbox)
        self.points("after store")

    def _save_freezes(self, freezes: FreezeSet) -> None:
        self.points("before freeze")
        save_freezes(self.files.freezes, freezes)
        self.points("after freeze")

    async def step(self) -> float:
        """Read once and act on all that can be acted on."""
        pause_s = await self.reader.step()
        await self.acts.step()
        return pause_s

    async def stop(self) -> None:
        """End the program, cleanly or not: the journal's file is what it is."""
        self.events += await self.told()
        await self.journal.close()

    async def told(self, prefix: str = "") -> list[Event]:
        """Return what is in the journal."""
        entries = await self.journal.read(0, 10**9)
        events = [decode_event(entry.body) for entry in entries if isinstance(entry, Kept)]
        return [event for event in events if event.type.startswith(prefix)]


def words(chat: MemoryChat) -> list[str]:
    """Return what was answered, title and words, in order."""
    return [f"{one.title}|{plain_text(one.body)}" for one in chat.sent.values()]


def waiting(reference: str = "r:1", **changes: Any) -> Waiting:
    fields: dict[str, Any] = {
        "kind": "comment",
        "urgency": "now",
        "age_s": 60.0,
        "title": "a title",
    }
    return Waiting(reference, **(fields | changes))
