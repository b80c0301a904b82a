"""Finds what our bots did to labels and branches, so that the house can match it (G13).

An issue's history says who set a label; it is read when the labels of an issue are others than at
the last look. A list of branches does not say who pushed: where one is new or moved, the forge's
record of activities is asked, and where that does not tell, the author is 0.
"""

from __future__ import annotations

from collections.abc import Callable

from allegro.core.issues import Issue, Repository, issue_subject
from allegro.core.ports import ForgeReader
from allegro.lane.recorder import Recorder
from allegro.lane.taking import Notes, Taking

LATE_S = 300
CHUNK = 500


class Footprints:
    """`own_labels` are those this lane set itself on an issue: nobody need be asked about them."""

    def __init__(
        self, reader: ForgeReader, recorder: Recorder, taking: Taking, bots: frozenset[int],
        own_labels: Callable[[str], frozenset[str]],
    ) -> None:  # fmt: skip
        self._reader = reader
        self._recorder = recorder
        self._taking = taking
        self._bots = bots
        self._own_labels = own_labels

    async def labels(self, repo: Repository, issue: Issue, since_s: int) -> Notes:
        """Return the labels that our bots added to an issue, one event for each.

        What was done before `since_s` is not looked at. Raises EdgeError.
        """
        version = self._taking.labels_changed(issue)
        if version is None:
            return [], []
        notes: Notes = ([], [version])
        subject = issue_subject(self._taking.forge, repo.id, issue.number)
        if set(issue.labels) <= self._own_labels(subject):
            return notes
        from_s = max(since_s, self._taking.labels_seen_s(issue)) - LATE_S
        for entry in await self._reader.timeline(repo, issue.number, from_s):
            if entry.type == "label" and entry.body == "1" and entry.author_id in self._bots:
                events, versions = self._taking.label(repo, issue.number, entry)
                notes[0].extend(events)
                notes[1].extend(versions)
        return notes

    async def branches(self, repo: Repository, now_s: int) -> None:
        """Journal the branches that are new or moved since the last look; the first look tells none.

        `now_s` is the forge's clock. Raises EdgeError.
        """
        listed = await self._reader.branches(repo)
        is_first = not self._taking.branches_known(repo.id)
        moved = [
            (branch, version)
            for branch in listed
            if (version := self._taking.branch_moved(repo.id, branch)) is not None
        ]
        notes: Notes = ([], [])
        if is_first:
            notes[1].extend((self._taking.all_branches(repo.id), *(one for _, one in moved)))
        elif moved:
            pushes = {push.branch: push for push in reversed(await self._reader.pushes(repo))}
            for branch, version in moved:
                push = pushes.get(branch.name)
                events, versions = self._taking.branch(repo, branch, version, push, now_s)
                notes[0].extend(events)
                notes[1].extend(versions)
        notes[1].extend(self._taking.branches_gone(repo.id, listed))
        await self._append(notes)

    async def _append(self, notes: Notes) -> None:
        """Append in parts; an event's version stands at its own place, so never before it."""
        events, versions = notes
        for at in range(0, len(versions), CHUNK):
            part = versions[at : at + CHUNK]
            await self._recorder.append(events[at : at + CHUNK], None, part)
            self._taking.keep(part)
