"""Finds what our bots did to labels and branches, so that the house can match it (G13).

An issue's history says who set a label; it is read when the labels of an issue are others than at
the last look. A list of branches does not say who pushed: where one is new or moved, the forge's
record of activities is asked, and where that does not tell, the author is 0. A push that left the
branch at another commit tells nothing of this move: the mover may hide what he does, or the record
may be late. What a commit of our bots holds is told by name, so that the house can compare it with
what it ordered.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from allegro.core.base.canonical import sha256_hex
from allegro.core.base.errors import EdgeError
from allegro.core.forge.issues import Branch, Issue, Push, Repository, TimelineEntry, issue_subject
from allegro.core.ports import ForgeReader, Version
from allegro.core.protocol.payloads.polls import SnapshotBranch, SnapshotLabel
from allegro.lane.context.recorder import Recorder
from allegro.lane.forge.snapshots import Notes, Taking
from allegro.lane.repository.trees import Trees

LATE_S = 300
PUSH_PAGES = 20
CHUNK = 500


class Footprints:
    """`own_labels` are those this lane set itself on an issue: nobody need be asked about them."""

    def __init__(
        self,
        reader: ForgeReader,
        recorder: Recorder,
        taking: Taking,
        bots: frozenset[int],
        own_labels: Callable[[str], frozenset[str]],
    ) -> None:
        self._reader = reader
        self._recorder = recorder
        self._taking = taking
        self._bots = bots
        self._own_labels = own_labels
        self._known: dict[int, set[str]] = {}
        self._looked_s: dict[int, int] = {}

    async def labels(self, repo: Repository, issue: Issue, since_s: int) -> Notes:
        """Return the labels that our bots added to an issue, one event for each.

        What was done before `since_s` is not looked at. Raises EdgeError.
        """
        looked = self._labels_moved(repo, issue)
        if looked is None:
            return [], []
        notes: Notes = ([], [looked])
        subject = issue_subject(self._taking.forge, repo.id, issue.number)
        if set(issue.labels) <= self._own_labels(subject):
            return notes
        held = self._taking.held(looked.subject)
        from_s = max(since_s, held.updated_s if held else 0) - LATE_S
        for entry in await self._reader.timeline(repo, issue.number, from_s):
            if entry.type == "label" and entry.body == "1" and entry.author_id in self._bots:
                _extend(notes, self._label(repo, issue.number, entry))
        return notes

    async def branches(self, repo: Repository, now_s: int) -> str:
        """Journal the branches that are new or moved since the last look; the first look tells none.

        `now_s` is the forge's clock. Returns what could not be read of who moved them, empty where
        all was. Raises EdgeError.
        """
        unread = ""
        listed = await self._reader.branches(repo)
        moved = [(one, version) for one in listed if (version := self._moved(repo, one))]
        notes: Notes = ([], [])
        if self._taking.held(self._listed(repo)) is None:
            notes[1].extend((Version(self._listed(repo), "listed", 0), *(one for _, one in moved)))
        elif moved:
            wanted = {(branch.name, branch.commit) for branch, _ in moved}
            pushes, unread = await self._pushes(repo, wanted)
            for branch, version in moved:
                exact = pushes.get((branch.name, branch.commit))
                push = exact or pushes.get((branch.name, ""))
                held = await self._held_by(repo, branch.commit, push)
                payload = self._branch(repo, branch, push, now_s, held)
                _extend(notes, self._taking.note(version, payload, branch))
        there = {self._subject(repo, branch) for branch in listed}
        gone = self._known_of(repo) - there
        notes[1].extend(self._gone(subject) for subject in sorted(gone))
        await self._append(notes)
        self._known[repo.id] = there
        self._looked_s[repo.id] = now_s
        return unread

    async def _pushes(
        self, repo: Repository, wanted: set[tuple[str, str]]
    ) -> tuple[dict[tuple[str, str], Push], str]:
        """Return the newest push of each branch and commit, and what was not read.

        The record holds every kind of activity, so it is read back to the last look, page by page,
        PUSH_PAGES at most, or until all that is wanted was found.
        """
        found: dict[tuple[str, str], Push] = {}
        since_s, odd = self._looked_s.get(repo.id, 0) - LATE_S, 0
        for number in range(1, PUSH_PAGES + 1):
            page = await self._reader.pushes(repo, number)
            odd += page.unread
            for push in page.pushes:
                found.setdefault((push.branch, push.commit), push)
            if wanted <= found.keys():
                return found, ""
            if not page.more or 0 < page.oldest_s < since_s:
                words = f"{odd} activities cannot be read: who moved a branch may stay unknown"
                return found, words if odd else ""
        return found, (
            f"more than {PUSH_PAGES} pages of activities since the last look: who moved a branch "
            "may not be told"
        )

    async def _append(self, notes: Notes) -> None:
        """Append in parts; an event's version stands at its own place, so never before it."""
        events, versions = notes
        for at in range(0, len(versions), CHUNK):
            part = versions[at : at + CHUNK]
            await self._recorder.append(events[at : at + CHUNK], None, part)
            self._taking.keep(part)

    def _labels_moved(self, repo: Repository, issue: Issue) -> Version | None:
        """Return the version of an issue's labels if they are not those last looked at."""
        subject = f"{self._taking.forge}/{repo.id}/labels/{issue.number}"
        hash_ = sha256_hex(msgspec.json.encode(issue.labels))[:32]
        held = self._taking.held(subject)
        if held.hash == hash_ if held else not issue.labels:
            return None
        return Version(subject, hash_, issue.updated_s)

    def _label(self, repo: Repository, number: int, entry: TimelineEntry) -> Notes:
        """Return the snapshot of a label that was added, by the line of the issue's history."""
        subject = f"{issue_subject(self._taking.forge, repo.id, number)}/label/{entry.id}"
        version = self._taking.newer(subject, entry, entry.created_s, 0)
        if version is None:
            return [], []
        payload = SnapshotLabel(
            repository=repo.id,
            number=number,
            label=entry.label_id,
            author_id=entry.author_id,
            created_s=entry.created_s,
            updated_s=entry.created_s,
            content=self._recorder.content(entry.label),
        )
        return self._taking.note(version, payload, entry)

    async def _held_by(self, repo: Repository, commit: str, push: Push | None) -> str:
        """Name what a commit of our bots holds; empty for one of others, or that is no one step.

        Raises EdgeError, transient, where it cannot be read now.
        """
        if push is None or push.author_id not in self._bots:
            return ""
        trees = Trees(self._reader, repo)
        try:
            head = await trees.commit(commit)
            base = None if head is None or len(head.parents) != 1 else head.parents[0]
            before = None if base is None else await trees.commit(base)
            if head is None or before is None:
                return ""
            changes = await trees.changes(before.tree, head.tree)
        except EdgeError as error:
            if error.transient:
                raise
            return ""
        return self._recorder.commit(head.parents, changes)

    def _branch(
        self, repo: Repository, branch: Branch, push: Push | None, now_s: int, held: str
    ) -> SnapshotBranch:
        """Return the snapshot of a branch that is new or moved, with who moved it (0: not told)."""
        return SnapshotBranch(
            repository=repo.id,
            branch=self._recorder.content(branch.name),
            commit=branch.commit,
            author_id=0 if push is None else push.author_id,
            created_s=now_s if push is None else push.created_s,
            updated_s=now_s,
            content=self._recorder.content(f"{branch.name}\n{branch.commit}"),
            held=held,
        )

    def _moved(self, repo: Repository, branch: Branch) -> Version | None:
        """Return the version of a branch if it is new or elsewhere than it was."""
        subject = self._subject(repo, branch)
        held = self._taking.held(subject)
        if held is not None and held.hash == branch.commit:
            return None
        return Version(subject, branch.commit, 0, 0 if held is None else held.turn + 1)

    def _gone(self, subject: str) -> Version:
        """Return the version of a branch that is no longer there: when it is back, it is new."""
        held = self._taking.held(subject)
        return Version(subject, "", 0, 0 if held is None else held.turn)

    def _known_of(self, repo: Repository) -> set[str]:
        """Return the branches that were there at the last look; after a restart the journal knows."""
        if repo.id not in self._known:
            prefix = f"{self._taking.forge}/{repo.id}/branch/"
            self._known[repo.id] = self._taking.subjects(prefix)
        return self._known[repo.id]

    def _listed(self, repo: Repository) -> str:
        return f"{self._taking.forge}/{repo.id}/branches"

    def _subject(self, repo: Repository, branch: Branch) -> str:
        name = self._recorder.content(branch.name)
        return f"{self._taking.forge}/{repo.id}/branch/{name}"


def _extend(notes: Notes, more: Notes) -> None:
    notes[0].extend(more[0])
    notes[1].extend(more[1])
