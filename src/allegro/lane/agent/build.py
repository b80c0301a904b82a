"""Wires what runs agent sessions: sandbox, gateways, model proxy, providers."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import msgspec
import structlog

from allegro.adapters.hermes.existing import ExistingHermes
from allegro.adapters.hermes.host import Doors, HermesHost, Installed
from allegro.adapters.hermes.install import python_of
from allegro.adapters.local_http import call_local
from allegro.adapters.providers.openai import HttpProviders
from allegro.adapters.sandbox.boundary import find_sandbox
from allegro.adapters.sandbox.connect import ConnectProxy
from allegro.adapters.sandbox.door import open_door
from allegro.adapters.state_form import save
from allegro.config import read_secret
from allegro.core.agent.tallies import SessionTally
from allegro.core.authority.gate import Permit
from allegro.core.base.errors import ConfigError, EdgeError, Refusal
from allegro.core.base.timestamps import rfc3339
from allegro.core.health.facts import Fact
from allegro.core.models.ladder import Spend
from allegro.core.ports import AgentHost, Dice, Dress
from allegro.core.protocol.answers.lane import (
    CoolingRung,
    LaneSessions,
    LearntDialect,
    SpentToday,
)
from allegro.core.protocol.payloads.sessions import Talk
from allegro.core.protocol.queries import (
    Deny,
    Params,
    QueryName,
    RevokeLoan,
    StopSession,
    read_query,
)
from allegro.core.settings import ModelSettings
from allegro.lane.agent.facts import BUBBLEWRAP, running_facts
from allegro.lane.agent.gateways import Gateways
from allegro.lane.agent.health_check import HealthCheck
from allegro.lane.agent.known import Known
from allegro.lane.agent.running import OpenSession
from allegro.lane.agent.sessions import Sessions
from allegro.lane.agent.tallies import Tallies
from allegro.lane.context import Context
from allegro.lane.context.role_work import RoleWork, Workers
from allegro.lane.folder.duties import load_tallies, save_tallies
from allegro.lane.folder.forms import SESSIONS, KeptDay, load_day, read_kept, save_day
from allegro.lane.models.loans import Loans
from allegro.lane.models.proxy import ModelProxy
from allegro.runtime.duties import Answer, Duty
from allegro.runtime.scheduled_duty import ScheduledDuty, made

_log = structlog.get_logger()
FORGET_S = 30.0
WRITE_S = 1.0
AGENT_CALLS = 24
OWN_CALLS = 64


class DaySpend(msgspec.Struct, frozen=True):
    """What a day (UTC) has used so far."""

    day: str = ""
    spend: Spend = Spend()


class KeptSessions(msgspec.Struct, frozen=True):
    """sessions.json: the sessions that are open, by id."""

    sessions: dict[str, OpenSession]


def load_open(path: Path) -> dict[str, OpenSession]:
    """Return the sessions that were open when the lane ended; none where they cannot be read."""
    kept = read_kept(path, SESSIONS, KeptSessions)
    return kept.sessions if kept is not None else {}


def read_day(path: Path, models: ModelSettings, now_s: float) -> DaySpend:
    """Return what a day has used; where that cannot be read, this day counts as used up."""
    found = load_day(path)
    if found is None:
        return DaySpend()
    if isinstance(found, KeptDay):
        kept = found.spend
        return DaySpend(found.day, Spend(kept.usd, kept.tokens, kept.unpriced_tokens))
    _log.error("spend.unreadable", file=path.name, error=found.reason, until="the next day (UTC)")
    return DaySpend(rfc3339(now_s)[:10], Spend(models.usd_per_day, models.tokens_per_day))


class AgentEffects:
    """Carries out orders for the agent: sessions, answers to its questions, lent models."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def may_begin(self) -> Refusal | None:
        return None

    async def carry_out(self, permit: Permit, dress: Dress) -> None:
        await self._sessions.carry_out(permit, dress)

    async def set_aside(self, permit: Permit, error: BaseException) -> None:
        await self._sessions.set_aside(permit, error)


class AgentWing:
    """Everything of a lane that has to do with agent sessions."""

    def __init__(self, ctx: Context, workers: Workers) -> None:
        self._settings = settings = ctx.settings
        files, clock, dice = ctx.files, ctx.ports.clock, ctx.ports.dice
        self._files = files
        self._clock = clock
        self._runtime = make_runtime(files.folder)
        self._day = read_day(files.spend, settings.models, clock.now_s())
        self._dirty = asyncio.Event()
        self._providers = HttpProviders(settings.models, secret_now)
        self._connect = ConnectProxy(settings.hermes.destinations)
        self._close_door: Callable[[], Awaitable[None]] | None = None
        self.proxy = ModelProxy(
            settings.models, self._providers, clock, self._record, self._today, self._spent
        )
        host = ctx.ports.agents(self._host(dice))
        self.gateways = Gateways(host, self.proxy, clock, dice, settings.hermes)
        self.tallies = Tallies(
            load_tallies(files.tallies), partial(save_tallies, files.tallies), clock
        )
        self.sessions = Sessions(
            ctx,
            self.gateways,
            self.proxy,
            Known(
                load_open(files.sessions),
                lambda held: save(files.sessions, SESSIONS, KeptSessions(held)),
                clock,
            ),
            self.tallies,
        )
        self.loans = Loans(partial(call_local, self._runtime / "models"), clock, dice)
        ctx.state.on_freeze(self.sessions.freeze)
        workers.enter("hermes", RoleWork(lambda: not self.gateways.trouble))
        self.effects = AgentEffects(self.sessions)

    def _host(self, dice: Dice) -> AgentHost:
        settings = self._settings.hermes
        if settings.url:
            return ExistingHermes(settings, lambda: secret_now(settings.key_file))
        connect = self._runtime / "connect" if settings.destinations else None
        return HermesHost(
            settings,
            Installed(python_of(settings, self._files.folder), self._runtime),
            Doors(self._models_door, connect),
            find_sandbox(settings.sandbox),
            lambda: dice.token(32).hex(),
            max_tokens=self._settings.models.max_tokens,
        )

    async def _models_door(self, path: Path) -> Callable[[], Awaitable[None]]:
        return await open_door(self.proxy.routes(), path, most=AGENT_CALLS, mode=0o666)

    def duties(self) -> list[Duty]:
        """Return what runs, what it answers, and how all of it ends while the journal is open."""
        return [
            Duty(
                name="gateways",
                run=self.gateways.run,
                facts=self._facts,
                queries=self.answers(),
                start=self._start,
                stop=self._stop,
            ),
            Duty(name="lost sessions", run=self.sessions.recover),
            Duty(name="spend", run=self._write_spend),
            Duty(name="loans", run=self._forget_loans),
        ]

    def scheduled(self) -> list[ScheduledDuty]:
        """Return what of this wing runs at times of the clock."""
        duties = self._settings.duties
        return [
            made(
                "hermes-health",
                duties.hermes_health,
                HealthCheck(self.gateways, self._clock).run,
                duties,
            )
        ]

    def _facts(self) -> list[Fact]:
        return running_facts(self._settings, self.status())

    async def _start(self) -> None:
        """Open the proxy's socket."""
        own = self._runtime / "models"
        self._close_door = await open_door(self.proxy.routes(), own, most=OWN_CALLS, mode=0o600)
        if self._settings.hermes.destinations:
            await self._connect.start(self._runtime / "connect")

    async def _stop(self) -> None:
        """End sessions while the journal is open."""
        await self.sessions.close()
        await self.loans.close()
        if self._close_door is not None:
            await self._close_door()
        await self._connect.stop()
        await self._providers.close()
        with contextlib.suppress(EdgeError):
            save_day(self._files.spend, self._day)
        shutil.rmtree(self._runtime, ignore_errors=True)

    def _today(self) -> Spend:
        day = rfc3339(self._clock.now_s())[:10]
        if self._day.day != day:
            self._day = DaySpend(day)
        return self._day.spend

    def _spent(self, tokens: int, usd: float | None) -> None:
        spend = self._today().plus(tokens, usd)
        self._day = DaySpend(self._day.day, spend)
        self._dirty.set()

    async def _record(self, holder: str, payload: Talk) -> None:
        await self.sessions.record(holder, payload)

    async def _write_spend(self) -> None:
        """Write the day's spend down soon after it changed."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            try:
                await asyncio.to_thread(save_day, self._files.spend, self._day)
            except EdgeError as error:
                _log.error("spend.unwritten", error=str(error))
                self._dirty.set()
            await asyncio.sleep(WRITE_S)

    async def _forget_loans(self) -> None:
        """Drop loans that ran out."""
        while True:
            self.proxy.forget_old()
            await asyncio.sleep(FORGET_S)

    def answers(self) -> dict[str, Answer]:
        """Return what the house may ask about sessions and lent models."""
        return {
            QueryName.SESSIONS: self._open,
            QueryName.TALLIES: self._counted,
            QueryName.DENY: self._deny,
            QueryName.STOP_SESSION: self._stop_session,
            QueryName.MODEL_BEGIN: self.loans.begin,
            QueryName.MODEL_NEXT: self.loans.next,
            QueryName.REVOKE_LOAN: self._revoke_loan,
        }

    async def _revoke_loan(self, params: Params) -> bool:
        return self.proxy.revoke_holder(read_query(params, RevokeLoan).loan)

    async def _open(self, _: Params) -> list[str]:
        return list(self.sessions.live)

    async def _counted(self, _: Params) -> list[SessionTally]:
        return self.tallies.all()

    async def _deny(self, params: Params) -> bool:
        query = read_query(params, Deny)
        return await self.sessions.answers.deny(query.session, query.number)

    async def _stop_session(self, params: Params) -> bool:
        session = read_query(params, StopSession).session
        return await self.sessions.stop(session, "stopped by the house")

    def status(self) -> LaneSessions:
        """Return what `allegro status` shows of sessions."""
        gateways, ladder, spent = self.gateways, self.proxy.ladder, self._today()
        boot_s = self._clock.boot_s()
        return LaneSessions(
            gateways=gateways.size,
            ready=gateways.ready,
            version=gateways.version,
            trouble=gateways.trouble,
            sandbox=gateways.sandbox_trouble or BUBBLEWRAP,
            tools=gateways.tools(),
            off=gateways.off(),
            models=tuple(ladder.models()),
            local=self._settings.lane.local,
            running=self.sessions.describe(),
            cooling=tuple(
                CoolingRung(
                    provider, model, one.trouble.value, round(max(0.0, one.until_s - boot_s), 1)
                )
                for (provider, _, _, model), one in ladder.cooling.items()
            ),
            dialects=tuple(
                LearntDialect(provider, model, dialect.describe())
                for (provider, _, _, model), dialect in ladder.dialects.items()
            ),
            spent_today=SpentToday(spent.usd, spent.tokens, spent.unpriced_tokens),
            refused_destinations=self._connect.refused,
        )


def secret_now(name: str) -> str:
    """Return a secret at run time. Raises EdgeError: a file that cannot be read ends no lane."""
    try:
        return read_secret(Path(name).expanduser())
    except ConfigError as error:
        raise EdgeError(str(error), transient=True, kind="secret") from error


def make_runtime(state: Path) -> Path:
    """Return a new folder for sockets, on a memory file system where there is one.

    It is named after the state folder, which one lane holds: what an earlier run left is removed.
    """
    name = "lane-" + hashlib.sha256(str(state.absolute()).encode()).hexdigest()[:12]
    bases = (os.environ.get("RUNTIME_DIRECTORY", ""), "/run/allegro", "/dev/shm")  # noqa: S108
    base = next((base for base in bases if base and os.access(base, os.W_OK)), "")
    folder = Path(base or tempfile.gettempdir()) / name
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:  # somebody else's, in a folder that all may write
        return Path(tempfile.mkdtemp(prefix="lane-", dir=folder.parent))
    return folder
