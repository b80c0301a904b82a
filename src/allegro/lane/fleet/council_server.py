"""The council program of a lane: keeps its nats-server running as the roster says.

A process and unit of its own, so that starting the lane's program again does not shake the
council. It reads what the lane keeps (trust and roster) and holds no key but the server's.
"""

from __future__ import annotations

import asyncio
import shutil
from functools import partial
from pathlib import Path

import msgspec
import structlog

from allegro.adapters.clock import SystemClock, SystemDice
from allegro.adapters.crypto.tls import make_certificate, names_host
from allegro.adapters.files import free_bytes, hold_folder
from allegro.adapters.nats.council import Access, NatsCouncil
from allegro.adapters.nats.server import (
    Server,
    ServerFiles,
    adopt,
    find_server,
    make_seed,
    public_of,
    read_running,
    seed_of,
)
from allegro.adapters.nats.settings import Serving, render
from allegro.adapters.systemd.notify import notify
from allegro.core.authority.gate import LaneTrust
from allegro.core.authority.roster import members_of
from allegro.core.authority.tokens import Member
from allegro.core.base.backoff import FORGE
from allegro.core.base.errors import ConfigError, EdgeError
from allegro.core.base.untrusted import Unreadable
from allegro.core.ports import Clock, Dice
from allegro.core.protocol.answers.fleet import LaneOffer
from allegro.core.settings import LaneSettings
from allegro.lane.folder.files import LaneFiles
from allegro.lane.folder.forms import load_trust
from allegro.runtime.duties import Duties, Run
from allegro.runtime.program import running

_log = structlog.get_logger()
LOOK_S = 0.25
HEALTH_S = 5.0
MOVE_S = 1.5


class Plan(msgspec.Struct, frozen=True):
    """Which server to run: the roster's number, this lane, and the others.

    `revoked` are lanes of the roster whose key was revoked.
    """

    fleet: str
    number: int
    me: Member
    others: tuple[Member, ...]
    revoked: frozenset[str] = frozenset()


def plan_of(held: LaneTrust | None) -> Plan | None:
    """Return the server this trust asks for; None where this lane is in no council."""
    if held is None or held.roster is None:
        return None
    members = members_of(held)
    me = next((member for member in members if member.lane == held.trust.lane), None)
    if me is None:
        return None
    others = tuple(member for member in members if member is not me)
    revoked = frozenset(m.name for m in held.roster.members) - {m.name for m in members}
    return Plan(held.trust.fleet, held.roster.number, me, others, revoked)


def newly_revoked(before: Plan | None, plan: Plan | None) -> frozenset[str]:
    """Return whom to take out of a council that else stays as it is; nobody where it does not."""
    if before is None or plan is None:
        return frozenset()
    kept = tuple(member for member in before.others if member.name not in plan.revoked)
    if msgspec.structs.replace(before, others=kept, revoked=plan.revoked) != plan:
        return frozenset()
    return plan.revoked - before.revoked


def offer(settings: LaneSettings, folder: Path, now_s: float) -> LaneOffer:
    """Return where this lane's council server is to be reached, and its certificate.

    Makes key and certificate where there are none for this address; those in use stay until a
    roster names the new ones. Raises EdgeError while the council is off.
    """
    council = settings.council
    address = council.address or council.listen
    host = address.rpartition(":")[0]
    if not address or host in {"0.0.0.0", "[::]", "::", "*"}:  # noqa: S104 (refused, not bound)
        fix = "set council.listen, and council.address as the other lanes see it, in its lane.toml"
        raise EdgeError(f"{settings.lane.name} keeps no council: {fix}", transient=False)
    files = ServerFiles(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    certificate = files.certificate
    if not names_host(certificate, host):
        certificate = files.offered_certificate
        if not names_host(certificate, host):
            make_certificate(certificate, files.offered_key, settings.lane.name, now_s, host)
    return LaneOffer(address, certificate.read_text("utf-8"), settings.lane.failure_domain)


async def run(settings: LaneSettings) -> int:
    """Run until SIGTERM or SIGINT; return the exit code. Raises ConfigError before anything."""
    if not settings.council.listen:
        raise ConfigError(("lane.toml  council.listen  is off; this lane keeps no council",))
    binary = find_server(settings.council.server)
    lane = LaneFiles(Path(settings.lane.state_dir).expanduser())  # noqa: ASYNC240
    lane.council.mkdir(mode=0o700, parents=True, exist_ok=True)
    keeper = _Keeper(settings, lane, ServerFiles(lane.council), binary)
    hold = partial(hold_folder, lane.council, "another council program")
    async with running(hold, notify) as program:
        program.stack.push_async_callback(keeper.server.stop)
        program.ready()
        await keep(keeper.step, program.stopping, SystemClock(), SystemDice())
    return 0


async def keep(step: Run, stopping: asyncio.Event, clock: Clock, dice: Dice) -> None:
    """Take one step after another until `stopping` is set.

    A bug in one is logged with its traceback, and the steps go on after a pause: the server that
    runs meanwhile is not shaken.
    """

    async def steps() -> None:
        while True:
            await step()
            await clock.sleep(LOOK_S)

    duties = Duties(clock, dice, lambda name, sentence: None)
    duties.begin("council server", steps)
    try:
        await duties.wait(stopping)
    finally:
        await duties.stop()


class _Keeper:
    def __init__(
        self, settings: LaneSettings, lane: LaneFiles, files: ServerFiles, binary: str
    ) -> None:
        self._settings = settings
        self._lane = lane
        self._files = files
        self._clock, self._dice = SystemClock(), SystemDice()
        self._seed = seed_of(self._dice.token(32))  # nobody else has it, and no disk
        self.server = Server(files, binary)
        self._plan: Plan | None = None
        self._damage = ""
        self._failures = 0
        self._not_before_s = float("-inf")
        self._looked_s = float("-inf")

    async def step(self) -> None:
        """Bring the server to what the roster says; start again what ended or broke."""
        held, boot_s = load_trust(self._lane.trust), self._clock.boot_s()
        if isinstance(held, Unreadable):
            plan = self._plan  # what runs goes on: nothing new is believed
            self._note_damage(held.reason)
        else:
            plan, self._damage = plan_of(held), ""
        if plan != self._plan:
            before, self._plan = self._plan, plan
            _log.info("council.plan", number=plan.number if plan else 0)
            if plan is None or not await self._cut(newly_revoked(before, plan), plan):
                await self.server.stop()
                self._failures, self._not_before_s = 0, float("-inf")
        if plan is None:
            return
        if not self.server.is_running:
            if boot_s >= self._not_before_s:
                await self._start(plan)
        elif boot_s - self._looked_s >= HEALTH_S:
            self._looked_s = boot_s
            await self._look()

    async def _cut(self, revoked: frozenset[str], plan: Plan) -> bool:
        """Close a revoked lane's connections while the server runs on; false where it did not.

        The server is not started again, because that costs the council an election of all.
        """
        if not revoked or not self.server.is_running:
            return False
        await self._move_leader(revoked, plan.me.name)
        try:
            self._write(plan)
        except (EdgeError, OSError) as error:
            _log.error("council.not_cut", lanes=sorted(revoked), error=str(error))
            return False
        is_cut = await self.server.reload()
        _log.warning("council.cut", lanes=sorted(revoked), by="reload" if is_cut else "restart")
        return is_cut

    async def _move_leader(self, revoked: frozenset[str], to: str) -> None:
        """Let no revoked lane's server lead when it is cut off; a thief's server may refuse."""
        running = read_running(self._files)
        access = Access(running.client, self._seed) if running else None
        council = NatsCouncil(lambda: access, timeout_s=MOVE_S)
        try:
            await council.move_leader(revoked, to)
        except EdgeError as error:
            _log.info("council.leader_kept", error=str(error))
        finally:
            await council.close()

    def _note_damage(self, reason: str) -> None:
        """Tell once of a trust that cannot be read."""
        if reason != self._damage:
            self._damage = reason
            _log.error("trust.damaged", file=self._lane.trust.name, error=reason)

    async def _start(self, plan: Plan) -> None:
        self._failures += 1
        delay_s = min(FORGE.delay_s(self._failures - 1, self._dice.fraction), 10.0)
        self._not_before_s = self._clock.boot_s() + delay_s
        try:
            self._write(plan)
            await self.server.start(plan.number)
        except (EdgeError, OSError) as error:
            _log.error("council.not_started", error=str(error))
            return
        _log.info("council.started", number=plan.number, others=[m.name for m in plan.others])

    async def _look(self) -> None:
        """A store that could not write is started again once the disk has room."""
        if await self.server.is_broken():
            if free_bytes(self._files.folder) > self._settings.journal.min_free_mb * 1_000_000:
                _log.warning("council.restarted", reason="its store could not write")
                await self.server.stop()
        else:
            self._failures = 0

    def _write(self, plan: Plan) -> None:
        files, council = self._files, self._settings.council
        if not adopt(files, plan.me.certificate):
            raise EdgeError(
                "the roster names a certificate whose key is not here: join again", transient=False
            )
        seed = make_seed(files.seed, self._dice.token(32))
        trusted = [plan.me, *plan.others]
        files.trusted.write_text("".join(member.certificate for member in trusted), "utf-8")
        serving = Serving(
            fleet=plan.fleet,
            number=plan.number,
            listen=council.listen,
            public=public_of(seed),
            disk_mb=council.disk_mb,
            keeper=public_of(self._seed),
            revoked=len(plan.revoked),
        )
        text = render(files, plan.me, plan.others, serving)
        files.config.touch(mode=0o600)
        files.config.write_text(text, "utf-8")
        for old in files.folder.glob("store-*"):
            if old.name != f"store-{plan.number}":
                shutil.rmtree(old, ignore_errors=True)
