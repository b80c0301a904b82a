"""What forge and archive show of a trial: who polled and wrote, what came home, who took the role."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime

import aiohttp

from allegro.core.base.untrusted import Unreadable, number_of, read_value
from allegro.core.protocol.answers.house import ShownEvent
from allegro.core.protocol.event_types import EventType
from allegro.core.protocol.payloads.fleet import RoleTaken
from allegro.drill.checker import Call, Poll, Taken, Write, calls_of
from allegro.scratch.fleet import REPOSITORY, ScratchFleet

_PARTS = ("silent_s", "take_s", "act_s")


class Witness:
    """Asks the forge's own log, and the archive of the house. `who` names a call's lane."""

    def __init__(self, fleet: ScratchFleet, who: Callable[[Call], str]) -> None:
        self._fleet = fleet
        self._who = who

    async def polls(self, seen: int) -> tuple[Poll, ...]:
        """Return the polls after the first `seen` calls of the log."""
        return calls_of((await self._fleet.forge_log())[seen:], self._who)[0]

    async def writes(self, seen: int) -> tuple[Write, ...]:
        """Return the writes after the first `seen` calls of the log."""
        return calls_of((await self._fleet.forge_log())[seen:], self._who)[1]

    async def intents(self) -> tuple[tuple[int, str], ...]:
        """Return (order number, lane) of the effects that lanes began."""
        found = [
            (number_of(event.data.get("order")), event.lane)
            async for event in self._events(EventType.ACTION_INTENT)
        ]
        return tuple((order, lane) for order, lane in found if order)

    async def archived(self) -> frozenset[int]:
        """Return the numbers of the issues that came home."""
        return frozenset(
            [
                number_of(event.data["number"])
                async for event in self._events(EventType.FORGE_SNAPSHOT_ISSUE)
            ]
        )

    async def vanished(self, since_s: float) -> tuple[str, ...]:
        """Return the subjects that came home as deleted since then (Unix s)."""
        return tuple(
            [
                event.subject
                async for event in self._events(EventType.FORGE_VANISHED)
                if datetime.fromisoformat(event.time).timestamp() >= since_s
            ]
        )

    async def taken(self, since_s: float) -> list[tuple[Taken, dict[str, float]]]:
        """Return who took the forge role since then, and how long each part of it took."""
        found = []
        async for event in self._events(EventType.ROLE_TAKEN):
            taken = read_value(event.data, RoleTaken)
            if isinstance(taken, Unreadable) or taken.role != "forge":
                continue
            at_s = datetime.fromisoformat(event.time).timestamp() - taken.act_s
            if at_s >= since_s:
                parts = {part: float(getattr(taken, part)) for part in _PARTS}
                found.append((Taken(at_s, event.lane, taken.epoch), parts))
        return found

    async def labels(self) -> dict[int, tuple[str, ...]]:
        """Return the labels of every issue, read as the repository's owner."""
        base = f"http://{self._fleet.forge_host}:{self._fleet.forge_port}/api/v1"
        headers = {"Authorization": f"token {self._fleet.owner_token}"}
        found: dict[int, tuple[str, ...]] = {}
        async with aiohttp.ClientSession(headers=headers) as session:
            for page in range(1, 100):
                url = f"{base}/repos/{REPOSITORY}/issues?state=all&limit=50&page={page}"
                async with session.get(url) as response:
                    rows = await response.json()
                if not rows:
                    break
                for row in rows:
                    found[row["number"]] = tuple(label["name"] for label in row["labels"])
        return found

    def _events(self, type_: EventType) -> AsyncIterator[ShownEvent]:
        return self._fleet.client.shown_events(prefix=type_)
