"""`allegro doctor` on the lane's own machine: asks nothing of a running lane."""

from __future__ import annotations

from pathlib import Path

from allegro.core.errors import ConfigError, EdgeError
from allegro.core.ports import Clock, ForgeReader
from allegro.core.settings import LaneSettings
from allegro.lane.audit import audit_repository, judge_identity, judge_scopes
from allegro.lane.auditor import bot_ids, watched
from allegro.lane.files import LaneFiles
from allegro.lane.status import Fact

CLOCK_LIMIT_S = 30.0


def own_facts(files: LaneFiles) -> list[Fact]:
    """Return the facts of a lane's own files."""
    return [_file_fact(files.key, "lane key"), _paired_fact(files)]


async def checkup(settings: LaneSettings, reader: ForgeReader, clock: Clock) -> list[Fact]:
    """Return the facts of a lane's forge: clock, token, protection."""
    try:
        return await _forge_facts(settings, reader, clock)
    except (EdgeError, ConfigError) as error:
        told = "check forge.url and the token"
        return [Fact("forge", "bad", str(error), "request", mend=told)]


def _file_fact(path: Path, what: str) -> Fact:
    try:
        mode = path.stat().st_mode & 0o777
    except OSError as error:
        return Fact(what, "bad", str(error), path.name, mend="allegro init lane")
    if mode & 0o077:
        return Fact(what, "bad", f"mode {mode:o}", path.name, mend=f"chmod 600 {path}")
    return Fact(what, "ok", "readable by its owner only", path.name)


def _paired_fact(files: LaneFiles) -> Fact:
    if files.trust.exists() and files.paired.exists():
        return Fact("pairing", "ok", "paired", files.trust.name)
    return Fact("pairing", "bad", "not paired", files.trust.name, mend="allegro pair")


async def _forge_facts(settings: LaneSettings, reader: ForgeReader, clock: Clock) -> list[Fact]:
    server = await reader.server()
    offset_s = clock.now_s() - await reader.date_s()
    near = abs(offset_s) <= CLOCK_LIMIT_S
    identity = await reader.whoami()
    forge = settings.forge
    refusal = judge_identity(identity, await bot_ids(reader, forge.bots), forge.forbidden_users)
    excess = judge_scopes(identity)
    facts = [
        Fact("forge", "ok", f"{server.flavour} {server.version}", "GET /version"),
        Fact(
            "clock", "ok" if near else "bad", f"{offset_s:+.1f} s from the forge", "Date",
            mend="" if near else "timedatectl set-ntp true",
        ),
        Fact(
            "identity", "ok" if refusal is None else "bad",
            f"token of {identity.login}" if refusal is None else str(refusal), "GET /user",
        ),
        Fact(
            "token scopes", "warn" if identity.scopes is None or excess else "ok",
            "not told by this forge" if identity.scopes is None
            else f"more than needed: {', '.join(excess)}" if excess else ", ".join(identity.scopes),
            "GET /token",
        ),
    ]  # fmt: skip
    for repo in await watched(reader, forge.watch):
        audit = await audit_repository(reader, repo, identity, forge.accept_unprotected)
        closed = audit.against is None
        told = f"{audit.default_branch} is closed to our token" if closed else "comment-only"
        facts.append(
            Fact(
                f"protection of {repo.name}",
                "ok" if closed else "warn",
                told,
                "branch",
                mend=audit.against or "",
            )
        )
    return facts
