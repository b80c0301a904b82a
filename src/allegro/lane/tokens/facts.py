"""Doctor's facts about the daily token: whose it is, what it may do, what a thief of it could do."""

from __future__ import annotations

from collections.abc import Iterable

from allegro.core.forge.token_audit import Audit, Identity, judge_scopes, missing_scopes
from allegro.core.health.facts import Fact


def identity_facts(identity: Identity, watch: tuple[str, ...], age_s: float) -> list[Fact]:
    """Return what an audit that is `age_s` old found out about the token's user and scopes."""
    told = f"daily token of {identity.login} (id {identity.id})"
    thief = Fact(
        "a thief of the daily token",
        "warn",
        "could open, edit and label issues and comment as our bot",
        "scopes",
        age_s,
        "allegro revoke lane NAME, then delete the token at the forge",
    )
    scopes = scope_fact(identity, watch, age_s)
    return [Fact("identity", "ok", told, "GET /user", age_s), scopes, thief]


def protection_facts(audits: Iterable[Audit], age_s: float) -> list[Fact]:
    """Return for each audited repository whether its default branch is closed to our token."""
    facts = []
    for audit in audits:
        what = f"protection of {audit.repository}"
        if audit.against is None:
            closed = f"{audit.default_branch} is closed to our token"
            facts.append(Fact(what, "ok", closed, "branch", age_s))
        else:
            facts.append(Fact(what, "warn", "comment-only", "branch", age_s, audit.against))
    return facts


def scope_fact(identity: Identity, watch: tuple[str, ...], age_s: float = 0.0) -> Fact:
    """Return what a token's scopes lack, or have too much of, as far as the forge tells."""
    needed = "write:issue, read:repository, read:user (read:organization for an org: watch)"
    if identity.scopes is None:
        return Fact(
            "token scopes", "warn", "this forge does not tell a token's scopes", "GET /token",
            age_s, f"make sure it has {needed} and no more",
        )  # fmt: skip
    missing, excess = missing_scopes(identity, watch), judge_scopes(identity)
    if missing:
        return Fact(
            "token scopes", "bad", f"missing: {', '.join(missing)}", "GET /token", age_s,
            f"make a token with {needed}, and put it into forge.token_file",
        )  # fmt: skip
    if excess:
        return Fact(
            "token scopes", "warn", f"more than needed: {', '.join(excess)}", "GET /token", age_s,
            f"make a token with {needed}",
        )  # fmt: skip
    return Fact("token scopes", "ok", ", ".join(identity.scopes), "GET /token", age_s)
