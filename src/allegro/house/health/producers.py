"""The house's producers of facts: itself and each lane, asked again and again, each with a deadline.

Invariant: whoever stops stating turns unknown by itself: every fact says until when it holds, and
that is on disk. One lane that hangs holds up its own facts alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec

from allegro.core.base.errors import EdgeError
from allegro.core.health import codes
from allegro.core.health.facts import Fact, FactPage, fact_page
from allegro.core.ports import Clock
from allegro.core.protocol.answers.house import LinkedLane
from allegro.core.protocol.queries import AskDoctor, Params, QueryName
from allegro.house.health.lane_facts import answered_facts, link_facts, of_lane
from allegro.house.health.own_facts import OwnFacts
from allegro.house.lanes import Lanes
from allegro.runtime.alerting.shell import Alerting

EVERY_S = 30.0
HOLDS_S = 90.0
"""So long a fact holds once it was stated: two rounds may be missed."""
ASK_S = 5.0
OWN_S = 5.0


class Producers:
    """States facts each EVERY_S, and at once for `doctor`."""

    def __init__(self, own: OwnFacts, lanes: Lanes, alerting: Alerting, clock: Clock) -> None:
        self._own = own
        self._lanes = lanes
        self._clock = clock
        self.alerting = alerting

    async def run(self) -> None:
        while True:
            await self.refresh(asks_forge=False)
            await self._clock.sleep(EVERY_S)

    async def refresh(self, *, asks_forge: bool = True) -> dict[str, list[FactPage]]:
        """Ask everybody; return the pages of each lane, its link first. Never raises EdgeError.

        `asks_forge`: lanes make a request to the forge for it, which only a person's `doctor` is worth.
        """
        lanes = self._lanes.describe()
        params = AskDoctor(asks_forge=asks_forge).params()
        asked = (self._of_lane(lane, params) for lane in lanes)
        _, *pages = await asyncio.gather(self._state_own(), *asked)
        gone = {one.lane for one in self.alerting.facts()} - {lane.name for lane in lanes} - {""}
        for name in gone:  # unpaired or renamed: nobody speaks for it any more
            self.alerting.state((), f"link {name}")
            self.alerting.state((), f"lane {name}")
        return {lane.name: found for lane, found in zip(lanes, pages, strict=True) if found}

    async def _state_own(self) -> list[FactPage]:
        """State the house's own facts; while a store does not answer they stay as they were."""
        try:
            facts = await asyncio.wait_for(self._own.facts(), OWN_S)
        except (EdgeError, TimeoutError):
            return []
        self.alerting.state(self._dated(facts), "house")
        return []

    async def _of_lane(self, lane: LinkedLane, params: Params) -> list[FactPage]:
        """State what the house knows of a lane, then what the lane answers of itself."""
        name, now_s = lane.name, self._clock.now_s()
        facts, answer = link_facts(lane, now_s), None
        if lane.linked:
            try:
                answer = await self._lanes.ask_lane(name, QueryName.DOCTOR, params, ASK_S)
            except EdgeError as error:
                facts.append(Fact(codes.LANE_DOCTOR, "bad", str(error), "link"))
            else:
                facts.append(Fact(codes.LANE_DOCTOR, "ok", "answers", "link"))
        self.alerting.state(self._dated(facts, name), f"link {name}")
        pages = [of_lane(fact_page(fact, now_s), name) for fact in facts]
        if answer is None:
            return pages
        answered = answered_facts(name, answer, now_s)
        self.alerting.state(self._dated(map(fact_of, answered), name), f"lane {name}")
        return [*pages, *answered]

    def _dated(self, facts: Iterable[Fact], lane: str = "") -> list[Fact]:
        now_s = self._clock.now_s()
        return [
            msgspec.structs.replace(
                one, at_s=one.at_s or now_s, until_s=now_s + HOLDS_S, lane=one.lane or lane
            )
            for one in facts
        ]


def fact_of(page: FactPage) -> Fact:
    """Return what a lane's page says as a fact; a code unknown here is named by its subject."""
    code = codes.code_of(page.code)
    subject = page.subject if code is not codes.OTHER else f"{page.title} {page.subject}".strip()
    return Fact(code, page.state, page.detail, page.source, subject, page.at_s, lane=page.lane)
