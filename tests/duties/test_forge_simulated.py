"""A polling lane with the real adapter on the simulated forge: bursts, giants, strangers, renames."""

from __future__ import annotations

import time
from pathlib import Path

from .forge_site import Site, site

KB = 1024


async def titles(here: Site) -> set[str]:
    return {issue.title for issue in await here.lane.snapshots()}


async def test_a_burst_costs_two_requests_an_issue_and_no_waiting(tmp_path: Path) -> None:
    async with site(tmp_path, watch=("home/garden",)) as here:
        await here.auditor.audit()
        await here.live(20)
        for n in range(120):
            here.world.open_issue("home/garden", "rosa", f"issue {n}")
        here.simulator.log.clear()
        began_s = here.clock.boot_s()
        while len(await here.lane.told("triage.done")) < 120:
            step_s = time.monotonic()
            wait_s = await here.lane.step()
            here.clock.advance(max(wait_s, time.monotonic() - step_s))
            assert here.clock.boot_s() - began_s < 60
        assert len(here.simulator.log) < 2.4 * 120


async def test_two_giants_of_a_stranger_stop_nothing(tmp_path: Path) -> None:
    async with site(tmp_path, 24 * KB, watch=("home/garden",), triage=False) as here:
        await here.auditor.audit()
        await here.live(20)
        for n in range(2):
            here.world.open_issue("home/garden", "alice", f"giant {n}", "x" * 13 * KB)
        here.world.open_issue("home/garden", "alice", "colossus", "x" * 26 * KB)
        here.world.open_issue("home/garden", "rosa", "after them")
        await here.live(30)
        assert await titles(here) == {"giant 0", "giant 1", "after them"}
        unread = await here.lane.told("forge.unread")
        assert {event.data["number"] for event in unread} == {3}
        assert here.lane.state.forge_trouble == ""


async def test_all_repositories_an_organisation_shows_us_are_tended(tmp_path: Path) -> None:
    async with site(tmp_path, watch=("org:home",), triage=False, quiet_sweep_s=30.0) as here:
        for n in range(60):
            here.world.add_repo("home", f"r{n:02}", False, None)
        hidden = here.world.find_repo("home", "r03")
        assert hidden is not None
        hidden.private = True
        for member in hidden.owner.members:
            if here.world.user(member).login == "fleet-bot":
                del hidden.owner.members[member]
                break
        await here.auditor.audit()
        await here.live(20)
        repo = here.world.find_repo("home", "r59")
        assert repo is not None
        number = here.world.open_issue(repo, "rosa", "talk").number
        comment = here.world.comment(repo, number, "rosa", "as it was")
        await here.live(20)
        here.world.edit_comment(comment, "rosa", "as it is")
        await here.live(120)
        words = [event.sealed for event in await here.lane.told("forge.snapshot.comment")]
        assert any(b"as it is" in sealed for sealed in words)
        assert len(here.auditor.audits) == 61


async def test_a_repository_made_again_is_taken_up_by_the_running_lane(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.auditor.audit()
        here.world.open_issue("home/garden", "rosa", "old one")
        await here.live(60)
        old = here.world.find_repo("home", "garden")
        assert old is not None
        here.world.delete_repo(old)
        new = here.world.add_repo("home", "garden", False, {"README.md": "new"})
        here.world.open_issue(new, "rosa", "new one")
        await here.live(90)
        assert "new one" in await titles(here)
        assert {label.name for label in here.world.labels.values() if label.repo_id == new.id}
        gone = {event.subject for event in await here.lane.told("forge.vanished")}
        assert {f"forge.example.org/{old.id}", f"forge.example.org/{old.id}#1"} <= gone


async def test_a_rename_and_a_mirror_without_issues_hold_up_nobody(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.auditor.audit()
        await here.live(30)
        shed = here.world.find_repo("home", "shed")
        assert shed is not None
        shed.has_issues = shed.has_pulls = False
        here.world.rename_repo("home/garden", "orchard")
        here.world.open_issue("home/orchard", "rosa", "in the orchard")
        await here.live(60)
        assert "in the orchard" in await titles(here)
        names = [event.sealed for event in await here.lane.told("forge.snapshot.repository")]
        assert any(b"home/orchard" in sealed for sealed in names)
        assert [e.data["watch"] for e in await here.lane.told("watch.failing")] == ["home/shed"]
        assert here.lane.state.forge_trouble == ""
        assert any(
            (fact.code.code, fact.subject) == ("forge.watch", "home/shed")
            for fact in here.lane.duty.facts()
        )
