"""The forge duty: polls what is watched, journals every version, marks new issues as seen."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable
from itertools import groupby

import structlog

from allegro.core.base.backoff import FORGE, LONGEST_WAIT_S
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
from allegro.core.health import codes
from allegro.core.health.facts import Fact, State
from allegro.core.ports import Unread
from allegro.core.protocol.answers.forge import Listing
from allegro.core.protocol.payloads.base import Payload
from allegro.core.protocol.payloads.polls import (
    ForgeMark,
    ForgeRecovered,
    ForgeUnreachable,
    WatchFailing,
    WatchRecovered,
)
from allegro.lane.context import Context
from allegro.lane.forge.collect import Collected, ReadPage, collect
from allegro.lane.forge.comments import read_talk
from allegro.lane.forge.footprints import Footprints
from allegro.lane.forge.intake import Intake
from allegro.lane.forge.polling.listings import Listings
from allegro.lane.forge.polling.poll_health import PollHealth
from allegro.lane.forge.polling.poll_role import Turn
from allegro.lane.forge.polling.reconcile import Manner, Reconcile
from allegro.lane.forge.polling.watches import (
    MarksHome,
    Pace,
    RoleKeeper,
    Unit,
    Watch,
    newest_home,
)
from allegro.lane.forge.snapshots import Taking
from allegro.lane.forge.triage import Triage
from allegro.runtime.consumer import as_edge_error

_log = structlog.get_logger()
MARK_HOME_S = 60.0
DEEP_S = 60.0
ACTIVE_S = 3600.0
FRESH_S = 60
TROUBLES_SHOWN = 5

_WHOLE_FORGE = {"waiting", "token_not_audited", "secret", "journal_full"}
"""What no repository can help: it is not counted against one."""


class ForgeDuty:
    """Runs while this lane holds the `forge` role. `hint` makes the next poll come at once.

    While the council decides nothing it reads on without the role. What fails is a watch, or one
    repository of it: it is reported, tried again after growing pauses, and the others go on.
    `keeper` keeps the roles; `found_new` is called when a poll found an issue that was just opened.
    """

    def __init__(
        self,
        ctx: Context,
        taking: Taking,
        triage: Triage,
        keeper: RoleKeeper,
        found_new: Callable[[], None] = lambda: None,
    ) -> None:
        self._reader = reader = ctx.ports.reader
        self._recorder = recorder = ctx.recorder
        self._taking = taking
        self._triage = triage
        self._state = state = ctx.state
        self._settings = settings = ctx.settings.forge
        self._clock = clock = ctx.ports.clock
        self._dice = ctx.ports.dice
        self._footprints = Footprints(reader, recorder, taking, triage.bots, triage.own_labels)
        self._intake = Intake(reader, recorder, taking, clock, self._footprints)
        self._listings = Listings(reader, recorder, self._intake, clock)
        self._turn = Turn(state, clock, keeper, self._begin_again)
        self._hinted = asyncio.Event()
        self._watches = [Watch(name) for name in settings.watch]
        self._failures = 0
        self._poll_at_s = float("-inf")
        self._marks_home = MarksHome()
        self._cycling = asyncio.Lock()
        self._found_new = found_new
        self.cycles = 0

    def hint(self) -> None:
        """Poll now: somebody says that something changed. What changed is read, never believed."""
        self._poll_at_s = float("-inf")
        self._hinted.set()

    async def drain(self) -> None:
        """Return once no poll is under way."""
        async with self._cycling:
            pass

    def forget(self, subjects: tuple[str, ...]) -> None:
        """Take these objects for new again: their bodies aged out of the journal."""
        self._taking.drop(subjects)

    def listing(self, repository_id: int) -> Listing:
        """Return what a repository holds. Raises EdgeError where this lane does not poll it now."""
        if not self._turn.holds():
            raise EdgeError("another lane holds the forge role", transient=False, kind="no_role")
        return self._taking.listing(repository_id)

    def health(self) -> PollHealth:
        """Return how old the newest good poll of each watch is, and what cannot be read now."""
        now_s = self._clock.now_s()
        ages_s = {
            watch.name: max(0.0, now_s - watch.mark.wall_s) if watch.mark else None
            for watch in self._watches
        }
        failing = [
            unit.repo.name
            for watch in self._watches
            for unit in watch.repositories.values()
            if unit.pace.is_failing
        ]
        failing += [watch.name for watch in self._watches if watch.pace.is_failing]
        return PollHealth(ages_s, tuple(failing), len(self._intake.unread))

    def facts(self) -> list[Fact]:
        """Return what of the watched things cannot be read, for `doctor`."""
        facts = []
        paces = [(watch.name, watch.pace) for watch in self._watches]
        for watch in self._watches:
            paces += [(unit.repo.name, unit.pace) for unit in watch.repositories.values()]
        for name, pace in paces:
            if pace.trouble is not None:
                state: State = "bad" if pace.is_failing else "warn"
                words = f"{pace.trouble} ({pace.failures} times in a row)"
                facts.append(Fact(codes.WATCH, state, words, "last poll", name))
        if any(watch.clock.is_undated for watch in self._watches):
            words = (
                "its answers carry no Date, or one a day off: polls go by the newest change that "
                "was seen, and by this machine's clock from there"
            )
            facts.append(Fact(codes.FORGE_CLOCK, "warn", words, "last poll"))
        unread = list(self._intake.unread.values())[-TROUBLES_SHOWN:]
        facts += [Fact(codes.UNREAD, "warn", words, "last poll") for _, words in unread]
        return facts

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
            watch.resume(marks)

    async def step(self) -> float:
        """Poll once, and tell of a forge that fails or is back; return the seconds to wait.

        While new issues wait for their label it returns at once, and polls at its own pace.
        """
        try:
            more = await as_edge_error("forge", "a poll", self._turn_of_work())
            await self._recovered(self._failures)
            self._failures = 0
        except EdgeError as error:
            self._poll_at_s = float("-inf")
            await self._failed(error, self._failures)
            self._failures += 1
            delay_s = FORGE.delay_s(self._failures - 1, self._dice.fraction)
            asked_s = min(error.retry_after_s or 0.0, LONGEST_WAIT_S)
            return max(self._settings.poll_s, delay_s, asked_s)
        if not more:
            self._poll_at_s = float("-inf")
            return self._settings.poll_s
        if self._poll_at_s == float("-inf"):
            self._poll_at_s = self._clock.boot_s() + self._settings.poll_s
        return 0.0

    async def _turn_of_work(self) -> bool:
        """Poll where it is time, then label; return whether there is more to label at once."""
        async with self._cycling:
            if self._clock.boot_s() >= self._poll_at_s:
                await self.cycle()
            return await self._work()

    async def cycle(self) -> None:
        """Poll every watch once, sweep, and reconcile what is due."""
        self._poll_at_s = float("-inf")
        if not self._turn.may_poll():
            return
        self._state.marks_came_home(self._marks_home.learn(self._recorder.journal.acked))
        if not self._recorder.journal.has_room:
            self._state.did("journal full: waiting")
            return
        if self._state.relist:
            await self._relist()
        if self._state.reconcile:
            self._state.comparison_begun()
            for watch in self._watches:
                watch.list_anew()
        troubles = [await self._one_watch(watch) for watch in self._watches]
        if all(trouble is not None for trouble in troubles):
            assert troubles[0] is not None
            raise troubles[0]
        self.cycles += 1
        shown = [str(trouble) for trouble in troubles if trouble is not None]
        self._state.forge_failed("; ".join(shown[:TROUBLES_SHOWN]))
        self._state.did("polled without the council" if self._turn.reads_on else "polled")

    def _begin_again(self) -> None:
        self._taking.begin_again()
        for watch in self._watches:
            watch.begin_again()

    async def _work(self) -> bool:
        """Label what waits; return whether there is more that can be done at once."""
        if not self._recorder.journal.has_room:
            return False
        more = await self._triage.work()
        if self._triage.overflowed and not self._triage.waiting():
            self._triage.offered_again()
            for watch in self._watches:
                watch.catch_up = True
        return more

    async def _one_watch(self, watch: Watch) -> EdgeError | None:
        """Poll one watch, then tend each of its repositories; what fails holds up no other."""
        if watch.pace.is_due(self._clock.boot_s()):
            await self._attempt(watch.pace, watch.name, self._poll(watch))
        if watch.pace.trouble is None:
            for unit in list(watch.repositories.values()):
                if unit.pace.is_due(self._clock.boot_s()):
                    await self._attempt(unit.pace, unit.repo.name, self._tend(watch, unit))
        trouble = watch.pace.trouble
        return None if trouble is None or trouble.kind == "no_issues" else trouble

    async def _attempt(self, pace: Pace, name: str, work: Awaitable[None]) -> bool:
        """Do what belongs to one watch or repository. Raises only what is the whole forge's."""
        try:
            await as_edge_error("forge", name, work)
        except EdgeError as error:
            if error.kind in _WHOLE_FORGE:
                raise
            _log.warning("watch.failed", watch=name, kind=error.kind, error=str(error))
            if pace.failed(error, self._clock.boot_s(), self._dice.fraction):
                await self._alert(WatchFailing(watch=name, kind=error.kind), str(error))
            return False
        if pace.worked():
            await self._alert(WatchRecovered(watch=name))
        return True

    async def _relist(self) -> None:
        """Journal everything anew: the house lost what it had."""
        await self._recorder.journal.forget_versions()
        self._taking.forget()
        self._state.listed_anew()
        for watch in self._watches:
            watch.list_anew()

    def _read(self, watch: Watch) -> ReadPage:
        if watch.organisation is not None:
            organisation = watch.organisation
            return lambda w, page, limit: self._reader.organisation_issues(
                organisation, w, page, limit
            )
        repo = next(iter(watch.repositories.values())).repo
        return lambda w, page, limit: self._reader.repository_issues(repo, w, page, limit)

    async def _poll(self, watch: Watch) -> None:
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
            page_size=await self._page_size(),
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
            elif not unit.pace.is_due(self._clock.boot_s()) or not await self._attempt(
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
            is_new = self._taking.comment_count(issue) is None and issue.created_s >= fresh_s
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

    async def _tend(self, watch: Watch, unit: Unit) -> None:
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
            self._triage.offer(watch.name, unit.repo, issue, since_s=watch.started_s)

        manner = Manner(await self._page_size(), watch.started_s, unit.pace.is_failing)
        await Reconcile(self._reader, self._recorder, self._intake, unit.repo, manner, seen).run()

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
            await self._page_size(),
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
            unread = await self._footprints.branches(unit.repo, forge_now_s)
            if unread:
                await self._intake.tell_unread(unit.repo, Unread(unit.repo.id, 0, 0, unread))
        except EdgeError as error:
            if error.kind in _WHOLE_FORGE:
                raise
            if error.kind not in {"not_found", "forbidden"}:  # it shows us no code
                unread_list = Unread(unit.repo.id, 0, 0, f"branches: {error}")
                await self._intake.tell_unread(unit.repo, unread_list)

    async def _page_size(self) -> int:
        return (await self._reader.server()).page_size

    async def _failed(self, error: EdgeError, failures: int) -> None:
        _log.warning("forge.failed", error=str(error), transient=error.transient)
        self._state.forge_failed(str(error))
        if failures == 2:
            await self._alert(ForgeUnreachable(kind=error.kind, status=error.status))

    async def _recovered(self, failures: int) -> None:
        if failures > 2:
            await self._alert(ForgeRecovered(failures=failures))

    async def _alert(self, payload: Payload, words: str | None = None) -> None:
        with contextlib.suppress(EdgeError):
            await self._recorder.tell(payload, words=words)
