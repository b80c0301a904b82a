"""Where the house keeps its scheduled duties: in the ledger, and each record in the archive too."""

from __future__ import annotations

import msgspec

from allegro.core.base.canonical import sha256_hex
from allegro.core.base.events import encode_event
from allegro.core.health.duty_runs import DutyPlan, DutyRun, DutyState
from allegro.core.protocol.payloads.base import own_event
from allegro.core.stores import HOUSE
from allegro.house.ports import Ports
from allegro.runtime.duty_events import ended_payload


class HouseBook:
    """The DutyBook port of the house's own duties.

    Lanes learn its plans from what the house says to them, so nothing is announced.
    """

    def __init__(self, ports: Ports) -> None:
        self._archive = ports.archive
        self._store = ports.ledger.duties
        self._clock = ports.clock

    async def states(self) -> dict[str, DutyState]:
        return await self._store.states()

    async def keep(self, duty: str, state: DutyState) -> None:
        await self._store.keep_state(duty, state)

    async def record(self, run: DutyRun, plan: DutyPlan) -> None:
        await self.record_of(HOUSE, run, plan)

    async def announce(self, plan: DutyPlan) -> None:
        del plan

    async def record_of(self, owner: str, run: DutyRun, plan: DutyPlan) -> None:
        """Keep a record of this owner's duty, and write its event once."""
        if not await self._store.add_run(owner, run):
            return
        now_s, payload = self._clock.now_s(), ended_payload(run, plan)
        whose = "" if owner == HOUSE else owner
        payload = msgspec.structs.replace(payload, result=run.result, owner=whose)
        parts = f"{owner}\0{run.ending}\0{run.duty}\0{run.due_s}\0{run.begun_s}"
        event = own_event(payload, id_=sha256_hex(parts.encode())[:40], now_s=now_s)
        await self._archive.add([encode_event(event)], now_s)
