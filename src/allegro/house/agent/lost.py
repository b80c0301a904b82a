"""Which sessions are over though no end of them will come: their lane forgot them, or is gone."""

from __future__ import annotations

from collections.abc import Callable

from allegro.core.ports import Clock
from allegro.core.protocol.queries import QueryName
from allegro.core.stores import SessionRecord
from allegro.house.ports import AskLane

LOST_AFTER_S = 20.0
AWAY_S = 60.0
MAX_KNOWN = 1_000
QUESTION_S = 3600.0  # the longest a lane lets a question wait


class Lost:
    """`lane_home` says whether a lane is linked and all it told is archived."""

    def __init__(self, ask_lane: AskLane, lane_home: Callable[[str], bool], clock: Clock) -> None:
        self._ask_lane = ask_lane
        self._lane_home = lane_home
        self._clock = clock
        self._missing_since: dict[str, float] = {}
        self._away_since: dict[str, float] = {}

    async def known(self, lane: str) -> frozenset[str] | None:
        """Ask a lane once which sessions it knows; None where it is away or its answer is none.

        Raises EdgeError.
        """
        if not self._lane_home(lane):
            return None
        known = await self._ask_lane(lane, QueryName.SESSIONS, {})
        if not isinstance(known, list):
            return None
        return frozenset(one for one in known[:MAX_KNOWN] if isinstance(one, str))

    def why(self, record: SessionRecord, known: frozenset[str] | None) -> str:
        """Say why a session cannot run any more, empty while it may.

        `known` are the sessions that its lane knows, None where it did not say.

        Its lane does not know it, for a while, though all it told is home; or its lane is away,
        perhaps for good, and the time it would have given the session ran out.
        """
        now_s = self._clock.boot_s()
        if not self._lane_home(record.lane):
            self._missing_since.pop(record.id, None)
            away_s = now_s - self._away_since.setdefault(record.lane, now_s)
            asks_s = QUESTION_S if record.state == "waiting" else 0.0
            limit_s = record.limit_s and record.limit_s + asks_s
            over = away_s >= AWAY_S and self.is_over(record.heard_s or record.began_s, limit_s)
            return "its lane is away, and its time is over" if over else ""
        self._away_since.pop(record.lane, None)
        if record.state == "accepted":
            return ""  # the word of its order comes first
        if known is None or record.id in known:
            self._missing_since.pop(record.id, None)
            return ""
        since_s = self._missing_since.setdefault(record.id, now_s)
        return "its lane does not know it any more" if now_s - since_s >= LOST_AFTER_S else ""

    def is_over(self, heard_s: float, limit_s: float) -> bool:
        """Say whether what was heard of then cannot run any more, by the limit its lane keeps."""
        return 0 < limit_s < self._clock.now_s() - heard_s - AWAY_S
