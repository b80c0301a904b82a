"""Whose tokens these are and what a thief of them could do (G9)."""

from __future__ import annotations

import msgspec

from allegro.core.errors import EdgeError, Refusal
from allegro.core.issues import Branch, Repository
from allegro.core.ports import ForgeReader, Identity

DAILY_SCOPES = frozenset(
    {
        "write:issue",
        "read:repository",
        "read:user",
        "read:organization",
        "read:issue",
        "read:notification",
    }
)


class Audit(msgspec.Struct, frozen=True):
    """What the forge says of a token, and what follows for one repository."""

    identity: Identity
    repository: str
    default_branch: str
    can_push: bool | None
    can_merge: bool | None
    against: str | None


def judge_identity(
    identity: Identity, bots: frozenset[int], forbidden: tuple[str, ...]
) -> Refusal | None:
    """Return why a token must not be used at all, or None."""
    if identity.is_admin:
        return Refusal(
            "admin_token",
            f"{identity.login} is an administrator of the forge; make it a plain user",
        )
    if identity.login.casefold() in {name.casefold() for name in forbidden}:
        return Refusal("forbidden_user", f"{identity.login}'s token must not be used by a program")
    if identity.id not in bots:
        return Refusal("wrong_user", f"the token is {identity.login}'s, who is not in forge.bots")
    return None


def judge_branch(repo: Repository, branch: Branch | None, accepted: tuple[str, ...]) -> str | None:
    """Return why code must not be changed in a repository, or None.

    What the forge does not tell counts as "may".
    """
    if repo.archived:
        return "the repository is archived"
    if repo.name in accepted:
        return None
    if branch is None:
        return "the default branch cannot be read, so its protection is unknown"
    may = [
        word
        for word, can in (("push to", branch.can_push), ("merge into", branch.can_merge))
        if can is not False
    ]
    if not may:
        return None
    return (
        f"our token may {' and '.join(may)} {branch.name}. Protect it: repository Settings, "
        f"Branches, add a rule for {branch.name}, set push to disabled or a list without our "
        "users, enable the merge list and leave our users out"
    )


def judge_scopes(identity: Identity) -> tuple[str, ...]:
    """Return the scopes of the daily token that it does not need, as far as the forge tells."""
    held = identity.scopes or ()
    return tuple(sorted(scope for scope in held if scope not in DAILY_SCOPES))


async def audit_repository(
    reader: ForgeReader,
    repo: Repository,
    identity: Identity,
    accepted: tuple[str, ...],
    token: str | None = None,
) -> Audit:
    """Ask the forge what this token may do to a repository's default branch."""
    branch: Branch | None = None
    try:
        branch = await reader.branch(repo, repo.default_branch, token)
    except EdgeError as error:
        if error.transient:
            raise
    return Audit(
        identity=identity,
        repository=repo.name,
        default_branch=repo.default_branch,
        can_push=None if branch is None else branch.can_push,
        can_merge=None if branch is None else branch.can_merge,
        against=judge_branch(repo, branch, accepted),
    )
