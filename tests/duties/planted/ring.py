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
from allegro.core.ports import Dress
from allegro.core.protocol.messages import (
    Challenge,
    ChallengeWanted,
    GiveOrder,
    OrderAnswer,
    Serves,
)
from allegro.core.requests.lifecycle import State
from allegro.house.api.views import whole
from allegro.house.orders.giving import LinkedLane
from allegro.house.requests.asking import Terms
from allegro.lane.recorder import Recorder
from allegro.lane.state import LaneState
from allegro.lane.uplink.service import Desk
from allegro.link.dial import LaneLink
from allegro.sovereign.show import draw
from allegro.testing.virtual import PlainSealer, SeededDice, VirtualClock
from tests.core.builders import FORGE, LANE, TRUST
from tests.duties.house import FakeLane, House
from tests.duties.lane import journal_in

(BELL,) = (family for family in FAMILIES if family.name == "bell")


class Ringer:
    """Carries out what is permitted: it writes the tower down."""

    def __init__(self) -> None:
        self.rung: list[str] = []

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
        await self.desk.settle()
        return answer


class RingingHouse(House):
    """A house whose one lane is the one that the gate knows itself as."""

    def linked(self) -> list[LinkedLane]:
        return [("a", TRUST.lane, cast(LaneLink, self.lane))]


def desk_of(journal: SqliteJournal, clock: VirtualClock) -> Desk:
    state = LaneState(
        clock=clock, journal=journal, held=LaneTrust(TRUST), freezes=FreezeSet(), forge=FORGE,
        save_freezes=lambda _: None, save_trust=lambda _: None, safe_mode=False,
    )  # fmt: skip
    state.heard_house(clock.now_s())
    dice = SeededDice(1)
    recorder = Recorder(journal, PlainSealer(), clock, dice, lane="a", secret=b"s" * 32)
    return Desk(
        state, recorder, None, None, clock, dice, sign=LANE.sign, verify=verify, own_facts={},
        serves=Serves(),
    )  # fmt: skip


async def ring(folder: Path, is_carried: bool) -> dict[str, object]:
    """Take one bell the whole way; return its states, what was shown, what was rung."""
    clock, ringer = VirtualClock(), Ringer()
    journal = await journal_in(folder, clock)
    desk = desk_of(journal, clock)
    if is_carried:
        desk.carriers["bell"] = ringer
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
