"""The reports as scheduled duties of the house."""

from __future__ import annotations

from allegro.core.health.schedule import last_due, schedule_of
from allegro.core.measures.answers import MeasuresAnswer, value_words
from allegro.core.ports import Clock
from allegro.core.settings import HouseDuties
from allegro.house.measures.wing import MeasuresWing
from allegro.house.reports.reporter import Reporter
from allegro.runtime.scheduled_duty import DutyResult, ScheduledDuty, made

DAY_S, WEEK_S = 86_400.0, 7 * 86_400.0
RATES = ("pulls.rate", "sessions.rate")


class ReportDuties:
    """`made` are the duties: the morning report, the figures of the day, the throughput of a week."""

    def __init__(
        self, reporter: Reporter, measures: MeasuresWing, clock: Clock, duties: HouseDuties
    ) -> None:
        self._reporter = reporter
        self._measures = measures
        self._clock = clock
        self._duties = duties

    def made(self) -> list[ScheduledDuty]:
        duties = self._duties
        return [
            made("morning-report", duties.morning_report, self.report, duties),
            made("metrics-report", duties.metrics_report, self.day, duties),
            made("throughput-report", duties.throughput_report, self.week, duties),
        ]

    async def report(self) -> DutyResult:
        """Build, keep and bring the morning report. Raises EdgeError where that cannot be done."""
        return DutyResult(await self._reporter.run(await self._late_s()))

    async def _late_s(self) -> float:
        """Return how long after its time the report is built; 0 where it was sent before."""
        schedule = schedule_of(self._duties.morning_report, self._duties.grace_min)
        if schedule is None or await self._reporter.is_sent():
            return 0.0
        now_s = self._clock.now_s()
        return now_s - last_due(schedule, now_s, self._reporter.zone)

    async def day(self) -> DutyResult:
        """Compute the figures of the day before."""
        day = self._reporter.yesterday()
        answer = await self._measures.answer(day.end_s - day.start_s, to_s=day.end_s)
        return _result(f"{day.date.isoformat()}: ", answer)

    async def week(self) -> DutyResult:
        """Compute the throughput of the seven days that ended."""
        end_s = self._reporter.yesterday().end_s
        answer = await self._measures.answer(WEEK_S, to_s=end_s)
        rates = [row for row in answer.rows if row.name in RATES]
        words = "; ".join(f"{row.title}: {value_words(row.value, row.unit)}" for row in rates)
        figures = {row.name: row.value for row in rates if row.value is not None}
        return DutyResult(words, figures)


def _result(before: str, answer: MeasuresAnswer) -> DutyResult:
    known = [row for row in answer.rows if row.value is not None]
    missed = [row.title for row in known if row.verdict == "missed"]
    words = f"{before}{len(known)} of {len(answer.rows)} figures known"
    words += f", missed: {', '.join(missed)}" if missed else ", none missed"
    return DutyResult(words, {row.name: row.value for row in known if row.value is not None})
