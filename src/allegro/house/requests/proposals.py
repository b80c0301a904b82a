"""Pins a proposal: asks a lane for the world as it is, and writes it into the action."""

from __future__ import annotations

import base64
import binascii
from typing import Any, TypeVar

from allegro.core.authority.actions.family import Action
from allegro.core.authority.actions.forge import (
    CloseIssue,
    CommentOnIssue,
    CreatePullRequest,
    FileChange,
    ProposeChange,
    RepositoryRef,
    UpdateStatus,
    is_ci_path,
)
from allegro.core.base.canonical import sha256_hex
from allegro.core.base.errors import EdgeError
from allegro.core.base.untrusted import Unreadable, read_value
from allegro.core.effects.gitattributes import NAME as ATTRIBUTES
from allegro.core.effects.gitattributes import rewritten_by
from allegro.core.protocol.answers.forge import (
    MAX_BASES_BYTES,
    HeldFile,
    PinnedChange,
    PinnedIssue,
    PinnedPull,
    PinnedRepository,
)
from allegro.core.protocol.queries import AskChange, AskClose, Asked, AskPull, AskRepository
from allegro.core.requests.proposals import Pinned, Proposal
from allegro.house.ports import Ask

T = TypeVar("T")


async def pin(proposal: Proposal, ask: Ask, id_: str) -> Pinned:
    """Ask a lane for the world as it is and pin it into an action.

    Raises EdgeError with a sentence when the proposal cannot be made (no such branch, wrong
    kind, bad content) or no lane answers (transient).
    """
    makers = {
        "propose_change": _pin_change,
        "create_pr": _pin_pull,
        "close_issue": _pin_close,
        "comment": _pin_plain,
        "update_status": _pin_plain,
    }
    make = makers.get(proposal.kind)
    if make is None:
        raise EdgeError(
            f"{proposal.kind!r} cannot be asked for; known: {', '.join(makers)}", transient=False
        )
    return await make(proposal, ask, id_)


async def asked(ask: Ask, query: Asked, type_: type[T]) -> T:
    """Ask a lane and return its answer as a value of this type.

    Raises EdgeError; not transient when the answer cannot be read.
    """
    answer = read_value(await ask(query.name, query.params()), type_)
    if isinstance(answer, Unreadable):
        raise EdgeError(
            f"the lane's answer to {query.name} cannot be read: {answer}",
            transient=False,
            kind="unreadable",
        )
    return answer


async def _pin_plain(proposal: Proposal, ask: Ask, id_: str) -> Pinned:
    query = AskRepository(repository=proposal.repository, number=proposal.issue)
    world = await asked(ask, query, PinnedRepository)
    common = _common(world, id_)
    action: Action
    if proposal.kind == "comment":
        action = CommentOnIssue(**common, issue=proposal.issue, body=proposal.body)
    else:
        action = UpdateStatus(**common, issue=proposal.issue, status=proposal.status)
    return Pinned(action, world.repository.name, world.repository.private)


async def _pin_change(proposal: Proposal, ask: Ask, id_: str) -> Pinned:
    paths = sorted(proposal.files)
    _check_own_attributes(proposal)
    deleted = [path for path in paths if proposal.files[path] is None]
    query = AskChange(
        repository=proposal.repository,
        base=proposal.base,
        paths=tuple(paths),
        deleted=tuple(deleted),
    )
    world = await asked(ask, query, PinnedChange)
    changes, bases = [], {}
    for path in paths:
        held, content = world.files.get(path), proposal.files[path]
        change = _file_change(path, held, content)
        if change is None:
            continue
        changes.append(change)
        bases[path] = _shown(path, held)
    if not changes:
        raise EdgeError("the base branch holds exactly these files already", transient=False)
    ci = [path for path in paths if is_ci_path(path)]
    if ci and not proposal.allow_ci_paths:
        raise EdgeError(
            f"{', '.join(ci)} can make the forge run code; pass allow_ci_paths=True to propose it",
            transient=False,
        )
    action = ProposeChange(
        **_common(world, id_),
        base=world.base,
        base_commit=world.base_commit,
        branch=proposal.branch,
        title=proposal.title,
        body=proposal.body,
        files=tuple(changes),
        allow_ci_paths=bool(ci),
    )
    if sum(len(raw or b"") for raw in bases.values()) > MAX_BASES_BYTES:
        raise EdgeError("the lane's answer holds more than a base can", transient=False)
    return Pinned(action, world.repository.name, world.repository.private, bases)


def _check_own_attributes(proposal: Proposal) -> None:
    """Raise EdgeError where a change puts one of its own files under LFS: the forge mends none."""
    own = {
        path: base64.b64decode(_base64(path, content))
        for path, content in proposal.files.items()
        if content is not None and path.rsplit("/", 1)[-1] == ATTRIBUTES
    }
    for path, content in proposal.files.items():
        why = rewritten_by(path, own) if own and content is not None else ""
        if why:
            raise EdgeError(f"{path}: {why}; change it with git", transient=False)


def _shown(path: str, held: HeldFile | None) -> bytes | None:
    """Return what stands at a path now, None where nothing does or it is too large to show."""
    if held is None or held.content is None:
        return None
    try:
        return base64.b64decode(held.content, validate=True)
    except (binascii.Error, ValueError) as error:
        why = f"the lane's answer about {path} is not base64"
        raise EdgeError(why, transient=False, kind="unreadable") from error


def _file_change(path: str, held: HeldFile | None, content: str | None) -> FileChange | None:
    """Return the change of one file, None when it already is as wanted."""
    if held is None:
        if content is None:
            raise EdgeError(f"{path} is not there to be deleted", transient=False)
        return FileChange(path, "create", "100644", None, _base64(path, content))
    if held.mode not in {"100644", "100755"}:
        raise EdgeError(
            f"{path} is a folder, link or submodule and cannot be changed", transient=False
        )
    if content is None:
        return FileChange(path, "delete", held.mode, held.sha, None)
    content = _base64(path, content)
    if held.content == content:
        return None
    return FileChange(path, "update", held.mode, held.sha, content)


def _base64(path: str, content: str) -> str:
    try:
        return base64.b64encode(base64.b64decode(content, validate=True)).decode()
    except (binascii.Error, ValueError) as error:
        raise EdgeError(f"content of {path} is not base64", transient=False) from error


async def _pin_pull(proposal: Proposal, ask: Ask, id_: str) -> Pinned:
    query = AskPull(repository=proposal.repository, base=proposal.base, head=proposal.branch)
    world = await asked(ask, query, PinnedPull)
    action = CreatePullRequest(
        **_common(world, id_),
        base=world.base,
        base_commit=world.base_commit,
        head=proposal.branch,
        head_commit=world.head_commit,
        title=proposal.title,
        body=proposal.body,
        ci_paths=world.ci_paths,
    )
    return Pinned(action, world.repository.name, world.repository.private)


async def _pin_close(proposal: Proposal, ask: Ask, id_: str) -> Pinned:
    query = AskClose(repository=proposal.repository, number=proposal.issue)
    world = await asked(ask, query, PinnedIssue)
    if world.state != "open":
        raise EdgeError(f"{proposal.repository}#{proposal.issue} is not open", transient=False)
    words = world.newest_comment_body
    named = None if words is None else sha256_hex(words.encode("utf-8", "replace"))
    if named != world.newest_comment_sha256 or (named is None) != (world.newest_comment is None):
        why = "the lane names another newest comment than it shows"
        raise EdgeError(why, transient=False, kind="unreadable")
    action = CloseIssue(
        **_common(world, id_),
        issue=proposal.issue,
        title=world.title,
        body_sha256=sha256_hex(world.body.encode("utf-8", "replace")),
        newest_comment=world.newest_comment,
        newest_comment_sha256=world.newest_comment_sha256,
    )
    notes = {"body": world.body, "newest_comment": words or ""}
    return Pinned(action, world.repository.name, world.repository.private, notes=notes)


def _common(world: PinnedRepository, id_: str) -> dict[str, Any]:
    place = world.repository
    return {"id": id_, "forge": world.forge, "repository": RepositoryRef(place.id, place.name)}
