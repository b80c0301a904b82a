"""Writes one event for each request that ended, so that the archive alone tells what was done.

The ledger knows it first. The event's id is made from the request and its end, so a house that was
killed between the two writes it again and nothing is there twice.
"""

from __future__ import annotations

from allegro.core.base.events import encode_event
from allegro.core.protocol.payloads.base import own_event
from allegro.core.protocol.payloads.house import RequestSettled
from allegro.core.requests.requests import Request
from allegro.house.ports import Ports
from allegro.house.requests.requests import Requests

_UPTO = "settled events upto"
BATCH = 200


class SettledEvents:
    """`write` brings the archive up to date; `waiting` says whether there is something to write."""

    def __init__(self, ports: Ports, requests: Requests) -> None:
        self._archive = ports.archive
        self._ledger = ports.ledger
        self._clock = ports.clock
        self._requests = requests
        self._waiting: dict[str, Request] = {}
        self._is_resumed = False
        requests.on_change(self._changed)

    def _changed(self, request: Request) -> None:
        if request.is_final and not request.internal:
            self._waiting[request.id] = request

    async def write(self) -> None:
        """Write what ended since. Raises EdgeError of the stores: then it is written next time."""
        if not self._is_resumed:
            await self._resume()
        while self._waiting:
            batch = sorted(self._waiting.values(), key=lambda one: one.settled_s)[:BATCH]
            events = [_event(request) for request in batch]
            await self._archive.add(events, self._clock.now_s())
            for request in batch:
                if self._waiting.get(request.id) is request:
                    del self._waiting[request.id]
            await self._keep(batch[-1].settled_s)

    async def _resume(self) -> None:
        """Take up what ended before, as far as it is in memory and not written yet."""
        upto_s = await self._ledger.number(_UPTO)
        for request in self._requests.all():
            if request.is_final and not request.internal and request.settled_s >= upto_s:
                self._waiting.setdefault(request.id, request)
        self._is_resumed = True

    async def _keep(self, settled_s: float) -> None:
        """Note up to when all is written, the whole second before: it is written again, not lost."""
        await self._ledger.set_number(_UPTO, max(0, int(settled_s)))


def _event(request: Request) -> bytes:
    payload = RequestSettled(
        request=request.id,
        kind=request.kind,
        state=request.state.value,
        lane=request.lane,
        created_s=request.created_s,
        decided_s=request.decided_s,
        settled_s=request.settled_s,
    )
    id_ = f"settled {request.id} {request.state.value}"
    return encode_event(own_event(payload, id_=id_, now_s=request.settled_s))
