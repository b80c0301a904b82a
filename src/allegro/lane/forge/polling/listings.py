"""Which repositories a watch has now: by id through renames, anew where one was made again."""

from __future__ import annotations

import structlog

from allegro.core.base.errors import EdgeError
from allegro.core.forge.issues import Repository
from allegro.core.forge.marks import Mark
from allegro.core.ports import Clock, ForgeReader, Unread
from allegro.core.protocol.payloads.polls import WatchReplaced
from allegro.lane.context.recorder import Recorder
from allegro.lane.forge.intake import Intake
from allegro.lane.forge.polling.watches import Watch

_log = structlog.get_logger()
REPOSITORIES_S = 300.0


class Listings:
    """Keeps `Watch.repositories` as the forge has them, and tells each change home."""

    def __init__(
        self, reader: ForgeReader, recorder: Recorder, intake: Intake, clock: Clock
    ) -> None:
        self._reader = reader
        self._recorder = recorder
        self._intake = intake
        self._clock = clock

    async def refresh(self, watch: Watch) -> None:
        """Ask for the repositories where they were not asked for of late. Raises EdgeError."""
        now_s = self._clock.boot_s()
        if now_s - watch.listed_s < REPOSITORIES_S and watch.repositories:
            return
        if watch.organisation is not None:
            found = await self._reader.organisation_repositories(watch.organisation)
            await self._replace_in(watch, found)
        else:
            found = (await self._one(watch),)
        watch.take_up(found)
        watch.listed_s = now_s
        for repo in found:
            await self._intake.append(self._intake.taking.repository(repo))

    def doubt(self, watch: Watch, error: EdgeError) -> EdgeError:
        """Ask for the repositories again before the next poll; return what to say until then."""
        watch.listed_s = float("-inf")
        if error.kind != "not_found":
            return error
        return EdgeError(
            f"{watch.name}: it has neither issues nor pull requests, or our token may not read them",
            transient=True,
            status=error.status,
            kind="no_issues",
        )

    async def note_names(self, watch: Watch) -> None:
        """Tell home the names that reading found out, such as after a rename."""
        for unit in watch.repositories.values():
            name = self._reader.name_of(unit.repo.id, unit.repo.name)
            if name != unit.repo.name:
                watch.listed_s = float("-inf")
        if watch.listed_s == float("-inf"):
            await self.refresh(watch)

    def owner(self, watch: Watch, one: Unread) -> Repository:
        """Return the repository of something unread, a nameless one where nobody knows it."""
        unit = watch.repositories.get(one.repository)
        if unit is None and watch.organisation is None and watch.repositories:
            unit = next(iter(watch.repositories.values()))
        return unit.repo if unit else Repository(one.repository, watch.name)

    async def _one(self, watch: Watch) -> Repository:
        """Return the repository of a watch that names one, by its id as long as it has it."""
        known = next(iter(watch.repositories.values()), None)
        found = await self._reader.repository_by_id(known.repo.id) if known else None
        if found is None:
            found = await self._reader.repository(watch.name)
        if found is None:
            raise EdgeError(
                f"{watch.name}: not there, or the daily token may not read it",
                transient=True,
                kind="not_found",
            )
        if watch.known_id not in {0, found.id}:
            gone = known is not None or await self._reader.repository_by_id(watch.known_id) is None
            if gone:
                await self._replaced(watch, watch.known_id, found)
        if watch.known_id != found.id:
            watch.known_id = found.id
            mark = Mark(found.id, self._clock.now_s())
            await self._recorder.append([], ("repository:" + watch.name, mark))
        return found

    async def _replace_in(self, watch: Watch, found: tuple[Repository, ...]) -> None:
        by_name = {repo.name: repo for repo in found}
        ids = {repo.id for repo in found}
        for unit in watch.repositories.values():
            new = by_name.get(unit.repo.name)
            if unit.repo.id not in ids and new is not None:
                await self._replaced(watch, unit.repo.id, new)

    async def _replaced(self, watch: Watch, old_id: int, new: Repository) -> None:
        """Tell that a repository is gone and another has its name: nothing of both is mixed."""
        _log.warning("watch.replaced", watch=watch.name, old=old_id, new=new.id)
        await self._intake.append(self._intake.taking.replaced(old_id))
        await self._recorder.tell(WatchReplaced(watch=new.name, repository=new.id, was=old_id))
