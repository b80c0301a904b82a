"""Looks after the lane's own folder: room on the disk, age of the journal, and the watchdog."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec
import structlog

from allegro.core.base.crashes import LASTS_S
from allegro.core.base.errors import EdgeError
from allegro.core.protocol.payloads.lane import SafeModeEnded
from allegro.lane.context import Context
from allegro.runtime.duties import Duty

_log = structlog.get_logger()
DISK_S = 5.0
AGE_S = 3600.0


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of the machine.

    `free_bytes` of the disk of the state folder; `alive` tells the supervisor what was done last,
    at least every `watchdog_s` seconds (None: it does not ask); `age_out` takes out of the journal
    what is older than a Unix time (s) and returns the subjects that went.
    """

    free_bytes: Callable[[], int]
    alive: Callable[[str], None]
    watchdog_s: float | None
    age_out: Callable[[float], Awaitable[tuple[str, ...]]]


def build(ctx: Context, machine: Machine, forget: Callable[[tuple[str, ...]], None]) -> list[Duty]:
    """Return the housekeeping; `forget` takes objects for new again that aged out of the journal."""
    see_disk(ctx, machine)

    async def look_on() -> None:
        while True:
            see_disk(ctx, machine)
            machine.alive(ctx.state.done.what)
            await asyncio.sleep(min(DISK_S, machine.watchdog_s or DISK_S))

    async def age_on() -> None:
        keep_s = ctx.settings.journal.keep_days * 86_400
        while True:
            try:
                forget(await machine.age_out(ctx.ports.clock.now_s() - keep_s))
            except EdgeError as error:
                _log.error("journal.not_aged", error=str(error))
            await asyncio.sleep(AGE_S)

    safe = [Duty(name="safe mode", run=partial(end_safe_mode, ctx))] if ctx.state.safe_mode else []
    return [*safe, Duty(name="housekeeping", run=look_on), Duty(name="ageing", run=age_on)]


def see_disk(ctx: Context, machine: Machine) -> None:
    """Note whether the disk has room for what an effect must leave behind."""
    least = ctx.settings.journal.min_free_mb * 1_000_000
    ctx.state.disk_seen(is_ok=machine.free_bytes() >= least)


async def end_safe_mode(ctx: Context) -> None:
    """Act again once the safe mode has lasted, whether or not the journal can take the news."""
    await ctx.ports.clock.sleep(LASTS_S)
    ctx.state.safe_mode_ended()
    try:
        await ctx.recorder.tell(SafeModeEnded())
    except EdgeError as error:
        _log.warning("safe_mode.end_not_recorded", error=str(error))
