"""What stops this fleet: freezes kept in the ledger, joined with those of lanes, lifted by a thaw."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from allegro.core.authority.freeze import (
    MAX_ACTIVE,
    UNKNOWN,
    Freeze,
    FreezeSet,
    add,
    contains,
    sound,
    sound_id,
    thaw,
    tidied,
)
from allegro.core.base.errors import EdgeError
from allegro.core.base.store_ties import LEDGER_FAULTS, Fault
from allegro.core.effects.render import one_line
from allegro.core.health import codes
from allegro.core.health.alerts import RaiseAlert
from allegro.core.ports import Clock, Dice
from allegro.core.stores import Ledger
from allegro.runtime.tasks import Soon

MAX_LANE_FREEZES = 50
AT_ONCE, PACE_S = 20, 0.1
MAX_NOTICED = 20
"""So many active freezes at most are for what one lane reports, as noticed here."""
THAWS = "thaws"
MOST_THAWS = 50


class Freezes:
    """`now` is the set of this moment: frozen before `resume` said what the ledger keeps.

    `stop_all` tells every linked lane of a freeze and returns how many took it.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        dice: Dice,
        alert: RaiseAlert,
        stop_all: Callable[[Freeze], Coroutine[Any, Any, int]],
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._dice = dice
        self._alert = alert
        self._stop_all = stop_all
        self._telling = Soon("freezes", lambda sentence: alert(codes.TASK_FAILED, sentence))
        self._noticed: dict[str, set[str]] = {}
        self._later: deque[Freeze] = deque()
        self._is_unsaved = False
        self.now: FreezeSet = UNKNOWN

    async def resume(self, fault: Fault | None) -> None:
        """Take up what the ledger keeps; one that lost it, or part of it, starts frozen.

        Raises EdgeError of the ledger.
        """
        held = tidied(await self._ledger.freezes())
        if held.known and fault not in LEDGER_FAULTS:
            self.now = held
            return
        why = fault.value if fault else "the ledger's freezes are missing or damaged"
        freeze = self._made("house", f"{why}: check what happened, then thaw")
        frozen = add(msgspec.structs.replace(held, known=True), freeze)
        await self._ledger.save_freezes(frozen)
        self.now = frozen

    async def stop(self, reason: str, by: str) -> tuple[Freeze, int]:
        """Stop everything; return the freeze and how many lanes took it."""
        freeze = self._made(by, reason or "stop")
        self.now, self._is_unsaved = add(self.now, freeze), True
        lanes = await self._stop_all(freeze)
        await self.save()
        return freeze, lanes

    async def notice(self, freeze: Freeze, lane: str = "") -> None:
        """Freeze for what was noticed here, in what this lane reports.

        Freezes that lanes report leave its room alone. A lane has a share: while so many that it
        caused hold, one more stops nothing more.
        """
        active = {one.id for one in self.now.active}
        caused = self._noticed[lane] = self._noticed.get(lane, set()) & active
        if len(caused) < MAX_NOTICED:
            caused.add(sound_id(freeze.id))
            self._take(freeze)
            await self.save()

    async def join(self, freezes: tuple[Freeze, ...]) -> None:
        """Take freezes that a lane reports by union, and tell the others."""
        for freeze in freezes[:MAX_LANE_FREEZES]:
            self.report(freeze)
        await self.save()

    def report(self, freeze: Freeze) -> None:
        """Take one freeze that a lane reports, at once; `save` makes it durable."""
        if len(self.now.active) < MAX_ACTIVE:  # frozen is frozen: the set does not grow without end
            self._take(freeze)

    def _take(self, freeze: Freeze) -> None:
        if contains(self.now, freeze.id):
            return
        kept = sound(freeze)
        if kept.id in self.now.thawed:  # lifted before it came: it stops nothing
            self.now, self._is_unsaved = add(self.now, kept), True
            self._alert(codes.FREEZE_THAWED_BEFORE, one_line(kept.by))
            return
        self._alert(codes.FROZEN, one_line(kept.by), reason=one_line(kept.reason))
        self.now = add(self.now, kept)
        self._is_unsaved = True
        self._tell(kept)

    async def thaw(self, ids: tuple[str, ...], token: str) -> None:
        """Lift these freezes; keep the sovereign's token, which lanes are given at their log-in.

        The token was verified. Raises EdgeError of the ledger.
        """
        lifted = {one.by for one in self.now.active if one.id in ids}
        thawed = thaw(self.now, ids)
        await self._ledger.save_freezes(thawed)
        self.now = thawed
        for by in sorted(lifted - {one.by for one in thawed.active}):
            self._alert(codes.THAWED, one_line(by))
        thaws = await self._ledger.strings(THAWS)
        await self._ledger.set_strings(THAWS, (*thaws, token)[-MOST_THAWS:])

    def _tell(self, freeze: Freeze) -> None:
        """Tell every lane, beside everything else: one that is mute holds up nobody.

        Where so many freezes hold already, a further one stops nothing more. Lanes are told of it
        at a pace that leaves them time for their other work.
        """
        if len(self.now.active) <= AT_ONCE:
            self._telling.begin(freeze.id, self._stop_all(freeze))
            return
        self._later.append(freeze)
        if len(self._later) == 1:
            self._telling.begin("the others", self._tell_later())

    async def _tell_later(self) -> None:
        while self._later:
            await self._clock.sleep(PACE_S)
            if self._later[0].id not in self.now.thawed:
                await self._stop_all(self._later[0])
            self._later.popleft()

    async def idle(self) -> None:
        """Wait until every lane was told, or did not listen."""
        await self._telling.idle()

    async def save(self) -> None:
        """Write the set down if it grew; a full disk does not hold a stop back."""
        if not self._is_unsaved:
            return
        self._is_unsaved = False
        try:
            await self._ledger.save_freezes(self.now)
        except EdgeError as error:
            self._is_unsaved = True
            self._alert(codes.FREEZE_UNSAVED, str(error))

    def _made(self, by: str, reason: str) -> Freeze:
        return Freeze(self._dice.token(8).hex(), self._clock.now_s(), by, reason)
