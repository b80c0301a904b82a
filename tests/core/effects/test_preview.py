"""What the shadow mode shows is what would be sent, and only what is still missing."""

from __future__ import annotations

from allegro.core.authority.actions.forge import git_blob_id
from allegro.core.effects.findings import Absent, WriteStep
from allegro.core.effects.preview import (
    MissingBranch,
    MissingCommit,
    MissingPull,
    would_write,
)
from allegro.core.effects.render import rendered_body
from tests.core import builders

MARKER = "m" * 32


def test_a_change_is_shown_from_its_first_missing_step_on() -> None:
    action = builders.change()
    steps = would_write(action, Absent(WriteStep.BRANCH), branch="roses-1", marker=MARKER)
    assert [step.step for step in steps] == ["branch", "commit", "pull"]
    assert steps[0] == MissingBranch(step="branch", branch="roses-1", at=action.base_commit)
    assert isinstance(steps[1], MissingCommit)
    assert isinstance(steps[2], MissingPull)
    [file] = steps[1].files
    assert file.after == git_blob_id(b"print(1)\n", like=action.base_commit)
    assert (file.path, file.bytes, file.before) == ("src/app.py", 9, None)
    assert steps[2].body == rendered_body(action, MARKER)
    assert (steps[2].base, steps[2].head) == ("main", "roses-1")
    later = would_write(action, Absent(WriteStep.PULL), branch="roses-1", marker=MARKER)
    assert later == steps[2:]


def test_a_pull_request_is_shown_from_its_own_branch() -> None:
    action = builders.pull_action()
    [step] = would_write(action, Absent(WriteStep.PULL), branch="roses", marker=MARKER)
    assert isinstance(step, MissingPull)
    assert (step.head, step.title) == ("roses", action.title)
    assert step.body.endswith(f"<!-- allegro:{MARKER} -->")
