"""What would be written for an action, step by step, for the shadow mode (G12)."""

from __future__ import annotations

from typing import Any

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


def would_write(
    action: ForgeAction, absent: Absent, *, branch: str, marker: str
) -> list[dict[str, Any]]:
    """Return the writes that are still missing, each with its content as it would be sent.

    Files are named by path, mode, git id and size: their bytes are the action's own.
    """
    steps = _CHANGE[_CHANGE.index(absent.step) :] if isinstance(action, ProposeChange) else ()
    return [
        {"step": step.value, **_content(action, step, branch, marker, absent.target)}
        for step in steps or (absent.step,)
    ]


def _content(
    action: ForgeAction, step: WriteStep, branch: str, marker: str, target: int
) -> dict[str, Any]:
    match action, step:
        case ProposeChange(), WriteStep.BRANCH:
            return {"branch": branch, "at": action.base_commit}
        case ProposeChange(), WriteStep.COMMIT:
            return {"branch": branch, "message": action.title, "files": _files(action)}
        case ProposeChange() | CreatePullRequest(), WriteStep.PULL:
            head = branch if isinstance(action, ProposeChange) else action.head
            body = rendered_body(action, marker)
            return {"base": action.base, "head": head, "title": action.title, "body": body}
        case CommentOnIssue() | MirrorRequest(), WriteStep.COMMENT | WriteStep.EDIT:
            edited = {"comment": target} if step is WriteStep.EDIT else {}
            return {"issue": action.issue, "body": rendered_body(action, marker), **edited}
        case UpdateStatus(), WriteStep.LABEL:
            return {"issue": action.issue, "label": STATUS_SCOPE + action.status}
        case CloseIssue(), WriteStep.CLOSE:
            return {"issue": action.issue, "state": "closed"}
        case _:
            return {}


def _files(action: ProposeChange) -> list[dict[str, Any]]:
    return [
        {
            "path": change.path,
            "operation": change.operation,
            "mode": change.mode,
            "before": change.before,
            "after": None
            if change.content is None
            else git_blob_id(change.raw(), like=action.base_commit),
            "bytes": len(change.raw()),
        }
        for change in action.files
    ]
