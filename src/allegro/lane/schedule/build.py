"""Wires the scheduled duties of a lane: whose turn it is, what others are told, what is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import msgspec

from allegro.config import load_zone
from allegro.core.health.duty_runs import DutyView
from allegro.core.ports import Clock
from allegro.core.protocol.queries import Params, QueryName, RunDuty, read_query
from allegro.lane.context import Context
from allegro.lane.folder.alerts import load_statement
from allegro.lane.folder.duties import load_duties, save_duties
from allegro.lane.schedule.book import LaneBook
from allegro.lane.schedule.house_duties import HouseDuties
from allegro.lane.schedule.tenure import Tenure
from allegro.runtime.duties import Duty
from allegro.runtime.scheduled_duty import ScheduledDuty
from allegro.runtime.timetable import LOOK_S, Timetable

ANSWER_S = 15.0


def build(ctx: Context, duties: Sequence[ScheduledDuty]) -> list[Duty]:
    """Return what runs the scheduled duties of all wings. Raises ConfigError for a bad zone."""
    path = ctx.files.duties
    book = LaneBook(ctx.recorder, load_duties(path), partial(save_duties, path))
    heard = load_statement(ctx.files.statement)
    said = heard.statement if heard is not None else None
    house = HouseDuties(said, lambda: ctx.state.house_heard_s, ctx.ports.clock)
    ctx.state.house_word.on_statement(house.hear)
    owned = [_owned(ctx, duty, house) for duty in duties]
    zone = load_zone(ctx.settings.duties.timezone)
    timetable = Timetable(owned, book, ctx.ports.clock, zone)
    answers = Answers(timetable)
    return [
        Duty(
            name="schedule",
            run=timetable.run,
            facts=timetable.facts,
            queries={QueryName.RUN_DUTY: answers.run},
            stop=timetable.stop,
        ),
        Duty(
            name="house's schedule",
            run=partial(_look_on, house, ctx.ports.clock),
            facts=lambda: house.facts() if _speaks(ctx) else [],
        ),
    ]


def _speaks(ctx: Context) -> bool:
    """Whether this lane speaks of the house: of several the one with the forge role, as of silence."""
    return ctx.state.held.roster is None or "forge" in ctx.state.held_roles()


async def _look_on(house: HouseDuties, clock: Clock) -> None:
    while True:
        house.look()
        await clock.sleep(LOOK_S)


def _owned(ctx: Context, duty: ScheduledDuty, house: HouseDuties) -> ScheduledDuty:
    """Return a duty that runs here only while this lane holds its role."""
    if not duty.role:
        return duty
    tenure = Tenure(ctx.state.held_roles, duty.role, ctx.ports.clock)
    return msgspec.structs.replace(
        duty, may_run=tenure.is_settled, served_s=partial(house.served_s, duty.role, duty.name)
    )


class Answers:
    """What the house may ask of scheduled duties."""

    def __init__(self, timetable: Timetable) -> None:
        self._timetable = timetable

    async def run(self, params: Params) -> DutyView:
        """Begin a duty and wait ANSWER_S for its end; or wait on for the run that was begun."""
        query = read_query(params, RunDuty)
        task = self._timetable.under_way(query.duty)
        if task is None and not query.begun_s:
            task = await self._timetable.run_now(query.duty)
        if task is not None:
            await asyncio.wait({task}, timeout=ANSWER_S)
        return self._timetable.view(query.duty)
