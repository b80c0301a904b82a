"""Wires the morning report: its sources, its folder, and the ways by which it is brought."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from allegro.adapters.report_files import ReportFiles
from allegro.config import load_zone
from allegro.core.authority.freeze import FreezeSet
from allegro.core.measures.answers import Judged
from allegro.core.reports.facts import FactLine, LaneLine
from allegro.core.settings import HouseSettings
from allegro.house.documents.report_issue import ReportIssue
from allegro.house.files import files_of
from allegro.house.health.doctor import Facts
from allegro.house.lanes import Lanes
from allegro.house.measures.build import build as build_measures
from allegro.house.measures.wing import MeasuresWing
from allegro.house.ports import Ports
from allegro.house.reports.collect import Collector
from allegro.house.reports.duties import ReportDuties
from allegro.house.reports.reporter import Reporter
from allegro.house.reports.sources import Sources
from allegro.house.reports.ways import Ways
from allegro.house.requests.requests import Requests
from allegro.runtime.alerting.shell import Alerting
from allegro.runtime.scheduled_duty import ScheduledDuty


class Speaking(msgspec.Struct, frozen=True):
    """Whom the report of this house asks besides its stores."""

    lanes: Lanes
    alerting: Alerting
    facts: Facts
    freezes: Callable[[], FreezeSet]
    issue: ReportIssue


class Reporting:
    """What measures and reports: the figures, the reporter, and the duties of both."""

    def __init__(self, measures: MeasuresWing, reporter: Reporter, duties: ReportDuties) -> None:
        self.measures = measures
        self.reporter = reporter
        self._duties = duties

    def scheduled(self) -> list[ScheduledDuty]:
        """Return what runs at times of the clock."""
        return self._duties.made()

    async def close(self) -> None:
        await self.measures.close()


def build(
    settings: HouseSettings, ports: Ports, requests: Requests, speaking: Speaking
) -> Reporting:
    """Open the figures and return the wing. Must be called with a running event loop.

    Raises ConfigError for a zone that is none, EdgeError of the disk.
    """
    alerting = speaking.alerting
    measures = build_measures(ports, requests, files_of(settings), lambda: judged(alerting))
    reporter = _reporter(settings, ports, measures, speaking)
    duties = ReportDuties(reporter, measures, ports.clock, settings.duties)
    return Reporting(measures, reporter, duties)


def _reporter(
    settings: HouseSettings, ports: Ports, measures: MeasuresWing, speaking: Speaking
) -> Reporter:
    zone = load_zone(settings.owner.timezone)
    store = ReportFiles(files_of(settings).reports)
    ways = Ways(speaking.issue, speaking.alerting, ports.clock)
    sources = Sources(
        freezes=speaking.freezes,
        lanes=lambda: lane_lines(speaking.lanes),
        alerts=lambda: speaking.alerting.alerts.alerts,
        judged=lambda: judged(speaking.alerting),
        doctor=lambda: doctor_lines(speaking.facts),
        deliveries=ways.lines,
    )
    collector = Collector(settings.house.name, ports, measures, sources, zone)
    reporter = Reporter(collector, measures, store, ports.clock, zone)
    ways.join(reporter, to_forge=bool(settings.report.issue))
    return reporter


def judged(alerting: Alerting) -> Judged:
    """Return of all alarms how many were sent, judged by a person, and found useful."""
    scores = alerting.alerts.scores.values()
    return Judged(
        useful=sum(one.useful for one in scores),
        judged=sum(one.judged for one in scores),
        sent=sum(one.sent for one in scores),
    )


def lane_lines(lanes: Lanes) -> list[LaneLine]:
    """Return each lane as it is now."""
    return [
        LaneLine(
            name=lane.name,
            is_linked=lane.linked,
            is_home=lanes.is_home(lane.name),
            heard_s=lane.heard_s or 0.0,
        )
        for lane in lanes.describe()
    ]


async def doctor_lines(facts: Facts) -> list[FactLine]:
    """Return doctor's facts that are not well. Raises EdgeError of the stores."""
    return [
        FactLine(
            code=page.code,
            title=page.title,
            subject=page.subject,
            lane=page.lane,
            state=page.state,
            detail=page.detail,
            fix=page.fix,
        )
        for page in (await facts.doctor()).facts
        if page.state != "ok"
    ]
