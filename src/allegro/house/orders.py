"""The arbiter: gives each decided action to one lane at a time, and knows when it is settled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol

import structlog

from allegro.core.actions import CreatePullRequest, MirrorRequest, ProposeChange
from allegro.core.approvals import Order, issue_token
from allegro.core.backoff import ORDER, SESSION
from allegro.core.canonical import keyed_hex
from allegro.core.errors import EdgeError, Refusal
from allegro.core.freeze import FreezeSet
from allegro.core.lifecycle import State, Step
from allegro.core.matching import Receipt
from allegro.core.messages import GiveOrder
from allegro.core.ports import Clock, Dice
from allegro.core.requests import Request, parsed
from allegro.core.session_actions import AnswerOnce
from allegro.core.settings import OrderSettings
from allegro.core.stores import Ledger
from allegro.house.files import Fleet
from allegro.house.requests import Requests
from allegro.link.dial import LaneLink

_log = structlog.get_logger()
IDLE_S = 30.0
WAITING_S = 1.0
FINAL_REFUSALS = {
    "malformed_action": Step.FAIL,
    "repository_refused": Step.FAIL,
    "approval_expired": Step.EXPIRE,
    "wrong_seat": Step.UNSEAT,
    "wrong_key": Step.UNSEAT,
}
TROUBLE_S = 5.0
SESSION_KINDS = frozenset({"run_session", "answer_once", "lend_model"})
_OUT = frozenset({State.ORDERED, State.SENT})
_RECEIPT_KIND = {
    "comment": "comment",
    "mirror_request": "comment",
    "propose_change": "pull_request",
    "create_pr": "pull_request",
    "close_issue": "close",
}


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
    """Runs until cancelled. `kick` makes it look at once."""

    def __init__(
        self, requests: Requests, ledger: Ledger, lanes: Lanes, clock: Clock, dice: Dice,
        settings: OrderSettings, fleet: Callable[[], Fleet], freezes: Callable[[], FreezeSet],
        sign: Callable[[bytes], bytes], change_token: Callable[[], str | None],
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
        self.sessions: SessionDesk | None = None
        self._kicked = asyncio.Event()
        self._silent_from: dict[str, float] = {}
        self._not_before: dict[str, float] = {}
        self._refusals: dict[str, int] = {}
        self._carrying: dict[str, asyncio.Task[None]] = {}
        self._sending_ahead: set[str] = set()
        self.blocked = ""
        requests.on_change(self._noticed)

    @property
    def wait_s(self) -> float:
        """How long silence must last before nothing more can come of an order."""
        return self._settings.ttl_s + self._settings.settle_s

    def kick(self) -> None:
        self._kicked.set()

    def _noticed(self, request: Request) -> None:
        """An order that came to nothing is not given again at once."""
        if request.history and request.history[-1].what in {Step.VOID, Step.DOUBT}:
            self.blocked = f"{request.id}: {request.detail}"
            self._postpone(request.id)
        elif request.is_final:
            for memory in (self._silent_from, self._not_before, self._refusals):
                memory.pop(request.id, None)
        self.kick()

    def ordered_again_allowed(self, request: Request) -> bool:
        """Whether the wait after the last order is over, on this house's own clock."""
        until_s = self._silent_from.setdefault(request.id, self._clock.boot_s()) + self.wait_s
        return until_s <= self._clock.boot_s()

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
        """Look once at all requests and begin what is due; return the seconds to wait."""
        try:
            await self._look_at_all()
        except EdgeError as error:  # the ledger's disk: wait, nothing was ordered
            self.blocked = str(error)
            _log.error("orders.blocked", error=str(error))
            return TROUBLE_S
        return self._pause_s()

    @property
    def carrying(self) -> int:
        """How many requests are being ordered or looked at now."""
        return len(self._carrying)

    def _pause_s(self) -> float:
        now_s = self._clock.boot_s()
        waits = [IDLE_S]
        for request in self._requests.all():
            if request.is_final:
                continue
            if request.state in {State.ORDERED, State.SENT}:
                from_s = self._silent_from.get(request.id, now_s)
                waits.append(from_s + self.wait_s - now_s)
            elif request.state in {State.APPROVED, State.UNKNOWN}:
                waits.append(max(WAITING_S, self._not_before.get(request.id, 0.0) - now_s))
        return max(0.05, min(waits))

    async def _look_at_all(self) -> None:
        now_s = self._clock.now_s()
        for request in self._requests.all():
            if request.is_final or request.id in self._carrying:
                continue
            if request.state is State.PROPOSED and request.document.expires_s <= now_s:
                await self._requests.take_step(request, Step.EXPIRE, "nobody answered in time")
            elif request.state in {State.ORDERED, State.SENT}:
                if self.ordered_again_allowed(request):
                    await self._requests.take_step(request, Step.SILENCE, "no word from the lane")
                    self.kick()
            elif request.state in {State.APPROVED, State.UNKNOWN}:
                await self._consider(request)

    async def _consider(self, request: Request) -> None:
        """Order a request unless another about the same thing is out, or a newer one follows."""
        same = [
            other
            for other in self._requests.all()
            if not other.is_final
            and other.id != request.id
            and serial_key(other) == serial_key(request)
        ]
        if any(other.created_s > request.created_s for other in same):
            step = Step.WITHDRAW if request.state is State.APPROVED else Step.EXPIRE
            await self._requests.take_step(request, step, "a newer one about the same follows")
        elif not any(o.id in self._carrying or o.state in _OUT for o in same):
            self._maybe_carry(request)

    def _maybe_carry(self, request: Request) -> None:
        if len(self._carrying) - len(self._sending_ahead) >= self._settings.parallel:
            return
        if self._clock.boot_s() < self._not_before.get(request.id, float("-inf")):
            return
        if not self._freezes().is_thawed:
            self.blocked = "frozen"
            if not self._has_run_out(request) and request.state is not State.UNKNOWN:
                return
        if not self._able(request):
            self.blocked = "no lane is linked"
            if not (self._has_run_out(request) and request.state is State.APPROVED):
                return
        task = asyncio.create_task(self._carry(request))
        self._carrying[request.id] = task
        task.add_done_callback(lambda done: self._carried(request.id, done))

    def _carried(self, id_: str, task: asyncio.Task[None]) -> None:
        self._carrying.pop(id_, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            if not isinstance(error, EdgeError):
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "order task died", "exception": error}
                )
            _log.warning("order.postponed", request=id_, error=str(error))
            self._postpone(id_)
        self.kick()

    def _postpone(self, id_: str) -> None:
        count = self._refusals.get(id_, 0)
        self._refusals[id_] = count + 1
        request = self._requests.find_exact(id_)
        soon = request is not None and request.kind in SESSION_KINDS
        delay_s = (SESSION if soon else ORDER).delay_s(count, self._dice.fraction)
        self._not_before[id_] = self._clock.boot_s() + delay_s

    def _has_run_out(self, request: Request) -> bool:
        if request.needs_approval:
            return not self._clock.now_s() < request.approval_exp
        return not self._clock.now_s() < request.document.expires_s

    def _is_void(self, request: Request) -> bool:
        """Whether the approval was given under an earlier seat."""
        return request.needs_approval and request.approval is None

    def _able(self, request: Request) -> list[tuple[str, str, LaneLink]]:
        """Return the linked lanes that can take this order, best first."""
        if request.kind not in SESSION_KINDS:
            return self._lanes.serving_forge()
        action = parsed(request)
        if isinstance(action, AnswerOnce):
            return [one for one in self._lanes.linked() if one[0] == action.lane]
        if request.state is State.UNKNOWN:
            return self._lanes.linked()
        assert self.sessions is not None
        if request.kind != "run_session":
            return self._lanes.serving_sessions(lambda _: 0)
        begun = self.sessions.busy
        others = [one for one in self._requests.all()
                  if one.id in self._carrying and one.id != request.id
                  and one.kind == "run_session" and one.state is State.APPROVED]  # fmt: skip
        return self._lanes.serving_sessions(lambda lane: begun(lane) + len(others))

    async def _carry(self, request: Request) -> None:
        if request.kind in SESSION_KINDS and request.state is State.UNKNOWN:
            assert self.sessions is not None
            await self.sessions.settle(request)
            self._postpone(request.id)
            return
        if self._has_run_out(request) or self._is_void(request):
            await self._run_out(request)
            return
        if not self._freezes().is_thawed:
            await self._settle_by_look(request, None, "")
            self._postpone(request.id)
            return
        able = self._able(request)
        if not able:
            return
        name, lane, link = able[0]
        content = await self._send_ahead(link, request)
        if content is not None and (self._has_run_out(request) or not self._freezes().is_thawed):
            return  # it took its time: look again
        challenge = await link.challenge()
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
        told = f"{name} refused: {answer.reason}: {answer.detail}"
        await self._requests.take_step(moved, Step.VOID, told)
        if final is Step.UNSEAT and request.needs_approval:
            await self._requests.take_step(
                moved, final, "approved by an earlier key or seat: approve again", approval=None,
                approval_exp=0,
            )  # fmt: skip
        elif final is Step.FAIL or final is Step.EXPIRE:
            await self._settle_by_look(moved, final, told)

    async def _send_ahead(self, link: LaneLink, request: Request) -> str | None:
        """Bring long content to the lane; return its digest. A slow line keeps no other order."""
        self._sending_ahead.add(request.id)
        try:
            return await link.send_ahead(request.action)
        finally:
            self._sending_ahead.discard(request.id)

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
        if request.kind in SESSION_KINDS:
            await self._requests.take_step(request, Step.EXPIRE, "ran out after an order")
            return
        await self._settle_by_look(request, Step.EXPIRE, "ran out; looked: not there")

    async def _settle_by_look(self, request: Request, otherwise: Step | None, told: str) -> None:
        """Settle by what is on the forge; where nothing is there, take the step `otherwise`."""
        if request.kind in SESSION_KINDS:
            if otherwise is not None:
                await self._requests.take_step(request, otherwise, told)
            return
        linked = self._lanes.serving_forge()
        if not linked:
            raise EdgeError("no lane is linked to look", transient=True)
        branch, marker = dress_of(request, self._fleet().marker)
        link = linked[0][2]
        content = await self._send_ahead(link, request)
        named = {"action": request.action} if content is None else {"content": content}
        found = await link.ask("look", {**named, "branch": branch, "marker": marker})
        if found.get("finding") == "Present":
            artifact = found.get("number")
            artifact = artifact if isinstance(artifact, int) else 0
            await self._requests.take_step(
                request,
                Step.RECEIPT,
                "found by looking",
                receipts=receipts_of(request, artifact, str(found.get("content", ""))),
                artifact=artifact,
                url=str(found.get("url", "")),
                commit=str(found.get("commit", "")),
                branch=branch,
            )
        elif found.get("finding") == "Conflict":
            await self._requests.take_step(request, Step.CONFLICT, str(found.get("reason", "")))
        elif otherwise is not None:
            await self._requests.take_step(request, otherwise, told)


def ordered(number: int, lane: str) -> str:
    """Return the line of history that says that an order was given."""
    return f"order {number} to {lane}"


def serial_key(request: Request) -> str:
    """Name what may not be done twice at once: a request's mirror, an issue's status."""
    if request.kind == "update_status":
        return f"status {request.target}"
    if request.kind == "mirror_request":
        action = parsed(request)
        return f"mirror {action.request}" if isinstance(action, MirrorRequest) else request.id
    return request.id


def receipts_of(request: Request, artifact: int, content: str) -> tuple[Receipt, ...]:
    """Return the receipt that a poll's sight of this effect is matched to; () for labels."""
    kind = _RECEIPT_KIND.get(request.kind)
    return () if kind is None else (Receipt(kind, request.target, artifact, content, request.id),)


def dress_of(request: Request, marker_key: bytes) -> tuple[str, str]:
    """Return the real branch and the marker of an action: keyed, so that nobody can foresee them.

    A mirror's marker names its request, so that each version of it is the same comment.
    """
    action = parsed(request)
    named = action.request if isinstance(action, MirrorRequest) else request.digest
    marker = keyed_hex(marker_key, "marker", named)[:32]
    if isinstance(action, ProposeChange):
        return f"{action.branch}-{keyed_hex(marker_key, 'branch', request.digest)[:12]}", marker
    return action.head if isinstance(action, CreatePullRequest) else "", marker
