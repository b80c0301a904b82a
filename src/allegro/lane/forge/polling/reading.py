"""One poll of one watch: from its mark on, every version is journalled, then the mark moves."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import groupby

from allegro.core.base.errors import EdgeError
from allegro.core.base.events import Event
from allegro.core.forge.issues import Issue
from allegro.core.forge.marks import (
    MAX_OFF_S,
    Mark,
    Window,
    clock_of,
    first_mark,
    is_clock,
    next_mark,
    window,
)
from allegro.core.protocol.payloads.polls import ForgeMark
from allegro.lane.forge.collect import Collected, ReadPage, collect
from allegro.lane.forge.polling.listings import Listings
from allegro.lane.forge.polling.parts import Parts
from allegro.lane.forge.polling.poll_role import Turn
from allegro.lane.forge.polling.watches import MarksHome, Unit, Watch, newest_home

MARK_HOME_S = 60.0
DEEP_S = 60.0
FRESH_S = 60


class Reading:
    """Polls a watch. `marks_home` learns which marks are on their way to the house.

    Invariant: the mark moves only once all before it is in the journal. `found_new` is called when
    a poll found an issue that was just opened.
    """

    def __init__(
        self,
        parts: Parts,
        listings: Listings,
        turn: Turn,
        marks_home: MarksHome,
        found_new: Callable[[], None],
    ) -> None:
        self._parts = parts
        self._reader = parts.ctx.ports.reader
        self._recorder = parts.ctx.recorder
        self._clock = parts.ctx.ports.clock
        self._state = parts.ctx.state
        self._settings = parts.ctx.settings.forge
        self._intake = parts.intake
        self._triage = parts.triage
        self._listings = listings
        self._turn = turn
        self._marks_home = marks_home
        self._found_new = found_new

    async def poll(self, watch: Watch) -> None:
        await self._listings.refresh(watch)
        try:
            await self._poll_listed(watch)
        except EdgeError as error:
            if error.kind in {"redirected", "not_found"}:
                raise self._listings.doubt(watch, error) from error
            raise
        await self._listings.note_names(watch)

    async def _poll_listed(self, watch: Watch) -> None:
        read, now_s, boot_s = self._read(watch), self._clock.now_s(), self._clock.boot_s()
        if watch.mark is None:
            await self._begin(watch, read, now_s)
        assert watch.mark is not None
        catch_up = watch.catch_up and self._triage.may_act()
        collected = await collect(
            read,
            window(watch.mark, overlap_s=self._reach_s(watch, catch_up)),
            page_size=await self._parts.page_size(),
            now_s=int(now_s),
            patient=watch.pace.is_failing,
        )
        changed = await self._take(watch, collected.issues)
        for one in collected.unread:
            await self._intake.tell_unread(self._listings.owner(watch, one), one)
        reached_s = watch.mark.forge_s
        self._state.heard_forge(collected.date_s)
        mark = self._moved(watch, watch.mark, collected, now_s, boot_s)
        await self._advance(watch, mark, tell=changed)
        watch.catch_up = watch.catch_up and not catch_up
        await self._turn.acted()
        await self._note_triaged(watch, reached_s)

    def _read(self, watch: Watch) -> ReadPage:
        if watch.organisation is not None:
            organisation = watch.organisation
            return lambda w, page, limit: self._reader.organisation_issues(
                organisation, w, page, limit
            )
        repo = next(iter(watch.repositories.values())).repo
        return lambda w, page, limit: self._reader.repository_issues(repo, w, page, limit)

    def _moved(
        self, watch: Watch, mark: Mark, collected: Collected, now_s: float, boot_s: float
    ) -> Mark:
        """Return the mark after a poll that began at `now_s` (and `boot_s` on our steady clock)."""
        if is_clock(collected.date_s, now_s):
            watch.clock.showed(collected.date_s, boot_s)
            return next_mark(mark, collected.date_s, now_s)
        took_s = math.ceil(self._clock.boot_s() - boot_s)
        newest_s = max((issue.updated_s for issue in collected.issues), default=0) - took_s
        reached_s = watch.clock.reached(mark.forge_s, min(newest_s, int(now_s)), boot_s)
        return Mark(reached_s, now_s)

    async def _begin(self, watch: Watch, read: ReadPage, now_s: float) -> None:
        """Start a watch: from the mark that is home, else from now with everything listed.

        Where the forge does not tell its time, it stands a day back: no clock is further off.
        """
        first = await read(Window(2**31 - 2, None), 1, 0)
        date_s = clock_of(first.date_s, now_s)
        known = (self._state.home_marks, *self._state.sibling_marks.values())
        home = newest_home(known, watch.name, date_s, now_s)
        new_s = date_s if is_clock(first.date_s, now_s) else date_s - int(MAX_OFF_S)
        watch.begin(home, date_s, first_mark(new_s, now_s))
        await self._recorder.append([], ("started:" + watch.name, Mark(watch.started_s, now_s)))

    def _reach_s(self, watch: Watch, catch_up: bool) -> int:
        """How far back this poll looks: for late writers, and once for what triage left over."""
        assert watch.mark is not None
        now_s = self._clock.boot_s()
        reach_s = self._settings.overlap_s
        if catch_up:
            reach_s = max(reach_s, reach_s + watch.mark.forge_s - watch.triaged_s)
        if now_s - watch.deep_s >= DEEP_S:
            watch.deep_s = now_s
            reach_s = max(reach_s, self._settings.deep_overlap_s)
        return reach_s

    async def _take(self, watch: Watch, issues: tuple[Issue, ...]) -> bool:
        """Journal what is new, repository by repository; return whether anything was.

        A repository of an organisation that fails here is compared as a whole once it works.
        """
        changed = False
        by_repository = sorted(issues, key=lambda issue: issue.repository.id)
        for repository_id, group in groupby(by_repository, lambda issue: issue.repository.id):
            found = list(group)
            unit = watch.repositories.get(repository_id)
            if unit is None:
                unit = watch.repositories[repository_id] = Unit(found[0].repository)
                watch.listed_s = float("-inf")
            if watch.organisation is None:
                await self._take_of(watch, unit, found, patient=watch.pace.is_failing)
            elif not unit.pace.is_due(
                self._clock.boot_s()
            ) or not await self._parts.attempts.attempt(
                unit.pace,
                unit.repo.name,
                self._take_of(watch, unit, found, patient=unit.pace.is_failing),
            ):
                unit.reconciled_s = float("-inf")
                continue
            changed = changed or unit.active_s == self._clock.boot_s()
        return changed

    async def _take_of(
        self, watch: Watch, unit: Unit, issues: list[Issue], *, patient: bool
    ) -> None:
        fresh_s = watch.mark.forge_s - FRESH_S if watch.mark else 0
        for issue in issues:
            is_new = self._parts.taking.comment_count(issue) is None and issue.created_s >= fresh_s
            notes = await self._intake.issue(
                unit.repo, issue, started_s=watch.started_s, patient=patient
            )
            if notes[0]:
                unit.active_s = self._clock.boot_s()
                await self._intake.keep(unit.repo, [(issue.number, notes)])
                if is_new:
                    self._found_new()
            self._triage.offer(watch.name, unit.repo, issue, since_s=watch.started_s)

    async def _advance(self, watch: Watch, mark: Mark, *, tell: bool) -> None:
        """Move the taken mark; tell it home when something changed, and once a minute."""
        events: list[Event] = []
        now_s = self._clock.boot_s()
        if tell or now_s - watch.mark_sent_s >= MARK_HOME_S:
            watch.mark_sent_s = now_s
            payload = ForgeMark(
                watch=watch.name,
                forge_s=mark.forge_s,
                wall_s=mark.wall_s,
                date_s=int(self._clock.now_s() - (self._state.forge_offset_s or 0.0)),
            )
            events = [self._recorder.event(payload)]
        position = await self._recorder.append(events, (watch.name, mark))
        watch.mark = mark
        if events:
            self._marks_home.sent(position, watch.name, mark)

    async def _note_triaged(self, watch: Watch, reached_s: int) -> None:
        """Move `triaged` up where nothing of this watch is left over."""
        if not self._triage.may_act() or self._triage.overflowed or watch.catch_up:
            return
        if reached_s > watch.triaged_s and not self._triage.waiting(watch.name):
            watch.triaged_s = reached_s
            mark = Mark(reached_s, self._clock.now_s())
            await self._recorder.append([], ("triaged:" + watch.name, mark))
