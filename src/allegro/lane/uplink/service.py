"""What the lane says on the link: greeting, log-in, answers, orders, stops (the LaneEnd)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import structlog

from allegro import __version__
from allegro.core.authority.actions.agent import AGENT
from allegro.core.authority.actions.families import family_of
from allegro.core.authority.actions.family import Delivery, Family
from allegro.core.authority.actions.forge_family import FORGE
from allegro.core.authority.freeze import Freeze
from allegro.core.authority.gate import Permit, Presented, judge_order, read_sovereign
from allegro.core.authority.tokens import (
    TYPES,
    RecoveryStop,
    Sign,
    Thaw,
    Verify,
    b64url,
    read_token,
    token_type,
)
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.base.sequence import Continue, HouseBehind, Restart, resume
from allegro.core.base.untrusted import UNREADABLE
from allegro.core.forge.marks import Mark, usable
from allegro.core.ports import Clock, Dice, Dress
from allegro.core.protocol.messages import (
    Bring,
    Challenge,
    ChallengeWanted,
    FromHouse,
    FromLane,
    GiveOrder,
    Greet,
    Hello,
    HouseBeat,
    LaneBeat,
    LogIn,
    OrderAnswer,
    Query,
    Refused,
    Reply,
    Serves,
    Stop,
    Welcome,
)
from allegro.core.protocol.payloads.actions import OrderRefused
from allegro.core.protocol.payloads.lane import (
    FreezeAdded,
    FreezeThawed,
    JournalRestarted,
    TrustChanged,
)
from allegro.core.protocol.queries import QueryName
from allegro.lane.effects.executor import Executor
from allegro.lane.effects.queries import Queries
from allegro.lane.recorder import Recorder
from allegro.lane.state import LaneState
from allegro.link.blobs import LANE_BYTES, Blobs
from allegro.link.handshake import check_login, greet, take_token

if TYPE_CHECKING:
    from allegro.lane.agent.sessions import Sessions

_log = structlog.get_logger()
CHALLENGE_LIFE_S = 60.0
MAX_CHALLENGES = 64
CONTENT_GONE = "its content is not here, or not any more: send it again"

SetAside = Callable[[Permit, BaseException], Coroutine[Any, Any, None]]


class Carrier(Protocol):
    """Sees permits of one family of actions to their end on this lane.

    `carry_out` journals what came of a permit; `set_aside` what is known of one that a bug ended.
    """

    def carry_out(self, permit: Permit, dress: Dress) -> Coroutine[Any, Any, None]: ...
    def set_aside(self, permit: Permit, error: BaseException) -> Coroutine[Any, Any, None]: ...


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


class Desk:
    """The LaneEnd. `sign` is the lane key's; `own_facts` answers `status` and `doctor`."""

    def __init__(
        self,
        state: LaneState,
        recorder: Recorder,
        executor: Executor | None,
        queries: Queries | None,
        clock: Clock,
        dice: Dice,
        *,
        sign: Sign,
        verify: Verify,
        own_facts: dict[str, Callable[[dict[str, Any]], Awaitable[Any]]],
        serves: Serves,
    ) -> None:
        self.journal = recorder.journal
        self.grew = recorder.grew
        self.executor = executor
        self.queries = queries
        self._state = state
        self._recorder = recorder
        self._clock = clock
        self._dice = dice
        self._sign = sign
        self._verify = verify
        self.own_facts = own_facts
        self._serves = serves
        self.sessions: Sessions | None = None
        self.carriers: dict[str, Carrier] = {}
        self.roles: Callable[[], dict[str, int]] = dict
        self._challenges = Challenges(clock, dice)
        self.effects: set[asyncio.Task[None]] = set()
        self.blobs = Blobs(LANE_BYTES)
        state.on_freeze(self.blobs.clear)
        state.on_trust(self.blobs.clear)

    def greet(self, hello: Hello) -> tuple[Greet | Refused, str]:
        challenge = b64url(self._dice.token(32))
        greeting = greet(
            hello,
            self._state.held.trust,
            counter_challenge=challenge,
            version=__version__,
            sign=self._sign,
        )
        if isinstance(greeting, Refusal):
            return Refused(greeting.reason, greeting.detail), ""
        return greeting, challenge

    async def log_in(self, message: LogIn, challenge: str) -> Welcome | Refused:
        """Let a house in whose log-in holds; take trust, freezes and marks before anything else."""
        held = check_login(
            message,
            self._state.held,
            counter_challenge=challenge,
            verify=self._verify,
            now_s=self._clock.now_s(),
        )
        if isinstance(held, Refusal):
            return Refused(held.reason, held.detail)
        new_seat = held.trust.seat > self._state.held.trust.seat
        self._state.keep_trust(held)
        self._state.home_label.logged_in()
        self._state.heard_house(message.now_s)
        self._state.told_freezes(message.freezes)
        for token in message.thaws:
            self._thaw(token)
        marks = {watch: Mark(at_s, wall_s) for watch, at_s, wall_s in message.marks}
        self._state.home_marks = usable(marks, self._state.watches)
        self._state.sibling_marks.clear()
        return await self._resume(message, new_seat)

    async def answer(self, message: FromHouse) -> FromLane | None:
        match message:
            case ChallengeWanted():
                return Challenge(message.id, self._challenges.make())
            case GiveOrder():
                return await self._take_order(message)
            case Query():
                return await self._reply(message)
            case Stop():
                await self.stop(message.freeze)
            case Bring():
                await self._bring(message.token)
            case _:
                _log.warning("link.unexpected", message=type(message).__name__)
        return None

    async def heard(self, beat: HouseBeat) -> None:
        self._state.heard_house(beat.now_s)

    def beat(self) -> LaneBeat:
        return LaneBeat(self.journal.head.seq, self._state.done.what, self.roles())

    async def stop(self, freeze: Freeze) -> None:
        """Freeze at once, then say so in the journal."""
        self._state.freeze(freeze)
        _log.warning("freeze.added", id=freeze.id, by=freeze.by)
        await self._recorder.tell(FreezeAdded(id=freeze.id), words=freeze)

    async def settle(self) -> None:
        """Wait for effects that are under way; used at a clean stop."""
        while self.effects:
            await asyncio.wait(self.effects)
            await asyncio.sleep(0)  # an effect that ended in a bug is told by a task of its own

    async def _resume(self, message: LogIn, new_seat: bool) -> Welcome | Refused:
        journal = self.journal
        by_journal = {cursor.journal: cursor for cursor in message.cursors}
        cursor = by_journal.get(journal.head.journal)
        decision = resume(
            head=journal.head,
            acked=journal.acked,
            cursor=cursor,
            chain_at_cursor=None if cursor is None else await journal.chain_at(cursor.seq),
        )
        if isinstance(decision, HouseBehind):
            if not new_seat:
                return Refused(
                    "house_behind",
                    "this house lost events it had acknowledged: it was restored from an older "
                    "copy. If this machine is to act, run `allegro house --config house.toml "
                    "take-seat`",
                )
            after = journal.acked
            self._state.relist = True
        elif isinstance(decision, Restart):
            name = self._dice.token(8).hex()
            await journal.restart(name, decision.reason)
            await self._recorder.tell(JournalRestarted(), words=decision.reason)
            self._state.reconcile = True
            after = journal.acked
        else:
            assert isinstance(decision, Continue)
            after = decision.after
            try:
                await journal.acknowledge(after)
            except EdgeError as error:  # a full disk keeps what was acknowledged a little longer
                _log.warning("journal.not_acknowledged", error=str(error))
        return Welcome(after, journal.head.seq, self._state.freezes.active, self._serves)

    async def _reply(self, query: Query) -> Reply:
        try:
            own = self.own_facts.get(query.method)
            if own is not None:
                return Reply(query.id, await own(query.params))
            if self.queries is None:
                raise EdgeError(
                    self._state.forge_trouble or "the forge is not reachable yet", transient=True
                )
            params = self._with_content(query)
            return Reply(query.id, await self.queries.answer(query.method, params))
        except EdgeError as error:
            return Reply(query.id, None, str(error), error.transient)
        except UNREADABLE as error:
            return Reply(query.id, None, f"{query.method[:64]}: bad parameters: {error!r:.200}")

    def _with_content(self, query: Query) -> dict[str, Any]:
        """Return what is asked, with the action's bytes where they came ahead (`content`)."""
        digest = query.params.get("content")
        if query.method != QueryName.LOOK or not isinstance(digest, str):
            return query.params
        action = self.blobs.find(digest)
        if action is None:
            raise EdgeError(CONTENT_GONE, transient=True)
        return {**query.params, "action": action}

    async def _take_order(self, given: GiveOrder) -> OrderAnswer:
        """Judge an order and begin it. Content that came ahead is forgotten once it is taken."""
        if given.content is None:
            return await self._judge(given)
        action = self.blobs.find(given.content)
        if action is None:
            return await self._refuse(given, Refusal("content_missing", CONTENT_GONE))
        answer = await self._judge(msgspec.structs.replace(given, action=action))
        if not answer.reason:
            self.blobs.drop(given.content)
        return answer

    async def _judge(self, given: GiveOrder) -> OrderAnswer:
        trust = self._state.held.trust
        situation = self._state.situation()
        permit = judge_order(
            Presented(given.order, given.action, given.approval),
            trust,
            situation,
            take_challenge=self._challenges.take,
            verify=self._verify,
        )
        if isinstance(permit, Refusal):
            return await self._refuse(given, permit)
        family = family_of(permit.action)
        fault = family.delivery_fault(permit.action, Delivery(given.branch, given.marker))
        if fault is not None:
            return await self._refuse(given, fault)
        carrier = self._carrier_of(family)
        if isinstance(carrier, Refusal):
            return await self._refuse(given, carrier)
        dress = Dress(given.branch, given.marker, given.change_token)
        return self._under_way(given, permit, carrier.carry_out(permit, dress), carrier.set_aside)

    def _carrier_of(self, family: Family) -> Carrier | Refusal:
        """Return who carries out the acts of a family here, or why nobody does."""
        carriers: dict[str, Carrier | None] = {
            FORGE.name: self.executor, AGENT.name: self.sessions, **self.carriers,
        }  # fmt: skip
        absent = {
            FORGE.name: Refusal("forge_unreachable", self._state.forge_trouble),
            AGENT.name: Refusal("no_sessions", "hermes.gateways is 0"),
        }
        nobody = Refusal("no_carrier", f"this lane carries out no act of the {family.name} family")
        return carriers.get(family.name) or absent.get(family.name, nobody)

    def _under_way(
        self, given: GiveOrder, permit: Permit, effect: Coroutine[Any, Any, None], aside: SetAside
    ) -> OrderAnswer:
        self._keep(effect, lambda error: self._set_aside(permit, error, aside))
        self._state.did(f"took order {permit.order_number}")
        return OrderAnswer(given.id, "", "")

    def _keep(
        self, work: Coroutine[Any, Any, None], at_bug: Callable[[BaseException], None]
    ) -> None:
        """Do work in the background. A bug in it belongs to its order and never ends the lane."""

        def ended(task: asyncio.Task[None]) -> None:
            self.effects.discard(task)
            if task.cancelled() or (error := task.exception()) is None:
                return
            if isinstance(error, EdgeError):
                _log.error("effect.ended", error=str(error))
            else:
                at_bug(error)

        task = asyncio.create_task(work)
        self.effects.add(task)
        task.add_done_callback(ended)

    def _set_aside(self, permit: Permit, error: BaseException, aside: SetAside) -> None:
        """Tell that a bug ended an order, and what is known of its effect; the lane goes on."""
        _log.critical("effect.bug", order=permit.order_number, digest=permit.digest, exc_info=error)
        self._keep(
            aside(permit, error),
            lambda worse: _log.critical("effect.bug_untold", exc_info=worse),
        )

    async def _refuse(self, given: GiveOrder, refusal: Refusal) -> OrderAnswer:
        _log.warning("order.refused", reason=refusal.reason, detail=refusal.detail)
        try:
            await self._recorder.tell(OrderRefused(reason=refusal.reason))
        except EdgeError as error:
            _log.warning("order.refused.untold", error=str(error))
        return OrderAnswer(given.id, refusal.reason, refusal.detail)

    async def _bring(self, token: str) -> None:
        if token_type(token) == TYPES[Thaw]:
            if self._thaw(token):
                await self._recorder.tell(FreezeThawed(), words=token)
            return
        if token_type(token) == TYPES[RecoveryStop]:
            await self._recovery_stop(token)
            return
        held = take_token(self._state.held, token, now_s=self._clock.now_s(), verify=self._verify)
        if isinstance(held, Refusal):
            _log.warning("trust.refused", reason=held.reason, detail=held.detail)
            return
        self._state.keep_trust(held)
        trust = held.trust
        await self._recorder.tell(
            TrustChanged(seat=trust.seat, sovereign_number=trust.sovereign_number)
        )

    def _thaw(self, token: str) -> bool:
        trust = self._state.held.trust
        claims = read_sovereign(token, Thaw, trust, self._verify)
        if isinstance(claims, Refusal):
            _log.warning("thaw.refused", reason=claims.reason)
            return False
        known = set(claims.freezes) <= self._state.freezes.thawed
        if known:
            return False
        if not self._clock.now_s() < claims.exp:
            _log.warning("thaw.refused", reason="thaw_expired")
            return False
        self._state.thaw(claims.freezes)
        return True

    async def _recovery_stop(self, token: str) -> None:
        trust = self._state.held.trust
        claims = read_token(
            token,
            RecoveryStop,
            kid="recovery",
            key=trust.recovery,
            aud=trust.fleet,
            verify=self._verify,
        )
        if isinstance(claims, Refusal):
            _log.warning("stop.refused", reason=claims.reason)
            return
        await self.stop(Freeze(claims.freeze, self._clock.now_s(), "recovery key", "recovery stop"))
