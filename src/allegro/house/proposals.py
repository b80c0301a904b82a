"""From what Timmy's programs ask for to an action that pins its world."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from allegro.core.actions import (
    Action,
    CloseIssue,
    CommentOnIssue,
    CreatePullRequest,
    FileChange,
    ProposeChange,
    RepositoryRef,
    UpdateStatus,
    is_ci_path,
    kind_of,
)
from allegro.core.canonical import sha256_hex
from allegro.core.documents import RequestDocument
from allegro.core.errors import EdgeError
from allegro.core.session_actions import AnswerOnce, LendModel, RunSession

Ask = Callable[[str, dict[str, Any]], Awaitable[Any]]


class Proposal(msgspec.Struct, frozen=True):
    """A request as a program makes it. `files` maps a path to base64 content, None to delete.

    `key` names this asking: asked twice with the same key, it is one request.
    """

    kind: str
    repository: str
    issue: int = 0
    base: str = ""
    branch: str = ""
    title: str = ""
    body: str = ""
    status: str = ""
    files: dict[str, str | None] = {}
    allow_ci_paths: bool = False
    urgency: str = "medium"
    question: str = ""
    recommendation: str = ""
    context: str = ""
    expires_in_s: float | None = None
    asked_by: str = ""
    key: str = ""


class Pinned(msgspec.Struct, frozen=True):
    """An action with what a person needs beside it to judge it.

    `bases` is what stands at each path now; `notes` hold words of the target, such as the text
    of the issue to be closed, verified against the hashes in the action.
    """

    action: Action
    repository: str
    private: bool
    bases: dict[str, bytes | None] = {}
    notes: dict[str, str] = {}


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
    try:
        return await make(proposal, ask, id_)
    except (KeyError, TypeError, AttributeError, ValueError) as error:  # a lane's words are foreign
        raise EdgeError(f"the lane's answer cannot be read: {error!r}", transient=False) from error


async def _pin_plain(proposal: Proposal, ask: Ask, id_: str) -> Pinned:
    world = await ask(
        "pin_repository", {"repository": proposal.repository, "number": proposal.issue}
    )
    common = _common(world, id_)
    action: Action
    if proposal.kind == "comment":
        action = CommentOnIssue(**common, issue=proposal.issue, body=proposal.body)
    else:
        action = UpdateStatus(**common, issue=proposal.issue, status=proposal.status)
    return Pinned(action, world["repository"]["name"], world["repository"]["private"])


async def _pin_change(proposal: Proposal, ask: Ask, id_: str) -> Pinned:
    paths = sorted(proposal.files)
    world = await ask(
        "pin_change", {"repository": proposal.repository, "base": proposal.base, "paths": paths}
    )
    changes, bases = [], {}
    for path in paths:
        held, content = world["files"].get(path), proposal.files[path]
        change = _file_change(path, held, content)
        if change is None:
            continue
        changes.append(change)
        text = held and held["content"]
        bases[path] = None if text is None else base64.b64decode(text)
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
        base=world["base"],
        base_commit=world["base_commit"],
        branch=proposal.branch,
        title=proposal.title,
        body=proposal.body,
        files=tuple(changes),
        allow_ci_paths=bool(ci),
    )
    repo = world["repository"]
    return Pinned(action, repo["name"], repo["private"], bases)


def _file_change(path: str, held: dict[str, Any] | None, content: str | None) -> FileChange | None:
    """Return the change of one file, None when it already is as wanted."""
    if held is None:
        if content is None:
            raise EdgeError(f"{path} is not there to be deleted", transient=False)
        return FileChange(path, "create", "100644", None, _base64(path, content))
    if held["mode"] not in {"100644", "100755"}:
        raise EdgeError(
            f"{path} is a folder, link or submodule and cannot be changed", transient=False
        )
    if content is None:
        return FileChange(path, "delete", held["mode"], held["sha"], None)
    content = _base64(path, content)
    if held["content"] == content:
        return None
    return FileChange(path, "update", held["mode"], held["sha"], content)


def _base64(path: str, content: str) -> str:
    try:
        return base64.b64encode(base64.b64decode(content, validate=True)).decode()
    except (binascii.Error, ValueError) as error:
        raise EdgeError(f"content of {path} is not base64", transient=False) from error


async def _pin_pull(proposal: Proposal, ask: Ask, id_: str) -> Pinned:
    world = await ask(
        "pin_pull",
        {"repository": proposal.repository, "base": proposal.base, "head": proposal.branch},
    )
    action = CreatePullRequest(
        **_common(world, id_),
        base=world["base"],
        base_commit=world["base_commit"],
        head=proposal.branch,
        head_commit=world["head_commit"],
        title=proposal.title,
        body=proposal.body,
        ci_paths=tuple(world["ci_paths"]),
    )
    return Pinned(action, world["repository"]["name"], world["repository"]["private"])


async def _pin_close(proposal: Proposal, ask: Ask, id_: str) -> Pinned:
    world = await ask("pin_close", {"repository": proposal.repository, "number": proposal.issue})
    if world["state"] != "open":
        raise EdgeError(f"{proposal.repository}#{proposal.issue} is not open", transient=False)
    action = CloseIssue(
        **_common(world, id_),
        issue=proposal.issue,
        title=world["title"],
        body_sha256=sha256_hex(world["body"].encode()),
        newest_comment=world["newest_comment"],
        newest_comment_sha256=world["newest_comment_sha256"],
    )
    notes = {"body": world["body"], "newest_comment": world["newest_comment_body"] or ""}
    return Pinned(action, world["repository"]["name"], world["repository"]["private"], notes=notes)


def _common(world: dict[str, Any], id_: str) -> dict[str, Any]:
    repo = world["repository"]
    return {
        "id": id_,
        "forge": world["forge"],
        "repository": RepositoryRef(repo["id"], repo["name"]),
    }


def proposal_of(action: Action, document: RequestDocument) -> Proposal | None:
    """Return the proposal an approved action came from, to pin it anew; None where it is moot."""
    if isinstance(action, RunSession | AnswerOnce | LendModel):
        return None
    common: dict[str, Any] = {
        "repository": action.repository.name,
        "urgency": document.urgency,
        "question": document.question,
        "recommendation": document.recommendation,
        "context": document.context,
    }
    match action:
        case ProposeChange():
            return Proposal(
                kind="propose_change", base=action.base, branch=action.branch, title=action.title,
                body=action.body, allow_ci_paths=action.allow_ci_paths,
                files={change.path: change.content for change in action.files}, **common,
            )  # fmt: skip
        case CreatePullRequest():
            return Proposal(
                kind="create_pr", base=action.base, branch=action.head, title=action.title,
                body=action.body, **common,
            )  # fmt: skip
        case CloseIssue():
            return Proposal(kind="close_issue", issue=action.issue, **common)
        case _:
            return None


def question_of(action: Action, place: str) -> str:
    match action:
        case ProposeChange():
            return f"Change {len(action.files)} files of {place} and open a pull request to {action.base}?"
        case CreatePullRequest():
            return f"Open a pull request from {action.head} to {action.base} in {place}?"
        case CloseIssue():
            return f"Close {place}?"
        case _:
            return f"{kind_of(action)} on {place}"
