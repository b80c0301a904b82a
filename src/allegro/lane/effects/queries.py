"""What a house may ask a lane to read. Reads only; the answers are in `core/protocol/answers`."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from allegro.core.authority.actions.families import parse_action
from allegro.core.authority.actions.forge import of_forge
from allegro.core.base.canonical import sha256_hex
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.base.untrusted import UNREADABLE
from allegro.core.effects.findings import (
    Absent,
    Conflict,
    Finding,
    Present,
    Stale,
    newest_foreign,
)
from allegro.core.effects.gitattributes import rewritten_by
from allegro.core.forge.issues import Comment, Issue, PullRequest, Repository
from allegro.core.ports import Dress, ForgeReader
from allegro.core.protocol.answers.forge import (
    HeldFile,
    Listing,
    PinnedChange,
    PinnedIssue,
    PinnedPull,
    PinnedRepository,
    Place,
    Sighting,
)
from allegro.core.protocol.queries import (
    QUERIES,
    AskChange,
    AskClose,
    AskIssue,
    AskListing,
    AskPull,
    AskRepository,
    Look,
    Params,
    QueryName,
    read_query,
)
from allegro.lane.effects.effect_reader import Looking
from allegro.lane.effects.gitattributes import attributes_for
from allegro.lane.repository.trees import Trees

MAX_PATHS = 300
MAX_PIN_BYTES = 1_200_000
MAX_LINKED = 20
MAX_TIMELINE = 2_000
MAX_TALK_BYTES = 1_200_000

NAMES = (
    QueryName.ISSUE_DETAILS,
    QueryName.PIN_REPOSITORY,
    QueryName.PIN_CHANGE,
    QueryName.PIN_PULL,
    QueryName.PIN_CLOSE,
    QueryName.LOOK,
    QueryName.LISTING,
)
"""What a house may ask about the forge."""

Answer = Callable[[Any], Awaitable[object]]


class Queries:
    """The questions by name. `answer` raises EdgeError with a sentence for the asker."""

    def __init__(
        self,
        reader: ForgeReader,
        looking: Looking,
        bots: frozenset[int],
        forge: str,
        listing: Callable[[int], Listing],
    ) -> None:
        """`listing` gives what a repository holds, by its id."""
        self._reader = reader
        self._looking = looking
        self._bots = bots
        self._forge = forge
        self._listing = listing
        self.methods: dict[str, Answer] = {
            QueryName.ISSUE_DETAILS: self._issue_details,
            QueryName.PIN_REPOSITORY: self._pin_repository,
            QueryName.PIN_CHANGE: self._pin_change,
            QueryName.PIN_PULL: self._pin_pull,
            QueryName.PIN_CLOSE: self._pin_close,
            QueryName.LOOK: self._look,
            QueryName.LISTING: self._list,
        }

    async def answer(self, method: str, params: Params) -> object:
        """Return the answer as its type. Raises EdgeError for an unknown question too."""
        ask = self.methods.get(method)
        if ask is None:
            raise EdgeError(f"unknown question {method!r}", transient=False, kind="unknown")
        try:
            return await ask(read_query(params, QUERIES[method]))
        except UNREADABLE as error:
            raise EdgeError(f"{method}: bad parameters: {error!r}", transient=False) from error

    async def _repository(self, name: str) -> Repository:
        repo = await self._reader.repository(name)
        if repo is None:
            raise EdgeError(
                f"{name}: no such repository, or the daily token may not read it",
                transient=False,
                kind="not_found",
            )
        return repo

    async def _issue(self, repo: Repository, number: int) -> Issue:
        issue = await self._reader.issue(repo, number)
        if issue is None:
            raise EdgeError(
                f"{repo.name}#{number}: no such issue", transient=False, kind="not_found"
            )
        return issue

    async def _issue_details(self, query: AskIssue) -> Issue:
        """Comments, labels, linked pull requests, timeline (G5)."""
        repo = await self._repository(query.repository)
        issue = await self._issue(repo, query.number)
        comments = _newest(await self._reader.comments(repo, issue.number) or ())
        timeline = await self._reader.timeline(repo, issue.number)
        numbers = {entry.ref_number for entry in timeline if entry.ref_is_pull}
        linked: list[PullRequest] = []
        for number in sorted(numbers)[:MAX_LINKED]:
            pull = await self._reader.pull(repo, number)
            if pull is not None:
                linked.append(pull)
        return msgspec.structs.replace(
            issue,
            comments=comments,
            timeline=timeline[-MAX_TIMELINE:],
            linked=tuple(linked),
        )

    async def _pin_repository(self, query: AskRepository) -> PinnedRepository:
        repo = await self._repository(query.repository)
        if query.number:
            await self._issue(repo, query.number)
        return PinnedRepository(forge=self._forge, repository=_place(repo))

    async def _pin_change(self, query: AskChange) -> PinnedChange:
        """Return the base commit and what stands at each path there."""
        repo, paths = await self._repository(query.repository), query.paths
        if len(paths) > MAX_PATHS:
            raise EdgeError(f"at most {MAX_PATHS} files a change", transient=False)
        base = query.base or repo.default_branch
        base_commit = await self._tip(repo, base)
        trees = self._looking.trees(repo)
        commit = await trees.commit(base_commit)
        if commit is None:
            raise EdgeError("the base commit cannot be read", transient=False)
        await self._check_paths(repo, trees, commit.tree, query)
        files: dict[str, HeldFile | None] = {}
        room = MAX_PIN_BYTES
        for path in paths:
            leaf = await trees.leaf(commit.tree, path)
            if leaf is None:
                files[path] = None
                continue
            content = await self._reader.blob(repo, leaf[1])
            shown = content if content is not None and len(content) <= room else None
            room -= len(shown or b"")
            text = None if shown is None else base64.b64encode(shown).decode()
            files[path] = HeldFile(leaf[0], leaf[1], text)
        return PinnedChange(
            forge=self._forge,
            repository=_place(repo),
            base=base,
            base_commit=base_commit,
            files=files,
        )

    async def _check_paths(
        self, repo: Repository, trees: Trees, tree: str, query: AskChange
    ) -> None:
        """Raise EdgeError where the forge could never take a change of these paths as asked.

        `deleted` names those that only go away: for them it does not matter how a forge keeps them.
        """
        for path in query.paths:
            obstacle = await trees.obstacle(tree, path)
            if obstacle:
                raise EdgeError(
                    f"{path}: {obstacle} is no folder in {repo.name}",
                    transient=False,
                    kind="impossible",
                )
        kept = set(query.deleted or ())
        written = [path for path in query.paths if path not in kept]
        attributes = await attributes_for(self._reader, repo, trees, tree, written)
        for path in written:
            rewriter = rewritten_by(path, attributes)
            if rewriter and await self._reader.stores_lfs():
                raise EdgeError(
                    f"{path}: {rewriter}; change it with git", transient=False, kind="impossible"
                )

    async def _pin_pull(self, query: AskPull) -> PinnedPull:
        repo = await self._repository(query.repository)
        base = query.base or repo.default_branch
        base_commit = await self._tip(repo, base)
        head_commit = await self._tip(repo, query.head)
        ci_paths = await self._looking.trees(repo).ci_changes(base_commit, head_commit)
        return PinnedPull(
            forge=self._forge,
            repository=_place(repo),
            base=base,
            base_commit=base_commit,
            head_commit=head_commit,
            ci_paths=tuple(ci_paths),
        )

    async def _pin_close(self, query: AskClose) -> PinnedIssue:
        repo = await self._repository(query.repository)
        issue = await self._issue(repo, query.number)
        comments = await self._reader.comments(repo, issue.number) or ()
        newest = newest_foreign(comments, self._bots)
        return PinnedIssue(
            forge=self._forge,
            repository=_place(repo),
            state=issue.state,
            title=issue.title,
            body=issue.body,
            newest_comment=newest.id if newest else None,
            newest_comment_sha256=sha256_hex(newest.body.encode()) if newest else None,
            newest_comment_body=newest.body if newest else None,
        )

    async def _list(self, query: AskListing) -> Listing:
        return self._listing(query.repository)

    async def _look(self, query: Look) -> Sighting:
        """Look for an action's effect without doing anything."""
        action = parse_action(query.action)
        if isinstance(action, Refusal):
            raise EdgeError(str(action), transient=False)
        action = of_forge(action)
        repo = await self._reader.repository_by_id(action.repository.id)
        if repo is None:
            return Sighting(finding="Stale", reason="the repository is gone")
        return _sighting(await self._looking.look(repo, action, Dress(query.branch, query.marker)))

    async def _tip(self, repo: Repository, branch: str) -> str:
        found = await self._reader.branch(repo, branch)
        if found is None:
            raise EdgeError(
                f"{repo.name} has no branch {branch!r}: it was renamed or deleted, or never was",
                transient=False,
                kind="not_found",
            )
        return found.commit


def _place(repo: Repository) -> Place:
    return Place(repo.id, repo.name, repo.private)


def _sighting(finding: Finding) -> Sighting:
    match finding:
        case Present():
            number, url, commit = finding.number, finding.url, finding.commit
            return Sighting(finding="Present", number=number, url=url, commit=commit)
        case Absent():
            return Sighting(finding="Absent")
        case Stale():
            return Sighting(finding="Stale", reason=finding.reason)
        case Conflict():
            return Sighting(finding="Conflict", reason=finding.reason)


def _newest(comments: Sequence[Comment]) -> tuple[Comment, ...]:
    """Return the newest comments that fit on the link, oldest of them first."""
    kept: list[Comment] = []
    room = MAX_TALK_BYTES
    for comment in reversed(comments):
        room -= len(comment.body.encode()) + 200
        if room < 0:
            break
        kept.append(comment)
    return tuple(reversed(kept))
