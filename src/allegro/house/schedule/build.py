"""Wires the scheduled duties of the house: its own, those of other wings, what it expects of lanes."""

from __future__ import annotations

import asyncio
import datetime
import importlib.resources
from collections.abc import Callable, Sequence
from pathlib import Path

from allegro.adapters.folder import Folder
from allegro.core.base.errors import EdgeError
from allegro.core.settings import HouseSettings
from allegro.house.files import files_of
from allegro.house.lanes import Lanes
from allegro.house.ports import Ports, Reactions
from allegro.house.schedule.book import HouseBook
from allegro.house.schedule.exports import DayExports
from allegro.house.schedule.failover import FailoverDrill
from allegro.house.schedule.runbook import InUse, RunbookCheck
from allegro.house.schedule.shipped import places, shipped
from allegro.house.schedule.telemetry import TelemetryCheck
from allegro.house.schedule.watch import DutyWatch
from allegro.house.schedule.wing import ScheduleWing
from allegro.runtime.scheduled_duty import ScheduledDuty
from allegro.runtime.timetable import Timetable


class Home:
    """What the builder needs of the house: its settings, stores, lanes, and the owner's zone.

    `busy` says why no drill may be done now, empty where one may.
    """

    def __init__(
        self,
        settings: HouseSettings,
        ports: Ports,
        lanes: Lanes,
        reactions: Reactions,
        zone: datetime.tzinfo,
        busy: Callable[[], str],
    ) -> None:
        self.settings = settings
        self.ports = ports
        self.lanes = lanes
        self.reactions = reactions
        self.zone = zone
        self.busy = busy


def build(home: Home, more: Sequence[ScheduledDuty] = ()) -> ScheduleWing:
    """Return the wing. `more` are the duties that other wings bring."""
    settings, ports, lanes = home.settings, home.ports, home.lanes
    book = HouseBook(ports)
    exports = DayExports(ports, Folder(files_of(settings).exports), home.zone)
    drill = FailoverDrill(lanes, ports.clock, home.busy)
    runbook = RunbookCheck(lambda: _page(settings.duties.runbook), lambda: _in_use(lanes))
    telemetry = TelemetryCheck(ports, lanes)
    own = [
        *shipped(settings.duties, exports, drill, runbook, telemetry),
        *more,
    ]
    timetable = Timetable(
        [*own, *places(own)],
        book,
        ports.clock,
        home.zone,
        may_sleep=settings.house.expected != "always",
    )
    watch = DutyWatch(ports, lanes, home.reactions, book)
    return ScheduleWing(timetable, watch, lanes, ports.clock)


def _in_use(lanes: Lanes) -> InUse:
    served = {role for lane in lanes.describe() for role in lanes.serves(lane.name)}
    return InUse("forge" in served, "hermes" in served, bool(lanes.members()))


async def _page(own: str) -> str:
    """Return the operator's runbook, else the one of this program. Raises EdgeError."""
    return await asyncio.to_thread(_read_page, own)


def _read_page(own: str) -> str:
    if own:
        path = Path(own).expanduser()
    else:
        path = importlib.resources.files("allegro").joinpath("runbook.md")  # type: ignore[assignment]
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        name = own or "the runbook of this program"
        raise EdgeError(f"{name} cannot be read: {error}", transient=False) from error
