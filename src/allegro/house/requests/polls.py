"""Which lanes' polls show an effect, as it was approved, under one of our own names."""

from __future__ import annotations

from collections.abc import Callable

from allegro.core.authority.actions.family import Action
from allegro.core.authority.actions.forge import (
    CloseIssue,
    CommentOnIssue,
    CreatePullRequest,
    MirrorRequest,
    ProposeChange,
    of_forge,
)
from allegro.core.base.untrusted import Unreadable
from allegro.core.forge.issues import comment_subject, issue_subject
from allegro.core.protocol.event_types import SNAPSHOTS
from allegro.core.protocol.payloads.base import OtherEvent, Payload
from allegro.core.protocol.payloads.polls import SnapshotComment, SnapshotIssue, SnapshotPull
from allegro.core.requests.work import Work
from allegro.core.stores import Archive, Ledger
from allegro.house.archive.events import read_archived
from allegro.house.requests.bots import NAME, bots_in

MOST_VERSIONS = 500


class Polls:
    """Reads archived snapshots. A lane's word too, but one that is compared with what we wrote."""

    def __init__(self, archive: Archive, ledger: Ledger) -> None:
        self._archive = archive
        self._ledger = ledger

    async def of(self, work: Work, artifact: int, content: str) -> frozenset[str]:
        """Return the lanes whose polls show exactly this effect; none for labels."""
        bots = frozenset(bots_in(await self._ledger.strings(NAME)))
        place = _place(work.action, artifact, content, bots)
        if place is None:
            return frozenset()
        subject, matches = place
        found = await self._archive.events(0, MOST_VERSIONS, prefix=SNAPSHOTS, subject=subject)
        lanes = set()
        for archived in found:
            event = read_archived(archived)
            if not isinstance(event, Unreadable) and matches(event.payload):
                lanes.add(archived.lane)
        return frozenset(lanes)


def _place(
    acted: Action, artifact: int, content: str, bots: frozenset[int]
) -> tuple[str, Callable[[Payload | OtherEvent], bool]] | None:
    """Return where an effect shows, and whether a snapshot there is it."""
    action = of_forge(acted)
    forge, repository = action.forge, action.repository.id

    def ours(seen: SnapshotComment | SnapshotPull) -> bool:
        return seen.author_id in bots and bool(content) and seen.content == content

    if isinstance(action, CommentOnIssue | MirrorRequest):
        issue = action.issue
        return (
            comment_subject(forge, repository, artifact),
            lambda seen: isinstance(seen, SnapshotComment) and ours(seen) and seen.number == issue,
        )
    if isinstance(action, ProposeChange | CreatePullRequest):
        return (
            issue_subject(forge, repository, artifact) + "/pull",
            lambda seen: isinstance(seen, SnapshotPull) and ours(seen),
        )
    if isinstance(action, CloseIssue) and artifact == action.issue:
        return (
            issue_subject(forge, repository, artifact),
            lambda seen: isinstance(seen, SnapshotIssue) and seen.closed_by in bots,
        )
    return None
