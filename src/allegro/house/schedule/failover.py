"""The weekly drill: the forge role is handed over on the fleet that runs, and the time is taken."""

from __future__ import annotations

from collections.abc import Callable

from allegro.core.base.errors import EdgeError
from allegro.core.base.untrusted import Unreadable, read_value
from allegro.core.ports import Clock
from allegro.core.protocol.answers.fleet import LaneFleet
from allegro.core.protocol.queries import QueryName, Rest
from allegro.house.lanes import Lanes
from allegro.runtime.scheduled_duty import DutyResult

ROLE = "forge"
TARGET_S = 30.0
REST_S = 60.0
LOOK_S = 0.5
WAIT_S = 300.0
BUSY_LOOK_S = 5.0


class FailoverDrill:
    """Lets the holder rest and waits until another lane holds the role.

    `busy` says why no drill may be done now, such as work that runs; empty where one may. The drill
    waits for a while until it may, and else is not done.
    """

    def __init__(self, lanes: Lanes, clock: Clock, busy: Callable[[], str]) -> None:
        self._lanes = lanes
        self._clock = clock
        self._busy = busy

    async def run(self) -> DutyResult:
        """Do it once. Raises EdgeError where the fleet could not take over."""
        if why := self._impossible():
            return DutyResult(f"not possible: {why}", {"done": 0})
        if busy := await self._idle():
            return DutyResult(f"not done now: {busy}", {"done": 0})
        holder = self._holder()
        begun_s = self._clock.boot_s()
        await self._rest(holder)
        heir = await self._heir(holder, begun_s)
        took_s = self._clock.boot_s() - begun_s
        words = f"{ROLE} went from {holder} to {heir} in {took_s:.1f} s"
        return DutyResult(words, {"done": 1, "took_s": took_s})

    def _impossible(self) -> str:
        """Return why this fleet can hand nothing over whatever its health, empty where it can."""
        paired = self._lanes.describe()
        if len(paired) < 2:
            return f"there is {'one lane' if paired else 'no lane'}"
        if not self._lanes.members():
            return "the lanes form no council"
        return ""

    async def _idle(self) -> str:
        until_s = self._clock.boot_s() + WAIT_S
        while busy := self._busy():
            if self._clock.boot_s() >= until_s:
                return busy
            await self._clock.sleep(BUSY_LOOK_S)
        return ""

    def _serving(self) -> list[str]:
        """Return the linked lanes of the council that can hold the role."""
        members = self._lanes.members()
        linked = [name for name, _, _ in self._lanes.linked()]
        return [name for name in linked if name in members and ROLE in self._lanes.serves(name)]

    def _holder(self) -> str:
        serving = self._serving()
        held = {name: self._lanes.roles_of(name).get(ROLE, 0) for name in serving}
        holder = max(held, key=held.__getitem__, default="")
        if not holder or not held[holder]:
            raise EdgeError(f"no linked lane holds {ROLE}", transient=True)
        if len(serving) < 2:
            raise EdgeError(f"no other lane than {holder} is there to take {ROLE}", transient=True)
        return holder

    async def _rest(self, holder: str) -> None:
        query = Rest(lane=holder, role=ROLE, seconds=REST_S)
        reached = 0
        for name in self._serving():
            try:
                await self._lanes.ask_lane(name, query.name, query.params())
                reached += 1
            except EdgeError as error:
                if name == holder:
                    raise EdgeError(f"{holder} cannot be asked: {error}", transient=True) from error
        if reached < 2:
            raise EdgeError("no lane but the holder could be asked", transient=True)

    async def _heir(self, holder: str, begun_s: float) -> str:
        while self._clock.boot_s() - begun_s < TARGET_S:
            for name in self._serving():
                if name != holder and await self._holds(name):
                    return name
            await self._clock.sleep(LOOK_S)
        why = f"nobody took {ROLE} from {holder} within {TARGET_S:g} s"
        raise EdgeError(why, transient=True)

    async def _holds(self, name: str) -> bool:
        try:
            raw = await self._lanes.ask_lane(name, QueryName.FLEET, {})
        except EdgeError:
            return False
        answer = read_value(raw, LaneFleet)
        return not isinstance(answer, Unreadable) and ROLE in (answer.held or {})
