"""What stops this fleet: freezes kept in the ledger, joined with those of lanes, lifted by a thaw."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from allegro.core.authority.freeze import (
    MAX_ACTIVE,
    UNKNOWN,
    Freeze,
    FreezeSet,
    add,
    contains,
    sound,
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

MAX_LANE_FREEZES = 50
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
        stop_all: Callable[[Freeze], Awaitable[int]],
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._dice = dice
        self._alert = alert
        self._stop_all = stop_all
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
        return freeze, await self._freeze(freeze)

    async def take(self, freeze: Freeze) -> None:
        """Freeze for what was noticed here, or for what one lane reports."""
        await self.join((freeze,))

    async def join(self, freezes: tuple[Freeze, ...]) -> None:
        """Take a lane's freezes by union, and tell the others."""
        for freeze in freezes[:MAX_LANE_FREEZES]:
            if len(self.now.active) >= MAX_ACTIVE:
                return  # frozen is frozen: a lane cannot make the set endless
            if not contains(self.now, freeze.id):
                kept = sound(freeze)
                if kept.id in self.now.thawed:  # lifted before it came: it stops nothing
                    self.now = add(self.now, kept)
                    self._alert(codes.FREEZE_THAWED_BEFORE, one_line(kept.by))
                    continue
                self._alert(codes.FROZEN, one_line(kept.by), reason=one_line(kept.reason))
                await self._freeze(kept)

    async def thaw(self, ids: tuple[str, ...], token: str) -> None:
        """Lift these freezes; keep the sovereign's token, which lanes are given at their log-in.

        The token was verified. Raises EdgeError of the ledger.
        """
        thawed = thaw(self.now, ids)
        await self._ledger.save_freezes(thawed)
        self.now = thawed
        thaws = await self._ledger.strings(THAWS)
        await self._ledger.set_strings(THAWS, (*thaws, token)[-MOST_THAWS:])

    async def _freeze(self, freeze: Freeze) -> int:
        """Freeze here at once, then on every lane; a full disk does not hold a stop back."""
        self.now = add(self.now, freeze)
        lanes = await self._stop_all(freeze)
        try:
            await self._ledger.save_freezes(self.now)
        except EdgeError as error:
            self._alert(codes.FREEZE_UNSAVED, str(error))
        return lanes

    def _made(self, by: str, reason: str) -> Freeze:
        return Freeze(self._dice.token(8).hex(), self._clock.now_s(), by, reason)
