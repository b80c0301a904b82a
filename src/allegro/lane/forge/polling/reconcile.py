"""The full comparison: what still exists is never missed, what vanished is told (G1).

Everything is journalled page by page; in memory stay the numbers alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import msgspec

from allegro.core.base.errors import EdgeError
from allegro.core.forge.issues import Issue, Repository, comment_subject
from allegro.core.forge.marks import Window
from allegro.core.ports import ForgeReader, IssuePage
from allegro.core.protocol.payloads.polls import ForgeReconciled
from allegro.lane.context.recorder import Recorder
from allegro.lane.forge.collect import MAX_PASSES, Walk
from allegro.lane.forge.comments import read_talk
from allegro.lane.forge.intake import Intake
from allegro.lane.forge.snapshots import Taking

_UNSURE = {"garbage", "garbled", "too_large"}


class Manner(msgspec.Struct, frozen=True):
    """How a repository is read: entries a page, since when (Unix s) its watch takes closed issues
    whole, and whether what fails in one issue is passed over (`patient`)."""

    page_size: int
    started_s: int
    patient: bool


class Reconcile:
    """Compares one repository with the forge, from its first issue to its last comment.

    `seen` is called with each issue. Raises EdgeError; what was journalled until then stays.
    """

    def __init__(
        self,
        reader: ForgeReader,
        recorder: Recorder,
        intake: Intake,
        repo: Repository,
        manner: Manner,
        seen: Callable[[Issue], None],
    ) -> None:
        self._reader = reader
        self._recorder = recorder
        self._intake = intake
        self._taking: Taking = intake.taking
        self._repo = repo
        self._page_size = manner.page_size
        self._started_s = manner.started_s
        self._patient = manner.patient
        self._seen = seen
        self._listed: set[int] = set()

    async def run(self) -> None:
        repo = self._repo
        self._intake.forget_unread(repo.id)
        walk = Walk(
            lambda window, page, limit: self._reader.repository_issues(repo, window, page, limit),
            self._page,
            page_size=self._page_size,
            patient=self._patient,
        )
        await walk.over(Window(0, None))
        comments = await self._all_comments()
        gone = await self._gone()
        for subject, number in gone:
            await self._intake.append(self._taking.vanished(repo.id, subject, number))
        await self._gone_comments(comments, {number for _, number in gone})
        await self._recorder.tell(
            ForgeReconciled(repository=repo.id, issues=len(self._listed), vanished=len(gone))
        )
        self._taking.completed(repo.id)

    async def _page(self, page: IssuePage) -> None:
        for one in page.unread:
            self._listed.add(one.number)
            await self._intake.tell_unread(self._repo, one)
        taken = []
        for issue in page.issues:
            self._listed.add(issue.number)
            notes = await self._intake.issue(
                self._repo, issue, started_s=self._started_s, patient=self._patient, talk=False
            )
            taken.append((issue.number, notes))
        await self._intake.keep(self._repo, taken)
        for issue in page.issues:
            self._seen(issue)

    async def _all_comments(self) -> set[int]:
        """Read all comments, in passes until one saw as many as it began with; return their ids.

        A comment deleted meanwhile lets another jump over the page that is read next; taken for
        vanished it would be told as what it is not.
        """
        before: set[int] | None = None
        for _ in range(MAX_PASSES):
            total, seen = await read_talk(
                self._reader,
                self._repo,
                0,
                self._page_size,
                lambda page: self._intake.comments(self._repo, page),
                patient=self._patient,
            )
            if len(seen) >= total or seen == before:
                return seen
            before = seen
        raise EdgeError("the forge's comments move faster than they can be read", transient=True)

    async def _gone(self) -> list[tuple[str, int]]:
        """Return the known issues that the list left out and that are not there by number."""
        gone = []
        for subject in self._taking.known(self._repo.id):
            number = int(subject.rsplit("#", 1)[1])
            if number not in self._listed and await self._is_gone(number):
                gone.append((subject, number))
        return gone

    async def _is_gone(self, number: int) -> bool:
        try:
            return await self._reader.issue(self._repo, number) is None
        except EdgeError as error:
            if error.kind in _UNSURE:
                return False
            raise

    async def _gone_comments(self, listed: set[int], gone: set[int]) -> None:
        """Tell the known comments that the list left out and that their own issue does not have."""
        missing: dict[int, list[int]] = defaultdict(list)
        for number, known in self._taking.repository_comments(self._repo.id).items():
            missing[number] = sorted(known - listed)
        for number, ids in missing.items():
            if not ids:
                continue
            there = set() if number in gone else await self._comments_of(number)
            if there is None:
                continue
            for id_ in ids:
                if id_ not in there:
                    subject = comment_subject(self._taking.forge, self._repo.id, id_)
                    await self._intake.append(self._taking.vanished(self._repo.id, subject, number))

    async def _comments_of(self, number: int) -> set[int] | None:
        """Return the ids of an issue's comments, None where they cannot be told."""
        try:
            page = await self._reader.conversation(self._repo, number)
        except EdgeError as error:
            if error.kind in _UNSURE:
                return None
            raise
        if page is None:
            return set()
        return None if page.unread else {comment.id for _, comment in page.comments}
