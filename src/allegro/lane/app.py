"""The lane program: opens its folder, makes its ports, and runs its wings until a signal.

Order rule: key, pairing and secrets are read before anything is started; the journal is open
before any duty and closes after all of them; effects that are under way may end before the link
does. A bug belongs to the duty it met (`runtime.duties`); one at the start, or in what runs the
duties, ends the program. Three of either kind within a minute are the safe mode.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog

from allegro.adapters.clock import SystemClock, SystemDice
from allegro.adapters.crypto.signatures import HpkeSealer, SigningKey, load_signing_key
from allegro.adapters.deadman import ping
from allegro.adapters.files import free_bytes, hold_folder
from allegro.adapters.sqlite.journal import SqliteJournal, open_journal
from allegro.adapters.systemd.notify import notify, watchdog_s
from allegro.config import read_secret
from allegro.core.authority.actions.agent import AGENT
from allegro.core.authority.actions.forge_family import FORGE
from allegro.core.authority.gate import LaneTrust
from allegro.core.authority.pairing import Paired
from allegro.core.base.crashes import is_safe_mode_due, remembered
from allegro.core.base.errors import UserError
from allegro.core.base.events import Event
from allegro.core.base.timestamps import rfc3339
from allegro.core.protocol.payloads.lane import DutyFailing, JournalGap, SafeModeBegun
from allegro.core.settings import LaneSettings
from allegro.lane.context import Context
from allegro.lane.context.ports import Ports, Wrap
from allegro.lane.context.recorder import Author, Recorder
from allegro.lane.context.role_work import Workers
from allegro.lane.context.state import KeptState, LaneState
from allegro.lane.effects.build import ForgeEffects
from allegro.lane.fleet.build import FleetWing, known_epochs
from allegro.lane.fleet.lease_memory import Epochs
from allegro.lane.folder.chat import load_muted, save_muted
from allegro.lane.folder.files import LaneFiles
from allegro.lane.folder.forms import (
    bring_all_forward,
    load_crashes,
    load_freezes,
    load_pairing,
    save_crashes,
    save_freezes,
    save_trust,
)
from allegro.lane.forge.build import Connection, ForgeWing
from allegro.lane.health import build as health
from allegro.lane.health import housekeeping
from allegro.lane.health.calling import Calling
from allegro.lane.health.status import Sources
from allegro.lane.schedule import build as schedule
from allegro.lane.tokens import build as tokens
from allegro.lane.tokens.daily import DailyToken
from allegro.lane.uplink.build import Uplink
from allegro.lane.uplink.dispatch import Carrier
from allegro.runtime.duties import Duties, Duty
from allegro.runtime.program import Program, running
from allegro.runtime.tasks import Soon

if TYPE_CHECKING:
    from allegro.lane.agent.build import AgentWing

_log = structlog.get_logger()


class Identity(msgspec.Struct, frozen=True):
    """What a lane is before it runs: configuration, folder, key, whom it believes, its fleet."""

    settings: LaneSettings
    files: LaneFiles
    key: SigningKey
    held: LaneTrust
    paired: Paired
    epochs: Epochs


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
    me = Identity(settings, files, key, held, paired, known_epochs(files))
    if settings.forge.url:
        read_secret(Path(settings.forge.token_file))
    clock = SystemClock()
    crashes = load_crashes(files.crashes)
    if leave_safe_mode:
        crashes = []
        save_crashes(files.crashes, crashes)
    safe_mode = is_safe_mode_due(crashes, clock.now_s())
    try:
        async with running(lambda: hold_folder(files.folder, "another lane"), notify) as program:
            await _live(me, wrap, program, safe_mode=safe_mode)
    except* UserError as errors:
        raise _first(errors) from None
    except* Exception as error:
        save_crashes(files.crashes, remembered(crashes, clock.now_s()))
        _log.critical("lane.died", error=repr(error.exceptions))
        raise
    finally:
        _log.info("lane.stopped")
    return 0


def _first(group: BaseExceptionGroup[UserError]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _live(me: Identity, wrap: Wrap, program: Program, *, safe_mode: bool) -> None:
    journal = await _open_journal(me)
    program.stack.push_async_callback(journal.close)
    token = tokens.daily_token(me.settings.forge.token_file)
    forge = Connection(me.settings.forge, token, SystemClock())
    program.stack.push_async_callback(forge.close)
    ctx = _context(me, wrap(_ports(me, journal, forge)), safe_mode=safe_mode)
    failures = _Failures(ctx)
    program.stack.push_async_callback(failures.duties.stop)
    failures.duties.add(*_wings(me, ctx, failures.duties, token, journal), failures.duty())
    program.stack.push_async_callback(failures.duties.leave)
    await failures.duties.start()
    program.ready("running" + (" in safe mode" if safe_mode else ""))
    _log.info("lane.ready", lane=me.settings.lane.name, safe_mode=safe_mode)
    await failures.duties.wait(program.stopping)


def _wings(
    me: Identity, ctx: Context, duties: Duties, token: DailyToken, journal: SqliteJournal
) -> list[Duty]:
    """Return the duties of all wings; the one that stands last closes first."""
    workers = Workers()
    agent = _agent(ctx, workers)
    effects = ForgeEffects(ctx)
    carriers: dict[str, Carrier] = {FORGE.name: effects}
    if agent is not None:
        carriers[AGENT.name] = agent.effects
    uplink = Uplink(ctx, me.key, carriers, duties.query)
    fleet = FleetWing(ctx, me.epochs, workers, duties.nested(), uplink.is_linked)
    forge = ForgeWing(ctx, fleet, workers)
    status = health.make_status(
        ctx,
        Sources(
            reader=lambda: ctx.ports.reader if forge.is_reached else None,
            journal_bytes=lambda: journal.bytes_kept,
            journal_lag=lambda: journal.head.seq - journal.acked.seq,
            is_linked=uplink.is_linked,
            failing=duties.failing,
            facts=duties.facts,
            sessions=lambda: agent.status() if agent else None,
        ),
    )
    calling = health.make_calling(ctx, status)
    machine = housekeeping.Machine(
        free_bytes=partial(free_bytes, ctx.files.folder),
        alive=lambda what: notify(f"WATCHDOG=1\nSTATUS={what}"),
        watchdog_s=watchdog_s(),
        age_out=journal.age_out,
    )
    return [
        *health.build(ctx, status, calling, lambda: forge.cycles, fleet.peers, ping),
        *forge.duties(),
        *uplink.duties(),
        *(agent.duties() if agent else ()),
        fleet.duty(),
        effects.queries(forge.listing),
        *tokens.build(ctx, token),
        *_chat(ctx, uplink, fleet, calling),
        *housekeeping.build(ctx, machine, forge.forget),
        *schedule.build(ctx, [*forge.scheduled(), *(agent.scheduled() if agent else ())]),
        Duty(name="orders under way", stop=uplink.settle),
    ]


def _agent(ctx: Context, workers: Workers) -> AgentWing | None:
    if not ctx.settings.serves_sessions:
        return None
    from allegro.lane.agent.build import AgentWing  # noqa: PLC0415 (a lane without pays nothing)

    return AgentWing(ctx, workers)


def _chat(ctx: Context, uplink: Uplink, fleet: FleetWing, calling: Calling) -> list[Duty]:
    if not ctx.settings.telegram.reads:
        return []
    from allegro.lane.chat import build as chat  # noqa: PLC0415 (a lane without pays nothing)

    links = chat.links(ctx, fleet, uplink.freeze, uplink.is_linked)
    return chat.build(ctx, msgspec.structs.replace(links, **calling.for_chat()))


class _Failures:
    """Tells home that a duty failed, once for each row of failures; three bugs end all acts."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._bugs_s: list[float] = []
        self._events = Soon("telling")
        self.duties = Duties(ctx.ports.clock, ctx.ports.dice, self._failed)

    def duty(self) -> Duty:
        return Duty(name="failures", stop=self._events.stop)

    def _failed(self, name: str, sentence: str) -> None:
        self._note_bug()
        failing = self.duties.failing().get(name)
        if failing is not None and failing.times == 1:
            event = self._ctx.recorder.tell(DutyFailing(duty=name), words=sentence)
            self._events.begin(name, event)

    def _note_bug(self) -> None:
        """Stop acting after three bugs in a minute, as after three crashes (by the steady clock)."""
        boot_s = self._ctx.ports.clock.boot_s()
        self._bugs_s = remembered(self._bugs_s, boot_s)
        if self._ctx.state.safe_mode or not is_safe_mode_due(self._bugs_s, boot_s):
            return
        self._ctx.state.safe_mode_began()
        _log.error("lane.safe_mode", why="three bugs in a minute")
        self._events.begin("safe mode", self._ctx.recorder.tell(SafeModeBegun()))
        self.duties.begin("safe mode", partial(housekeeping.end_safe_mode, self._ctx))


async def _open_journal(me: Identity) -> SqliteJournal:
    clock, dice, settings = SystemClock(), SystemDice(), me.settings

    def gap_event(reason: str, shed: int, count: int, first: int, last: int) -> Event:
        gap = JournalGap(reason=reason, shed=shed, count=count, first=first, last=last)
        return Event(
            id=dice.token(16).hex(),
            type=gap.type_.value,
            source=f"lane:{settings.lane.name}",
            time=rfc3339(clock.now_s()),
            data=gap.clear(),
        )

    return await open_journal(
        me.files.journal,
        cap_bytes=settings.journal.cap_mb * 1_000_000,
        reserved_share=settings.journal.reserved_share,
        new_id=dice.token(8).hex(),
        now_s=clock.now_s,
        gap_event=gap_event,
    )


def _ports(me: Identity, journal: SqliteJournal, forge: Connection) -> Ports:
    return Ports(
        clock=SystemClock(),
        dice=SystemDice(),
        journal=journal,
        sealer=HpkeSealer(me.held.trust.fleet, me.paired.sealing),
        reader=forge.reader,
        writer=forge.writer,
    )


def _context(me: Identity, ports: Ports, *, safe_mode: bool) -> Context:
    settings, files = me.settings, me.files
    state = LaneState(
        clock=ports.clock,
        journal=ports.journal,
        kept=KeptState(
            me.held,
            load_freezes(files.freezes),
            partial(save_freezes, files.freezes),
            partial(save_trust, files.trust),
            load_muted(files.muted),
            partial(save_muted, files.muted),
        ),
        forge=settings.forge_name,
        safe_mode=safe_mode,
        watches=settings.forge.watch,
    )
    recorder = Recorder(
        ports.journal,
        ports.sealer,
        ports.clock,
        ports.dice,
        by=Author(settings.lane.name, me.paired.secret),
        epochs=me.epochs.all,
    )
    return Context(settings, files, ports, state, recorder)
