"""Wires what reads the forge: the polls, the labels under the lease, and the webhook."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from allegro.adapters.gitea.http import GiteaHttp
from allegro.adapters.gitea.reader import GiteaReader
from allegro.adapters.gitea.writer import GiteaWriter
from allegro.config import read_secret
from allegro.core.base.backoff import FORGE
from allegro.core.base.errors import EdgeError
from allegro.core.health.facts import Fact
from allegro.core.ports import Clock
from allegro.core.protocol.answers.forge import Listing
from allegro.core.settings import ForgeSettings
from allegro.lane.context import Context
from allegro.lane.context.role_work import RoleWork, Workers
from allegro.lane.forge.polling.poll_health import judged
from allegro.lane.forge.polling.poller import ForgeDuty
from allegro.lane.forge.polling.watches import RoleKeeper
from allegro.lane.forge.snapshots import Taking
from allegro.lane.forge.triage import Triage
from allegro.lane.forge.webhook import Webhook
from allegro.lane.loopback import Page
from allegro.runtime.duties import Duty
from allegro.runtime.scheduled_duty import DutyResult, ScheduledDuty, made

_log = structlog.get_logger()
ROLE = "forge"


class Connection:
    """The one HTTP connection to the forge, with what reads and what writes over it."""

    def __init__(self, settings: ForgeSettings, token: Callable[[], str], clock: Clock) -> None:
        self._http = GiteaHttp(
            settings.url, token, timeout_s=settings.timeout_s, boot_s=clock.boot_s
        )
        self.reader = GiteaReader(self._http)
        self.writer = GiteaWriter(self._http, self.reader, clock.now_s)

    async def close(self) -> None:
        await self._http.close()


class ForgeWing:
    """The polls of this lane. They are made once the first audit of the daily token holds."""

    def __init__(self, ctx: Context, keeper: RoleKeeper, workers: Workers) -> None:
        self._ctx = ctx
        self._keeper = keeper
        self._poller: ForgeDuty | None = None
        self._hook = self._webhook()
        workers.enter(ROLE, RoleWork(lambda: self.is_reached, self.hint, self._drain))
        ctx.state.on_audit(self.hint)

    @property
    def is_reached(self) -> bool:
        """Whether the forge was reached since the start of this program."""
        return self._poller is not None

    @property
    def cycles(self) -> int:
        """How many polls were made since the start."""
        return self._poller.cycles if self._poller else 0

    def duties(self) -> list[Duty]:
        """Return the polls, where a forge is configured, and the webhook, where it listens."""
        listen, found = self._ctx.settings.webhook.listen, []
        if self._hook is not None:
            page = Page(self._hook.routes(), listen)
            found.append(
                Duty(name="webhook", facts=self._hook.facts, start=page.start, stop=page.stop)
            )
        if self._ctx.settings.forge.url:
            found.append(Duty(name="polls", run=self._run, facts=self._facts))
        return found

    def scheduled(self) -> list[ScheduledDuty]:
        """Return what of this wing runs at times of the clock, where a forge is configured."""
        duties, forge = self._ctx.settings.duties, self._ctx.settings.forge
        if not forge.url:
            return []
        return [
            made("forge-poll-health", duties.forge_poll_health, self._poll_health, duties, ROLE)
        ]

    async def _poll_health(self) -> DutyResult:
        if self._poller is None:
            why = self._ctx.state.forge_trouble or "the forge was not reached since the start"
            raise EdgeError(why, transient=True)
        return judged(self._poller.health(), self._ctx.settings.forge.poll_s)

    def hint(self) -> None:
        """Let the next poll come at once."""
        if self._poller is not None:
            self._poller.hint()

    def forget(self, subjects: tuple[str, ...]) -> None:
        """Take these objects for new again: their bodies aged out of the journal."""
        if self._poller is not None:
            self._poller.forget(subjects)

    def listing(self, repository_id: int) -> Listing:
        """Return what a repository holds. Raises EdgeError where this lane does not poll it now."""
        if self._poller is None:
            raise EdgeError("nothing was polled yet", transient=True)
        return self._poller.listing(repository_id)

    def _webhook(self) -> Webhook | None:
        settings = self._ctx.settings.webhook
        if not settings.listen:
            return None
        secret = read_secret(Path(settings.secret_file))
        return Webhook(secret, self.hint, self._ctx.ports.clock.now_s, settings.per_minute)

    async def _run(self) -> None:
        bots = await self._ctx.state.known_bots()
        failures = 0
        while self._poller is None:
            try:
                self._poller = await self._make(bots)
            except EdgeError as error:
                self._ctx.state.forge_failed(str(error))
                _log.warning("forge.unreachable", error=str(error))
                await asyncio.sleep(FORGE.delay_s(failures, self._ctx.ports.dice.fraction))
                failures += 1
        await self._poller.run()

    async def _make(self, bots: frozenset[int]) -> ForgeDuty:
        ctx = self._ctx
        taking = Taking(ctx.recorder, ctx.state.forge, await ctx.ports.journal.versions())
        found_new = self._hook.found_new if self._hook is not None else lambda: None
        return ForgeDuty(ctx, taking, Triage(ctx, bots), self._keeper, found_new)

    async def _drain(self) -> None:
        if self._poller is not None:
            await self._poller.drain()

    def _facts(self) -> list[Fact]:
        return self._poller.facts() if self._poller is not None else []
