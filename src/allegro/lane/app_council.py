"""The council program of a lane: keeps its nats-server running as the roster says.

A process and unit of its own, so that starting the lane's program again does not shake the
council. It reads what the lane keeps (trust and roster) and holds no key but the server's.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
from pathlib import Path
from typing import Any

import msgspec
import structlog

from allegro.adapters.clock import SystemClock, SystemDice
from allegro.adapters.files import free_bytes, hold_folder
from allegro.adapters.nats.server import (
    Server,
    ServerFiles,
    adopt,
    find_server,
    make_seed,
    public_of,
    render,
)
from allegro.adapters.notify import notify
from allegro.adapters.tls import make_certificate, names_host
from allegro.core.approvals import Member
from allegro.core.backoff import FORGE
from allegro.core.errors import ConfigError, EdgeError
from allegro.core.gate import LaneTrust
from allegro.core.roster import members_of
from allegro.core.settings import LaneSettings
from allegro.core.untrusted import Unreadable
from allegro.lane.files import LaneFiles
from allegro.lane.kept import load_trust

_log = structlog.get_logger()
LOOK_S = 1.0
HEALTH_S = 5.0


class Plan(msgspec.Struct, frozen=True):
    """Which server to run: the roster's number, this lane, and the others."""

    fleet: str
    number: int
    me: Member
    others: tuple[Member, ...]


def plan_of(held: LaneTrust | None) -> Plan | None:
    """Return the server this trust asks for; None where this lane is in no council."""
    if held is None or held.roster is None:
        return None
    members = members_of(held)
    me = next((member for member in members if member.lane == held.trust.lane), None)
    if me is None:
        return None
    others = tuple(member for member in members if member is not me)
    return Plan(held.trust.fleet, held.roster.number, me, others)


def offer(settings: LaneSettings, folder: Path, now_s: float) -> dict[str, Any]:
    """Return where this lane's council server is to be reached, and its certificate.

    Makes key and certificate where there are none for this address; those in use stay until a
    roster names the new ones. Raises EdgeError while the council is off.
    """
    council = settings.council
    address = council.address or council.listen
    host = address.rpartition(":")[0]
    if not address or host in {"0.0.0.0", "[::]", "::", "*"}:  # noqa: S104 (refused, not bound)
        told = "set council.listen, and council.address as the other lanes see it, in its lane.toml"
        raise EdgeError(f"{settings.lane.name} keeps no council: {told}", transient=False)
    files = ServerFiles(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    certificate = files.certificate
    if not names_host(certificate, host):
        certificate = files.offered_certificate
        if not names_host(certificate, host):
            make_certificate(certificate, files.offered_key, settings.lane.name, now_s, host)
    return {
        "address": address, "certificate": certificate.read_text("utf-8"),
        "domain": settings.lane.failure_domain,
    }  # fmt: skip


async def run(settings: LaneSettings) -> int:
    """Run until SIGTERM or SIGINT; return the exit code. Raises ConfigError before anything."""
    if not settings.council.listen:
        raise ConfigError(("lane.toml  council.listen  is off; this lane keeps no council",))
    binary = find_server(settings.council.server)
    lane = LaneFiles(Path(settings.lane.state_dir).expanduser())  # noqa: ASYNC240
    lane.council.mkdir(mode=0o700, parents=True, exist_ok=True)
    keeper = _Keeper(settings, lane, ServerFiles(lane.council), binary)
    stopping = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stopping.set)
    with contextlib.closing(hold_folder(lane.council, "another council program")):
        notify("READY=1")
        try:
            while not stopping.is_set():
                await keeper.step()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), LOOK_S)
        finally:
            notify("STOPPING=1")
            await keeper.server.stop()
    return 0


class _Keeper:
    def __init__(
        self, settings: LaneSettings, lane: LaneFiles, files: ServerFiles, binary: str
    ) -> None:
        self._settings = settings
        self._lane = lane
        self._files = files
        self._clock, self._dice = SystemClock(), SystemDice()
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
            await self.server.stop()
            self._plan, self._failures, self._not_before_s = plan, 0, float("-inf")
            _log.info("council.plan", number=plan.number if plan else 0)
        if plan is None:
            return
        if not self.server.is_running:
            if boot_s >= self._not_before_s:
                await self._start(plan)
        elif boot_s - self._looked_s >= HEALTH_S:
            self._looked_s = boot_s
            await self._look()

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
        text = render(
            files, plan.me, plan.others, fleet=plan.fleet, number=plan.number,
            listen=council.listen, public=public_of(seed), disk_mb=council.disk_mb,
        )  # fmt: skip
        files.config.touch(mode=0o600)
        files.config.write_text(text, "utf-8")
        for old in files.folder.glob("store-*"):
            if old.name != f"store-{plan.number}":
                shutil.rmtree(old, ignore_errors=True)
