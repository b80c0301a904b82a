"""Keeps this lane's leases: reads each role's register, writes what the lease machine says.

Nothing here decides who may hold a role (`core.lease` does) and nothing acts under one: a duty
asks `state.leases` for itself, each time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from allegro.core.authority.lease import (
    ANYBODY,
    Around,
    Me,
    Offer,
    Slot,
    Step,
    Take,
    View,
    Wait,
    decide,
    heir_of,
    rank_of,
    seen,
    sending,
    stood_down,
    wrote,
)
from allegro.core.authority.steady import Steady, watched
from allegro.core.base.errors import EdgeError
from allegro.core.ports import Council
from allegro.core.protocol.payloads.base import Payload
from allegro.core.protocol.payloads.fleet import CouncilBack, CouncilLost, RoleTaken
from allegro.lane.context import Context
from allegro.lane.context.role_work import Workers
from allegro.lane.fleet.lease_memory import Memory
from allegro.lane.fleet.peers import BUGS, Siblings

_log = structlog.get_logger()
TICKS = 5
WITH_A_DUTY = frozenset({"forge"})  # its duty tells the first act itself
DRAIN_S = 4.0
MIN_WAIT_S = 0.05
TELL_AFTER = 3
UNTAKEN_LEASES = 4


class Pace(msgspec.Struct, frozen=True):
    """How long a lease is, and how long a preferred lane must be well to get a role back."""

    lease_s: float
    return_s: float


class TakeOver(msgspec.Struct, frozen=True):
    """How this lane came to a role; times are boot-time seconds.

    `silent_s`: when the former holder's last word was seen; `decided_s`, `taken_s`, and
    `acted_s` (0: not yet) as they say.
    """

    role: str
    epoch: int
    before: str
    why: str
    silent_s: float
    decided_s: float
    taken_s: float
    acted_s: float = 0.0
    is_from_another: bool = False


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What this lane may hold, and how.

    `roles` are those it serves; `order` gives a role's lanes by preference; `banned` are lanes
    whose key was revoked; `ready` are the roles this lane could do the work of now.
    """

    me: Me
    roles: tuple[str, ...]
    pace: Pace
    order: Callable[[str], tuple[str, ...]]
    banned: Callable[[], frozenset[str]]
    ready: Callable[[], tuple[str, ...]]


class Roles:
    """Keeps the leases of the roles that its terms name.

    `workers` do the work of the roles: they hear of a role that was taken, and are drained before
    one is given away.
    """

    def __init__(
        self,
        ctx: Context,
        council: Council,
        siblings: Siblings,
        terms: Terms,
        memory: Memory,
        workers: Workers,
    ) -> None:
        self._council = council
        self._state = ctx.state
        self._recorder = ctx.recorder
        self._siblings = siblings
        self._clock = clock = ctx.ports.clock
        self._terms = terms
        self._me = terms.me
        self._pace = terms.pace
        self._epochs, self._written = memory
        self._views = {
            role: View(role, epoch=memory.epochs.highest(role), left=memory.written.last(role))
            for role in terms.roles
        }
        self._steady = {role: Steady(clock.boot_s()) for role in terms.roles}
        self._asked: dict[str, str] = {}
        self._failures = 0
        self._since_s: dict[str, float] = {}
        self.taken: dict[str, TakeOver] = {}
        self._taking: dict[str, tuple[View, Take, float]] = {}
        self._workers = workers

    async def run(self, role: str) -> None:
        """Keep one role until cancelled: a tick five times a lease."""
        tick_s = self._pace.lease_s / TICKS
        while True:
            next_s = self._clock.boot_s() + tick_s
            free_s = await self._step_or_rest(role)
            wait_s = min(next_s, free_s) - self._clock.boot_s()
            await self._clock.sleep(max(MIN_WAIT_S, wait_s))

    async def _step_or_rest(self, role: str) -> float:
        """Step once; a bug met in what a register holds ends the lease and not the program."""
        try:
            return await self.step(role)
        except BUGS as error:
            self._see(stood_down(self._views[role]))
            reason = f"{type(error).__name__}: {error}"[:200]
            _log.error("role.set_aside", role=role, error=reason)
            await self._failed(EdgeError(reason, transient=True))
            return float("inf")

    async def step(self, role: str) -> float:
        """Read, decide, write once; return when the role would be free (boot-time s).

        A council that does not answer lets the lease run out.
        """
        try:
            slot = await self._council.read(role)
            self._see(seen(self._views[role], slot, self._me, self._clock.boot_s()))
            self._watch(role, slot)
            step = self._decide(role)
            await self._do(role, step)
            if not isinstance(step, Wait) and role not in WITH_A_DUTY:
                await self.acted(role)
        except EdgeError as error:
            await self._failed(error)
            return float("inf")
        await self._answered()
        return step.until_s if isinstance(step, Wait) else float("inf")

    def hand_over(self, role: str, to: str) -> None:
        """Give the role to this lane at the next tick."""
        self._asked[role] = to

    async def leave(self) -> None:
        """Offer every role to anybody: this program ends. What cannot be said is not said."""
        for role in self._views:
            self._asked[role] = ANYBODY
        await asyncio.gather(*(self._step_or_rest(role) for role in self._views))

    def holder(self, role: str) -> tuple[str, int]:
        """Return who holds the role as last read, with its epoch; ("", 0) for nobody known."""
        slot = self._views[role].slot if role in self._views else None
        if slot is None or slot.record is None or slot.record.offered:
            return "", 0
        return slot.record.holder, slot.record.epoch

    def held(self) -> dict[str, int]:
        """Return the roles this lane holds now, with their epochs."""
        return self._state.held_roles()

    def held_for_s(self, role: str) -> float:
        """Return for how long (s) this lane has held a role without a break, 0 where it does not."""
        since_s = self._since_s.get(role)
        return 0.0 if since_s is None else self._clock.boot_s() - since_s

    def unsettled_s(self, role: str) -> float:
        """Return for how long (s) the council has shown no holder that kept the role for a lease."""
        steady = self._steady.get(role)
        return 0.0 if steady is None else self._clock.boot_s() - steady.settled_s

    async def acted(self, role: str) -> None:
        """Note the first act after a take-over, and tell how long each part of it took (R5)."""
        taken = self.taken.get(role)
        if taken is None or taken.acted_s or not self._siblings.names():
            return
        taken = msgspec.structs.replace(taken, acted_s=self._clock.boot_s())
        payload = RoleTaken(
            role=role,
            epoch=taken.epoch,
            before=taken.before,
            why=taken.why,
            silent_s=round(taken.decided_s - taken.silent_s, 3),
            take_s=round(taken.taken_s - taken.decided_s, 3),
            act_s=round(taken.acted_s - taken.taken_s, 3),
        )
        await self._recorder.tell(payload)
        self.taken[role] = taken

    def _watch(self, role: str, slot: Slot) -> None:
        """Note whether a lane keeps the role: a record in nobody's name, or falsely in mine, is none."""
        holder = slot.record.holder if slot.record is not None else ""
        if holder == self._me.lane:
            is_kept = self._views[role].lease is not None
        else:
            is_kept = holder in self._siblings.names()
        self._steady[role] = watched(
            self._steady[role],
            slot if is_kept else Slot(slot.revision, None),
            boot_s=self._clock.boot_s(),
            lease_s=self._pace.lease_s,
        )

    def _see(self, view: View) -> None:
        role = view.role
        before = self._views[role]
        self._views[role] = view
        former, holder = _holder_of(before), _holder_of(view)
        if former not in {"", holder, self._me.lane}:
            self._siblings.doubt(former)
        if before.slot != view.slot:  # an offer that still stands is not left yet
            self._judge_offer(before, holder)
        if view.lease is None:
            self._drop(role)
        if view.epoch > before.epoch:
            self._epochs.keep(role, view.epoch)

    def _decide(self, role: str) -> Step:
        order, siblings = self._terms.order(role), self._siblings.of_role(role)
        holder, _ = self.holder(role)
        ready = role in self._terms.ready() and not self._siblings.is_resting(self._me.lane, role)
        heir = heir_of(
            self._me.lane, order, siblings, ready=ready, return_after_s=self._pace.return_s
        )
        around = Around(
            ready=ready,
            rank=rank_of(self._me.lane, order, [s for s in siblings if s.name != holder]),
            heir=self._asked.get(role) or heir,
            banned=self._terms.banned(),
            members=frozenset((self._me.lane, *self._siblings.names())),
        )
        view, boot_s = self._views[role], self._clock.boot_s()
        step = decide(view, self._me, around, lease_s=self._pace.lease_s, boot_s=boot_s)
        if isinstance(step, Wait) and self._asked.get(role) not in {None, ANYBODY}:
            self._asked.pop(role)  # asked of a lane that does not hold the role
        return step

    async def _do(self, role: str, step: Step) -> None:
        if isinstance(step, Wait):
            return
        view, decided_s = self._views[role], self._clock.boot_s()
        if isinstance(step, Offer):
            await self._stand_down(role)
        if isinstance(step, Take):
            self._epochs.keep(role, step.record.epoch)
            self._taking[role] = (view, step, decided_s)
        self._views[role] = sending(self._views[role], step.record)
        sent_s = self._clock.boot_s()
        revision = await self._council.write(role, step.record, step.expected)
        if revision is None:
            return
        after = wrote(
            self._views[role], step.record, revision, lease_s=self._pace.lease_s, sent_s=sent_s
        )
        self._views[role] = after
        self._written.keep(role, Slot(revision, step.record))
        began = self._taking.pop(role, None)
        if began is not None and began[1].record.epoch == step.record.epoch:
            # by this write, or by one before it whose answer was lost
            self._took(*began)
        if isinstance(step, Offer):
            self._asked.pop(role, None)
            _log.info("role.offered", role=role, to=step.record.offered)
        if after.lease is not None:
            if role not in self.held():  # taken, or had again after it ran out
                self._since_s[role] = self._clock.boot_s()
            self._state.lease_written(role, after.lease)

    def _took(self, before: View, step: Take, decided_s: float) -> None:
        role, holder = before.role, _holder_of(before)
        self.taken[role] = TakeOver(
            role,
            step.record.epoch,
            holder,
            step.why,
            before.since_s,
            decided_s,
            self._clock.boot_s(),
            is_from_another=holder not in {"", self._me.lane},
        )
        if holder != self._me.lane:
            self._siblings.doubt(holder)
        self._judge_offer(before, self._me.lane)
        _log.info("role.taken", role=role, epoch=step.record.epoch, before=holder, why=step.why)
        self._workers.take_up(role)

    def _judge_offer(self, before: View, holder: str) -> None:
        """Let a lane rest that did not take what it was offered, and forgive one that did."""
        record = before.slot.record if before.slot is not None else None
        if record is None or record.offered in {"", ANYBODY, self._me.lane}:
            return
        if record.offered == holder:
            self._siblings.took(holder, before.role)
        elif holder and record.epoch >= before.epoch:
            rest_s = max(self._pace.return_s, UNTAKEN_LEASES * self._pace.lease_s)
            self._siblings.left_untaken(record.offered, before.role, rest_s)

    def _drop(self, role: str) -> None:
        self._since_s.pop(role, None)
        if self._state.lease_given_up(role):
            _log.info("role.left", role=role)

    async def _stand_down(self, role: str) -> None:
        """Give up the lease first, then wait for what is under way: the offer comes after."""
        self._views[role] = stood_down(self._views[role])
        self._drop(role)
        try:
            await asyncio.wait_for(self._workers.drain(role), DRAIN_S)
        except TimeoutError:
            _log.warning("role.not_drained", role=role)

    async def _failed(self, error: EdgeError) -> None:
        _log.info("council.unreachable", error=str(error))
        self._failures += 1
        if self._failures == TELL_AFTER:
            await self._tell(CouncilLost(), str(error))

    async def _answered(self) -> None:
        failures, self._failures = self._failures, 0
        if failures >= TELL_AFTER:
            await self._tell(CouncilBack(), "")

    async def _tell(self, payload: Payload, words: str) -> None:
        try:
            await self._recorder.tell(payload, words=words or None)
        except EdgeError as error:
            _log.warning("council.untold", error=str(error))


def _holder_of(view: View) -> str:
    return view.slot.record.holder if view.slot is not None and view.slot.record is not None else ""
