"""Doctor's facts about the daily token: whose it is, what it may do, what a thief of it could do."""

from __future__ import annotations

from collections.abc import Iterable

from allegro.core.forge.token_audit import Audit, Identity, judge_scopes, missing_scopes
from allegro.core.health import codes
from allegro.core.health.facts import Fact, State


def identity_facts(identity: Identity, watch: tuple[str, ...], at_s: float) -> list[Fact]:
    """Return what the audit at `at_s` (Unix s) found out about the token's user and scopes."""
    words = f"daily token of {identity.login} (id {identity.id})"
    reach = "could open, edit and label issues and comment as our bot"
    return [
        Fact(codes.TOKEN_IDENTITY, "ok", words, "GET /user", at_s=at_s),
        scope_fact(identity, watch, at_s),
        Fact(codes.TOKEN_REACH, "warn", reach, "scopes", at_s=at_s),
    ]


def protection_facts(audits: Iterable[Audit], at_s: float = 0.0) -> list[Fact]:
    """Return for each audited repository whether its default branch is closed to our token."""
    return [protection_fact(audit, at_s) for audit in audits]


def protection_fact(audit: Audit, at_s: float = 0.0) -> Fact:
    name = audit.repository
    if audit.against is None:
        closed = f"{audit.default_branch} is closed to our token"
        return Fact(codes.PROTECTION, "ok", closed, "branch", name, at_s)
    return Fact(codes.PROTECTION, "warn", f"comment-only: {audit.against}", "branch", name, at_s)


def scope_fact(identity: Identity, watch: tuple[str, ...], at_s: float = 0.0) -> Fact:
    """Return what a token's scopes lack, or have too much of, as far as the forge tells."""

    def fact(state: State, words: str) -> Fact:
        return Fact(codes.TOKEN_SCOPES, state, words, "GET /token", at_s=at_s)

    if identity.scopes is None:
        return fact("warn", "this forge does not tell a token's scopes")
    if missing := missing_scopes(identity, watch):
        return fact("bad", f"missing: {', '.join(missing)}")
    if excess := judge_scopes(identity):
        return fact("warn", f"more than needed: {', '.join(excess)}")
    return fact("ok", ", ".join(identity.scopes))
