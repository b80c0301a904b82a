"""Whose tokens these are and what a thief of them could do (G9)."""

from __future__ import annotations

import msgspec

from allegro.core.base.errors import Refusal
from allegro.core.forge.issues import Branch, Repository

NEEDED_SCOPES = ("write:issue", "read:repository", "read:user")
ORGANISATION_SCOPE = "read:organization"
DAILY_SCOPES = frozenset(
    {*NEEDED_SCOPES, ORGANISATION_SCOPE, "read:issue", "read:notification", "read:misc"}
)


class Identity(msgspec.Struct, frozen=True):
    """Whose token this is. `scopes` is None where the forge does not tell."""

    id: int
    login: str
    is_admin: bool
    scopes: tuple[str, ...] | None


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


def judge_login(
    identity: Identity, logins: tuple[str, ...], forbidden: tuple[str, ...]
) -> Refusal | None:
    """Judge a token by its user's name alone, before anything else is asked with it."""
    named = {name.casefold() for name in logins}
    ids = {identity.id} if identity.login.casefold() in named else set()
    return judge_identity(identity, frozenset(ids), forbidden)


def judge_branch(
    repo: Repository, branch: Branch | None, accepted: tuple[str, ...], words: str = ""
) -> str | None:
    """Return why code must not be changed in a repository, or None.

    What the forge does not tell counts as "may". `words` are the forge's own, where it refused to
    show the branch.
    """
    if repo.archived:
        return "the repository is archived"
    if repo.name in accepted:
        return None
    if branch is None:
        unknown = "the default branch cannot be read, so its protection is unknown"
        return f"{unknown}: {words}" if words else unknown
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


def missing_scopes(identity: Identity, watch: tuple[str, ...]) -> tuple[str, ...]:
    """Return the scopes that the daily token needs for these watches and does not hold.

    Empty where the forge does not tell.
    """
    if identity.scopes is None:
        return ()
    organisations = any(name.startswith("org:") for name in watch)
    needed = (*NEEDED_SCOPES, *((ORGANISATION_SCOPE,) if organisations else ()))
    return tuple(scope for scope in needed if not _covers(identity.scopes, scope))


def _covers(held: tuple[str, ...], scope: str) -> bool:
    """Say whether held scopes cover one: write covers read, `all` covers everything."""
    level, _, category = scope.partition(":")
    return bool({scope, "all", f"write:{category}"} & set(held)) and level in {"read", "write"}
