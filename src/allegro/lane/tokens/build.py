"""Wires the daily token: where it is read, and the audit without which it is not used."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from allegro.config import read_secret
from allegro.core.base.backoff import FORGE
from allegro.core.base.errors import ConfigError, EdgeError
from allegro.lane.context import Context
from allegro.lane.tokens.auditor import Auditor
from allegro.lane.tokens.daily import DailyToken
from allegro.runtime.duties import Duty

_log = structlog.get_logger()


def daily_token(name: str) -> DailyToken:
    """Return the daily token of this file; a file that cannot be read is waited for."""

    def read() -> str:
        try:
            return read_secret(Path(name).expanduser())
        except ConfigError as error:  # it was there at the start: wait for it, end nothing
            raise EdgeError(str(error), transient=True, kind="secret", sent=False) from error

    return DailyToken(read)


def build(ctx: Context, token: DailyToken) -> list[Duty]:
    """Return the audit of the daily token; none where no forge is configured."""
    if not ctx.settings.forge.url:
        return []
    auditor = Auditor(ctx, token)

    async def run() -> None:
        failures = 0
        while ctx.state.bots is None:
            try:
                await auditor.audit()
            except EdgeError as error:
                ctx.state.forge_failed(str(error))
                _log.warning("forge.unreachable", error=str(error))
                await asyncio.sleep(FORGE.delay_s(failures, ctx.ports.dice.fraction))
                failures += 1
        await auditor.run()

    return [Duty(name="audit", run=run, facts=auditor.facts)]
