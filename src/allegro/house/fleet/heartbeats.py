"""Expects each lane's beats: tells once of one that is missing, and once when it is back (T1)."""

from __future__ import annotations

import contextlib

from allegro.core.base.events import encode_event
from allegro.core.base.timestamps import rfc3339
from allegro.core.health import codes
from allegro.core.health.facts import Fact, State
from allegro.core.protocol.answers.house import LinkedLane
from allegro.core.protocol.payloads.base import own_event
from allegro.core.protocol.payloads.fleet import BeatBack, BeatMissing
from allegro.house.lanes import Lanes
from allegro.house.ports import Ports, Reactions

BEAT_LATE_S = 45.0
ASLEEP_S = 20.0
HOLDS_S = 30.0
WAKING_S = 60.0
"""So long after its start, or after it woke, a house may be without a network."""
_LATE, _ALONE = "late lanes", "alone since"


class BeatWatch:
    """Who is late is kept in the ledger: a house that restarts tells nothing twice.

    A house that slept heard nobody: silence counts from when it woke.
    """

    def __init__(self, ports: Ports, lanes: Lanes, reactions: Reactions) -> None:
        clock = ports.clock
        self._archive = ports.archive
        self._ledger = ports.ledger
        self._lanes = lanes
        self._clock = clock
        self._dice = ports.dice
        self._alert = reactions.alarm
        self._state = reactions.state
        self._beats: dict[str, float] = {}
        self._late: dict[str, float] = {}
        self._awake_s = clock.now_s()
        self._looked_s = clock.boot_s()
        self._alone_since_s: float | None = clock.now_s()
        self._alone_kept: float | None = None

    async def resume(self) -> None:
        """Take up what the ledger keeps."""
        for kept in await self._ledger.strings(_LATE):
            name, _, heard = kept.rpartition(" ")
            with contextlib.suppress(ValueError):
                self._late[name] = float(heard)
        for kept in await self._ledger.strings(_ALONE):
            with contextlib.suppress(ValueError):
                self._alone_since_s = self._alone_kept = float(kept)

    def beat(self, lane: str, at_s: float) -> None:
        """Note that a lane's beat was archived."""
        self._beats[lane] = at_s

    def last_heard_s(self, lane: str) -> float | None:
        """Return when a lane that is late was last heard (Unix s), None for one that is not."""
        return self._late.get(lane)

    def local_only_since_s(self) -> float | None:
        """Since when (Unix s) no lane is linked; None while one is."""
        if self._lanes.linked():
            self._alone_since_s = None
        elif self._alone_since_s is None:
            self._alone_since_s = self._clock.now_s()
        return self._alone_since_s

    async def look(self) -> None:
        """Compare each lane with what is expected of it. Raises EdgeError of the stores."""
        now_s, boot_s = self._clock.now_s(), self._clock.boot_s()
        if boot_s - self._looked_s > ASLEEP_S:
            self._awake_s = now_s
        self._looked_s = boot_s
        alone_s = self.local_only_since_s()
        if alone_s != self._alone_kept:
            await self._ledger.set_strings(_ALONE, () if alone_s is None else (str(alone_s),))
            self._alone_kept = alone_s
        described = self._lanes.describe()
        for lane in described:
            heard_s = self._heard_s(lane)
            is_late = now_s - max(heard_s, self._awake_s) > BEAT_LATE_S
            if lane.linked and not is_late:
                await self._note_back(lane.name, now_s)
            elif is_late and lane.name not in self._late:
                await self._note_late(lane, heard_s, now_s)
        self._state_facts(described, now_s)
        gone = set(self._late) - {lane.name for lane in described}
        if gone:  # revoked, or paired anew under another name
            await self._keep({name: s for name, s in self._late.items() if name not in gone})

    def _state_facts(self, described: list[LinkedLane], now_s: float) -> None:
        """State which lanes are late, and whether any can be reached."""
        until_s = now_s + HOLDS_S
        facts = []
        for lane in described:
            late_s = self._late.get(lane.name)
            state: State = "ok" if late_s is None else "bad"
            detail = "is heard" if late_s is None else f"not heard since {rfc3339(late_s)}"
            code = codes.LANE_HEARTBEAT if lane.linked else codes.LANE_SILENT
            other = codes.LANE_SILENT if lane.linked else codes.LANE_HEARTBEAT
            facts += [
                Fact(code, state, detail, "beats", lane.name, now_s, until_s),
                Fact(other, "ok", "see the other", "beats", lane.name, now_s, until_s),
            ]
        since_s = self._alone_since_s
        is_alone = bool(described) and since_s is not None and self._had_time(since_s, now_s)
        detail = f"no lane is linked since {rfc3339(since_s)}" if since_s else "a lane is linked"
        state = "bad" if is_alone else "ok"
        facts.append(Fact(codes.LANES_UNREACHABLE, state, detail, "link", "", now_s, until_s))
        self._state(facts, "beats")

    def _had_time(self, since_s: float, now_s: float) -> bool:
        """Whether the network was there since this machine woke, or should be by now."""
        return since_s > self._awake_s or now_s - self._awake_s >= WAKING_S

    def _heard_s(self, lane: LinkedLane) -> float:
        """Return when a lane last gave the sign of life that is expected of it now.

        While it is linked that is its own beat, which tells what it did; else any word of it.
        """
        if lane.linked:
            return max(self._beats.get(lane.name, 0.0), lane.since_s or 0.0)
        return lane.heard_s or 0.0

    async def _note_late(self, lane: LinkedLane, heard_s: float, now_s: float) -> None:
        heard_s = heard_s or self._awake_s
        name, linked = lane.name, lane.linked
        silent_s = round(now_s - heard_s, 1)
        await self._tell(BeatMissing(lane=name, silent_s=silent_s, linked=linked), now_s)
        await self._keep({**self._late, name: heard_s})
        code = codes.LANE_HEARTBEAT if linked else codes.LANE_SILENT
        self._alert(code, name, since=rfc3339(heard_s))

    async def _note_back(self, name: str, now_s: float) -> None:
        heard_s = self._late.get(name)
        if heard_s is None:
            return
        silent_s = round(now_s - heard_s, 1)
        await self._tell(BeatBack(lane=name, silent_s=silent_s, linked=True), now_s)
        await self._keep({other: s for other, s in self._late.items() if other != name})
        self._alert(codes.LANE_BACK, name)

    async def _keep(self, late: dict[str, float]) -> None:
        await self._ledger.set_strings(_LATE, tuple(f"{name} {s}" for name, s in late.items()))
        self._late = late

    async def _tell(self, payload: BeatMissing | BeatBack, now_s: float) -> None:
        event = own_event(payload, id_=self._dice.token(16).hex(), now_s=now_s)
        await self._archive.add([encode_event(event)], now_s)
