"""The lane program: wires adapters to duties, starts, and stops cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import structlog
from aiohttp import web

from allegro.adapters.clock import SystemClock, SystemDice
from allegro.adapters.crypto.signatures import HpkeSealer, SigningKey, load_signing_key, verify
from allegro.adapters.crypto.tls import server_context
from allegro.adapters.deadman import ping
from allegro.adapters.files import free_bytes, hold_folder
from allegro.adapters.gitea.http import GiteaHttp
from allegro.adapters.gitea.reader import GiteaReader
from allegro.adapters.gitea.writer import GiteaWriter
from allegro.adapters.sqlite.journal import SqliteJournal, open_journal
from allegro.adapters.systemd.notify import notify, watchdog_s
from allegro.config import read_secret
from allegro.core.authority.gate import LaneTrust
from allegro.core.authority.pairing import Paired
from allegro.core.base.backoff import FORGE
from allegro.core.base.crashes import LASTS_S, is_safe_mode_due, remembered
from allegro.core.base.errors import ConfigError, EdgeError, ToldError
from allegro.core.base.events import Event
from allegro.core.base.timestamps import rfc3339
from allegro.core.ports import Clock, Dice
from allegro.core.protocol.messages import Serves
from allegro.core.protocol.payloads.lane import (
    DutyFailing,
    JournalGap,
    SafeModeBegun,
    SafeModeEnded,
)
from allegro.core.protocol.queries import QueryName
from allegro.core.settings import LaneSettings
from allegro.lane.effects.executor import Executor
from allegro.lane.effects.queries import Queries
from allegro.lane.files import LaneFiles
from allegro.lane.fleet.build import FleetApp
from allegro.lane.forge.poller import ForgeDuty
from allegro.lane.forge.snapshots import Taking
from allegro.lane.forge.triage import Triage
from allegro.lane.forge.webhook import Webhook
from allegro.lane.health.heartbeat import Beats
from allegro.lane.health.status import Status
from allegro.lane.ports import Ports, Wrap
from allegro.lane.recorder import Recorder
from allegro.lane.state import LaneState
from allegro.lane.state_files import (
    bring_all_forward,
    load_crashes,
    load_freezes,
    load_pairing,
    save_crashes,
    save_freezes,
    save_trust,
)
from allegro.lane.tokens.auditor import Auditor
from allegro.lane.tokens.daily import DailyToken
from allegro.lane.uplink.service import Desk
from allegro.link.listen import LinkListener
from allegro.runtime.duties import Duties, Failing, Soon

if TYPE_CHECKING:
    from allegro.lane.agent.build import SessionsApp

_log = structlog.get_logger()
DISK_S = 5.0
AGE_S = 3600.0
STOP_S = 5.0


async def run(
    settings: LaneSettings, *, leave_safe_mode: bool = False, wrap: Wrap = lambda ports: ports
) -> int:
    """Run the lane until SIGTERM or SIGINT; return the exit code.

    Raises ConfigError before anything is started when key, pairing or secrets are missing.
    """
    files = LaneFiles(Path(settings.lane.state_dir).expanduser())  # noqa: ASYNC240
    key = load_signing_key(files.key)
    bring_all_forward(files)
    held, paired = load_pairing(files.trust, files.paired)
    if settings.forge.url:
        read_secret(Path(settings.forge.token_file))
    clock, dice = SystemClock(), SystemDice()
    crashes = load_crashes(files.crashes)
    if leave_safe_mode:
        crashes = []
        save_crashes(files.crashes, crashes)
    safe = is_safe_mode_due(crashes, clock.now_s())
    lane = _Lane(settings, files, key, held, paired, clock, dice, wrap, safe_mode=safe)
    try:
        await lane.start()
        await lane.wait()
    except* ToldError as told:
        raise _first(told) from None
    except* Exception as error:
        save_crashes(files.crashes, remembered(crashes, clock.now_s()))
        _log.critical("lane.died", error=repr(error.exceptions))
        raise
    finally:
        await lane.stop()
    return 0


async def end_safe_mode(clock: Clock, state: LaneState, recorder: Recorder) -> None:
    """Act again once the safe mode has lasted, whether or not the journal can take the news."""
    await clock.sleep(LASTS_S)
    state.safe_mode = False
    try:
        await recorder.tell(SafeModeEnded())
    except EdgeError as error:
        _log.warning("safe_mode.end_untold", error=str(error))


def _first(group: BaseExceptionGroup[ToldError]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class _Lane:
    def __init__(
        self, settings: LaneSettings, files: LaneFiles, key: SigningKey, held: LaneTrust,
        paired: Paired, clock: Clock, dice: Dice, wrap: Wrap, *, safe_mode: bool,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._files = files
        self._key = key
        self._held = held
        self._paired = paired
        self._clock = clock
        self._dice = dice
        self._wrap = wrap
        self._safe_mode = safe_mode
        self._token = DailyToken(self._daily_token)
        self._http = GiteaHttp(
            settings.forge.url, self._token, timeout_s=settings.forge.timeout_s,
            boot_s=clock.boot_s,
        )  # fmt: skip
        self._duties = Duties(clock, dice, self._duty_failed)
        self._telling = Soon("telling")
        self._bugs_s: list[float] = []
        self._runners: list[web.AppRunner] = []
        self._listener: LinkListener | None = None
        self._lock: IO[str] | None = None
        self._sqlite: SqliteJournal | None = None
        self._stopping = asyncio.Event()
        self.fleet: FleetApp
        self._duty: ForgeDuty | None = None
        self._found_new: Callable[[], None] = lambda: None
        self._sessions: SessionsApp | None = None

    async def start(self) -> None:
        """Open the journal and the listeners; the forge is reached in the background."""
        settings, clock = self._settings, self._clock
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, self._stopping.set)
        self._lock = hold_folder(self._files.folder, "another lane")
        self._sqlite = await open_journal(
            self._files.journal,
            cap_bytes=settings.journal.cap_mb * 1_000_000,
            reserved_share=settings.journal.reserved_share,
            new_id=self._dice.token(8).hex(),
            now_s=clock.now_s,
            gap_event=self._gap_event,
        )
        trust = self._held.trust
        reader = GiteaReader(self._http)
        self.ports = ports = self._wrap(
            Ports(
                clock=clock,
                dice=self._dice,
                journal=self._sqlite,
                sealer=HpkeSealer(trust.fleet, self._paired.sealing),
                reader=reader,
                writer=GiteaWriter(self._http, reader, clock.now_s),
            )
        )
        clock = self._clock = ports.clock
        self.state = LaneState(
            clock=clock,
            journal=ports.journal,
            held=self._held,
            freezes=load_freezes(self._files.freezes),
            forge=settings.forge_name,
            save_freezes=lambda freezes: save_freezes(self._files.freezes, freezes),
            save_trust=lambda held: save_trust(self._files.trust, held),
            safe_mode=self._safe_mode,
            watches=settings.forge.watch,
        )
        self._check_disk()
        self.recorder = Recorder(
            ports.journal, ports.sealer, ports.clock, ports.dice, lane=settings.lane.name,
            secret=self._paired.secret,
        )  # fmt: skip
        self.status = Status(self.state, settings)
        self.desk = Desk(
            self.state, self.recorder, None, None, ports.clock, ports.dice,
            sign=self._key.sign, verify=verify,
            own_facts={
                QueryName.STATUS: lambda _: self.status.status(),
                QueryName.DOCTOR: lambda _: self.status.doctor(),
                QueryName.TRIAGE_LABEL: self._triage_label,
            }, serves=Serves(
                bool(settings.forge.url), settings.hermes.gateways, settings.lane.local
            ),
        )  # fmt: skip
        self.fleet = FleetApp(
            settings,
            self._files,
            ports,
            self.recorder,
            self.state,
            self.desk,
            self._is_linked,
        )
        self.status.more_facts.append(self.fleet.facts)
        self.fleet.on_taken = self._taken
        self.fleet.failed = self._duty_failed
        self.status.failing = self._failing
        await self._listen()
        self._duties.begin("council", self.fleet.run)
        if settings.forge.url:
            self._duties.begin("forge", self._forge)
        if settings.serves_sessions:
            await self._start_sessions()
        beats = Beats(
            self.recorder, self.state, clock, settings.beat, cycles=self._cycles,
            healthy=self.status.healthy, ping=ping,
        )  # fmt: skip
        self.status.more_facts.append(beats.facts)
        self._duties.begin("beats", beats.tell_on)
        self._duties.begin("dead-man switch", beats.call_on)
        if self._safe_mode:
            self._duties.begin("safe mode", self._end_safe_mode)
        self._duties.begin("housekeeping", self._housekeeping)
        self._duties.begin("ageing", self._age_on)
        notify("READY=1\nSTATUS=running" + (" in safe mode" if self._safe_mode else ""))
        _log.info("lane.ready", lane=settings.lane.name, safe_mode=self._safe_mode)

    async def _start_sessions(self) -> None:
        from allegro.lane.agent.build import SessionsApp  # noqa: PLC0415 (a lane without
        from allegro.lane.agent.facts import running_facts  # noqa: PLC0415  pays nothing)

        self._sessions = sessions = SessionsApp(
            self._settings, self._files, self._clock, self._dice, self.recorder, self.state,
            self.ports.agents,
        )  # fmt: skip
        self.status.sessions, self.status.session_facts = sessions.status, running_facts
        self.desk.sessions = sessions.sessions
        self.fleet.sessions_work = lambda: not sessions.gateways.trouble
        self.desk.own_facts |= sessions.answers()
        for name, run in (await sessions.start()).items():
            self._duties.begin(name, run)

    async def wait(self) -> None:
        """Return at a signal. Raises what must end the program."""
        await self._duties.wait(self._stopping)

    async def stop(self) -> None:
        """Stop listening, let effects end, close the journal."""
        notify("STOPPING=1")
        if hasattr(self, "fleet"):
            await self.fleet.leave()
        await self._duties.stop()
        await self._telling.stop()
        if hasattr(self, "desk"):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.desk.settle(), STOP_S)
        if self._sessions is not None:
            await self._sessions.stop()
        if self._listener is not None:
            await self._listener.stop()
        for runner in self._runners:
            await runner.cleanup()
        await self._http.close()
        if self._sqlite is not None:
            await self._sqlite.close()
        if self._lock is not None:
            self._lock.close()
        _log.info("lane.stopped")

    def _failing(self) -> dict[str, Failing]:
        fleet = self.fleet.failing() if hasattr(self, "fleet") else {}
        return self._duties.failing() | fleet

    def _duty_failed(self, name: str, sentence: str) -> None:
        """Tell home that a duty failed, once for each row of failures."""
        self._note_bug()
        failing = self._failing().get(name)
        if failing is not None and failing.times == 1 and hasattr(self, "recorder"):
            tell = self.recorder.tell(DutyFailing(duty=name), words=sentence)
            self._telling.begin(name, tell)

    def _note_bug(self) -> None:
        """Stop acting after three bugs in a minute, as after three crashes (by the steady clock)."""
        boot_s = self._clock.boot_s()
        self._bugs_s = remembered(self._bugs_s, boot_s)
        if not is_safe_mode_due(self._bugs_s, boot_s) or not hasattr(self, "state"):
            return
        if not self.state.safe_mode:
            self.state.safe_mode = True
            _log.error("lane.safe_mode", why="three bugs in a minute")
            self._telling.begin("safe mode", self.recorder.tell(SafeModeBegun()))
            self._duties.begin("safe mode", self._end_safe_mode)

    def _daily_token(self) -> str:
        try:
            return read_secret(Path(self._settings.forge.token_file).expanduser())
        except ConfigError as error:  # it was there at the start: wait for it, end nothing
            raise EdgeError(str(error), transient=True, kind="secret", sent=False) from error

    async def _listen(self) -> None:
        settings = self._settings
        if settings.link.listen:
            self._listener = LinkListener(self.desk, self.desk.blobs)
            await self._listener.start(settings.link.listen, self._tls())
            self.status.is_linked = lambda: self._listener is not None and self._listener.is_linked
        if settings.status.listen:
            await self._serve(self.status.routes(), settings.status.listen)
        if settings.webhook.listen:
            secret = read_secret(Path(settings.webhook.secret_file))
            hook = Webhook(secret, self._hint, self._clock.now_s, settings.webhook.per_minute)
            self.status.more_facts.append(hook.facts)
            self._found_new = hook.found_new
            await self._serve(hook.routes(), settings.webhook.listen)
        assert self._sqlite is not None
        sqlite = self._sqlite
        self.status.journal_bytes = lambda: sqlite.bytes_kept
        self.status.journal_lag = lambda: sqlite.head.seq - sqlite.acked.seq

    async def _serve(self, app: web.Application, listen: str) -> None:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        self._runners.append(runner)
        host, _, port = listen.rpartition(":")
        try:
            await web.TCPSite(runner, host.strip("[]"), int(port)).start()
        except OSError as error:
            raise ConfigError((f"cannot listen on {listen}: {error}",)) from error

    def _tls(self) -> ssl.SSLContext | None:
        link = self._settings.link
        if link.tls == "none" or link.listen.startswith("unix:"):
            return None
        if link.tls == "files":
            return server_context(Path(link.cert_file), Path(link.key_file))
        return server_context(self._files.certificate, self._files.certificate_key)

    def _taken(self, role: str) -> None:
        if role == "forge":
            self._hint()

    def _hint(self) -> None:
        if self._duty is not None:
            self._duty.hint()

    async def _forge(self) -> None:
        """Reach the forge, audit the token, then poll; wait and retry while it cannot be had."""
        failures = 0
        while self._duty is None:
            try:
                self._duty = await self._forge_duty()
            except EdgeError as error:
                self.state.forge_trouble = str(error)
                _log.warning("forge.unreachable", error=str(error))
                await asyncio.sleep(FORGE.delay_s(failures, self._dice.fraction))
                failures += 1
        self._auditor.audited = self._duty.hint
        self._duties.begin("audit", self._auditor.run)
        self._duties.begin("polls", self._duty.run)

    async def _forge_duty(self) -> ForgeDuty:
        settings, ports = self._settings.forge, self.ports
        self._auditor = Auditor(
            ports.reader, self.recorder, self.state, settings, ports.clock, ports.dice, self._token,
        )  # fmt: skip
        await self._auditor.audit()
        bots = self._auditor.bots
        taking = Taking(self.recorder, self.state.forge, await ports.journal.versions())
        triage = Triage(
            ports.reader, ports.writer, self.recorder, self.state, settings, ports.clock,
            ports.dice, bots,
        )  # fmt: skip
        duty = ForgeDuty(
            ports.reader, self.recorder, taking, triage, self.state, lambda: self.fleet.roles, settings,
            ports.clock, ports.dice, self.fleet.undecided,
        )  # fmt: skip
        executor = Executor(
            ports.reader, ports.writer, self.recorder, ports.clock, self.state.situation,
            bots=bots, forbidden=settings.forbidden_users,
            accepted=settings.accept_unprotected, write_s=settings.timeout_s,
            shadow=settings.shadow,
        )  # fmt: skip
        self.desk.executor = executor
        self.desk.queries = Queries(
            ports.reader, executor.looking, bots, self.state.forge, self.recorder.content,
            duty.listing,
        )  # fmt: skip
        duty.found_new = self._found_new
        self.status.reader = ports.reader
        self.status.more_facts += [self._auditor.facts, duty.facts]
        self.fleet.drains["forge"] = duty.drain
        return duty

    def _is_linked(self) -> bool:
        return self.status.is_linked()

    def _cycles(self) -> int:
        return self._duty.cycles if self._duty else 0

    async def _end_safe_mode(self) -> None:
        await end_safe_mode(self._clock, self.state, self.recorder)
        self._safe_mode = False

    async def _housekeeping(self) -> None:
        """Look at the disk, and tell the watchdog that this program is alive."""
        beat_s = watchdog_s()
        while True:
            self._check_disk()
            notify("WATCHDOG=1\nSTATUS=" + self.state.done.what)
            await asyncio.sleep(min(DISK_S, beat_s or DISK_S))

    async def _age_on(self) -> None:
        """Take out of the journal what is too old, at the start and hourly."""
        while True:
            assert self._sqlite is not None
            keep_s = self._settings.journal.keep_days * 86_400
            try:
                aged = await self._sqlite.age_out(self._clock.now_s() - keep_s)
            except EdgeError as error:
                _log.error("journal.not_aged", error=str(error))
            else:
                if self._duty is not None:
                    self._duty.forget(aged)
            await asyncio.sleep(AGE_S)

    async def _triage_label(self, params: dict[str, Any]) -> dict[str, str]:
        """Take the house's label, and name our own, empty where this lane marks nothing."""
        self.state.home_label.hear(params)
        forge = self._settings.forge
        return {"label": forge.triage_label if forge.url and forge.triage else ""}

    def _check_disk(self) -> None:
        free = free_bytes(self._files.folder)
        self.state.disk_ok = free >= self._settings.journal.min_free_mb * 1_000_000

    def _gap_event(self, reason: str, shed: int, count: int, first: int, last: int) -> Event:
        gap = JournalGap(reason=reason, shed=shed, count=count, first=first, last=last)
        return Event(
            id=self._dice.token(16).hex(),
            type=gap.type_.value,
            source=f"lane:{self._settings.lane.name}",
            time=rfc3339(self._clock.now_s()),
            data=gap.clear(),
        )
