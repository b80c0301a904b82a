"""From one archived event to the samples it gives, in the order of the archive.

Invariant: `step` is a function of the state and one event, and the state is small and stored: so a
fold that stops anywhere and goes on gives the same figures as one that never stopped, and folding
the archive anew gives them again.

Whom to believe: a lane speaks of itself and of lanes it looked at; only events of the house's own
speak of links and requests. A lane that is stolen can make figures of its own work look better or
worse; it cannot touch those of other lanes but for what it says it saw of them.
"""

from __future__ import annotations

import msgspec

from allegro.core.measures import table
from allegro.core.measures.due import HOUSE_NODE, with_due
from allegro.core.measures.linked import Linked, heard, waited_s, went_down, went_up
from allegro.core.measures.minutes import MINUTE_S, Look
from allegro.core.measures.state import Archived, Filling, Sample, State, Step
from allegro.core.measures.table import Measure, is_met
from allegro.core.protocol.event_types import DUTIES, LINKS, EventType
from allegro.core.protocol.payloads.actions import TriageDone
from allegro.core.protocol.payloads.duties import DutyEnded, DutyPlanned
from allegro.core.protocol.payloads.fleet import RoleTaken
from allegro.core.protocol.payloads.house import (
    FleetProbed,
    LinkCaughtUp,
    LinkDown,
    LinkUp,
    RequestSettled,
)
from allegro.core.protocol.payloads.lane import JournalGap, LaneBeat
from allegro.core.protocol.payloads.polls import (
    ForgeMark,
    SnapshotComment,
    SnapshotIssue,
    SnapshotPull,
)
from allegro.core.protocol.payloads.sessions import SessionEnd

FOLDED = (
    "session.",
    DUTIES,
    LINKS,
    EventType.FLEET_PROBED,
    EventType.FORGE_MARK,
    EventType.FORGE_SNAPSHOT_COMMENT,
    EventType.FORGE_SNAPSHOT_ISSUE,
    EventType.FORGE_SNAPSHOT_PULL,
    EventType.JOURNAL_GAP,
    EventType.LANE_BEAT,
    EventType.REQUEST_SETTLED,
    EventType.ROLE_TAKEN,
    EventType.TRIAGE_DONE,
)
"""How the types begin of the events that give samples."""

TIMED = "session."
"""Events of which the time alone counts, but for the end of a session."""

PULL_KINDS = frozenset({"create_pr", "propose_change"})
COMMENT_KINDS = frozenset({"comment"})
AHEAD_KEPT = 20
"""So many of a lane's newest marks say how far the forge's clock is ahead: the largest counts."""
AHEAD_LEAST_S = 2.0
"""A forge's time has whole seconds: a smaller difference is none."""
MAX_AHEAD_S = 86_400.0
MAX_REPOSITORIES = 4_096
MAX_LANES = 64
MAX_SEEN = 16
ENDED_KEPT = 256
LATE_S = 8 * 86_400.0
"""What a lane says of a minute longer ago than a journal lives is not believed."""
HOUSE_FRESH_S = 60.0
FILLING_S = 3_600.0


def step(state: State, event: Archived) -> Step:
    """Return what one event comes to. Never raises, whatever the event holds."""
    if isinstance(event.payload, DutyPlanned | DutyEnded):
        return Step(with_due(state, event, event.payload))
    if event.is_own:
        return _own(state, event)
    if event.lane not in state.links and len(state.links) >= MAX_LANES:
        return Step(state)
    if event.type.startswith(TIMED):
        return _session(state, event)
    match event.payload:
        case LaneBeat() as beat:
            return _beat(state, event, beat)
        case SnapshotIssue() | SnapshotPull() | SnapshotComment() as seen:
            return _snapshot(state, event, seen)
        case ForgeMark() as mark:
            return Step(_with_clock(state, event, mark))
        case TriageDone() as done:
            return Step(state, (_sample(table.TRIAGE, event.at_s, done.took_s),))
        case JournalGap():
            return Step(state, (Sample(table.BUFFER.name, event.at_s, 0.0, False),))
        case RoleTaken() as taken if taken.before not in {"", event.lane}:
            return Step(state, _failover(event, taken))
    return Step(state)


def _own(state: State, event: Archived) -> Step:
    match event.payload:
        case LinkUp() as up:
            linked = went_up(state.links.get(up.lane, Linked()), up.since_s)
            return Step(_with_link(state, up.lane, linked))
        case LinkDown() as down:
            linked = went_down(state.links.get(down.lane, Linked()), down.since_s)
            return Step(_with_link(state, down.lane, linked))
        case LinkCaughtUp() as home if home.entries:
            return Step(state, (_sample(table.RECOVERY, event.at_s, home.took_s),))
        case FleetProbed() as probed:
            minute = int(event.at_s // MINUTE_S)
            looks = [Look(name, minute, True) for name in probed.linked[:MAX_LANES]]
            looks += [Look(name, minute, False) for name in probed.silent[:MAX_LANES]]
            return Step(state, looks=tuple(looks))
        case RequestSettled() as settled if settled.state == "done":
            return Step(state, _settled(state, settled))
    return Step(state)


def _with_link(state: State, lane: str, linked: Linked) -> State:
    if lane not in state.links and len(state.links) >= MAX_LANES:
        return state
    return msgspec.structs.replace(state, links={**state.links, lane: linked})


def _sample(measure: Measure, at_s: float, value: float, waited: float = 0.0) -> Sample:
    return Sample(measure.name, at_s, value, is_met(measure, value), waited)


def _timed(state: State, measure: Measure, lane: str, span: tuple[float, float]) -> Sample:
    """Return the sample of a span (Unix s) whose clock runs while the lane is linked."""
    from_s, to_s = span
    waited = waited_s(state.links.get(lane), from_s, to_s)
    return _sample(measure, to_s, max(0.0, to_s - from_s - waited), waited)


def _session(state: State, event: Archived) -> Step:
    samples = []
    if event.born_s > 0:
        samples.append(_timed(state, table.LAG, event.lane, (event.born_s, event.at_s)))
    match event.payload:
        case SessionEnd() as end if end.session not in state.ended:
            is_carried = end.state == "completed"
            samples.append(Sample(table.SESSIONS.name, event.at_s, 1.0, is_carried))
            ended = (*state.ended, end.session)[-ENDED_KEPT:]
            state = msgspec.structs.replace(state, ended=ended)
    return Step(state, tuple(samples))


def _beat(state: State, event: Archived, beat: LaneBeat) -> Step:
    """A beat that arrives is seen by the house; what it says of others is what its lane saw."""
    linked = heard(state.links.get(event.lane, Linked()), event.at_s)
    looks = [Look(event.lane, int(event.at_s // MINUTE_S), True)]
    samples: tuple[Sample, ...] = ()
    if event.at_s - LATE_S < event.born_s <= event.at_s + MINUTE_S:
        minute = int(event.born_s // MINUTE_S)
        looks += [Look(name, minute, True) for name in _others(event, beat.hears)]
        looks += [Look(name, minute, False) for name in _others(event, beat.misses)]
        if beat.house_s is not None:
            looks.append(Look(HOUSE_NODE, minute, beat.house_s < HOUSE_FRESH_S))
        samples = (_sample(table.BUFFER, event.at_s, max(0.0, event.at_s - event.born_s)),)
        state, room = _room(state, event, beat)
        samples += room
    return Step(_with_link(state, event.lane, linked), samples, tuple(looks))


def _room(state: State, event: Archived, beat: LaneBeat) -> tuple[State, tuple[Sample, ...]]:
    """Return how long the journal would last, by what it grew in an hour without a link."""
    before = state.filling.get(event.lane)
    now = Filling(event.born_s, beat.kept_bytes)
    if before is None or not _was_cut(state, event.lane, before.from_s, event.born_s):
        return _with_filling(state, event.lane, now), ()
    passed_s, grew = event.born_s - before.from_s, beat.kept_bytes - before.kept_bytes
    if passed_s < FILLING_S:
        return state, ()
    state = _with_filling(state, event.lane, now)
    if grew <= 0 or not beat.cap_bytes:
        return state, ()
    return state, (_sample(table.ROOM, event.at_s, beat.cap_bytes * passed_s / grew),)


def _was_cut(state: State, lane: str, from_s: float, to_s: float) -> bool:
    """Say whether a lane had no link for all of a span."""
    return from_s < to_s and waited_s(state.links.get(lane), from_s, to_s) >= to_s - from_s


def _with_filling(state: State, lane: str, filling: Filling) -> State:
    return msgspec.structs.replace(state, filling={**state.filling, lane: filling})


def _others(event: Archived, names: tuple[str, ...]) -> list[str]:
    """Return the other lanes that a lane names: what it says of itself does not count."""
    return [name for name in names[:MAX_SEEN] if name not in {event.lane, HOUSE_NODE}]


def _snapshot(
    state: State, event: Archived, seen: SnapshotIssue | SnapshotPull | SnapshotComment
) -> Step:
    first_s = state.repositories.get(seen.repository)
    if first_s is None:
        if len(state.repositories) < MAX_REPOSITORIES:
            known = {**state.repositories, seen.repository: event.at_s}
            state = msgspec.structs.replace(state, repositories=known)
        return Step(state)
    made_s = seen.updated_s - _ahead_s(state, event.lane)
    if seen.backdated or not first_s <= made_s <= event.at_s + MAX_AHEAD_S:
        return Step(state)
    sample = _timed(state, table.POLL_LATENCY, event.lane, (min(made_s, event.at_s), event.at_s))
    return Step(state, (sample,))


def _ahead_s(state: State, lane: str) -> float:
    ahead_s = max(state.ahead.get(lane, ()), default=0.0)
    return ahead_s if abs(ahead_s) >= AHEAD_LEAST_S else 0.0


def _with_clock(state: State, event: Archived, mark: ForgeMark) -> State:
    ahead_s = mark.date_s - event.at_s
    if not mark.date_s or abs(ahead_s) > MAX_AHEAD_S:
        return state  # old news that came late, or no clock
    newest = (*state.ahead.get(event.lane, ()), ahead_s)[-AHEAD_KEPT:]
    return msgspec.structs.replace(state, ahead={**state.ahead, event.lane: newest})


def _failover(event: Archived, taken: RoleTaken) -> tuple[Sample, ...]:
    if taken.why == "offered":
        return ()
    took_s = taken.silent_s + taken.take_s + taken.act_s
    return (_sample(table.FAILOVER, event.at_s, took_s),)


def _settled(state: State, settled: RequestSettled) -> tuple[Sample, ...]:
    if settled.kind in PULL_KINDS:
        measure = table.PULL
    elif settled.kind in COMMENT_KINDS:
        measure = table.COMMENT
    else:
        return ()
    from_s = settled.decided_s or settled.created_s
    took = _timed(state, measure, settled.lane, (from_s, settled.settled_s))
    if measure is table.PULL:
        return (took, Sample(table.PULLS.name, settled.settled_s, 1.0, True))
    return (took,)
