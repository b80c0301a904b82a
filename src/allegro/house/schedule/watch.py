"""Expects the scheduled duties of the lanes: keeps their records, and says which did not run."""

from __future__ import annotations

import structlog

from allegro.core.authority.lease import ROLES
from allegro.core.base.errors import EdgeError
from allegro.core.base.untrusted import Unreadable, text_of
from allegro.core.health import codes
from allegro.core.health.duty_runs import MAX_RESULT, DutyPlan, Ending
from allegro.core.health.duty_watch import (
    WatchedDuty,
    after_plan,
    after_run,
    missed_run,
    overdue,
    owner_of,
)
from allegro.core.health.facts import Fact
from allegro.core.health.schedule import Presence, ran
from allegro.core.protocol.event_types import EventType
from allegro.core.protocol.payloads.duties import DutyEnded, DutyPlanned
from allegro.core.stores import HOUSE, Archived
from allegro.house.archive.events import ArchivedEvent, read_archived
from allegro.house.lanes import Lanes
from allegro.house.ports import Ports, Reactions, reading
from allegro.house.schedule.book import HouseBook
from allegro.runtime.duty_events import plan_of, run_of
from allegro.runtime.reader import Reader

_log = structlog.get_logger()
LOOK_S = 15.0
TROUBLE_S = 5.0
MAX_DUTIES = 50
"""So many duties of one owner are expected: a lane that names more names nonsense."""

FOLLOWED = (
    EventType.DUTY_PLANNED,
    EventType.DUTY_RAN,
    EventType.DUTY_FAILED,
    EventType.DUTY_MISSED,
)
OWNERS = ("", *ROLES)
"""The roles that own duties; empty for a lane that runs one for itself."""

_ON_A_SERVER = Presence(0.0)
"""A lane is awake all the time."""


class DutyWatch:
    """Runs until cancelled. `duties` are those of the lanes, as far as is known."""

    def __init__(self, ports: Ports, lanes: Lanes, reactions: Reactions, book: HouseBook) -> None:
        self._store = ports.ledger.duties
        self._lanes = lanes
        self._clock = ports.clock
        self._open_words = ports.open_words
        self._book = book
        self._known: dict[tuple[str, str], WatchedDuty] | None = None
        self._reader = Reader("duties", FOLLOWED, self._one, reading(ports, reactions))

    async def run(self) -> None:
        while True:
            await self._clock.sleep(await self.step())

    async def step(self) -> float:
        """Read on and look at what is overdue; return the seconds to wait."""
        try:
            await self._resume()
            await self._reader.read_on()
            await self._forget_lanes()
            for duty in self.duties():
                await self._note_missed(duty)
        except EdgeError as error:
            _log.error("duties.blocked", error=str(error))
            return TROUBLE_S
        return LOOK_S

    def duties(self) -> list[WatchedDuty]:
        """Return every duty that a lane announced, by owner."""
        return [one for _, one in sorted((self._known or {}).items())]

    def fact_of(self, duty: WatchedDuty) -> Fact | None:
        """Return whether a duty of a lane ran in time; None for one that is off."""
        return overdue(duty, _ON_A_SERVER, self._clock.now_s(), is_home=self._is_home(duty))

    def facts(self) -> list[Fact]:
        """Return which duties of lanes did not run, and which failed at a lane that is not linked.

        A linked lane says itself what failed.
        """
        found = []
        linked = {name for name, _, _ in self._lanes.linked()}
        for duty in self.duties():
            fact, last = self.fact_of(duty), duty.last
            if fact is not None:
                found.append(fact)
            if last is not None and last.ending is Ending.FAILED and duty.lane not in linked:
                detail = f"{last.ending}: {last.result}"
                found.append(ran(duty.subject, is_good=False, detail=detail, now_s=last.at_s))
        return found

    def served_s(self, role: str, duty: str) -> float:
        """Return the newest due time of a role's duty that any lane served (Unix s), 0 for none."""
        held = (self._known or {}).get((owner_of(role, ""), duty))
        return held.plan.served_s if held is not None else 0.0

    async def _resume(self) -> None:
        if self._known is None:
            kept = await self._store.watched()
            self._known = {(one.owner, one.plan.duty): one for one in kept}

    async def _one(self, archived: Archived) -> None:
        event = read_archived(archived)
        if isinstance(event, Unreadable) or archived.lane == HOUSE:
            return  # no event, or our own word
        match event.payload:
            case DutyPlanned() as planned:
                plan = plan_of(planned)
                if isinstance(plan, Unreadable) or plan.role not in OWNERS:
                    _log.warning("duty.unreadable", lane=archived.lane, reason=str(plan)[:200])
                    return
                held = self._held(plan, archived.lane)
                await self._keep(after_plan(held, plan, archived.lane, archived.at_s))
            case DutyEnded() as ended:
                await self._ended(event, ended)

    async def _ended(self, event: ArchivedEvent, ended: DutyEnded) -> None:
        words = self._open_words(event.envelope)
        result = words.get("result") if isinstance(words, dict) else ""
        run = run_of(ended, text_of(result, MAX_RESULT))
        if isinstance(run, Unreadable) or ended.role not in OWNERS:
            _log.warning("duty.unreadable", lane=event.lane, reason=str(run)[:200])
            return
        plan = DutyPlan(duty=run.duty, role=ended.role, due_s=_sound(ended.next_s))
        duty = after_run(self._held(plan, event.lane), run, plan, event.lane, event.at_s)
        if await self._keep(duty):
            await self._store.add_run(duty.owner, run)

    def _held(self, plan: DutyPlan, lane: str) -> WatchedDuty | None:
        return (self._known or {}).get((owner_of(plan.role, lane), plan.duty))

    async def _keep(self, duty: WatchedDuty) -> bool:
        """Keep what is known of a duty; say whether there was room for it."""
        assert self._known is not None
        key = (duty.owner, duty.plan.duty)
        of_owner = sum(owner == duty.owner for owner, _ in self._known)
        if key not in self._known and of_owner >= MAX_DUTIES:
            _log.warning("duty.too_many", lane=duty.lane)
            return False
        await self._store.keep_watched(duty)
        self._known[key] = duty
        return True

    async def _forget_lanes(self) -> None:
        """Expect nothing more of lanes that are not paired any more."""
        assert self._known is not None
        names = {lane.name for lane in self._lanes.describe()}
        gone = {one.owner for one in self.duties() if not one.plan.role and one.lane not in names}
        gone |= {one.owner for one in self.duties() if one.plan.role and not names}
        for owner in gone:
            await self._store.drop_watched(owner)
        self._known = {key: one for key, one in self._known.items() if key[0] not in gone}

    async def _note_missed(self, duty: WatchedDuty) -> None:
        """Record once that nothing ran for a due time."""
        fact = self.fact_of(duty)
        run = None if fact is None else missed_run(duty, fact)
        if run is None:
            return
        _log.warning("duty.missed", duty=run.duty, owner=duty.owner, code=codes.DUTY_MISSED.code)
        await self._book.record_of(duty.owner, run, duty.plan)
        await self._keep(after_run(duty, run, duty.plan, duty.lane, duty.heard_s))

    def _is_home(self, duty: WatchedDuty) -> bool:
        """Whether all that the owner of a duty has told was archived; of a role, every lane."""
        if not duty.plan.role:
            return self._lanes.is_home(duty.lane)
        linked = [name for name, _, _ in self._lanes.linked()]
        return bool(linked) and all(map(self._lanes.is_home, linked))


def _sound(next_s: float) -> float:
    return next_s if 0 <= next_s < 1e11 else 0.0
