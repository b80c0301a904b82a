"""Wires this lane's part in a fleet: which council it keeps, with whom, and for which roles.

Without a roster the council is in this process and every role is this lane's. A new roster is a
new council: leases end, views start anew, nothing of the old one counts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import structlog

from allegro.adapters.council import LocalCouncil, Registers
from allegro.core.authority.lease import Me
from allegro.core.authority.roster import banned_of, members_of
from allegro.core.base.errors import EdgeError
from allegro.core.health import codes
from allegro.core.health.facts import Fact
from allegro.core.ports import Council
from allegro.core.protocol.answers.fleet import LaneFleet, LaneOffer, Peer, PeerSeen, Rested
from allegro.core.protocol.queries import LookAt, Params, QueryName, Rest, read_query
from allegro.lane.context import Context
from allegro.lane.context.role_work import Workers
from allegro.lane.fleet.lease_memory import Epochs, Memory, Written
from allegro.lane.fleet.peers import Siblings
from allegro.lane.fleet.roles import Pace, Roles, TakeOver, Terms
from allegro.lane.folder.files import LaneFiles
from allegro.lane.folder.forms import load_epochs, load_written, save_epochs, save_written
from allegro.runtime.consumer import as_edge_error
from allegro.runtime.duties import Answer, Duties, Duty

_log = structlog.get_logger()
ALONE_LEASE_S = 30.0
PROBE_S = 3.0
PROBE_FRESH_S = 8.0
LEAVE_S = 2.0
MIN_TIMEOUT_S = 0.5
SHOWN_FREEZES = 64
UNDECIDED_S = 15.0
UNSETTLED_LEASES = 3


class FleetWing:
    """This lane's part in a fleet, also while it is alone.

    `duties` run what belongs to the council of now: they end and begin with each roster.
    """

    def __init__(
        self,
        ctx: Context,
        epochs: Epochs,
        workers: Workers,
        duties: Duties,
        is_linked: Callable[[], bool],
    ) -> None:
        self._ctx = ctx
        self._settings = ctx.settings
        self._files = ctx.files
        self._ports = ctx.ports
        self._clock = ctx.ports.clock
        self._state = ctx.state
        self._workers = workers
        self._is_linked = is_linked
        self._me = Me(ctx.settings.lane.name, ctx.ports.dice.token(8).hex())
        self._epochs = epochs
        self._changed = asyncio.Event()
        self._forge_answered_s = float("-inf")
        self._duties = duties
        self._set_up()
        ctx.state.on_trust(self.trust_changed)

    def duty(self) -> Duty:
        """Return the whole part as one duty, with what it answers and how it takes its leave."""
        return Duty(
            name="council", run=self.run, facts=self.facts, queries=self.answers(), leave=self.leave
        )

    def _set_up(self) -> None:
        """Make council, siblings and roles for the roster of now."""
        state = self._state
        members = members_of(state.held)
        self._members = tuple(member.name for member in members)
        self._number = state.held.roster.number if state.held.roster and members else 0
        self._state.peers_left(self._members)
        self.council = self._ports.councils(self._council())
        self.siblings = Siblings(self._ctx, self.council, self._others, self.ready, self._is_linked)
        lease_s = self._settings.council.lease_s if members else ALONE_LEASE_S
        path, number = self._files.written, self._number
        written = Written(load_written(path, number), partial(save_written, path, number))
        terms = Terms(
            me=self._me,
            roles=self._served(),
            pace=Pace(lease_s, self._settings.council.return_s),
            order=self._order,
            banned=lambda: banned_of(state.held),
            ready=self.ready,
        )
        memory = Memory(self._epochs, written if members else Written({}, _drop))
        self.roles = Roles(self._ctx, self.council, self.siblings, terms, memory, self._workers)

    def _council(self) -> Council:
        if not self._members:
            highest = self._epochs.highest
            return LocalCouncil(Registers(), self._me.lane, alone=True, highest=highest)
        from allegro.adapters.nats.council import Access, NatsCouncil  # noqa: PLC0415 (a lane
        from allegro.adapters.nats.server import (  # noqa: PLC0415             that is alone
            ServerFiles,  #                                                 loads none of it)
            access_of,
            read_running,
        )

        files, number = ServerFiles(self._files.council), self._number

        def access() -> Access | None:
            running = read_running(files)
            if running is None or running.roster != number:
                return None
            return access_of(files, running)

        timeout_s = max(MIN_TIMEOUT_S, self._settings.council.lease_s / 3)
        return NatsCouncil(access, timeout_s=timeout_s)

    async def run(self) -> None:
        """Keep roles until cancelled, anew with each roster.

        Each role, what is shared with the other lanes, and the probe of the forge are duties of
        their own: a bug in one of them ends no other.
        """
        while True:
            if self._changed.is_set():
                await self.council.close()
                self._state.council_changed()
                self._set_up()
                self._changed.clear()
            names = ", ".join(self._members) or "alone"
            _log.info("council.kept", members=names, number=self._number)
            self._begin()
            try:
                await self._duties.wait(self._changed)
            finally:
                await self._duties.stop()

    def _begin(self) -> None:
        for role in self._served():
            self._duties.begin(f"role {role}", partial(self.roles.run, role))
        if self._members:
            self._duties.begin("siblings", self.siblings.run)
            self._duties.begin("forge probe", self._probe)

    def trust_changed(self) -> None:
        """Look whether the roster or its members are others now.

        Without a new roster it is the same council less a revoked lane: what is held goes on.
        """
        held = self._state.held
        members = tuple(member.name for member in members_of(held))
        number = held.roster.number if held.roster and members else 0
        if number != self._number:
            self._changed.set()
        elif members != self._members:
            self._members = members
            self._state.peers_left(self._members)
            _log.warning("council.members", members=", ".join(members), number=number)

    async def leave(self) -> None:
        """Give every role away before this program ends; not longer than two seconds."""
        if self._members:
            with contextlib.suppress(EdgeError):
                await as_edge_error("council", "leaving", self._offer_all())
        with contextlib.suppress(EdgeError):
            await self.council.close()

    async def _offer_all(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.roles.leave(), LEAVE_S)

    def peers(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the other lanes of the council that are heard now, and those that are not."""
        return self.siblings.heard()

    def ready(self) -> tuple[str, ...]:
        """Return the roles this lane could do the work of now."""
        if not self._members:
            return self._served()
        state = self._state
        if state.safe_mode or not state.has_room:
            return ()
        works = {"forge": self._forge_is_near(), "hermes": self._workers.is_able("hermes")}
        return tuple(role for role in self._served() if works[role])

    @property
    def taken(self) -> Mapping[str, TakeOver]:
        """How this lane came to each role it took."""
        return self.roles.taken

    def seen(self) -> tuple[Peer, ...]:
        """Return what this lane sees of each other one."""
        return self.siblings.describe()

    async def acted(self, role: str) -> None:
        """Note the first act after a take-over. Raises EdgeError of the journal."""
        await self.roles.acted(role)

    def undecided(self) -> bool:
        """Whether the council has decided for a while nothing about who polls.

        It stores nothing of ours, or what it shows changes so fast that nobody can hold the role.
        """
        if not self._members:
            return False
        longest_s = max(UNDECIDED_S, UNSETTLED_LEASES * self._settings.council.lease_s)
        return (
            self.siblings.unheard_s() > UNDECIDED_S or self.roles.unsettled_s("forge") > longest_s
        )

    def _forge_is_near(self) -> bool:
        age_s = self._clock.boot_s() - self._forge_answered_s
        return self._workers.is_able("forge") and age_s < PROBE_FRESH_S

    async def _probe(self) -> None:
        """Ask the forge for its date: a lane that polls nothing must know whether it could."""
        while "forge" in self._served():
            try:
                await asyncio.wait_for(self._ports.reader.date_s(), PROBE_S)
                self._forge_answered_s = self._clock.boot_s()
            except (EdgeError, TimeoutError) as error:
                _log.info("forge.not_near", error=str(error))
            await self._clock.sleep(PROBE_S)

    def _served(self) -> tuple[str, ...]:
        forge = ("forge",) if self._settings.forge.url else ()
        return (*forge, *(("hermes",) if self._settings.serves_sessions else ()))

    def _others(self) -> tuple[str, ...]:
        """Return the other lanes; one whose key was revoked is none from that very moment on."""
        banned = banned_of(self._state.held)
        return tuple(n for n in self._members if n != self._me.lane and n not in banned)

    def _order(self, role: str) -> tuple[str, ...]:
        roster = self._state.held.roster
        return roster.roles.get(role, self._members) if roster else self._members

    def facts(self) -> list[Fact]:
        """Return doctor's facts: is the council there, who is heard, what one outage would take."""
        facts = []
        own, forge = self._settings.lane.failure_domain, self._settings.forge.failure_domain
        if own and own == forge:
            words = f"this lane and the forge share {own}"
            facts.append(Fact(codes.FAILURE_DOMAIN, "bad", words, "lane.toml"))
        if not self._members:
            return facts
        agrees = self.siblings.has_quorum()
        words = f"{self._number} of {', '.join(self._members)}" if agrees else "does not answer"
        facts.append(Fact(codes.COUNCIL, "ok" if agrees else "bad", words, "council"))
        facts += [
            Fact(codes.PEER, "warn", "not heard", "council pages", one.lane)
            for one in self.siblings.describe()
            if not one.heard
        ]
        return facts

    # --- what the house asks -----------------------------------------------------------------

    def answers(self) -> dict[str, Answer]:
        """Return what this lane answers about its fleet."""
        return {
            QueryName.FLEET: self._describe,
            QueryName.OFFER: self._offer,
            QueryName.REST: self._rest,
            QueryName.LOOK_AT: self._look_at,
        }

    async def _describe(self, params: Params) -> LaneFleet:
        del params
        held, freezes = self.roles.held(), self._state.freezes
        return LaneFleet(
            lane=self._me.lane,
            council="nats" if self._members else "alone",
            roster=self._number,
            members=self._members,
            domain=self._settings.lane.failure_domain,
            quorum=self.siblings.has_quorum(),
            ready=self.ready(),
            held=held,
            holders={role: self.roles.holder(role) for role in self._served()},
            held_for_s={role: round(self.roles.held_for_s(role), 1) for role in held},
            frozen=not freezes.is_thawed,
            freezes=tuple(one.id for one in freezes.active[-SHOWN_FREEZES:]),
            siblings=self.siblings.describe(),
            lease_s=self._settings.council.lease_s,
        )

    async def _offer(self, params: Params) -> LaneOffer:
        """Tell where this lane's council server would be, and its certificate."""
        del params
        from allegro.lane.fleet.council_server import offer  # noqa: PLC0415 (only while joining)

        return offer(self._settings, Path(self._files.council), self._clock.now_s())

    async def _rest(self, params: Params) -> Rested:
        """Take a lane for not ready for a role; where it is this one, hand the role over."""
        query = read_query(params, Rest)
        lane, role, to = query.lane, query.role, query.to
        if role not in self._served() or not self._members:
            raise EdgeError("rest needs a role of this fleet and seconds", transient=False)
        if lane not in self._members or to not in {"", *self._members} or to == lane != "":
            raise EdgeError("rest needs lanes of this council", transient=False)
        self.siblings.rest(lane, role, query.seconds)
        if to and lane == self._me.lane and role in self.roles.held():
            self.roles.hand_over(role, to)
        return Rested(self.roles.held())

    async def _look_at(self, params: Params) -> PeerSeen:
        """Tell what this lane sees of another: its page in the council, and whether it answers."""
        name = read_query(params, LookAt).lane
        member = next((m for m in members_of(self._state.held) if m.name == name), None)
        if member is None:
            return PeerSeen()
        seen = next((one for one in self.siblings.describe() if one.lane == name), Peer(name))
        return PeerSeen(seen.heard, seen.ready, await answers(member.address))


def known_epochs(files: LaneFiles) -> Epochs:
    """Return the highest epoch of each role that this lane ever knew, as its folder has them."""
    return Epochs(load_epochs(files.epochs), partial(save_epochs, files.epochs))


def _drop(value: object) -> None:
    """Keep nothing: the registers of a lane that is alone end with its program."""
    del value


async def answers(address: str) -> bool:
    """Say whether anything answers at host:port; a refused connection is an answer."""
    host, _, port = address.rpartition(":")
    try:
        opening = asyncio.open_connection(host.strip("[]"), int(port))
        _, writer = await asyncio.wait_for(opening, PROBE_S)
    except ConnectionRefusedError:
        return True
    except (OSError, TimeoutError, ValueError, OverflowError):  # no address at all among them
        return False
    writer.close()
    return True
