"""The daily token is audited before it is used, each repository for itself, and doctor says what lacks."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from allegro.adapters.gitea.reader import GiteaReader
from allegro.core.base.errors import EdgeError
from allegro.core.forge.token_audit import Identity
from allegro.core.health import codes
from allegro.core.health.facts import Fact
from allegro.core.settings import LaneIdentity, LaneSettings
from allegro.lane.repository.audit import audit_repository
from allegro.lane.tokens.auditor import TokenRefused
from allegro.lane.tokens.checkup import checkup

from .forge_site import DAILY, Site, site


@pytest.mark.parametrize("login", ["alice", "boss"])
async def test_a_token_of_somebody_else_is_asked_whose_it_is_and_nothing_more(
    tmp_path: Path, login: str
) -> None:
    async with site(tmp_path, forbidden_users=("alice",)) as here:
        await here.auditor.audit()
        await here.live(20)
        here.users()
        here.token = here.world.token(login, DAILY)
        here.world.open_issue("home/garden", "rosa", "new")
        await here.live(30)
        assert here.users() == set()
        assert "audited before anything else" in here.lane.state.forge_trouble
        with pytest.raises(TokenRefused, match=r"administrator|forbidden|must not"):
            await here.auditor.audit()
        asked = {(call.user, call.path.removeprefix("/api/v1")) for call in here.simulator.log}
        assert {path for _, path in asked} <= {"/user", "/token"}
        here.simulator.log.clear()
        await here.live(30)
        assert here.users() == set()


async def test_a_new_token_of_ours_is_used_once_it_was_audited(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.auditor.audit()
        await here.live(20)
        here.world.open_issue("home/garden", "rosa", "new")
        here.token = here.world.token("fleet-bot", DAILY)
        await here.live(10)
        assert await here.lane.snapshots() == []
        await here.auditor.audit()
        here.lane.duty.hint()
        await here.live(70)
        assert {issue.title for issue in await here.lane.snapshots()} == {"new"}
        assert here.lane.state.forge_trouble == ""


async def test_before_the_first_audit_nothing_is_sent(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.live(20)
        assert here.simulator.log == []


async def test_one_repository_that_does_not_answer_holds_up_no_start(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        rule = here.simulator.faults.add(
            "status", path="/repos/home/shed/branches/", status=500, count=None
        )
        await here.auditor.audit()
        here.world.open_issue("home/garden", "rosa", "new")
        here.world.open_issue("home/shed", "rosa", "also new")
        await here.live(60)
        assert {i.title for i in await here.lane.snapshots()} == {"new", "also new"}
        against = {audit.repository: audit.against or "" for audit in here.auditor.audits}
        assert "not audited yet" in against["home/shed"]
        shed = here.world.find_repo("home", "shed")
        assert shed is not None
        assert "500" in here.lane.state.refused_repositories[shed.id]

        rule.count = 0
        await here.auditor.audit()
        against = {audit.repository: audit.against or "" for audit in here.auditor.audits}
        assert "not audited yet" not in against["home/shed"]


async def test_a_watch_that_is_not_there_holds_up_no_audit(tmp_path: Path) -> None:
    async with site(tmp_path, watch=("home/nowhere", "org:nobody", "home/garden")) as here:
        await here.auditor.audit()
        assert [audit.repository for audit in here.auditor.audits] == ["home/garden"]


async def facts_of(here: Site) -> dict[str, Fact]:
    settings = LaneSettings(LaneIdentity("a", "state"), here.lane.settings)
    found = await checkup(settings, here.reader, here.clock)
    return {f"{fact.code.code} {fact.subject}".strip(): fact for fact in found}


@pytest.mark.parametrize("left_out", ["write:issue", "read:repository"])
async def test_doctor_names_a_scope_that_is_missing(tmp_path: Path, left_out: str) -> None:
    async with site(tmp_path) as here:
        here.token = here.world.token("fleet-bot", [s for s in DAILY if s != left_out])
        here.daily.accept(here.token)
        scopes = (await facts_of(here))["forge.token.scopes"]
        assert scopes.state == "bad"
        assert scopes.detail == f"missing: {left_out}"
        assert left_out in scopes.code.fix


async def test_doctor_needs_the_organisations_scope_only_for_organisations(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        here.token = here.world.token("fleet-bot", [s for s in DAILY if "organ" not in s])
        here.daily.accept(here.token)
        assert (await facts_of(here))["forge.token.scopes"].state == "ok"
        here.lane.settings = msgspec.structs.replace(here.lane.settings, watch=("org:home",))
        assert (await facts_of(here))["forge.token.scopes"].detail == "missing: read:organization"


async def test_a_watch_that_cannot_be_read_is_a_fact_and_the_others_are_asked(
    tmp_path: Path,
) -> None:
    async with site(tmp_path, watch=("home/shed", "home/nowhere", "home/garden")) as here:
        here.daily.accept(here.token)
        shed = here.world.find_repo("home", "shed")
        assert shed is not None
        shed.has_issues = shed.has_pulls = False
        facts = await facts_of(here)
        verdicts = {fact.subject: fact.state for fact in facts.values() if fact.code is codes.WATCH}
        assert verdicts == {
            "home/shed": "bad", "home/nowhere": "bad", "home/garden": "ok",
        }  # fmt: skip
        assert "forge.protection home/garden" in facts


async def test_a_refused_branch_keeps_the_forges_own_words(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        change = here.world.token("fleet-bot", ["read:user", "write:issue"])
        here.daily.accept(here.token)
        repo = await here.reader.repository("home/garden")
        assert repo is not None
        identity = await here.reader.whoami(change)
        audit = await audit_repository(here.reader, repo, identity, (), change)
        assert "required=[read:repository]" in (audit.against or "")
        assert change not in (audit.against or "")


class _Broken(GiteaReader):
    """A reader with a bug."""

    async def whoami(self, token: str | None = None, *, scopes: bool = True) -> Identity:
        raise LookupError(f"a bug met at {token is None} {scopes}")


async def test_a_bug_met_in_an_audit_ends_no_lane_and_the_next_audit_counts(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        broken = here.auditor_with(_Broken(here.http))
        with pytest.raises(EdgeError, match="LookupError: a bug met") as found:
            await broken.audit()
        assert (found.value.transient, found.value.kind) == (True, "bug")
        await here.auditor.audit()
        assert here.auditor.audits


class _Refused(GiteaReader):
    """A reader that cannot be told who the bots are, a few times."""

    faults = 2

    async def user_id(self, login: str) -> int | None:
        if self.faults:
            self.faults -= 1
            raise EdgeError("the forge is away", transient=True)
        return await super().user_id(login)


async def test_an_audit_that_fails_is_tried_again_within_seconds_not_at_the_next_hour(
    tmp_path: Path,
) -> None:
    async with site(tmp_path) as here:
        await here.auditor.audit()
        clock, done = here.lane.clock, asyncio.Event()
        auditor = here.auditor_with(_Refused(here.http))
        here.lane.state.on_audit(done.set)
        running = asyncio.create_task(auditor.run())
        await asyncio.sleep(0.01)
        clock.advance(here.lane.settings.audit_s)
        due_s = clock.boot_s()
        async with asyncio.timeout(30):
            while not done.is_set():
                clock.advance(0.5)
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait({running})
        assert clock.boot_s() - due_s < here.lane.settings.audit_s / 2
