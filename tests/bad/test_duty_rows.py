"""Rows of scheduled duties in the ledger, bent in every field: what cannot be read was never written."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import msgspec

from allegro.core.health.duty_runs import Begun, DutyPlan, DutyRun, DutyState, Ending
from allegro.core.health.duty_watch import WatchedDuty
from allegro.core.health.schedule import Plan, Punctuality, Run
from allegro.runtime.scheduled_duty import DutyResult
from allegro.testing.virtual import VirtualClock
from tests.duties.test_house_schedule import NOON_S, Home, duty

from . import values as bad

RUN = DutyRun(
    duty="sweep", ending=Ending.RAN, due_s=NOON_S - 60, begun_s=NOON_S - 60, duration_s=2.0,
    result="done", figures={"items": 1.0},
)  # fmt: skip
STATE = DutyState(
    Plan(NOON_S + 600, NOON_S - 60),
    Begun(Run(NOON_S - 60, Punctuality.LATE), NOON_S - 50),
    RUN,
    "off",
)
WATCHED = WatchedDuty(
    plan=DutyPlan(duty="hermes-health", cron="0 3 * * *", grace_s=60.0, due_s=NOON_S + 900),
    lane="a", heard_s=NOON_S, last=RUN,
)  # fmt: skip
SEED, SOME = 11, 120


def bent(value: Any) -> list[tuple[str, bytes]]:
    return bad.sample(bad.bent_msgpack(msgspec.to_builtins(value)), SOME, SEED)


def put(path: Path, table: str, raw: bytes) -> None:
    connection = sqlite3.connect(path)
    values = {
        "duty_state": ("sweep", raw),
        "duty_watch": ("lane a", "hermes-health", raw),
        "duty_run": ("house", "sweep", 1.0, 2.0, NOON_S, raw),
    }[table]
    marks = ",".join("?" * len(values))
    connection.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", values)
    connection.commit()
    connection.close()


async def _swept() -> Any:
    return DutyResult("swept")


async def test_a_house_with_bent_rows_runs_its_duties_and_expects_those_of_its_lanes(
    tmp_path: Path,
) -> None:
    home = Home(tmp_path, VirtualClock(NOON_S))
    home.own = [duty("sweep", "*/10 * * * *", _swept)]
    home.start()
    path = tmp_path / "ledger.db"
    cases = [("duty_state", *one) for one in bent(STATE)]
    cases += [("duty_watch", *one) for one in bent(WATCHED)]
    cases += [("duty_run", *one) for one in bent(RUN)]
    await home.tell("duty.planned", {
        "duty": "other", "role": "", "cron": "0 3 * * *", "grace_s": 60.0, "due_s": NOON_S + 900,
    })  # fmt: skip
    for table, name, raw in cases:
        put(path, table, raw)
        home.make()
        await home.wing.timetable.step()
        await home.wing.timetable.idle()
        await home.wing.watch.step()
        home.wing.shown()
        home.wing.facts()
        await home.ledger.duties.runs(0.0, 1e11)
        assert home.alerts == [], (table, name)
        home.clock.advance(30)
    before = len(await home.own_events())
    await home.live(1300)
    assert len(await home.own_events()) >= before + 2, "what is due is run"
    await home.close()
