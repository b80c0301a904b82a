"""Wires this lane's part in a fleet: which council it keeps, with whom, and for which roles.

Without a roster the council is in this process and every role is this lane's. A new roster is a
new council: leases end, views start anew, nothing of the old one counts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from allegro.adapters.council import LocalCouncil, Registers
from allegro.core.authority.lease import Me
from allegro.core.authority.roster import banned_of, members_of
from allegro.core.base.errors import EdgeError
from allegro.core.health.facts import Fact
from allegro.core.ports import Council
from allegro.core.protocol.queries import LookAt, Params, QueryName, Rest, read_query
from allegro.core.settings import LaneSettings
from allegro.lane.files import LaneFiles
from allegro.lane.fleet.lease_memory import Epochs, Memory, Written
from allegro.lane.fleet.peers import Siblings
from allegro.lane.fleet.roles import Pace, Roles
from allegro.lane.ports import Ports
from allegro.lane.recorder import Recorder
from allegro.lane.state import LaneState
from allegro.lane.state_files import load_epochs, load_written, save_epochs, save_written
from allegro.lane.uplink.service import Desk
from allegro.runtime.consumer import as_edge_error
from allegro.runtime.duties import Duties, Failed, Failing

_log = structlog.get_logger()
ALONE_LEASE_S = 30.0
PROBE_S = 3.0
PROBE_FRESH_S = 8.0
LEAVE_S = 2.0
MIN_TIMEOUT_S = 0.5
TOLD_FREEZES = 64
UNDECIDED_S = 15.0
UNSETTLED_LEASES = 3


class FleetApp:
    """`sessions_work` asks the gateways; `on_taken` hears of each role that was taken.

    `failed` hears of each failure of a duty of the fleet part.
    """

    def __init__(
        self, settings: LaneSettings, files: LaneFiles, ports: Ports, recorder: Recorder,
        state: LaneState, desk: Desk, is_linked: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._settings = settings
        self._files = files
        self._clock = ports.clock
        self._recorder = recorder
        self._state = state
        self._reader = ports.reader
        self._councils = ports.councils
        self._desk = desk
        self._is_linked = is_linked
        self._me = Me(settings.lane.name, ports.dice.token(8).hex())
        self._epochs = Epochs(
            load_epochs(files.epochs), lambda epochs: save_epochs(files.epochs, epochs)
        )
        recorder.epochs = self._epochs.all
        self._changed = asyncio.Event()
        self._forge_answered_s = float("-inf")
        self.sessions_work: Callable[[], bool] = lambda: False
        self._duties = Duties(self._clock, ports.dice, self._tell_failed)
        self.failed: Failed = lambda name, sentence: None
        self.on_taken: Callable[[str], None] = lambda role: None
        self.drains: dict[str, Callable[[], Awaitable[None]]] = {}
        self._set_up()
        desk.own_facts |= self.answers()
        desk.roles = self._held
        state.on_trust(self.trust_changed)

    def _set_up(self) -> None:
        """Make council, siblings and roles for the roster of now."""
        state, clock = self._state, self._clock
        members = members_of(state.held)
        self._members = tuple(member.name for member in members)
        self._number = state.held.roster.number if state.held.roster and members else 0
        self._forget_marks()
        self.council = self._councils(self._council())
        self.siblings = Siblings(
            self.council, state, self._recorder, clock, lane=self._me.lane,
            names=self._others, ready=self.ready, is_linked=self._is_linked,
        )  # fmt: skip
        lease_s = self._settings.council.lease_s if members else ALONE_LEASE_S
        path, number = self._files.written, self._number
        written = Written(load_written(path, number), partial(save_written, path, number))
        self.roles = Roles(
            self.council, state, self._recorder, self.siblings, clock, self._me,
            roles=self._served(), pace=Pace(lease_s, self._settings.council.return_s),
            order=self._order, banned=lambda: banned_of(state.held), ready=self.ready,
            memory=Memory(self._epochs, written if members else Written({}, _drop)),
        )  # fmt: skip
        self.roles.on_taken = self._taken
        self.roles.drains = self.drains

    def _tell_failed(self, name: str, sentence: str) -> None:
        self.failed(name, sentence)

    def _taken(self, role: str) -> None:
        self.on_taken(role)

    def _held(self) -> dict[str, int]:
        return self.roles.held()

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
                self._state.leases.clear()
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

    def failing(self) -> dict[str, Failing]:
        """Return which duties of the fleet part failed and are not well again."""
        return self._duties.failing()

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
            self._forget_marks()
            _log.warning("council.members", members=", ".join(members), number=number)

    def _forget_marks(self) -> None:
        """Drop the marks of lanes that are in the council no more."""
        for gone in set(self._state.sibling_marks) - set(self._members):
            del self._state.sibling_marks[gone]

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

    def ready(self) -> tuple[str, ...]:
        """Return the roles this lane could do the work of now."""
        if not self._members:
            return self._served()
        state = self._state
        if state.safe_mode or not state.has_room:
            return ()
        works = {"forge": self._forge_is_near(), "hermes": self.sessions_work()}
        return tuple(role for role in self._served() if works[role])

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
        return self._desk.executor is not None and age_s < PROBE_FRESH_S

    async def _probe(self) -> None:
        """Ask the forge for its date: a lane that polls nothing must know whether it could."""
        while "forge" in self._served():
            try:
                await asyncio.wait_for(self._reader.date_s(), PROBE_S)
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
            facts.append(
                Fact("failure domain", "bad", f"this lane and the forge share {own}", "lane.toml",
                     mend="move one of them: an outage there takes both")
            )  # fmt: skip
        if not self._members:
            return facts
        agrees = self.siblings.has_quorum()
        running = ", ".join(self._members)
        facts.append(
            Fact("council", "ok" if agrees else "bad",
                 f"{self._number} of {running}" if agrees else "does not answer", "council",
                 mend="" if agrees else "allegro council must run here and on a second lane")
        )  # fmt: skip
        unheard = [one["lane"] for one in self.siblings.describe() if not one["heard"]]
        if unheard:
            told = ", ".join(str(name) for name in unheard)
            facts.append(
                Fact("siblings", "warn", f"not heard: {told}", "council pages",
                     mend="allegro fleet status, then look at that lane")
            )  # fmt: skip
        return facts

    # --- what the house asks -----------------------------------------------------------------

    def answers(self) -> dict[str, Callable[[Params], Awaitable[Any]]]:
        """Return what this lane answers about its fleet."""
        return {
            QueryName.FLEET: self._tell,
            QueryName.OFFER: self._offer,
            QueryName.REST: self._rest,
            QueryName.LOOK_AT: self._look_at,
        }

    async def _tell(self, params: Params) -> dict[str, Any]:
        del params
        held, freezes = self.roles.held(), self._state.freezes
        return {
            "lane": self._me.lane, "council": "nats" if self._members else "alone",
            "roster": self._number, "members": list(self._members),
            "domain": self._settings.lane.failure_domain,
            "quorum": self.siblings.has_quorum(), "ready": list(self.ready()), "held": held,
            "holders": {role: list(self.roles.holder(role)) for role in self._served()},
            "held_for_s": {role: round(self.roles.held_for_s(role), 1) for role in held},
            "frozen": not freezes.is_thawed,
            "freezes": [one.id for one in freezes.active[-TOLD_FREEZES:]],
            "siblings": self.siblings.describe(), "lease_s": self._settings.council.lease_s,
        }  # fmt: skip

    async def _offer(self, params: Params) -> dict[str, Any]:
        """Tell where this lane's council server would be, and its certificate."""
        del params
        from allegro.lane.fleet.council_server import offer  # noqa: PLC0415 (only while joining)

        return offer(self._settings, Path(self._files.council), self._clock.now_s())

    async def _rest(self, params: Params) -> dict[str, Any]:
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
        return {"held": self.roles.held()}

    async def _look_at(self, params: Params) -> dict[str, Any]:
        """Tell what this lane sees of another: its page in the council, and whether it answers."""
        name = read_query(params, LookAt).lane
        member = next((m for m in members_of(self._state.held) if m.name == name), None)
        if member is None:
            return {}
        seen = next((one for one in self.siblings.describe() if one["lane"] == name), {})
        return {
            "heard": seen.get("heard") is True, "ready": seen.get("ready", []),
            "host": await answers(member.address),
        }  # fmt: skip


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
