"""One repository beside its polls: edited comments, branches, and a comparison now and then."""

from __future__ import annotations

from allegro.core.base.errors import EdgeError
from allegro.core.forge.issues import Issue
from allegro.core.ports import Unread
from allegro.lane.forge.comments import read_talk
from allegro.lane.forge.polling.attempts import WHOLE_FORGE
from allegro.lane.forge.polling.parts import Parts
from allegro.lane.forge.polling.reconcile import Manner, Reconcile
from allegro.lane.forge.polling.watches import Unit, Watch

ACTIVE_S = 3600.0


class Tending:
    """Finds what the list of changed issues does not show. Each repository fails alone."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._reader = parts.ctx.ports.reader
        self._clock = parts.ctx.ports.clock
        self._settings = parts.ctx.settings.forge
        self._intake = parts.intake

    async def tend(self, watch: Watch, unit: Unit) -> None:
        """Sweep one repository for edited comments, and compare it with the forge when due."""
        assert watch.mark is not None
        await self._sweep(unit, watch.mark.forge_s)
        now_s = self._clock.boot_s()
        if now_s - unit.reconciled_s >= self._settings.reconcile_s:
            await self._reconcile(watch, unit)
            unit.reconciled_s = now_s
        await self._branches(unit, watch.mark.forge_s)

    async def _reconcile(self, watch: Watch, unit: Unit) -> None:
        def seen(issue: Issue) -> None:
            self._parts.triage.offer(watch.name, unit.repo, issue, since_s=watch.started_s)

        manner = Manner(await self._parts.page_size(), watch.started_s, unit.pace.is_failing)
        await Reconcile(
            self._reader, self._parts.ctx.recorder, self._intake, unit.repo, manner, seen
        ).run()

    async def _sweep(self, unit: Unit, forge_now_s: int) -> None:
        """Find edited comments: an edit does not touch its issue's own time."""
        now_s = self._clock.boot_s()
        if unit.swept is None:
            unit.swept = now_s, forge_now_s
            return
        active = now_s - unit.active_s < ACTIVE_S
        last_s, since_s = unit.swept
        if now_s - last_s < (self._settings.sweep_s if active else self._settings.quiet_sweep_s):
            return
        reach_s = max(0, since_s - self._settings.deep_overlap_s)
        await read_talk(
            self._reader,
            unit.repo,
            reach_s,
            await self._parts.page_size(),
            lambda page: self._intake.comments(unit.repo, page),
            patient=unit.pace.is_failing,
        )
        unit.swept = now_s, forge_now_s

    async def _branches(self, unit: Unit, forge_now_s: int) -> None:
        """Look for new and moved branches; a list that fails costs nothing but itself, and is told."""
        now_s = self._clock.boot_s()
        active = now_s - unit.active_s < ACTIVE_S
        pause_s = self._settings.sweep_s if active else self._settings.quiet_sweep_s
        if now_s - unit.branches_s < pause_s:
            return
        unit.branches_s = now_s
        try:
            unread = await self._parts.footprints.branches(unit.repo, forge_now_s)
            if unread:
                await self._intake.tell_unread(unit.repo, Unread(unit.repo.id, 0, 0, unread))
        except EdgeError as error:
            if error.kind in WHOLE_FORGE:
                raise
            if error.kind not in {"not_found", "forbidden"}:  # it shows us no code
                unread_list = Unread(unit.repo.id, 0, 0, f"branches: {error}")
                await self._intake.tell_unread(unit.repo, unread_list)
