"""What a forge tells of who labelled and who pushed."""

from __future__ import annotations

from allegro.core.authority.actions.forge import UpdateStatus

from .forge_backends import Site
from .lane import Lane, create
from .people import People, at


async def test_the_history_says_which_label_who_added(
    lane: Lane, people: People, site: Site
) -> None:
    repo = await people.repository()
    number = await people.issue(repo)
    label = await people.call(
        "POST", f"{at(repo)}/labels", {"name": "kind/bug", "color": "#112233"}
    )
    before_s = await lane.reader.date_s()
    await people.call("POST", f"{at(repo)}/issues/{number}/labels", {"labels": [label["id"]]})
    await lane.order(UpdateStatus(**lane.pin(repo), issue=number, status="review"))
    entries = await lane.reader.timeline(repo, number, before_s - 60)
    labels = [(e.label, e.author_id, e.body) for e in entries if e.type == "label"]
    bot = (await lane.reader.whoami(site.daily)).id
    assert labels == [("kind/bug", people.owner_id, "1"), ("status/review", bot, "1")]
    assert [e.label_id for e in entries if e.label == "kind/bug"] == [label["id"]]
    assert await lane.reader.timeline(repo, number, before_s + 3_600) == ()


async def test_the_list_of_branches_and_the_record_of_pushes_say_what_we_pushed(
    lane: Lane, people: People, site: Site
) -> None:
    repo = await people.repository()
    base = await people.tip(repo)
    action = lane.change(repo, base, create("new.txt", b"new\n"))
    outcome = await lane.order(action)
    branch = lane.dress(action).branch
    listed = {one.name: one.commit for one in await lane.reader.branches(repo)}
    assert listed == {"main": base, branch: outcome.data["commit"]}
    ours = [push for push in (await lane.reader.pushes(repo, 1)).pushes if push.branch == branch]
    me = await lane.reader.whoami(site.change)
    assert ours
    assert {push.author_id for push in ours} == {me.id}
    assert abs(ours[0].created_s - await lane.reader.date_s()) < 60
