"""Takes an order: one challenge, one judgement at the gate, one carrier of its family of actions.

Invariant: nothing is carried out without a permit of the gate, and what comes beside an order
(marker, branch) is checked against the permit's own action. Order rule: the challenge is used up
by the judgement, whatever its outcome; content that came ahead is forgotten only once the order
was taken. A bug in an effect belongs to its order: it is reported by the carrier and never ends the lane.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

import msgspec
import structlog

from allegro.core.authority.actions.agent import AGENT
from allegro.core.authority.actions.families import family_of
from allegro.core.authority.actions.family import Delivery
from allegro.core.authority.gate import Permit, Presented, judge_order
from allegro.core.authority.tokens import Verify, b64url
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.ports import Clock, Dice, Dress
from allegro.core.protocol.messages import GiveOrder, OrderAnswer
from allegro.core.protocol.payloads.actions import OrderRefused
from allegro.lane.context import Context
from allegro.link.blobs import Blobs

_log = structlog.get_logger()
CHALLENGE_LIFE_S = 60.0
MAX_CHALLENGES = 64
CONTENT_GONE = "its content is not here, or not any more: send it again"
ABSENT = {AGENT.name: Refusal("no_sessions", "hermes.gateways is 0")}
"""What is said where nobody carries out a family."""


class Carrier(Protocol):
    """Carries out the permits of one family of actions, and tells of one that a bug ended."""

    def may_begin(self) -> Refusal | None:
        """Return why nothing of this family can be carried out now, None when it can."""
        ...

    def carry_out(self, permit: Permit, dress: Dress) -> Coroutine[Any, Any, None]: ...
    def set_aside(self, permit: Permit, error: BaseException) -> Coroutine[Any, Any, None]: ...


Carriers = Mapping[str, Carrier]
"""Who carries out what, by the name of the family of actions."""


class Challenges:
    """Random, single use, in memory: a restart makes every order void by itself."""

    def __init__(self, clock: Clock, dice: Dice) -> None:
        self._clock = clock
        self._dice = dice
        self._made: dict[str, float] = {}

    def make(self) -> str:
        now_s = self._clock.boot_s()
        self._made = {c: at for c, at in self._made.items() if now_s - at < CHALLENGE_LIFE_S}
        while len(self._made) >= MAX_CHALLENGES:
            self._made.pop(next(iter(self._made)))
        challenge = b64url(self._dice.token(32))
        self._made[challenge] = now_s
        return challenge

    def take(self, challenge: str) -> float | None:
        """Use up a challenge; return when it was made (boot-time s), None when not ours."""
        return self._made.pop(challenge, None)


class Dispatch:
    """Judges orders and lets the carriers work; `blobs` keep content that came ahead of an order."""

    def __init__(self, ctx: Context, verify: Verify, carriers: Carriers, blobs: Blobs) -> None:
        self._state = ctx.state
        self._recorder = ctx.recorder
        self._verify = verify
        self._carriers = carriers
        self._blobs = blobs
        self._effects: set[asyncio.Task[None]] = set()
        self.challenges = Challenges(ctx.ports.clock, ctx.ports.dice)

    async def settle(self) -> None:
        """Wait for effects that are under way; used at a clean stop."""
        while self._effects:
            await asyncio.wait(self._effects)
            await asyncio.sleep(0)  # an effect that a bug ended is reported by a task of its own

    async def take(self, given: GiveOrder) -> OrderAnswer:
        """Judge an order and begin it. Content that came ahead is forgotten once it is taken."""
        if given.content is None:
            return await self._judge(given)
        action = self._blobs.find(given.content)
        if action is None:
            return await self._refuse(given, Refusal("content_missing", CONTENT_GONE))
        answer = await self._judge(msgspec.structs.replace(given, action=action))
        if not answer.reason:
            self._blobs.drop(given.content)
        return answer

    async def _judge(self, given: GiveOrder) -> OrderAnswer:
        trust = self._state.held.trust
        situation = self._state.situation()
        permit = judge_order(
            Presented(given.order, given.action, given.approval),
            trust,
            situation,
            take_challenge=self.challenges.take,
            verify=self._verify,
        )
        if isinstance(permit, Refusal):
            return await self._refuse(given, permit)
        family = family_of(permit.action)
        fault = family.delivery_fault(permit.action, Delivery(given.branch, given.marker))
        if fault is not None:
            return await self._refuse(given, fault)
        carrier = self._carriers.get(family.name)
        if carrier is None:
            words = f"this lane carries out no act of the {family.name} family"
            return await self._refuse(given, ABSENT.get(family.name, Refusal("no_carrier", words)))
        return await self._begin(given, permit, carrier)

    async def _begin(self, given: GiveOrder, permit: Permit, carrier: Carrier) -> OrderAnswer:
        refusal = carrier.may_begin()
        if refusal is not None:
            return await self._refuse(given, refusal)
        dress = Dress(given.branch, given.marker, given.change_token)
        effect = carrier.carry_out(permit, dress)
        self._keep(effect, lambda error: self._set_aside(permit, error, carrier))
        self._state.did(f"took order {permit.order_number}")
        return OrderAnswer(given.id, "", "")

    def _keep(
        self, work: Coroutine[Any, Any, None], at_bug: Callable[[BaseException], None]
    ) -> None:
        """Do work in the background. A bug in it belongs to its order and never ends the lane."""

        def ended(task: asyncio.Task[None]) -> None:
            self._effects.discard(task)
            if task.cancelled() or (error := task.exception()) is None:
                return
            if isinstance(error, EdgeError):
                _log.error("effect.ended", error=str(error))
            else:
                at_bug(error)

        task = asyncio.create_task(work)
        self._effects.add(task)
        task.add_done_callback(ended)

    def _set_aside(self, permit: Permit, error: BaseException, carrier: Carrier) -> None:
        """Tell that a bug ended an order, and what is known of its effect; the lane goes on."""
        _log.critical("effect.bug", order=permit.order_number, digest=permit.digest, exc_info=error)
        self._keep(
            carrier.set_aside(permit, error),
            lambda worse: _log.critical("effect.bug_untold", exc_info=worse),
        )

    async def _refuse(self, given: GiveOrder, refusal: Refusal) -> OrderAnswer:
        _log.warning("order.refused", reason=refusal.reason, detail=refusal.detail)
        try:
            await self._recorder.tell(OrderRefused(reason=refusal.reason))
        except EdgeError as error:
            _log.warning("order.refused.untold", error=str(error))
        return OrderAnswer(given.id, refusal.reason, refusal.detail)
