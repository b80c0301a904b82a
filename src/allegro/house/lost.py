"""Which sessions are over though no end of them will come: their lane forgot them, or is gone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from allegro.core.ports import Clock
from allegro.core.stores import SessionRecord

LOST_AFTER_S = 20.0
AWAY_S = 60.0


class Lost:
    """`lane_home` says whether a lane is linked and all it told is archived."""

    def __init__(
        self, ask_lane: Callable[[str, str, dict[str, Any]], Awaitable[Any]],
        lane_home: Callable[[str], bool], clock: Clock,
    ) -> None:  # fmt: skip
        self._ask_lane = ask_lane
        self._lane_home = lane_home
        self._clock = clock
        self._missing_since: dict[str, float] = {}

    async def why(self, record: SessionRecord) -> str:
        """Say why a session cannot run any more, empty while it may. Raises EdgeError.

        Its lane does not know it, for a while, though all it told is home; or its lane is away,
        perhaps for good, and the time it would have given the session ran out.
        """
        if not self._lane_home(record.lane):
            self._missing_since.pop(record.id, None)
            over = self.is_over(record.began_s, record.limit_s)
            return "its lane is away, and its time is over" if over else ""
        if record.state == "accepted":
            return ""  # the word of its order comes first
        told = await self._ask_lane(record.lane, "sessions", {})
        if not isinstance(told, list) or record.id in told:
            self._missing_since.pop(record.id, None)
            return ""
        now_s = self._clock.boot_s()
        since_s = self._missing_since.setdefault(record.id, now_s)
        return "its lane does not know it any more" if now_s - since_s >= LOST_AFTER_S else ""

    def is_over(self, began_s: float, limit_s: float) -> bool:
        """Say whether what began then cannot run any more, by the limit that its lane keeps."""
        return 0 < limit_s < self._clock.now_s() - began_s - AWAY_S
