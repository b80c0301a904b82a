"""The forge duty: polls what is watched, journals every version, marks new issues as seen."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from allegro.core.backoff import FORGE
from allegro.core.errors import EdgeError
from allegro.core.events import Event
from allegro.core.issues import Issue, Repository
from allegro.core.marks import Mark, Window, first_mark, next_mark, window
from allegro.core.ports import Clock, Dice, ForgeReader, IssuePage, Version
from allegro.core.settings import ForgeSettings
from allegro.lane.collect import ReadPage, collect
from allegro.lane.reconcile import reconcile
from allegro.lane.recorder import Recorder
from allegro.lane.state import LaneState
from allegro.lane.taking import Notes, Taking
from allegro.lane.triage import Triage
from allegro.lane.turn import Turn
from allegro.lane.watches import MarksHome, RoleKeeper, Watch, newest_home

_log = structlog.get_logger()
CHUNK = 500
MARK_HOME_S = 60.0
DEEP_S = 60.0
REPOSITORIES_S = 300.0
ACTIVE_S = 3600.0
TELL_AFTER = 3


class ForgeDuty:
    """Runs while this lane holds the `forge` role. `hint` makes the next poll come at once.

    While the council decides nothing (`undecided`) it reads on without the role.
    """

    def __init__(
        self,
        reader: ForgeReader,
        recorder: Recorder,
        taking: Taking,
        triage: Triage,
        state: LaneState,
        roles: Callable[[], RoleKeeper],
        settings: ForgeSettings,
        clock: Clock,
        dice: Dice,
        undecided: Callable[[], bool],
    ) -> None:
        self._reader = reader
        self._recorder = recorder
        self._taking = taking
        self._triage = triage
        self._state = state
        self._settings = settings
        self._clock = clock
        self._dice = dice
        self._turn = Turn(state, clock, roles, undecided, self._begin_again)
        self._hinted = asyncio.Event()
        self._watches = [Watch(name) for name in settings.watch]
        self._active: dict[int, float] = {}
        self._swept: dict[int, tuple[float, int]] = {}
        self._forge_now_s = 0
        self._failures = 0
        self._marks_home = MarksHome()
        self._cycling = asyncio.Lock()
        self.cycles = 0

    def hint(self) -> None:
        """Poll now: somebody says that something changed. What changed is read, never believed."""
        self._hinted.set()

    async def drain(self) -> None:
        """Return once no poll is under way."""
        async with self._cycling:
            pass

    def forget(self, subjects: tuple[str, ...]) -> None:
        """Take these objects for new again: their bodies aged out of the journal."""
        self._taking.drop(subjects)

    def listing(self, repository_id: int) -> dict[str, list[int]]:
        """Return what a repository holds. Raises EdgeError where this lane does not poll it now."""
        if not self._turn.holds():
            raise EdgeError("another lane holds the forge role", transient=False, kind="no_role")
        return self._taking.listing(repository_id)

    async def run(self) -> None:
        """Poll until cancelled. A forge that fails is retried with backoff, marks standing."""
        await self.resume()
        while True:
            self._hinted.clear()
            wait_s = await self.step()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hinted.wait(), wait_s)

    async def resume(self) -> None:
        """Take up each watch where the journal says it stood."""
        marks = await self._recorder.journal.marks()
        for watch in self._watches:
            watch.mark = marks.get(watch.name)
            started = marks.get("started:" + watch.name)
            watch.started_s = started.forge_s if started else 0
            triaged = marks.get("triaged:" + watch.name)
            watch.triaged_s = triaged.forge_s if triaged else watch.started_s

    async def step(self) -> float:
        """Poll once, and tell of a forge that fails or is back; return the seconds to wait."""
        try:
            async with self._cycling:
                await self.cycle()
            await self._recovered(self._failures)
            self._failures = 0
        except EdgeError as error:
            await self._failed(error, self._failures)
            self._failures += 1
            delay_s = FORGE.delay_s(self._failures - 1, self._dice.fraction)
            return max(self._settings.poll_s, delay_s)
        return self._settings.poll_s

    async def cycle(self) -> None:
        """Poll every watch once, sweep, and reconcile what is due."""
        if not self._turn.may_poll():
            return
        self._state.home_marks |= self._marks_home.learn(self._recorder.journal.acked)
        if not self._recorder.journal.has_room:
            self._state.did("journal full: waiting")
            return
        self._triage.new_cycle()
        if self._state.relist:
            await self._relist()
        if self._state.reconcile:
            self._state.reconcile = False
            for watch in self._watches:
                watch.reconciled_s = float("-inf")
        troubles = [await self._one_watch(watch) for watch in self._watches]
        if all(trouble is not None for trouble in troubles):
            assert troubles[0] is not None
            raise troubles[0]
        self.cycles += 1
        self._state.forge_trouble = "; ".join(str(t) for t in troubles if t is not None)
        self._state.did("polled without the council" if self._turn.reads_on else "polled")

    def _begin_again(self) -> None:
        self._taking.begin_again()
        for watch in self._watches:
            watch.begin_again()

    async def _one_watch(self, watch: Watch) -> EdgeError | None:
        """Poll one watch; what fails with one does not hold up the others."""
        now_s = self._clock.boot_s()
        if now_s < watch.not_before_s:
            return watch.trouble
        try:
            await self._refresh(watch)
            await self._poll(watch)
            for repo in list(watch.repositories.values()):
                await self._sweep(repo)
            await self._reconcile_if_due(watch)
        except EdgeError as error:
            _log.warning("watch.failed", watch=watch.name, error=str(error))
            watch.failures += 1
            delay_s = FORGE.delay_s(watch.failures - 1, self._dice.fraction)
            watch.not_before_s, watch.trouble = now_s + delay_s, error
            if watch.failures == TELL_AFTER:
                await self._alert("watch.failing", {"watch": watch.name, "kind": error.kind})
            return error
        watch.failures, watch.not_before_s, watch.trouble = 0, float("-inf"), None
        return None

    async def _relist(self) -> None:
        """Journal everything anew: the house lost what it had."""
        await self._recorder.journal.forget_versions()
        self._taking.forget()
        self._state.relist = False
        for watch in self._watches:
            watch.reconciled_s = float("-inf")

    async def _refresh(self, watch: Watch) -> None:
        """Learn which repositories a watch has, and their names and state."""
        now_s = self._clock.boot_s()
        if now_s - watch.listed_s < REPOSITORIES_S and watch.repositories:
            return
        if watch.organisation is not None:
            found = await self._reader.organisation_repositories(watch.organisation)
        else:
            known = next(iter(watch.repositories.values()), None)
            one = (
                await self._reader.repository_by_id(known.id)
                if known
                else await self._reader.repository(watch.name)
            )
            if one is None:
                raise EdgeError(
                    f"{watch.name}: not there, or the daily token may not read it",
                    transient=True,
                    kind="not_found",
                )
            found = (one,)
        watch.repositories = {repo.id: repo for repo in found}
        watch.listed_s = now_s
        for repo in found:
            await self._append(self._taking.repository(repo))

    def _read(self, watch: Watch) -> ReadPage:
        if watch.organisation is not None:
            organisation = watch.organisation
            return lambda w, page: self._reader.organisation_issues(organisation, w, page)
        repo = next(iter(watch.repositories.values()))
        return lambda w, page: self._reader.repository_issues(repo, w, page)

    async def _poll(self, watch: Watch) -> None:
        read, now_s = self._read(watch), self._clock.now_s()
        if watch.mark is None:
            await self._begin(watch, read, now_s)
        assert watch.mark is not None
        reach_s = self._reach_s(watch)
        collected = await collect(
            read, window(watch.mark, overlap_s=reach_s), page_size=await self._page_size()
        )
        changed = await self._take(watch, collected.issues)
        reached_s = watch.mark.forge_s
        if collected.date_s:
            self._forge_now_s = collected.date_s
            self._state.forge_offset_s = self._clock.now_s() - collected.date_s
            mark = next_mark(watch.mark, collected.date_s, now_s)
            await self._advance(watch, mark, tell=changed)
        await self._turn.acted()
        await self._triage_all(watch, collected.issues, reached_s)

    async def _begin(self, watch: Watch, read: ReadPage, now_s: float) -> None:
        """Start a watch: from the mark that is home, else from now with everything listed."""
        first: IssuePage = await read(Window(2**31 - 2, None), 1)
        date_s = first.date_s or int(now_s)
        known = (self._state.home_marks, *self._state.sibling_marks.values())
        home = newest_home(known, watch.name, date_s, now_s)
        watch.begin(home, date_s, first_mark(date_s, now_s))
        await self._recorder.append([], ("started:" + watch.name, Mark(watch.started_s, now_s)))

    def _reach_s(self, watch: Watch) -> int:
        """How far back this poll looks: for late writers, and for issues nobody triaged yet."""
        assert watch.mark is not None
        now_s = self._clock.boot_s()
        reach_s = self._settings.overlap_s
        if self._triage.may_act():
            reach_s = max(reach_s, reach_s + watch.mark.forge_s - watch.triaged_s)
        if now_s - watch.deep_s >= DEEP_S:
            watch.deep_s = now_s
            reach_s = max(reach_s, self._settings.deep_overlap_s)
        return reach_s

    async def _take(self, watch: Watch, issues: tuple[Issue, ...]) -> bool:
        changed = False
        for issue in issues:
            repo = watch.repositories.get(issue.repository.id, issue.repository)
            notes = await self._issue_notes(watch, repo, issue)
            if notes[0]:
                changed = True
                self._active[repo.id] = self._clock.boot_s()
                await self._append(notes)
        return changed

    async def _issue_notes(self, watch: Watch, repo: Repository, issue: Issue) -> Notes:
        """Return what is new about an issue: itself, its comments, its pull request."""
        known_count = self._taking.comment_count(issue)
        closed_by = None
        events, versions = self._taking.issue(issue)
        if not events:
            return events, versions
        if issue.state == "closed" and (issue.closed_s or 0) >= watch.started_s:
            closed_by = await self._closer(repo, issue.number)
            if closed_by is not None:
                events, versions = self._taking.issue(issue, closed_by)
        if issue.comment_count or known_count:
            more = await self._comment_notes(repo, issue.number)
            events, versions = events + more[0], versions + more[1]
        if issue.is_pull_request:
            pull = await self._reader.pull(repo, issue.number)
            if pull is not None:
                more = self._taking.pull(repo, pull, issue)
                events, versions = events + more[0], versions + more[1]
        return events, versions

    async def _comment_notes(self, repo: Repository, number: int) -> Notes:
        """Return what is new among an issue's comments; too many to read is told, not fatal."""
        try:
            comments = await self._reader.comments(repo, number)
        except EdgeError as error:
            if error.transient:
                raise
            data = {"repository": repo.id, "number": number, "kind": error.kind}
            return [self._recorder.event("forge.unread", data=data)], []
        return ([], []) if comments is None else self._taking.comments(repo, number, comments)

    async def _closer(self, repo: Repository, number: int) -> int | None:
        entries = await self._reader.timeline(repo, number)
        closes = [entry.author_id for entry in entries if entry.type == "close"]
        return closes[-1] if closes else None

    async def _advance(self, watch: Watch, mark: Mark, *, tell: bool) -> None:
        """Move the taken mark; tell it home when something changed, and once a minute."""
        events: list[Event] = []
        now_s = self._clock.boot_s()
        if tell or now_s - watch.told_s >= MARK_HOME_S:
            watch.told_s = now_s
            data = {"watch": watch.name, "forge_s": mark.forge_s, "wall_s": mark.wall_s}
            events = [self._recorder.event("forge.mark", data=data)]
        position = await self._recorder.append(events, (watch.name, mark))
        watch.mark = mark
        if events:
            self._marks_home.sent(position, watch.name, mark)

    async def _sweep(self, repo: Repository) -> None:
        """Find edited comments: an edit does not touch its issue's own time."""
        now_s = self._clock.boot_s()
        active = now_s - self._active.get(repo.id, float("-inf")) < ACTIVE_S
        every_s = self._settings.sweep_s if active else self._settings.quiet_sweep_s
        last_s, since_s = self._swept.get(repo.id, (now_s, self._forge_now_s))
        if repo.id not in self._swept:
            self._swept[repo.id] = (now_s, self._forge_now_s)
            return
        if now_s - last_s < every_s:
            return
        until_s = self._forge_now_s
        reach_s = max(0, since_s - self._settings.deep_overlap_s)
        page = 1
        while True:
            found = await self._reader.repository_comments(repo, reach_s, page)
            for number, comment in found.comments:
                await self._append(self._taking.comment(repo, number, comment))
            if not found.comments or page * await self._page_size() >= found.total >= 0:
                break
            page += 1
        self._swept[repo.id] = (now_s, until_s)

    async def _reconcile_if_due(self, watch: Watch) -> None:
        now_s = self._clock.boot_s()
        if now_s - watch.reconciled_s < self._settings.reconcile_s:
            return
        for repo in watch.repositories.values():
            await reconcile(self._reader, self._recorder, self._taking, repo, self._page_size)
        watch.reconciled_s = now_s

    async def _triage_all(self, watch: Watch, issues: tuple[Issue, ...], reached_s: int) -> None:
        """Triage what was read; `triaged` moves up only when nothing was left over."""
        if not self._triage.may_act():
            return
        left_over = False
        for issue in issues:
            repo = watch.repositories.get(issue.repository.id, issue.repository)
            settled = await self._triage.consider(repo, issue, since_s=watch.started_s)
            left_over = left_over or not settled
        if not left_over and reached_s > watch.triaged_s:
            watch.triaged_s = reached_s
            mark = Mark(reached_s, self._clock.now_s())
            await self._recorder.append([], ("triaged:" + watch.name, mark))

    async def _append(self, notes: Notes) -> None:
        events, versions = notes
        for at in range(0, len(events), CHUNK):
            part: list[Version] = versions[at : at + CHUNK]
            await self._recorder.append(events[at : at + CHUNK], None, part)
            self._taking.keep(part)

    async def _page_size(self) -> int:
        return (await self._reader.server()).page_size

    async def _failed(self, error: EdgeError, failures: int) -> None:
        _log.warning("forge.failed", error=str(error), transient=error.transient)
        self._state.forge_trouble = str(error)
        if failures == 2:
            await self._alert("forge.unreachable", {"kind": error.kind, "status": error.status})

    async def _recovered(self, failures: int) -> None:
        if failures > 2:
            await self._alert("forge.recovered", {"failures": failures})

    async def _alert(self, type_: str, data: dict[str, object]) -> None:
        with contextlib.suppress(EdgeError):
            await self._recorder.tell(type_, data=data)
