"""Asks the forge what a token may do to a repository: for the daily token and for an effect's own."""

from __future__ import annotations

from allegro.core.base.errors import EdgeError
from allegro.core.forge.issues import Branch, Repository
from allegro.core.forge.token_audit import Audit, Identity, judge_branch
from allegro.core.ports import ForgeReader


async def audit_repository(
    reader: ForgeReader,
    repo: Repository,
    identity: Identity,
    accepted: tuple[str, ...],
    token: str | None = None,
) -> Audit:
    """Ask the forge what this token may do to a repository's default branch."""
    branch: Branch | None = None
    words = ""
    try:
        branch = await reader.branch(repo, repo.default_branch, token)
    except EdgeError as error:
        if error.transient:
            raise
        words = str(error)
    return Audit(
        identity=identity,
        repository=repo.name,
        default_branch=repo.default_branch,
        can_push=None if branch is None else branch.can_push,
        can_merge=None if branch is None else branch.can_merge,
        against=judge_branch(repo, branch, accepted, words),
    )
