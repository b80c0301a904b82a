"""What only old releases do: a pull request is found again without the call to ask for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from allegro.testing.gitea.quirks import Flavour

from .forge_backends import simulated
from .lane import Lane, create
from .people import People

OLD: tuple[tuple[Flavour, str], ...] = (
    ("gitea", "1.21.11"),
    ("gitea", "1.22.6"),
    ("forgejo", "7.0.15+gitea-1.21.11"),
)


@pytest.fixture(params=OLD, ids=[f"{flavour} {version}" for flavour, version in OLD])
async def old(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Lane, People]]:
    flavour, version = request.param
    async with (
        simulated(flavour, tmp_path / "forge", version) as site,
        People(site) as people,
    ):
        lane = await Lane.open(site, people, tmp_path / "journal.db")
        yield lane, people
        await lane.close()


@pytest.mark.parametrize("end", ["merged", "closed"])
async def test_a_change_is_found_again_after_its_branch_was_deleted(
    old: tuple[Lane, People], end: str
) -> None:
    lane, people = old
    repo = await people.repository({"old.txt": "old\n"})
    action = lane.change(repo, await people.tip(repo), create("one.txt", b"1\n"))
    first = await lane.order(action)
    if end == "merged":
        await people.merge(repo, first.data["artifact"])
    else:
        await people.edit_pull(repo, first.data["artifact"], state="closed")
    await people.delete_branch(repo, lane.dress(action).branch)
    again = await lane.order(action)
    assert (again.type, again.writes) == ("action.receipt", 0), again
    assert again.data["artifact"] == first.data["artifact"]
    assert await lane.reader.branch(repo, lane.dress(action).branch) is None


async def test_it_is_found_behind_more_pull_requests_than_a_few_pages(
    old: tuple[Lane, People],
) -> None:
    lane, people = old
    repo = await people.repository({"old.txt": "old\n"})
    action = lane.change(repo, await people.tip(repo), create("one.txt", b"1\n"))
    first = await lane.order(action)
    await people.edit_pull(repo, first.data["artifact"], state="closed")
    await people.delete_branch(repo, lane.dress(action).branch)
    await people.commit(repo, {"work.txt": "x"}, new_branch="work")
    for number in range(155):
        other = await people.pull(repo, "work", f"work {number}")
        await people.edit_pull(repo, other, state="closed")
    again = await lane.order(action)
    assert (again.type, again.writes) == ("action.receipt", 0), again
    assert again.data["artifact"] == first.data["artifact"]
