"""What `allegro doctor` on the lane's own machine asks the forge: token, clock, watches, protection."""

from __future__ import annotations

from allegro.core.base.errors import ConfigError, EdgeError, Refusal
from allegro.core.forge.issues import Repository
from allegro.core.forge.marks import Window
from allegro.core.forge.token_audit import Identity, judge_login
from allegro.core.health.facts import Fact
from allegro.core.ports import Clock, ForgeReader, IssuePage
from allegro.core.settings import LaneSettings
from allegro.lane.repository_audit import audit_repository
from allegro.lane.tokens.auditor import bot_ids, watched
from allegro.lane.tokens.facts import scope_fact

CLOCK_LIMIT_S = 30.0


async def checkup(settings: LaneSettings, reader: ForgeReader, clock: Clock) -> list[Fact]:
    """Return the facts of a lane's forge: clock, token, protection."""
    try:
        return await _forge_facts(settings, reader, clock)
    except (EdgeError, ConfigError) as error:
        told = "check forge.url and the token"
        return [Fact("forge", "bad", str(error), "request", mend=told)]


async def _forge_facts(settings: LaneSettings, reader: ForgeReader, clock: Clock) -> list[Fact]:
    forge = settings.forge
    identity = await reader.whoami()
    refusal = judge_login(identity, forge.bots, forge.forbidden_users)
    facts = [_identity_fact(identity, refusal)]
    if refusal is not None:  # nothing more is asked with somebody else's token
        return facts
    server = await reader.server()
    facts += [
        Fact("forge", "ok", f"{server.flavour} {server.version}", "GET /version"),
        _clock_fact(clock.now_s(), await reader.date_s()),
        scope_fact(identity, forge.watch),
    ]  # fmt: skip
    try:
        await bot_ids(reader, forge.bots)
    except EdgeError as error:
        facts.append(Fact("forge.bots", "bad", str(error), "GET /users", mend="see lane.toml"))
    for name in forge.watch:
        facts += await _watch_facts(reader, name, identity, forge.accept_unprotected)
    return facts


def _clock_fact(now_s: float, date_s: int) -> Fact:
    if not date_s:
        return Fact(
            "clock", "warn", "the forge's answers carry no Date: polls go by what changed, and by "
            "this machine's clock", "Date",
            mend="let what stands before the forge pass the Date header on",
        )  # fmt: skip
    offset_s = now_s - date_s
    near = abs(offset_s) <= CLOCK_LIMIT_S
    return Fact(
        "clock", "ok" if near else "bad", f"{offset_s:+.1f} s from the forge", "Date",
        mend="" if near else "timedatectl set-ntp true",
    )  # fmt: skip


def _identity_fact(identity: Identity, refusal: Refusal | None) -> Fact:
    if refusal is None:
        return Fact("identity", "ok", f"token of {identity.login}", "GET /user")
    return Fact(
        "identity", "bad", str(refusal), "GET /user",
        mend="put the token of a user named in forge.bots into forge.token_file",
    )  # fmt: skip


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
            facts.append(
                Fact(f"protection of {repo.name}", "warn", str(error), "branch",
                     mend="comment-only until it can be read")
            )  # fmt: skip
            continue
        closed = audit.against is None
        words = f"{audit.default_branch} is closed to our token" if closed else "comment-only"
        verdict = "ok" if closed else "warn"
        facts.append(
            Fact(f"protection of {repo.name}", verdict, words, "branch", mend=audit.against or "")
        )
    return facts


def _read_fact(repo: Repository, issues: IssuePage) -> Fact:
    if issues.unread:
        return Fact(f"watch {repo.name}", "warn", issues.unread[0].reason, "GET issues")
    return Fact(f"watch {repo.name}", "ok", "its issues can be read", "GET issues")


def _unread_fact(name: str, error: EdgeError) -> Fact:
    return Fact(
        f"watch {name}", "bad", str(error), "GET issues",
        mend="give the user of the daily token read access and the token its scopes; a repository "
        "without issues and pull requests cannot be watched",
    )  # fmt: skip
