"""What would be written for an action, step by step, for the shadow mode (G12)."""

from __future__ import annotations

import msgspec

from allegro.core.authority.actions.forge import (
    CloseIssue,
    CommentOnIssue,
    CreatePullRequest,
    ForgeAction,
    MirrorRequest,
    ProposeChange,
    UpdateStatus,
    git_blob_id,
)
from allegro.core.effects.findings import Absent, WriteStep
from allegro.core.effects.render import rendered_body
from allegro.core.forge.issues import STATUS_SCOPE

_CHANGE = (WriteStep.BRANCH, WriteStep.COMMIT, WriteStep.PULL)


class MissingWrite(msgspec.Struct, frozen=True, kw_only=True):
    """One write that is still missing. Each kind has the content as it would be sent."""

    step: str


class MissingBranch(MissingWrite, frozen=True, kw_only=True):
    branch: str
    at: str


class ShownFile(msgspec.Struct, frozen=True):
    """A file by its git ids and size: its bytes are the action's own. None: it is not there."""

    path: str
    operation: str
    mode: str
    before: str | None
    after: str | None
    bytes: int


class MissingCommit(MissingWrite, frozen=True, kw_only=True):
    branch: str
    message: str
    files: tuple[ShownFile, ...]


class MissingPull(MissingWrite, frozen=True, kw_only=True):
    base: str
    head: str
    title: str
    body: str


class MissingComment(MissingWrite, frozen=True, kw_only=True):
    """`comment` is the id of the comment that would be edited."""

    issue: int
    body: str
    comment: int | msgspec.UnsetType = msgspec.UNSET


class MissingLabel(MissingWrite, frozen=True, kw_only=True):
    issue: int
    label: str


class MissingClose(MissingWrite, frozen=True, kw_only=True):
    issue: int
    state: str = "closed"


def would_write(
    action: ForgeAction, absent: Absent, *, branch: str, marker: str
) -> list[MissingWrite]:
    """Return the writes that are still missing, each with its content as it would be sent."""
    steps = _CHANGE[_CHANGE.index(absent.step) :] if isinstance(action, ProposeChange) else ()
    return [
        _missing(action, step, branch, marker, absent.target) for step in steps or (absent.step,)
    ]


def _missing(
    action: ForgeAction, step: WriteStep, branch: str, marker: str, target: int
) -> MissingWrite:
    match action, step:
        case ProposeChange(), WriteStep.BRANCH:
            return MissingBranch(step=step.value, branch=branch, at=action.base_commit)
        case ProposeChange(), WriteStep.COMMIT:
            files = _files(action)
            return MissingCommit(step=step.value, branch=branch, message=action.title, files=files)
        case ProposeChange() | CreatePullRequest(), WriteStep.PULL:
            return MissingPull(
                step=step.value,
                base=action.base,
                head=branch if isinstance(action, ProposeChange) else action.head,
                title=action.title,
                body=rendered_body(action, marker),
            )
        case CommentOnIssue() | MirrorRequest(), WriteStep.COMMENT | WriteStep.EDIT:
            edited = target if step is WriteStep.EDIT else msgspec.UNSET
            body = rendered_body(action, marker)
            return MissingComment(step=step.value, issue=action.issue, body=body, comment=edited)
        case UpdateStatus(), WriteStep.LABEL:
            label = STATUS_SCOPE + action.status
            return MissingLabel(step=step.value, issue=action.issue, label=label)
        case CloseIssue(), WriteStep.CLOSE:
            return MissingClose(step=step.value, issue=action.issue)
        case _:
            return MissingWrite(step=step.value)


def _files(action: ProposeChange) -> tuple[ShownFile, ...]:
    return tuple(
        ShownFile(
            path=change.path,
            operation=change.operation,
            mode=change.mode,
            before=change.before,
            after=None
            if change.content is None
            else git_blob_id(change.raw(), like=action.base_commit),
            bytes=len(change.raw()),
        )
        for change in action.files
    )
