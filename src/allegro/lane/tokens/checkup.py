"""What `allegro doctor` on the lane's own machine asks the forge: token, clock, watches, protection."""

from __future__ import annotations

from allegro.core.base.errors import ConfigError, EdgeError, Refusal
from allegro.core.forge.issues import Repository
from allegro.core.forge.marks import Window
from allegro.core.forge.token_audit import Identity, judge_login
from allegro.core.health import codes
from allegro.core.health.facts import Fact, State
from allegro.core.ports import Clock, ForgeReader, IssuePage
from allegro.core.settings import LaneSettings
from allegro.lane.repository.audit import audit_repository
from allegro.lane.tokens.auditor import bot_ids, watched
from allegro.lane.tokens.facts import protection_fact, scope_fact

CLOCK_LIMIT_S = 30.0


async def checkup(settings: LaneSettings, reader: ForgeReader, clock: Clock) -> list[Fact]:
    """Return the facts of a lane's forge: clock, token, protection."""
    try:
        return await _forge_facts(settings, reader, clock)
    except (EdgeError, ConfigError) as error:
        return [Fact(codes.FORGE, "bad", str(error), "request")]


async def _forge_facts(settings: LaneSettings, reader: ForgeReader, clock: Clock) -> list[Fact]:
    forge = settings.forge
    identity = await reader.whoami()
    refusal = judge_login(identity, forge.bots, forge.forbidden_users)
    facts = [_identity_fact(identity, refusal)]
    if refusal is not None:  # nothing more is asked with somebody else's token
        return facts
    server = await reader.server()
    facts += [
        Fact(codes.FORGE, "ok", f"{server.flavour} {server.version}", "GET /version"),
        _clock_fact(clock.now_s(), await reader.date_s()),
        scope_fact(identity, forge.watch),
    ]
    try:
        await bot_ids(reader, forge.bots)
    except EdgeError as error:
        facts.append(Fact(codes.BOTS, "bad", str(error), "GET /users"))
    for name in forge.watch:
        facts += await _watch_facts(reader, name, identity, forge.accept_unprotected)
    return facts


def _clock_fact(now_s: float, date_s: int) -> Fact:
    if not date_s:
        words = "the forge's answers carry no Date: polls go by what changed, and by this machine's clock"
        return Fact(codes.FORGE_CLOCK, "warn", words, "Date")
    offset_s = now_s - date_s
    state: State = "ok" if abs(offset_s) <= CLOCK_LIMIT_S else "bad"
    return Fact(codes.LANE_CLOCK, state, f"{offset_s:+.1f} s from the forge", "Date")


def _identity_fact(identity: Identity, refusal: Refusal | None) -> Fact:
    if refusal is None:
        return Fact(codes.TOKEN_IDENTITY, "ok", f"token of {identity.login}", "GET /user")
    return Fact(codes.TOKEN_IDENTITY, "bad", str(refusal), "GET /user")


async def _watch_facts(
    reader: ForgeReader, name: str, identity: Identity, accepted: tuple[str, ...]
) -> list[Fact]:
    """Return the facts of one watch; one that cannot be read is a fact too."""
    facts = []
    try:
        found = await watched(reader, name)
    except EdgeError as error:
        return [_unread_fact(name, error)]
    for repo in found:
        try:
            issues = await reader.repository_issues(repo, Window(0, None), 1, 1)
            facts.append(_read_fact(repo, issues))
        except EdgeError as error:
            facts.append(_unread_fact(repo.name, error))
        try:
            audit = await audit_repository(reader, repo, identity, accepted)
        except EdgeError as error:
            words = f"comment-only until it can be read: {error}"
            facts.append(Fact(codes.PROTECTION, "warn", words, "branch", repo.name))
        else:
            facts.append(protection_fact(audit))
    return facts


def _read_fact(repo: Repository, issues: IssuePage) -> Fact:
    if issues.unread:
        return Fact(codes.WATCH, "warn", issues.unread[0].reason, "GET issues", repo.name)
    return Fact(codes.WATCH, "ok", "its issues can be read", "GET issues", repo.name)


def _unread_fact(name: str, error: EdgeError) -> Fact:
    return Fact(codes.WATCH, "bad", str(error), "GET issues", name)
