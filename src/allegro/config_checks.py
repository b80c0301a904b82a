"""What is wrong with a configuration beyond the form of each setting: zones, windows, schedules."""

from __future__ import annotations

import datetime
from collections.abc import Callable

from allegro.core.base.errors import ConfigError, Refusal
from allegro.core.health.days import read_window
from allegro.core.health.schedule import read_schedule
from allegro.core.settings import HouseDuties, HouseSettings, LaneDuties, LaneSettings
from allegro.core.settings.duties import cron_keys
from allegro.core.settings.faults import lane_faults

LoadZone = Callable[[str], datetime.tzinfo]
"""Returns a zone by its IANA name. Raises ConfigError."""


def _zone_faults(key: str, name: str, load_zone: LoadZone) -> list[tuple[str, str]]:
    try:
        load_zone(name)
    except ConfigError as error:
        return [(key, str(error))]
    return []


def all_lane_faults(settings: LaneSettings, load_zone: LoadZone) -> list[tuple[str, str]]:
    """Return what is wrong with a lane's settings beyond the form of each: (setting, sentence)."""
    zone = _zone_faults("duties.timezone", settings.duties.timezone, load_zone)
    return [*lane_faults(settings), *zone, *_duty_faults(settings.duties)]


def _duty_faults(duties: HouseDuties | LaneDuties) -> list[tuple[str, str]]:
    """Return what is wrong with the cron lines of `[duties]`."""
    lines = {key: getattr(duties, key) for key in cron_keys(type(duties))}
    return [
        (f"duties.{key}", schedule.detail)
        for key, line in lines.items()
        if line and isinstance(schedule := read_schedule(line), Refusal)
    ]


def house_faults(settings: HouseSettings, load_zone: LoadZone) -> list[tuple[str, str]]:
    """Return what is wrong with a house's settings beyond the form of each: (setting, sentence)."""
    house, owner = settings.house, settings.owner
    faults = _zone_faults("owner.timezone", owner.timezone, load_zone) + _duty_faults(
        settings.duties
    )
    if house.expected == "hours" and not house.hours:
        faults.append(("house.hours", "missing: name the hours, as in 08:00-23:00"))
    faults += [
        (key, window.detail)
        for key, text in (("house.hours", house.hours), ("owner.quiet", owner.quiet))
        if text and isinstance(window := read_window(text), Refusal)
    ]
    return faults
