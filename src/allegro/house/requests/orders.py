"""The arbiter: gives each decided action to one lane at a time, and knows when it is settled.

Invariant: for one `serial_key` (a request; all versions of one request's mirror; all statuses of
one issue) at most one order is out at any time, in the whole fleet. A request is ordered again only
after its lane said how the last order ended, or after `ttl_s + settle_s` passed on this house's own
boot-time clock without an answer. That an order was given, its number and its lane are in the
ledger before it is sent. An approved effect needs this house to be up, and no lane decides to
repeat one.

Order of one delivery (`_carry`): end what ran out, what is void, what must be looked at while
frozen and what was ordered too often; choose a lane; bring long content ahead of the order and look
again at time and freezes, because that can take minutes; take the lane's challenge; take a number;
write the step `order` to the ledger; sign; send; note the answer. An order's `ttl_s` counts from
its challenge, so the challenge is taken late. When an order brought no clear answer the request is
in doubt, and the next lane looks at the forge before it writes.

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
from collections.abc import Callable
from typing import Protocol

import structlog

from allegro.core.authority.actions.agent import AnswerOnce
from allegro.core.authority.actions.families import family_of_kind
from allegro.core.authority.actions.forge import CreatePullRequest, ProposeChange
from allegro.core.authority.freeze import FreezeSet
from allegro.core.authority.tokens import Order, issue_token
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.ports import Clock, Dice
from allegro.core.protocol.messages import GiveOrder
from allegro.core.requests.agenda import Agenda
from allegro.core.requests.lifecycle import State, Step
from allegro.core.requests.ordering import (
    OUT,
    Verdict,
    doubt_pause_s,
    ends_s,
    gives_up,
    has_run_out,
    is_void,
    may_be_carried,
    overtaken_step,
    refusal_pause_s,
    verdict,
)
from allegro.core.requests.requests import MAX_DETAIL, MAX_NAMED, Request, ordered, parsed
from allegro.core.settings import OrderSettings
from allegro.core.stores import Ledger
from allegro.house.files import Fleet
from allegro.house.requests.requests import NO_CLEAR_ANSWER, Requests
from allegro.house.requests.settling import Looks, Polled, dress_of
from allegro.link.dial import LaneLink
from allegro.link.traffic import LINK_LOST
from allegro.runtime.consumer import as_edge_error

_log = structlog.get_logger()
IDLE_S = 30.0
WAITING_S = 1.0
RELINK_S = 10.0
MAX_CUTS = 1_000
FINAL_REFUSALS = {
    "malformed_action": Step.FAIL,
    "repository_refused": Step.FAIL,
    "approval_expired": Step.EXPIRE,
    "wrong_seat": Step.UNSEAT,
    "wrong_key": Step.UNSEAT,
}
TROUBLE_S = 5.0
MUTE_S = 60.0
LONGEST_WAIT_S = 3600.0
"""So long at most an order waits because the forge asked for it."""


class Lanes(Protocol):
    """The lanes that are linked now, in the order of preference: (name, fingerprint, link)."""

    def linked(self) -> list[tuple[str, str, LaneLink]]: ...
    def serving_forge(self) -> list[tuple[str, str, LaneLink]]: ...
    def serving_sessions(self, busy: Callable[[str], int]) -> list[tuple[str, str, LaneLink]]: ...


class SessionDesk(Protocol):
    """What the arbiter needs to know of sessions: how many run where, and how to settle one."""

    def busy(self, lane: str) -> int: ...
    async def settle(self, request: Request) -> None: ...


class Orders:
    """Runs until cancelled. `kick` makes it look at once.

    What it looks at is what moved and what a time came for (`Agenda`), whatever else is open.
    """

    def __init__(
        self, requests: Requests, ledger: Ledger, lanes: Lanes, clock: Clock, dice: Dice,
        settings: OrderSettings, fleet: Callable[[], Fleet], freezes: Callable[[], FreezeSet],
        sign: Callable[[bytes], bytes], change_token: Callable[[], str | None], polled: Polled,
    ) -> None:  # fmt: skip
        self._requests = requests
        self._ledger = ledger
        self._lanes = lanes
        self._clock = clock
        self._dice = dice
        self._settings = settings
        self._fleet = fleet
        self._freezes = freezes
        self._sign = sign
        self._change_token = change_token
        self._looks = Looks(requests, lanes, clock, fleet, polled, self._send_ahead)
        self.sessions: SessionDesk | None = None
        self._kicked = asyncio.Event()
        self._silent_from: dict[str, float] = {}
        self._not_before: dict[str, float] = {}
        self._refusals: dict[str, int] = {}
        self._carrying: dict[str, asyncio.Task[None]] = {}
        self._sending_ahead: set[str] = set()
        self._mute_until: dict[str, float] = {}
        self._agenda = Agenda()
        self.blocked = ""
        requests.on_change(self._noticed)
        for request in requests.all():
            if not request.is_final:
                self._take_up(request)

    @property
    def wait_s(self) -> float:
        """How long silence must last before nothing more can come of an order."""
        return self._settings.ttl_s + self._settings.settle_s

    def kick(self) -> None:
        self._kicked.set()

    def _take_up(self, request: Request) -> None:
        """Go on with what was open when the house stopped: a pause in doubt begins anew."""
        self._agenda.wake(request.id)
        if request.state is State.UNKNOWN:
            self._pause(request.id, doubt_pause_s(request, self._dice.fraction))
        self._pause(request.id, self._asked_wait_s(request))

    def _asked_wait_s(self, request: Request) -> float:
        """Return how long the forge still wants to be left alone, as its lane told (bounded)."""
        return min(request.retry_at_s - self._clock.now_s(), LONGEST_WAIT_S)

    def _noticed(self, request: Request) -> None:
        """An order that came to nothing is not given again at once."""
        if request.history and request.history[-1].what in {Step.VOID, Step.DOUBT}:
            self.blocked = f"{request.id}: {request.detail}"
            self._postpone(request.id)
            self._pause(request.id, self._asked_wait_s(request))
        if request.is_final:
            for memory in (self._silent_from, self._not_before, self._refusals):
                memory.pop(request.id, None)
            self._agenda.forget(request.id)
        else:
            self._agenda.wake(request.id)
        self._wake_same(request)
        self.kick()

    def _wake_same(self, request: Request) -> None:
        for other in self._requests.same(request):
            self._agenda.wake(other.id)

    def ordered_again_allowed(self, request: Request) -> bool:
        """Whether the wait after the last order is over, on this house's own clock."""
        return self._silent_until(request) <= self._clock.boot_s()

    def _silent_until(self, request: Request) -> float:
        return self._silent_from.setdefault(request.id, self._clock.boot_s()) + self.wait_s

    async def run(self) -> None:
        try:
            while True:
                self._kicked.clear()
                pause_s = await self.step()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._kicked.wait(), pause_s)
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

    def running(self) -> list[asyncio.Task[None]]:
        """Return what is being ordered or looked at now."""
        return list(self._carrying.values())

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
                self._postpone(id_)

    async def _consider(self, request: Request, now_s: float) -> None:
        """Do what a request needs by itself, or put it where its time or turn will come."""
        is_out = request.state in OUT
        found = verdict(
            request, self._requests.same(request), now_s=now_s,
            silence_over=is_out and self.ordered_again_allowed(request),
            carried=self._carrying.__contains__,
        )  # fmt: skip
        match found:
            case Verdict.RAN_OUT:
                await self._requests.take_step(request, Step.EXPIRE, "nobody answered in time")
            case Verdict.SILENT:
                await self._end_silence(request)
            case Verdict.OVERTAKEN:
                why = "a newer one about the same follows"
                await self._requests.take_step(request, overtaken_step(request), why)
            case Verdict.WAITS if is_out:
                self._agenda.at_boot(request.id, self._silent_until(request))
            case Verdict.WAITS:
                self._agenda.at_wall(request.id, ends_s(request))
            case Verdict.DUE:
                self._line_up(request, now_s)
            case _:
                pass  # what it waits for wakes it

    async def _end_silence(self, request: Request) -> None:
        """Note that an order brought no clear answer; what the forge said stays the reason."""
        last = request.history[-1] if request.history else None
        heard = last is not None and last.what == NO_CLEAR_ANSWER and last.detail
        why = f"no clear answer: {last.detail}" if last and heard else "no word from the lane"
        moved = await self._requests.take_step(request, Step.SILENCE, why)
        if isinstance(moved, Request):
            self._pause(moved.id, doubt_pause_s(moved, self._dice.fraction))

    def _line_up(self, request: Request, now_s: float) -> None:
        """Put a request that is due into the line of those that need the same to go on."""
        if not has_run_out(request, now_s):
            self._agenda.at_wall(request.id, ends_s(request))
        not_before_s = self._not_before.get(request.id, float("-inf"))
        if self._clock.boot_s() < not_before_s:
            self._agenda.at_boot(request.id, not_before_s)
            return
        over = "over " if has_run_out(request, now_s) else ""
        self._agenda.queue(f"{over}{request.state} {self._needs(request)}", request.id)

    def _needs(self, request: Request) -> str:
        """Name what takes an order of this kind: requests that need the same wait in one line."""
        if family_of_kind(request.kind).repeats:
            return "forge"
        action = parsed(request)
        return f"lane {action.lane}" if isinstance(action, AnswerOnce) else request.kind

    def _serve_lines(self) -> None:
        """Begin what can be carried, those that wait longest first; a blocked line costs one look."""
        blocked: set[str] = set()
        while len(self._carrying) - len(self._sending_ahead) < self._settings.parallel:
            heads = [id_ for id_ in self._agenda.heads() if id_ not in blocked]
            if not heads:
                return
            request = self._requests.find_exact(heads[0])
            if request is None or request.is_final:
                self._agenda.forget(heads[0])
            elif self._may_be_carried(request):
                self._agenda.leave(request.id)
                self._begin(request)
            else:
                blocked.add(request.id)

    def _may_be_carried(self, request: Request) -> bool:
        thawed, able = self._freezes().is_thawed, bool(self._able(request))
        if not thawed:
            self.blocked = "frozen"
        elif not able:
            self.blocked = "no lane is linked"
        return may_be_carried(request, self._clock.now_s(), thawed=thawed, able=able)

    def _begin(self, request: Request) -> None:
        task = asyncio.create_task(as_edge_error("orders", request.id, self._carry(request)))
        self._carrying[request.id] = task
        task.add_done_callback(lambda done: self._carried(request, done))

    def _carried(self, request: Request, task: asyncio.Task[None]) -> None:
        self._carrying.pop(request.id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            if isinstance(error, EdgeError) and error.kind == "bug":
                self.blocked = f"a fault in the house, tried again later: {error}"
            _log.warning("order.postponed", request=request.id, error=str(error))
            self._postpone(request.id)
        self._agenda.wake(request.id)
        self._wake_same(request)
        self.kick()

    def _postpone(self, id_: str) -> None:
        count = self._refusals.get(id_, 0)
        self._refusals[id_] = count + 1
        request = self._requests.find_exact(id_)
        if request is not None:
            self._pause(id_, refusal_pause_s(request.kind, count, self._dice.fraction))

    def _pause(self, id_: str, delay_s: float) -> None:
        """Give no order before so many seconds, and not before an earlier pause is over."""
        if delay_s > 0:
            until_s = self._clock.boot_s() + delay_s
            self._not_before[id_] = max(until_s, self._not_before.get(id_, until_s))

    def _able(self, request: Request) -> list[tuple[str, str, LaneLink]]:
        """Return the linked lanes that can take this order, best first."""
        if family_of_kind(request.kind).repeats:
            return self._lanes.serving_forge()
        action = parsed(request)
        if isinstance(action, AnswerOnce):
            return [one for one in self._lanes.linked() if one[0] == action.lane]
        if request.state is State.UNKNOWN:
            return self._lanes.linked()
        assert self.sessions is not None
        if request.kind != "run_session":
            return self._lanes.serving_sessions(lambda _: 0)
        begun, others = self.sessions.busy, self._sessions_begun(request)
        return self._lanes.serving_sessions(lambda lane: begun(lane) + others)

    def _sessions_begun(self, request: Request) -> int:
        """Return how many other sessions are being ordered right now."""
        carried = [self._requests.find_exact(id_) for id_ in self._carrying if id_ != request.id]
        return sum(
            one is not None and one.kind == "run_session" and one.state is State.APPROVED
            for one in carried
        )

    async def _carry(self, request: Request) -> None:
        if not family_of_kind(request.kind).repeats and request.state is State.UNKNOWN:
            assert self.sessions is not None
            await self.sessions.settle(request)
            self._postpone(request.id)
            return
        if has_run_out(request, self._clock.now_s()) or is_void(request):
            await self._run_out(request)
            return
        if not self._freezes().is_thawed:
            await self._looks.settle(request, None, "")
            self._postpone(request.id)
            return
        if gives_up(request):
            await self._looks.settle(request, Step.FAIL, _gave_up(request))
            self._postpone(request.id)
            return
        able = self._able(request)
        if not able:
            return
        name, lane, link = min(able, key=self._is_mute)
        try:
            content = await self._send_ahead(link, request)
            if content is not None and self._moved_on(request):
                return  # it took its time: look again
            challenge = await link.challenge()
        except EdgeError:
            self._mute_until[name] = self._clock.boot_s() + MUTE_S
            raise
        number = await self._ledger.next_number("order")
        moved = await self._requests.take_step(
            request, Step.ORDER, ordered(number, name), order_number=number, lane=name
        )
        if isinstance(moved, Refusal):
            return
        self._silent_from[request.id] = self._clock.boot_s()
        fleet = self._fleet()
        order = Order(
            aud=fleet.id, lane=lane, challenge=challenge, number=number, digest=request.digest,
            seat=fleet.seat, ttl_s=self._settings.ttl_s,
        )  # fmt: skip
        token = issue_token(order, f"house:{fleet.house_number}", self._sign)
        branch, marker = dress_of(request, fleet.marker)
        answer = await link.order(
            lambda id_: GiveOrder(
                id=id_,
                order=token,
                action=request.action if content is None else b"",
                approval=request.approval,
                branch=branch,
                marker=marker,
                change_token=self._token_for(request),
                content=content,
            )
        )
        if not answer.reason:
            self._refusals.pop(request.id, None)
            self.blocked = ""
            return
        final = FINAL_REFUSALS.get(answer.reason)
        told = f"{name} refused: {answer.reason[:MAX_NAMED]}: {answer.detail}"[:MAX_DETAIL]
        await self._requests.take_step(moved, Step.VOID, told)
        if final is Step.UNSEAT and request.needs_approval:
            await self._requests.take_step(
                moved, final, "approved by an earlier key or seat: approve again", approval=None,
                approval_exp=0,
            )  # fmt: skip
        elif final is Step.FAIL or final is Step.EXPIRE:
            await self._settle_by_look(moved, final, told)

    async def _send_ahead(self, link: LaneLink, request: Request) -> str | None:
        """Bring long content to the lane; return its digest. A slow line keeps no other order.

        Goes on where it was after a cut, and gives up when the link stays down.
        """
        self._sending_ahead.add(request.id)
        try:
            for _ in range(MAX_CUTS):
                try:
                    return await link.send_ahead(request.action)
                except EdgeError as error:
                    if error.kind != LINK_LOST or not await link.is_up_within(RELINK_S):
                        raise
            raise EdgeError("the link is cut again and again", transient=True)
        finally:
            self._sending_ahead.discard(request.id)

    def _is_mute(self, able: tuple[str, str, LaneLink]) -> bool:
        """Say whether a lane gave no challenge lately: others are asked before it."""
        return self._clock.boot_s() < self._mute_until.get(able[0], float("-inf"))

    def _moved_on(self, request: Request) -> bool:
        over = has_run_out(request, self._clock.now_s())
        return over or not self._freezes().is_thawed

    def _token_for(self, request: Request) -> str | None:
        changes_code = isinstance(parsed(request), ProposeChange | CreatePullRequest)
        return self._change_token() if changes_code else None

    async def _run_out(self, request: Request) -> None:
        """End what may no longer be ordered: never before looking, where an order was out."""
        if request.state is State.APPROVED and request.order_number == 0:
            await self._requests.take_step(
                request, Step.EXPIRE, "ran out before an order was given"
            )
            return
        if not family_of_kind(request.kind).repeats:
            await self._requests.take_step(request, Step.EXPIRE, "ran out after an order")
            return
        await self._looks.settle(request, Step.EXPIRE, "ran out; looked: not there")
        self._postpone(request.id)

    async def _settle_by_look(self, request: Request, otherwise: Step, told: str) -> None:
        """End what its lane will never do: an act on the forge after a look."""
        if not family_of_kind(request.kind).repeats:
            await self._requests.take_step(request, otherwise, told)
        else:
            await self._looks.settle(request, otherwise, told)


def _gave_up(request: Request) -> str:
    """Return why no further order is given, with the forge's last words and what to do."""
    return (
        f"{request.doubts} orders brought no clear answer and it is not there: {request.detail};"
        " mend what the forge says, then ask again"
    )
