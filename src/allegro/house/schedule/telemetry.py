"""The weekly check of telemetry: what agents and proxies counted against what the archive holds.

Never a journal against itself: each lane keeps beside its journal what the agent's own session
record and its model proxy said when a session ended, and is asked for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from allegro.core.agent.tallies import Compared, Counts, SessionTally, compared
from allegro.core.base.errors import EdgeError
from allegro.core.base.untrusted import Unreadable, read_value
from allegro.core.ports import Clock
from allegro.core.protocol.event_types import EventType
from allegro.core.protocol.payloads.sessions import ModelResult, SessionEnd, SessionToolBegan
from allegro.core.protocol.queries import QueryName
from allegro.core.stores import Archive
from allegro.house.archive.events import read_archived
from allegro.house.archive.rows import row_before
from allegro.house.lanes import Lanes
from allegro.house.ports import Ports
from allegro.runtime.scheduled_duty import DutyResult

WEEK_S = 7 * 86_400.0
LONGEST_S = 86_400.0
"""No session lasts longer: its first event came home so long before its end at most."""

SETTLED_S = 300.0
"""What ended so lately may still be on the way home."""

GOOD = 0.99
SPAN = 20_000
SHOWN = 3
COUNTED = (EventType.SESSION_END, EventType.SESSION_TOOL_BEGAN, EventType.MODEL_RESULT)


class Counting:
    """Counts the events of some sessions as they are read."""

    def __init__(self, sessions: Iterable[str]) -> None:
        self._counts = {session: Counts() for session in sessions}
        self._calls: dict[str, set[int]] = {session: set() for session in self._counts}

    def take(self, payload: object) -> None:
        session = getattr(payload, "session", "")
        held = self._counts.get(session)
        if held is None:
            return
        change = msgspec.structs.replace
        match payload:
            case SessionEnd():
                self._counts[session] = change(held, ends=held.ends + 1)
            case SessionToolBegan():
                self._counts[session] = change(held, tools=held.tools + 1)
            case ModelResult() as result:
                self._calls[session].add(result.call)
                tokens = held.tokens + result.tokens_in + result.tokens_out
                self._counts[session] = change(held, tokens=tokens)

    def counts(self) -> Mapping[str, Counts]:
        return {
            session: msgspec.structs.replace(one, calls=len(self._calls[session]))
            for session, one in self._counts.items()
        }


class TelemetryCheck:
    """Compares each session of the last week that ended at a lane which can be asked now."""

    def __init__(self, ports: Ports, lanes: Lanes) -> None:
        self._archive: Archive = ports.archive
        self._clock: Clock = ports.clock
        self._lanes = lanes

    async def run(self) -> DutyResult:
        """Do it once. Raises EdgeError where no lane that runs sessions can be asked."""
        asked, silent, tallies = [], [], []
        for lane in self._lanes.describe():
            name = lane.name
            if not self._lanes.is_home(name):
                silent.append(name)
            elif "hermes" in self._lanes.serves(name):
                asked.append(name)
                tallies += await self._tallies_of(name)
        if not asked:
            if silent:
                why = f"no lane can be asked: {', '.join(silent)} not linked, or not all is home"
                raise EdgeError(why, transient=True)
            return DutyResult("no lane runs sessions", {"sessions": 0})
        found = await self._compared(tallies)
        return judged(found, sum(one.agent is not None for one in tallies), silent)

    async def _tallies_of(self, lane: str) -> list[SessionTally]:
        raw = await self._lanes.ask_lane(lane, QueryName.TALLIES, {})
        read = read_value(raw, list[SessionTally])
        if isinstance(read, Unreadable):
            why = f"the tallies of lane {lane} cannot be read: {read}"
            raise EdgeError(why, transient=False, kind="unreadable")
        now_s = self._clock.now_s()
        return [one for one in read if SETTLED_S <= now_s - one.ended_s <= WEEK_S]

    async def _compared(self, tallies: list[SessionTally]) -> list[Compared]:
        counting = Counting(one.session for one in tallies)
        from_s = min((one.ended_s for one in tallies), default=self._clock.now_s()) - LONGEST_S
        row = await row_before(self._archive, from_s)
        while True:
            batch, scanned = await self._archive.scan(row, SPAN, COUNTED)
            for archived in batch:
                event = read_archived(archived)
                if not isinstance(event, Unreadable):
                    counting.take(event.payload)
            if scanned == row:
                break
            row = scanned
        counts = counting.counts()
        return [compared(one, counts[one.session]) for one in tallies]


def judged(found: list[Compared], recorded: int, silent: list[str]) -> DutyResult:
    """Return the result. `recorded` sessions had a record of the agent's own."""
    expected, received = (
        sum(one.expected for one in found),
        sum(one.received for one in found),
    )
    share = received / expected if expected else 1.0
    differing = [one for one in found if not one.is_whole]
    words = f"{received} of {expected} items of {len(found)} sessions came home"
    if differing:
        named = ", ".join(one.session[:12] for one in differing[:SHOWN])
        words += f"; {len(differing)} differ: {named}"
    if silent:
        words += f"; not asked: {', '.join(silent)}"
    figures = {
        "sessions": len(found), "with_own_record": recorded, "expected": expected,
        "received": received, "accuracy": share, "differing": len(differing),
        "tokens_off": sum(one.tokens_off for one in found), "lanes_not_asked": len(silent),
    }  # fmt: skip
    return DutyResult(words, figures, is_good=share >= GOOD)
