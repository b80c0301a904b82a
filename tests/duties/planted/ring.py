"""Lets a bell be rung: asked for, shown, approved, ordered, judged, carried out. Prints what came of it.

Run by `test_action_families` against a copy of the sources with the family in it.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from rich.console import Console

from allegro.adapters.crypto.signatures import verify
from allegro.adapters.sqlite.journal import SqliteJournal
from allegro.core.authority.actions.families import FAMILIES
from allegro.core.authority.freeze import FreezeSet
from allegro.core.authority.gate import LaneTrust, Permit
from allegro.core.base.errors import Refusal
from allegro.core.ports import Dress
from allegro.core.protocol.messages import (
    Challenge,
    ChallengeWanted,
    GiveOrder,
    OrderAnswer,
    Serves,
)
from allegro.core.requests.lifecycle import State
from allegro.core.settings import ForgeSettings
from allegro.house.api.views import whole
from allegro.house.orders.giving import LinkedLane
from allegro.house.requests.asking import Terms
from allegro.lane.context.recorder import Author, Recorder
from allegro.lane.context.state import KeptState, LaneState
from allegro.lane.uplink.dispatch import Carrier
from allegro.lane.uplink.service import Desk
from allegro.link.dial import LaneLink
from allegro.sovereign.show import draw
from allegro.testing.virtual import PlainSealer, SeededDice, VirtualClock
from tests.core.builders import FORGE, LANE, TRUST
from tests.duties.contexts import context_of
from tests.duties.house import FakeLane, House
from tests.duties.lane import journal_in

(BELL,) = (family for family in FAMILIES if family.name == "bell")


class Ringer:
    """Carries out what is permitted: it writes the tower down."""

    def __init__(self) -> None:
        self.rung: list[str] = []

    def may_begin(self) -> Refusal | None:
        return None

    async def carry_out(self, permit: Permit, dress: Dress) -> None:
        self.rung.append(cast(Any, permit.action).tower)

    async def set_aside(self, permit: Permit, error: BaseException) -> None:
        raise AssertionError(permit)


class RealGate(FakeLane):
    """A lane whose orders are judged by the real gate."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk

    async def challenge(self) -> str:
        answer = await self.desk.answer(ChallengeWanted(1))
        assert isinstance(answer, Challenge)
        return answer.challenge

    async def order(self, make: Callable[[int], GiveOrder]) -> OrderAnswer:
        answer = await self.desk.answer(make(1))
        assert isinstance(answer, OrderAnswer)
        await self.desk.dispatch.settle()
        return answer


class RingingHouse(House):
    """A house whose one lane is the one that the gate knows itself as."""

    def linked(self) -> list[LinkedLane]:
        return [("a", TRUST.lane, cast(LaneLink, self.lane))]


def desk_of(journal: SqliteJournal, clock: VirtualClock, carriers: dict[str, Carrier]) -> Desk:
    kept = KeptState(LaneTrust(TRUST), FreezeSet(), lambda _: None, lambda _: None)
    state = LaneState(clock=clock, journal=journal, kept=kept, forge=FORGE, safe_mode=False)
    state.heard_house(clock.now_s())
    dice = SeededDice(1)
    recorder = Recorder(journal, PlainSealer(), clock, dice, by=Author("a", b"s" * 32))
    ctx = context_of(state, recorder, clock, ForgeSettings(), dice=dice)
    return Desk(ctx, (LANE.sign, verify), carriers, lambda name: None, Serves())


async def ring(folder: Path, is_carried: bool) -> dict[str, object]:
    """Take one bell the whole way; return its states, what was shown, what was rung."""
    clock, ringer = VirtualClock(), Ringer()
    journal = await journal_in(folder, clock)
    desk = desk_of(journal, clock, {"bell": ringer} if is_carried else {})
    house = RingingHouse(folder, clock)
    house.lane = RealGate(desk)
    await house.start()
    action = BELL.types[0](id=house.requests.new_id(), tower="north", lane="a")  # type: ignore[call-arg]
    terms = Terms("Ring it?", "decision", clock.now_s() + 3600)
    request = await house.requests.propose_act(action, terms)
    console = Console(width=100, record=True, file=io.StringIO())
    draw(whole(request), console)
    if request.state is State.PROPOSED:
        await house.approve(request)
    await house.step()
    now = house.now(request)
    refused = [line.detail for line in now.history if line.what == "void"]
    await journal.close()
    await house.ledger.close()
    return {
        "asked": request.state.value, "target": request.target, "state": now.state.value,
        "refused": refused, "rung": ringer.rung, "shown": console.export_text(),
        "rejecting": list(request.document.options[1].cons),
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(asyncio.run(ring(Path(sys.argv[1]), sys.argv[2] == "carried"))))
