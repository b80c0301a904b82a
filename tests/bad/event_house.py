"""A house that follows its archive with its real duties, a thief's lane and an honest one beside."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from allegro.adapters.crypto.signatures import HpkeSealer, SealingKey
from allegro.adapters.sqlite.archive import open_archive
from allegro.core.authority.actions.agent import RunSession
from allegro.core.authority.freeze import Freeze
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.base.events import Event, encode_event
from allegro.core.base.sequence import Kept
from allegro.core.protocol.queries import Params
from allegro.core.requests.lifecycle import State, Step
from allegro.core.requests.requests import Request, ordered
from allegro.core.stores import SetAside
from allegro.house.agent.sessions import SessionLanes, Sessions
from allegro.house.archive.content import Words
from allegro.house.documents.decisions import Decisions
from allegro.house.documents.heard import with_questions
from allegro.house.fleet.watch import FleetWatch
from allegro.house.lanes import Lanes
from allegro.house.ports import Ports, Reactions
from allegro.house.requests.follow import FleetView, Follow
from allegro.house.requests.ordered_effects import Names
from allegro.house.schedule.book import HouseBook
from allegro.house.schedule.watch import DutyWatch
from allegro.testing.virtual import SeededDice, VirtualClock
from tests.duties.alerts import noted
from tests.duties.house import FLEET, House
from tests.duties.test_fleet_watch import FakeLanes

THIEF, HONEST = "a", "honest"
SEALING = SealingKey.make()
SEALER = HpkeSealer(FLEET.id, SEALING.public)
TIME = "2030-01-01T00:00:00Z"


class EventHouse:
    """`aside` and `alerts` are what a person is told; `frozen` the freezes."""

    def __init__(self, folder: Path, quota_bytes: int) -> None:
        self.folder = folder
        self.house = House(folder, VirtualClock())
        self.aside: list[SetAside] = []
        self.alerts: list[tuple[str, str]] = []
        self._alarm = noted(self.alerts)
        self.frozen: list[Freeze] = []
        self.answer: Any = {"issues": [], "comments": []}
        self._quota_bytes = quota_bytes
        self._words = Words(lambda id_, raw: SEALING.open(FLEET.id, id_, raw))
        self._seq: dict[str, int] = {}
        self._count = 0

    async def start(self) -> None:
        house = self.house
        await house.start()
        self.archive = open_archive(
            self.folder / "archive.db", quota_bytes=self._quota_bytes, same=self._words.same
        )
        ports = Ports(self.archive, house.ledger, house.clock, SeededDice(3), self._words.open)
        self.decisions = Decisions(house.ledger, house.clock, SeededDice(7), 600.0)
        reactions = with_questions(Reactions(self._alarm, self._set_aside), lambda: self.decisions)
        fleet = msgspec.structs.replace(FLEET, began_s=0.0)
        view = FleetView(
            lambda: fleet,
            self._freeze,
            self.frozen.append,
            self._saved,
            lambda: True,
            lambda _: True,
            self._ask_lane,
        )
        names = Names("triage/seen", fleet.secret)
        self.follow = Follow(ports, house.requests, view, reactions, names)
        lanes = SessionLanes(self._ask_lane, lambda _: True)
        self.sessions = Sessions(ports, house.requests, lanes, reactions, lambda: None)
        fleet_lanes = cast(Lanes, FakeLanes(house.clock))
        self.watch = FleetWatch(ports, fleet_lanes, reactions)
        self.duties = DutyWatch(ports, fleet_lanes, reactions, HouseBook(ports))
        for duty in (self.follow, self.sessions, self.watch):
            await duty.resume()

    async def stop(self) -> None:
        await self.follow.idle()
        await self.sessions.idle()
        await self.archive.close()
        await self.house.ledger.close()

    async def _ask_lane(self, lane: str, method: str, params: Params) -> Any:
        if method == "sessions":
            return [request.id for request in self.house.requests.all()]
        if isinstance(self.answer, EdgeError):
            raise self.answer
        return self.answer

    async def _freeze(self, freeze: Freeze, lane: str) -> None:
        self.frozen.append(freeze)

    async def _saved(self) -> None:
        pass

    async def _set_aside(self, aside: SetAside, stored: bytes) -> None:
        self.aside.append(aside)

    async def send(self, lane: str, bodies: Sequence[bytes]) -> Refusal | None:
        """Archive what a lane sends; each entry is archived, a repeat or a named gap."""
        first = self._seq.get(lane, 0) + 1
        entries = [Kept(body) for body in bodies]
        taken = await self.archive.take(
            lane, "j-" + lane, first, entries, self.house.clock.now_s()
        )  # fmt: skip
        if isinstance(taken, Refusal):
            return taken
        self._seq[lane] = first + len(bodies) - 1
        return None

    async def read(self) -> None:
        """Let every duty read to the end of the archive."""
        await self.follow.step()
        await self.sessions.step()
        await self.watch.step()
        await self.duties.step()

    async def comment_of(self, lane: str) -> Request:
        """Return a comment that was ordered from this lane."""
        request = await self.house.comment()
        number = await self.house.ledger.next_number("order")
        moved = await self.house.requests.take_step(
            request, Step.ORDER, ordered(number, lane), order_number=number, lane=lane
        )
        assert isinstance(moved, Request)
        return moved

    async def session_of(self, lane: str) -> Request:
        """Return a session that was ordered from this lane."""
        action = RunSession(id=self.house.requests.new_id(), prompt="Water the roses")
        request = await self.sessions.begin(action, "test", "")
        number = await self.house.ledger.next_number("order")
        moved = await self.house.requests.take_step(
            request, Step.ORDER, ordered(number, lane), order_number=number, lane=lane
        )
        assert isinstance(moved, Request)
        return moved

    async def honest_receipt(self, request: Request, artifact: int) -> None:
        """Let the honest lane send its receipt, and read on."""
        self._count += 1
        data = {"digest": request.digest, "order": request.order_number, "artifact": artifact}
        id_ = f"honest {self._count}"
        sealed = SEALER.seal(id_, msgspec.json.encode({"url": ""}))
        event = Event(
            id_, "action.receipt", "lane:honest", TIME, subject=request.target, data=data,
            sealed=sealed,
        )  # fmt: skip
        assert await self.send(HONEST, [encode_event(event)]) is None
        await self.read()

    def state_of(self, request: Request) -> State:
        return self.house.now(request).state

    async def good_item_is_handled(self) -> bool:
        """Say whether the next good item of the honest lane is handled at once."""
        self._count += 1
        request = await self.comment_of(HONEST)
        await self.honest_receipt(request, 1_000_000 + self._count)
        return self.state_of(request) is State.DONE


@contextlib.asynccontextmanager
async def open_event_house(
    folder: Path, quota_bytes: int = 10**9
) -> AsyncIterator[EventHouse]:  # fmt: skip
    made = EventHouse(folder, quota_bytes)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
        await asyncio.sleep(0)
