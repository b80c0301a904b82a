"""The forge duty: polls what is watched, journals every version, marks new issues as seen."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from allegro.core.base.backoff import FORGE, LONGEST_WAIT_S
from allegro.core.base.errors import EdgeError
from allegro.core.health import codes
from allegro.core.health.facts import Fact, State
from allegro.core.protocol.answers.forge import Listing
from allegro.core.protocol.payloads.polls import (
    ForgeRecovered,
    ForgeUnreachable,
)
from allegro.lane.context import Context
from allegro.lane.forge.footprints import Footprints
from allegro.lane.forge.intake import Intake
from allegro.lane.forge.polling.attempts import Attempts
from allegro.lane.forge.polling.listings import Listings
from allegro.lane.forge.polling.parts import Parts
from allegro.lane.forge.polling.poll_health import PollHealth
from allegro.lane.forge.polling.poll_role import Turn
from allegro.lane.forge.polling.reading import Reading
from allegro.lane.forge.polling.tending import Tending
from allegro.lane.forge.polling.watches import (
    MarksHome,
    RoleKeeper,
    Watch,
)
from allegro.lane.forge.snapshots import Taking
from allegro.lane.forge.triage import Triage
from allegro.runtime.consumer import as_edge_error

_log = structlog.get_logger()
TROUBLES_SHOWN = 5


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
        reader = ctx.ports.reader
        self._recorder = recorder = ctx.recorder
        self._taking = taking
        self._triage = triage
        self._state = state = ctx.state
        self._settings = settings = ctx.settings.forge
        self._clock = clock = ctx.ports.clock
        self._dice = ctx.ports.dice
        footprints = Footprints(reader, recorder, taking, triage.bots, triage.own_labels)
        self._intake = Intake(reader, recorder, taking, clock, footprints)
        self._attempts = Attempts(recorder, clock, self._dice)
        parts = Parts(ctx, taking, self._intake, footprints, triage, self._attempts)
        self._turn = Turn(state, clock, keeper, self._begin_again)
        self._marks_home = MarksHome()
        listings = Listings(reader, recorder, self._intake, clock)
        self._reading = Reading(parts, listings, self._turn, self._marks_home, found_new)
        self._tending = Tending(parts)
        self._hinted = asyncio.Event()
        self._watches = [Watch(name) for name in settings.watch]
        self._failures = 0
        self._poll_at_s = float("-inf")
        self._cycling = asyncio.Lock()
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
            await self._attempts.attempt(watch.pace, watch.name, self._reading.poll(watch))
        if watch.pace.trouble is None:
            for unit in list(watch.repositories.values()):
                if unit.pace.is_due(self._clock.boot_s()):
                    await self._attempts.attempt(
                        unit.pace, unit.repo.name, self._tending.tend(watch, unit)
                    )
        trouble = watch.pace.trouble
        return None if trouble is None or trouble.kind == "no_issues" else trouble

    async def _relist(self) -> None:
        """Journal everything anew: the house lost what it had."""
        await self._recorder.journal.forget_versions()
        self._taking.forget()
        self._state.listed_anew()
        for watch in self._watches:
            watch.list_anew()

    async def _failed(self, error: EdgeError, failures: int) -> None:
        _log.warning("forge.failed", error=str(error), transient=error.transient)
        self._state.forge_failed(str(error))
        if failures == 2:
            await self._attempts.report(ForgeUnreachable(kind=error.kind, status=error.status))

    async def _recovered(self, failures: int) -> None:
        if failures > 2:
            await self._attempts.report(ForgeRecovered(failures=failures))
