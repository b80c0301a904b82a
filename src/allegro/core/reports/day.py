"""The report of one day: from its facts to a page, and to the short form for a chat."""

from __future__ import annotations

from collections.abc import Mapping
from zoneinfo import ZoneInfo

from allegro.core.base.timestamps import span
from allegro.core.measures.answers import RowAnswer, target_words, value_words
from allegro.core.reports.facts import (
    AlertsDay,
    CameIn,
    DayFacts,
    Done,
    DutiesDay,
    SessionsDay,
    Unknown,
)
from allegro.core.reports.judgement import Judgement, judge
from allegro.core.reports.short import LATE_S
from allegro.core.reports.text import Foreign, Line, Link, Page, Section, line, words
from allegro.core.reports.times import at_words, moment


def day_page(facts: DayFacts, zone: ZoneInfo) -> Page:
    """Return the page of a day. Times are shown in the owner's zone."""
    judgement = judge(facts)
    return Page(
        title=f"Morning report for {facts.date.isoformat()}",
        summary=_summary(facts, judgement, zone),
        sections=(
            Section("Wrong", tuple(line(one) for one in judgement.wrong), "nothing"),
            Section("Not known", tuple(line(one) for one in judgement.unknown), "nothing"),
            _waiting(facts),
            _came_in(facts),
            _done(facts, zone),
            _sessions(facts),
            _measures(facts),
            _lanes(facts, zone),
            _alerts(facts, zone),
            _duties(facts, zone),
            _freezes(facts, zone),
            _gaps(facts),
            _doctor(facts),
            _deliveries(facts),
            Section(
                "Backup and drift",
                (line(f"backup: {facts.backup}"), line(f"drift: {facts.drift}")),
            ),
        ),
    )


def _summary(facts: DayFacts, judgement: Judgement, zone: ZoneInfo) -> tuple[Line, ...]:
    day = f"{moment(facts.from_s, zone)} to {moment(facts.to_s, zone)} ({facts.zone})"
    built = f"Built {moment(facts.built_s, zone)} for {day}."
    if facts.late_s > LATE_S:
        built += f" Late by {span(facts.late_s)}: the house slept or was busy."
    return (line(f"{judgement.headline}."), line(built))


def _unknown(title: str, source: Unknown) -> Section:
    return Section(title, (line(f"not known: {source.unknown}"),))


def _more(more: int) -> tuple[Line, ...]:
    return (line(f"and {more} more, older ones"),) if more else ()


def _waiting(facts: DayFacts) -> Section:
    if isinstance(facts.waiting, Unknown):
        return _unknown("Waits for you", facts.waiting)
    lines = []
    for one in sorted(facts.waiting, key=lambda one: (one.created_s, one.id)):
        age, left_s = span(facts.built_s - one.created_s), one.expires_s - facts.built_s
        end = f"expires in {span(left_s)}" if left_s > 0 else "expired"
        lines.append(
            line(
                f"for {age} ({one.urgency}, {one.kind}, {end}): ",
                Foreign(one.question),
                *words(" in ", one.repository),
                f", allegro show {one.id}",
            )
        )
    return Section(f"Waits for you ({len(lines)})", tuple(lines), "nothing")


def _came_in(facts: DayFacts) -> Section:
    came = facts.came_in
    if not isinstance(came, CameIn):
        return _unknown("Came in", came)
    counts = line(
        f"{came.issues} issues and {came.pulls} pull requests opened, {came.closed} closed,"
        f" {came.comments} comments, {came.vanished} vanished"
    )
    items = tuple(
        line(
            "pull request " if one.is_pull else "issue ",
            Link(f"{one.number}", one.url),
            " in ",
            Foreign(one.repository),
            ": ",
            Foreign(one.title),
        )
        for one in came.items
    )
    return Section("Came in", (counts, *items, *_more(came.more)))


def _done(facts: DayFacts, zone: ZoneInfo) -> Section:
    done = facts.done
    if not isinstance(done, Done):
        return _unknown("Done", done)
    lines = [line(f"{_counts(done.states)}; of those done: {_counts(done.kinds)}")]
    for one in done.items:
        where = (" at ", Link("the forge", one.url)) if one.url else ()
        lines.append(
            line(
                f"{at_words(one.settled_s, zone)} {one.kind} {one.state}",
                *where,
                *words(": ", one.question),
                f", allegro explain {one.id}",
            )
        )
    return Section("Done", (*lines, *_more(done.more)))


def _sessions(facts: DayFacts) -> Section:
    sessions = facts.sessions
    if not isinstance(sessions, SessionsDay):
        return _unknown("Sessions and spend", sessions)
    spent = f"${sessions.cost_usd:.4f}"
    if sessions.unpriced:
        spent += f", and {sessions.unpriced} calls of unknown price"
    lines = [
        line(f"sessions: {_counts(sessions.ends)}"),
        line(
            f"model calls: {sessions.calls}, {sessions.failed_calls} of them failed;"
            f" tokens: {sessions.tokens_in} in, {sessions.tokens_out} out; {spent}"
        ),
    ]
    lines += [line("allegro session ", Foreign(id_)) for id_ in sessions.ids]
    return Section("Sessions and spend", (*lines, *_more(sessions.more)))


def _measures(facts: DayFacts) -> Section:
    if isinstance(facts.measures, Unknown):
        return _unknown("Promised and measured", facts.measures)
    lines = tuple(line(measure_words(row)) for row in facts.measures)
    return Section("Promised and measured", lines)


def measure_words(row: RowAnswer) -> str:
    """Return a row of measures as one line."""
    if row.value is None:
        return f"{row.title}: not measurable yet ({row.reason})"
    how = {"largest": "largest ", "smallest": "smallest ", "p99": "p99 "}.get(row.shown, "")
    waited = f"; {row.waited} waited without a link, {span(row.waited_s)} at most"
    return (
        f"{row.title}: {row.verdict}, {how}{value_words(row.value, row.unit)}"
        f" ({target_words(row)}; {row.within} of {row.count}{waited if row.waited else ''})"
    )


def _lanes(facts: DayFacts, zone: ZoneInfo) -> Section:
    if isinstance(facts.lanes, Unknown):
        return _unknown("Lanes", facts.lanes)
    lines = []
    for lane in facts.lanes:
        state = "linked" if lane.is_linked else "NOT LINKED"
        home = "all home" if lane.is_home else "not all that it told is here"
        heard = f", last heard {moment(lane.heard_s, zone)}" if lane.heard_s else ", never heard"
        lines.append(line(Foreign(lane.name), f": {state}, {home}{heard}"))
    if isinstance(facts.take_overs, Unknown):
        lines.append(line(f"take-overs are not known: {facts.take_overs.unknown}"))
    else:
        lines += [
            line(
                f"{one.role}: ",
                Foreign(one.before or "nobody"),
                " to ",
                Foreign(one.lane),
                f" ({one.why}), {one.took_s:.1f} s",
            )
            for one in facts.take_overs
        ]
    return Section("Lanes", tuple(lines))


def _alerts(facts: DayFacts, zone: ZoneInfo) -> Section:
    alerts = facts.alerts
    if not isinstance(alerts, AlertsDay):
        return _unknown("Alerts", alerts)
    lines = []
    for one in alerts.items:
        often = f", {one.count} times" if one.count > 1 else ""
        over = ", over" if one.is_over else ""
        at = at_words(one.last_s, zone)
        lines.append(line(f"{one.severity} {one.code} {at}{often}{over}: ", Foreign(one.sentence)))
    judged = alerts.judged
    verdicts = (
        "verdicts are not kept yet"
        if judged is None
        else f"{judged.useful} useful of {judged.judged} judged of {judged.sent} sent so far"
    )
    return Section("Alerts", (line(verdicts), *lines, *_more(alerts.more)))


def _duties(facts: DayFacts, zone: ZoneInfo) -> Section:
    duties = facts.duties
    if not isinstance(duties, DutiesDay):
        return _unknown("Duties", duties)
    lines = tuple(
        line(
            f"{at_words(one.at_s, zone)} ",
            Foreign(one.duty),
            " of ",
            Foreign(one.owner),
            f": {one.ending}",
            *words(" ", one.result),
        )
        for one in duties.items
    )
    return Section("Duties", (line(f"{duties.ran} ran well"), *lines, *_more(duties.more)))


def _freezes(facts: DayFacts, zone: ZoneInfo) -> Section:
    if isinstance(facts.freezes, Unknown):
        return _unknown("Freezes", facts.freezes)
    lines = tuple(
        line(
            f"{one.id} {'HOLDS' if one.is_active else 'lifted'}, since {moment(one.at_s, zone)}, by ",
            Foreign(one.by),
            ": ",
            Foreign(one.reason),
        )
        for one in facts.freezes
    )
    return Section("Freezes", lines)


def _gaps(facts: DayFacts) -> Section:
    if isinstance(facts.gaps, Unknown):
        return _unknown("Gaps", facts.gaps)
    lines = tuple(
        line(
            "lane ",
            Foreign(one.lane),
            f": {one.count} entries, {one.first} to {one.last}: ",
            Foreign(one.reason),
        )
        for one in facts.gaps
    )
    unread = (line(f"{facts.unreadable} events cannot be read"),) if facts.unreadable else ()
    return Section("Gaps", (*lines, *unread))


def _doctor(facts: DayFacts) -> Section:
    if isinstance(facts.doctor, Unknown):
        return _unknown("Doctor", facts.doctor)
    lines = tuple(
        line(
            f"{one.state} ",
            Foreign(one.code),
            *words(" ", one.title),
            *words(" ", one.subject),
            *words(" of lane ", one.lane),
            ": ",
            Foreign(one.detail),
            *words("; ", one.fix),
        )
        for one in facts.doctor
    )
    return Section("Doctor", lines, "every fact is well")


def _deliveries(facts: DayFacts) -> Section:
    title = "Delivery of the report before this one"
    if isinstance(facts.deliveries, Unknown):
        return _unknown(title, facts.deliveries)
    lines = tuple(
        line(
            f"{one.way}: {one.state}",
            *((" ", Link("there", one.url)) if one.url else ()),
            *words(" ", one.detail),
        )
        for one in facts.deliveries
    )
    return Section(title, lines, "no way is configured: it lies in the house's folder alone")


def _counts(counts: Mapping[str, int]) -> str:
    found = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()) if count)
    return found or "none"
