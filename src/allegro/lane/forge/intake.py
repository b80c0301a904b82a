"""Takes what a forge shows into the journal: an issue with all that hangs on it, or why not."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TypeVar

import structlog

from allegro.core.base.errors import EdgeError
from allegro.core.forge.issues import Issue, Repository
from allegro.core.ports import Clock, CommentPage, ForgeReader, Unread, Version
from allegro.core.protocol.payloads.polls import ForgeUnread
from allegro.lane.context.recorder import Recorder
from allegro.lane.forge.footprints import Footprints
from allegro.lane.forge.snapshots import Notes, Taking

_log = structlog.get_logger()
CHUNK = 500
TELL_AGAIN_S = 3600.0
MAX_UNREAD = 1_000
MEND = "open it in the browser, and shorten or delete it"

T = TypeVar("T")


class Intake:
    """`unread` is what could not be read, newest last: (repository id, number, id) to words."""

    def __init__(
        self,
        reader: ForgeReader,
        recorder: Recorder,
        taking: Taking,
        clock: Clock,
        footprints: Footprints | None = None,
    ) -> None:
        """`footprints` look for what our bots did; without them only the issues are read."""
        self._reader = reader
        self._recorder = recorder
        self._clock = clock
        self.taking = taking
        self._footprints = footprints
        self.unread: dict[tuple[int, int, int], tuple[float, str]] = {}

    async def append(self, notes: Notes) -> None:
        """Append events, and remember their versions once they are on disk."""
        events, versions = notes
        for at in range(0, len(events), CHUNK):
            part: list[Version] = versions[at : at + CHUNK]
            await self._recorder.append(events[at : at + CHUNK], None, part)
            self.taking.keep(part)

    async def issue(
        self, repo: Repository, issue: Issue, *, started_s: int, patient: bool, talk: bool = True
    ) -> Notes:
        """Return what is new about an issue: itself, its comments, its pull request.

        `talk`: read its comments too. `patient`: pass over a part that fails, and tell it as
        unread; else EdgeError is raised.
        """
        known = self.taking.comment_count(issue)
        events, versions = self.taking.issue(issue)
        if not events:
            return events, versions
        self.unread.pop((repo.id, issue.number, 0), None)
        if issue.state == "closed" and (issue.closed_s or 0) >= started_s:
            closer = await self._part(repo, issue, self._closer(repo, issue.number), patient)
            if closer is not None:
                events, versions = self.taking.issue(issue, closer)
        if talk and (issue.comment_count or known):
            more = await self._part(repo, issue, self._talk(repo, issue), patient)
            events, versions = _joined((events, versions), more)
        if self._footprints is not None and issue.updated_s >= started_s:
            looking = self._footprints.labels(repo, issue, started_s)
            more = await self._part(repo, issue, looking, patient)
            events, versions = _joined((events, versions), more)
        if issue.is_pull_request:
            more = await self._part(repo, issue, self._pull(repo, issue), patient)
            events, versions = _joined((events, versions), more)
        return events, versions

    async def comments(self, repo: Repository, page: CommentPage) -> None:
        """Journal a page of comments of a repository, and what of it cannot be read."""
        taken = [(number, self.taking.comment(repo, number, one)) for number, one in page.comments]
        await self.keep(repo, taken)
        for one in page.unread:
            await self.tell_unread(repo, one)

    async def keep(self, repo: Repository, taken: Sequence[tuple[int, Notes]]) -> None:
        """Append what is new of some issues (by number), in one commit where it can be held.

        What the journal cannot hold is told as unread, and the rest is appended.
        """
        events = [event for _, notes in taken for event in notes[0]]
        versions = [version for _, notes in taken for version in notes[1]]
        if not events:
            return
        try:
            await self.append((events, versions))
            return
        except EdgeError as error:
            if error.kind != "unholdable":
                raise
        for number, notes in taken:
            try:
                await self.append(notes)
            except EdgeError as error:
                if error.kind != "unholdable":
                    raise
                await self.tell_unread(repo, Unread(repo.id, number, 0, str(error)))

    async def tell_unread(self, repo: Repository, one: Unread) -> None:
        """Tell what cannot be read, with its number and what to do: once an hour for each."""
        key = one.repository or repo.id, one.number, one.id
        now_s = self._clock.boot_s()
        reported_s, _ = self.unread.get(key, (float("-inf"), ""))
        if now_s - reported_s < TELL_AGAIN_S:
            return
        what = f"{repo.name}#{one.number or '?'}" + (f" comment {one.id}" if one.id else "")
        words = f"{what}: {one.reason[:300]}; {MEND}"
        self.unread.pop(key, None)
        self.unread[key] = now_s, words
        while len(self.unread) > MAX_UNREAD:
            self.unread.pop(next(iter(self.unread)))
        _log.warning("forge.unread", repository=repo.name, number=one.number, reason=one.reason)
        payload = ForgeUnread(repository=key[0], number=one.number, id=one.id, watch=repo.name)
        await self._recorder.tell(payload, words=words)

    def forget_unread(self, repository_id: int) -> None:
        """Note that everything of a repository is read again from its beginning."""
        for key in [key for key in self.unread if key[0] == repository_id]:
            del self.unread[key]

    async def _part(
        self, repo: Repository, issue: Issue, reading: Awaitable[T], patient: bool
    ) -> T | None:
        """Read a part of an issue; one that fails for good is told and left out."""
        try:
            return await reading
        except EdgeError as error:
            if error.transient and not patient:
                raise
            await self.tell_unread(repo, Unread(repo.id, issue.number, 0, str(error)))
            return None

    async def _talk(self, repo: Repository, issue: Issue) -> Notes:
        """Return what is new among an issue's comments.

        What is not listed has vanished only where the list is whole by the forge's own count.
        """
        page = await self._reader.conversation(repo, issue.number)
        if page is None:
            return [], []
        for one in page.unread:
            await self.tell_unread(repo, one)
        comments = [comment for _, comment in page.comments]
        whole = not page.unread and page.total in {-1, page.count}
        whole = whole and (page.total >= 0 or bool(comments) or not issue.comment_count)
        return self.taking.comments(repo, issue.number, comments, whole=whole)

    async def _closer(self, repo: Repository, number: int) -> int | None:
        entries = await self._reader.timeline(repo, number)
        closes = [entry.author_id for entry in entries if entry.type == "close"]
        return closes[-1] if closes else None

    async def _pull(self, repo: Repository, issue: Issue) -> Notes:
        pull = await self._reader.pull(repo, issue.number)
        return ([], []) if pull is None else self.taking.pull(repo, pull, issue)


def _joined(notes: Notes, more: Notes | None) -> Notes:
    return notes if more is None else (notes[0] + more[0], notes[1] + more[1])
