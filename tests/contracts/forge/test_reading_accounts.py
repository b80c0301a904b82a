"""Who we are, what the forge is, and repositories by name and by id."""

from __future__ import annotations

import time

import pytest

from allegro.core.base.errors import EdgeError
from allegro.core.forge.issues import Repository
from allegro.core.forge.marks import Window
from allegro.core.forge.token_audit import judge_identity

from .forge_backends import Site
from .lane import Lane
from .people import People


async def test_the_server_says_what_it_is_and_what_time_it_has(lane: Lane) -> None:
    server = await lane.reader.server()
    assert server.flavour in {"gitea", "forgejo"}
    assert server.version[0].isdigit()
    assert server.page_size == 50
    assert abs(await lane.reader.date_s() - time.time()) < 5


async def test_a_token_tells_whose_it_is(lane: Lane, people: People, site: Site) -> None:
    daily, change = await lane.reader.whoami(), await lane.reader.whoami(site.change)
    assert (daily.login, change.login) == (people.daily, people.change)
    assert {daily.id, change.id} == people.bots
    assert not daily.is_admin
    assert daily.scopes is None or "write:issue" in daily.scopes
    assert judge_identity(daily, people.bots, (people.owner,)) is None


async def test_an_administrators_token_is_known_as_such(lane: Lane, site: Site) -> None:
    if not site.own:
        pytest.skip("not our server: its owner need not be an administrator")
    assert (await lane.reader.whoami(site.owner)).is_admin


async def test_a_token_that_is_none_is_refused_for_good(lane: Lane) -> None:
    with pytest.raises(EdgeError) as refused:
        await lane.reader.whoami("0" * 40)
    assert (refused.value.kind, refused.value.transient) == ("unauthorized", False)


async def test_users_have_ids_and_nobody_has_none(lane: Lane, people: People) -> None:
    assert await lane.reader.user_id(people.owner) == people.owner_id
    assert await lane.reader.user_id("allegro-contract-nobody") is None


async def test_a_repository_is_the_same_by_name_and_by_id(lane: Lane, people: People) -> None:
    repo = await people.repository()
    by_name = await lane.reader.repository(repo.name)
    assert by_name == await lane.reader.repository_by_id(repo.id)
    assert by_name == Repository(repo.id, repo.name, "main", private=True, archived=False)


async def test_what_is_not_there_is_none(lane: Lane, people: People) -> None:
    repo = await people.repository()
    reader = lane.reader
    assert await reader.repository(repo.name + "-not") is None
    assert await reader.repository_by_id(2**31 - 9) is None
    assert await reader.issue(repo, 9) is None
    assert await reader.pull(repo, 9) is None
    assert await reader.branch(repo, "no/such") is None
    assert await reader.commit(repo, "1" * 40) is None
    assert await reader.blob(repo, "1" * 40) is None
    assert await reader.pulls_between(repo, "main", "no/such") == ()


async def test_a_deleted_repository_is_none(lane: Lane, people: People) -> None:
    repo = await people.repository()
    number = await people.issue(repo)
    await people.delete(repo)
    assert await lane.reader.repository(repo.name) is None
    assert await lane.reader.repository_by_id(repo.id) is None
    assert await lane.reader.issue(repo, number) is None


async def test_an_archived_repository_says_so(lane: Lane, people: People) -> None:
    repo = await people.repository()
    await people.archive(repo)
    found = await lane.reader.repository_by_id(repo.id)
    assert found is not None
    assert found.archived


async def test_a_renamed_repository_is_followed_by_its_id(lane: Lane, people: People) -> None:
    repo = await people.repository({"a.txt": "a\n"})
    number = await people.issue(repo)
    await lane.reader.repository(repo.name)
    renamed = await people.rename(repo, repo.name.partition("/")[2] + "-new")
    issue = await lane.reader.issue(repo, number)
    assert issue is not None
    assert issue.repository.name == renamed.name
    branch = await lane.fresh_reader().branch(repo, "main")
    assert branch is not None
    page = await lane.fresh_reader().repository_issues(repo, Window(0, None), 1)
    assert [found.repository.name for found in page.issues] == [renamed.name]
    by_old_name = await lane.fresh_reader().repository(repo.name)
    assert by_old_name is not None
    assert (by_old_name.id, by_old_name.name) == (repo.id, renamed.name)


async def test_a_repository_that_took_the_name_is_never_read_instead(
    lane: Lane, people: People
) -> None:
    repo = await people.repository()
    number = await people.issue(repo, "ours")
    await lane.reader.repository(repo.name)
    await people.rename(repo, repo.name.partition("/")[2] + "-new")
    other = await people.reuse_name(repo)
    await people.issue(other, "theirs")
    for reader in (lane.reader, lane.fresh_reader()):
        issue = await reader.issue(repo, number)
        assert issue is not None
        assert issue.title == "ours"
        page = await reader.repository_issues(repo, Window(0, None), 1)
        assert [found.title for found in page.issues] == ["ours"]


async def test_an_organisations_repositories_are_all_listed(lane: Lane, people: People) -> None:
    organisation = await people.organisation()
    made = await people.many_repositories(organisation, 60)
    found = await lane.reader.organisation_repositories(organisation)
    assert len(found) == 60
    assert {repo.id for repo in found} == made
