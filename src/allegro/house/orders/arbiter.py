"""The arbiter: gives each decided action to one lane at a time, and knows when it is settled.

Invariant: for one `serial_key` (a request; all versions of one request's mirror; all statuses of
one issue) at most one order is out at any time, in the whole fleet. A request is ordered again only
after its lane said how the last order ended, or after `ttl_s + settle_s` passed on this house's own
boot-time clock without an answer. That an order was given, its number and its lane are in the
ledger before it is sent. An approved effect needs this house to be up, and no lane decides to
repeat one.

Order of one delivery (`plan_of`, then `Giving.give`): end what ran out, what is void, what must be
looked at while frozen and what was ordered too often; choose a lane; bring long content ahead of
the order and look again at time and freezes, because that can take minutes; take the lane's
challenge; take a number; write the step `order` to the ledger; sign; send; note the answer. An
order's `ttl_s` counts from its challenge, so the challenge is taken late. When an order brought no
clear answer the request is in doubt, and the next lane looks at the forge before it writes.

Must never happen: two orders for one serial key at once; an order that is sent but not in the
ledger; a new order while frozen; a request for the forge that was ordered ends as failed or expired
without a look at the forge (but for one that a newer version of the same thing replaces); an order
for a session that may have begun (the lanes are asked instead); the change token beside an order
that changes no code; a settlement by a lane that had no order for it (see `settling.py`).

Sources: docs/adr/0004-orders-with-challenges.md, docs/adr/0014-one-order-per-target-at-a-time.md,
docs/adr/0019-a-session-is-never-started-twice.md,
docs/adr/0025-abort-abandoned-writes-at-the-socket.md. It rests on one assumption about the forge:
that Gitea and Forgejo finish or drop a write within `settle_s` (30 s), also one whose client left.
The decisions are pure and stand in `core/requests/ordering.py`; this module asks and does.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import structlog

from allegro.core.base.errors import EdgeError
from allegro.core.ports import Clock
from allegro.core.requests.agenda import Agenda
from allegro.core.requests.lifecycle import State, Step
from allegro.core.requests.ordering import (
    OUT,
    Verdict,
    ends_s,
    has_run_out,
    may_be_carried,
    overtaken_step,
    verdict,
)
from allegro.core.requests.requests import Request
from allegro.core.requests.work import Work
from allegro.house.orders.carrying import Carrier, Hands
from allegro.house.requests.book import NO_CLEAR_ANSWER
from allegro.house.requests.requests import Requests
from allegro.runtime.consumer import as_edge_error

_log = structlog.get_logger()
IDLE_S = 30.0
WAITING_S = 1.0
TROUBLE_S = 5.0
_WORDS = frozenset({Step.RECEIPT, Step.VOID, Step.FAIL, Step.CONFLICT, Step.STALE})


class Orders:
    """Runs until cancelled. `wake` makes it look at once.

    What it looks at is what moved and what a time came for (`Agenda`), whatever else is open.
    `parallel`: so many orders and looks are under way at most.
    """

    def __init__(
        self, requests: Requests, clock: Clock, hands: Hands, *, parallel: int, woken: asyncio.Event
    ) -> None:
        self._requests = requests
        self._clock = clock
        self._choice, self._pauses = hands.choice, hands.pauses
        self._giving = hands.giving
        self._carrier = Carrier(requests, clock, hands)
        self._parallel = parallel
        self._woken = woken
        self._carrying: dict[str, asyncio.Task[bool]] = {}
        self._agenda = Agenda()
        self.blocked = ""
        requests.on_change(self._noticed)
        for request in requests.all():
            if not request.is_final:
                self._agenda.wake(request.id)
                self._pauses.resume(request)

    def wake(self) -> None:
        self._woken.set()

    def _noticed(self, request: Request) -> None:
        """An order that came to nothing is not given again at once."""
        newest = request.history[-1].what if request.history else ""
        if newest in {Step.VOID, Step.DOUBT}:
            self.blocked = f"{request.id}: {request.detail}"
        if request.is_final or newest in {Step.ORDER, Step.VOID, Step.DOUBT}:
            self._pauses.changed(request)
        if newest in _WORDS:
            self._giving.was_heard(request.lane)
        if request.is_final:
            self._agenda.forget(request.id)
        else:
            self._agenda.wake(request.id)
        for other in self._requests.same(request):
            self._agenda.wake(other.id)
        self.wake()

    async def run(self) -> None:
        try:
            while True:
                self._woken.clear()
                pause_s = await self.step()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), pause_s)
        finally:
            for task in self._carrying.values():
                task.cancel()

    async def step(self) -> float:
        """Look once at what is due and begin what can be; return the seconds to wait."""
        try:
            await self._look_at_due()
        except EdgeError as error:  # the ledger's disk: wait, nothing was ordered
            self.blocked = str(error)
            _log.error("orders.blocked", error=str(error))
            return TROUBLE_S
        self._serve_lines()
        idle_s = WAITING_S if self._carrying else IDLE_S
        pause_s = self._agenda.pause_s(
            self._clock.now_s(), self._clock.boot_s(), idle_s=idle_s, line_s=WAITING_S
        )
        return max(0.05, pause_s)

    @property
    def carrying(self) -> int:
        """How many requests are being ordered or looked at now."""
        return len(self._carrying)

    def running(self) -> list[asyncio.Task[bool]]:
        """Return what is being ordered or looked at now."""
        return list(self._carrying.values())

    # --- what is due -------------------------------------------------------------------------

    async def _look_at_due(self) -> None:
        now_s, boot_s = self._clock.now_s(), self._clock.boot_s()
        while (id_ := self._agenda.take(now_s, boot_s)) is not None:
            request = self._requests.find_exact(id_)
            if request is None:
                continue
            try:
                await self._consider(request, now_s)
            except EdgeError as error:
                if error.transient:
                    self._agenda.wake(id_)
                    raise
                _log.warning("order.postponed", request=id_, error=str(error))
                self._pauses.postpone(request)

    async def _consider(self, request: Request, now_s: float) -> None:
        """Do what a request needs by itself, or put it where its time or turn will come."""
        is_out = request.state in OUT
        silent_until_s = self._pauses.silent_until_s(request) if is_out else float("inf")
        found = verdict(
            request,
            self._requests.same(request),
            now_s=now_s,
            silence_over=silent_until_s <= self._clock.boot_s(),
            carried=self._carrying.__contains__,
        )
        match found:
            case Verdict.RAN_OUT:
                await self._requests.take_step(request, Step.EXPIRE, "nobody answered in time")
            case Verdict.SILENT:
                await self._end_silence(request)
            case Verdict.OVERTAKEN:
                why = "a newer one about the same follows"
                await self._requests.take_step(request, overtaken_step(request), why)
            case Verdict.WAITS if is_out:
                self._agenda.at_boot(request.id, silent_until_s)
            case Verdict.WAITS:
                self._agenda.at_wall(request.id, ends_s(request))
            case Verdict.DUE:
                self._line_up(self._requests.work(request), now_s)
            case _:
                pass  # what it waits for wakes it

    async def _end_silence(self, request: Request) -> None:
        """Note that an order brought no clear answer; what the forge said stays the reason."""
        last = request.history[-1] if request.history else None
        heard = last is not None and last.what == NO_CLEAR_ANSWER and last.detail
        why = f"no clear answer: {last.detail}" if last and heard else "no word from the lane"
        moved = await self._requests.take_step(request, Step.SILENCE, why)
        if isinstance(moved, Request):
            self._pauses.doubted(moved)
            self._giving.was_silent(moved.lane)

    def _line_up(self, work: Work, now_s: float) -> None:
        """Put a request that is due into the line of those that need the same to go on."""
        request, is_over = work.request, has_run_out(work.request, now_s)
        if not is_over:
            self._agenda.at_wall(request.id, ends_s(request))
        not_before_s = self._pauses.until_s(request.id)
        if self._clock.boot_s() < not_before_s:
            self._agenda.at_boot(request.id, not_before_s)
            return
        line = work.family.need(work.action).line
        self._agenda.queue(f"{'over ' if is_over else ''}{request.state} {line}", request.id)

    # --- whose turn it is --------------------------------------------------------------------

    def _serve_lines(self) -> None:
        """Begin what can be carried, those that wait longest first; a blocked line costs one look."""
        blocked: set[str] = set()
        while len(self._carrying) - len(self._giving.ahead.under_way) < self._parallel:
            heads = [id_ for id_ in self._agenda.heads() if id_ not in blocked]
            if not heads:
                return
            request = self._requests.find_exact(heads[0])
            if request is None or request.is_final:
                self._agenda.forget(heads[0])
                continue
            work = self._requests.work(request)
            able, thawed = self._choice.able(work, self._filling), self._giving.is_thawed
            if not thawed:
                self.blocked = "frozen"
            elif not able:
                self.blocked = "no lane is linked"
            now_s = self._clock.now_s()
            if may_be_carried(request, now_s, thawed=thawed, able=bool(able)):
                self._agenda.leave(request.id)
                self._begin(request.id, self._carrier.carry(work, able))
            else:
                blocked.add(request.id)

    def _filling(self) -> int:
        """Return how many orders that fill a place are being given right now."""
        others = map(self._requests.find_exact, self._carrying)
        return sum(
            one is not None and one.state is State.APPROVED and _fills(self._requests.work(one))
            for one in others
        )

    def _begin(self, id_: str, carrying: Coroutine[Any, Any, bool]) -> None:
        task = asyncio.create_task(as_edge_error("orders", id_, carrying))
        self._carrying[id_] = task
        task.add_done_callback(lambda done: self._carried(id_, done))

    def _carried(self, id_: str, task: asyncio.Task[bool]) -> None:
        del self._carrying[id_]
        request = self._requests.find_exact(id_)
        if request is None:
            return
        if task.cancelled():
            error = None
        elif (error := task.exception()) is None and task.result():
            self.blocked = ""
        if error is not None:
            if isinstance(error, EdgeError) and error.kind == "bug":
                self.blocked = f"a fault in the house, tried again later: {error}"
            _log.warning("order.postponed", request=request.id, error=str(error))
            self._pauses.postpone(request)
        self._agenda.wake(request.id)
        for other in self._requests.same(request):
            self._agenda.wake(other.id)
        self.wake()


def _fills(work: Work) -> bool:
    return work.family.need(work.action).fills
