"""Comments, the time line, reactions, locks."""

from __future__ import annotations

import pytest

from .conftest import MakeForge
from .forge import WEB, Forge, utc

REPO = "acme/web"


async def test_comments_of_an_issue_ignore_page_and_limit(forge: Forge) -> None:
    forge.world.open_issue(REPO, "timmy", "t")
    for n in range(60):
        forge.world.comment(REPO, 1, "timmy", str(n))
    answer = await forge.client().get(f"{WEB}/issues/1/comments")
    assert [row["body"] for row in answer.json] == [str(n) for n in range(60)]
    assert answer.headers["X-Total-Count"] == "60"
    forge.oracle.problems.clear()
    again = await forge.client().get(f"{WEB}/issues/1/comments", page="9", limit="5")
    assert len(again.json) == 60
    assert len(forge.oracle.problems) == 2
    forge.oracle.problems.clear()


@pytest.mark.parametrize(
    ("flavour", "version", "status"),
    [("gitea", None, 500), ("forgejo", None, 404), ("forgejo", "7.0.15+gitea-1.22.0", 500)],
)
async def test_comments_of_a_missing_issue(
    make_forge: MakeForge, flavour: str, version: str | None, status: int
) -> None:
    forge = await make_forge(flavour, version)
    client = forge.client()
    assert (await client.get(f"{WEB}/issues/9/comments")).status == status
    assert (await client.post(f"{WEB}/issues/9/comments", {"body": "b"})).status == status


async def test_edited_comments_show_in_the_repositorys_list(forge: Forge) -> None:
    forge.world.open_issue(REPO, "timmy", "t")
    comment = forge.world.comment(REPO, 1, "timmy", "old")
    forge.clock.move(60)
    since = utc(forge.clock.now_s)
    client = forge.client()
    assert (await client.get(f"{WEB}/issues/comments", since=since)).json == []
    forge.world.edit_comment(comment, "timmy", "new")
    answer = await client.get(f"{WEB}/issues/comments", since=since)
    assert [row["body"] for row in answer.json] == ["new"]
    assert (await client.get(f"{WEB}/issues", since=since)).json == []


async def test_the_repositorys_list_is_paged_without_a_link(forge: Forge) -> None:
    forge.world.open_issue(REPO, "timmy", "t")
    for n in range(35):
        forge.world.comment(REPO, 1, "timmy", str(n))
    answer = await forge.client().get(f"{WEB}/issues/comments")
    assert (len(answer.json), answer.json[0]["body"]) == (30, "0")
    assert answer.headers["X-Total-Count"] == "35"
    assert "Link" not in answer.headers
    assert len((await forge.client().get(f"{WEB}/issues/comments", page="2")).json) == 5


async def test_a_comment_counts_on_its_issue(forge: Forge) -> None:
    forge.world.open_issue(REPO, "timmy", "t")
    client = forge.client()
    made = await client.post(f"{WEB}/issues/1/comments", {"body": "b"})
    assert made.status == 201
    assert (await client.get(f"{WEB}/issues/1")).json["comments"] == 1
    path = f"{WEB}/issues/comments/{made.json['id']}"
    assert (await client.patch(path, {"body": "c"})).json["body"] == "c"
    assert (await client.get(path)).json["body"] == "c"
    assert (await client.delete(path)).status == 204
    assert (await client.get(path)).status == 404
    assert (await client.get(f"{WEB}/issues/1")).json["comments"] == 0


async def test_an_empty_comment_is_422(forge: Forge) -> None:
    forge.world.open_issue(REPO, "timmy", "t")
    answer = await forge.client().post(f"{WEB}/issues/1/comments", {})
    assert (answer.status, answer.json["message"]) == (422, "[Body]: Required")


async def test_only_author_and_writers_change_a_comment(forge: Forge) -> None:
    forge.world.open_issue(REPO, "timmy", "t")
    comment = forge.world.comment(REPO, 1, "timmy", "b")
    path = f"{WEB}/issues/comments/{comment.id}"
    assert (await forge.client("alice").patch(path, {"body": "x"})).status == 403
    assert (await forge.client("alice").delete(path)).status == 403
    assert (await forge.client("bot").patch(path, {"body": "x"})).status == 200


async def test_a_row_of_the_time_line_is_no_comment_to_edit(forge: Forge) -> None:
    forge.world.open_issue(REPO, "timmy", "t")
    forge.world.close(REPO, 1, "timmy")
    client = forge.client()
    row = (await client.get(f"{WEB}/issues/1/timeline")).json[0]
    path = f"{WEB}/issues/comments/{row['id']}"
    assert (await client.get(path)).status == 204
    assert (await client.patch(path, {"body": "x"})).status == 204
    assert (await client.delete(path)).status == 400


async def test_an_empty_time_line_is_null(forge: Forge) -> None:
    forge.world.open_issue(REPO, "timmy", "t")
    answer = await forge.client().get(f"{WEB}/issues/1/timeline")
    assert (answer.status, answer.text) == (200, "null")


async def test_the_time_line_tells_who_labelled(forge: Forge) -> None:
    forge.world.add_label(REPO, "bug")
    forge.world.open_issue(REPO, "alice", "t")
    forge.world.add_labels(REPO, 1, "timmy", ["bug"])
    forge.world.comment(REPO, 1, "alice", "hi")
    forge.world.close(REPO, 1, "bot")
    answer = await forge.client().get(f"{WEB}/issues/1/timeline")
    labelled = [(row["type"], row["user"]["login"]) for row in answer.json]
    assert labelled == [("label", "timmy"), ("comment", "alice"), ("close", "bot")]
    assert answer.json[0]["label"]["name"] == "bug"
    assert answer.json[0]["body"] == "1"


async def test_the_time_line_counts_only_its_page(forge: Forge) -> None:
    forge.world.open_issue(REPO, "timmy", "t")
    for n in range(7):
        forge.world.comment(REPO, 1, "timmy", str(n))
    client = forge.client()
    answer = await client.get(f"{WEB}/issues/1/timeline", limit="5", page="2")
    assert answer.headers["X-Total-Count"] == "2"
    assert (await client.get(f"{WEB}/issues/1/timeline", limit="5", page="3")).json is None


async def test_a_locked_issue_refuses_comments_of_readers(forge: Forge) -> None:
    forge.world.open_issue(REPO, "timmy", "t")
    assert (await forge.client("alice").put(f"{WEB}/issues/1/lock", {})).status == 403
    assert (await forge.client("bot").put(f"{WEB}/issues/1/lock", {})).status == 204
    assert (await forge.client().get(f"{WEB}/issues/1")).json["is_locked"] is True
    body = {"body": "b"}
    assert (await forge.client("alice").post(f"{WEB}/issues/1/comments", body)).status == 403
    assert (await forge.client("bot").post(f"{WEB}/issues/1/comments", body)).status == 201
    assert (await forge.client("bot").delete(f"{WEB}/issues/1/lock")).status == 204
    assert (await forge.client("alice").post(f"{WEB}/issues/1/comments", body)).status == 201


async def test_forgejo_has_no_lock_route(forgejo: Forge) -> None:
    forgejo.world.open_issue(REPO, "timmy", "t")
    assert (await forgejo.client().put(f"{WEB}/issues/1/lock", {})).status == 404


async def test_reactions(forge: Forge, forgejo: Forge) -> None:
    for one, gone in ((forge, 204), (forgejo, 200)):
        one.world.open_issue(REPO, "timmy", "t")
        client, path = one.client("alice"), f"{WEB}/issues/1/reactions"
        assert (await client.post(path, {"content": "eyes"})).status == 201
        assert (await client.post(path, {"content": "eyes"})).status == 200
        assert (await client.post(path, {"content": "odd"})).status == 403
        assert [row["content"] for row in (await client.get(path)).json] == ["eyes"]
        assert (await client.delete(path, {"content": "eyes"})).status == gone
        assert (await client.get(path)).json == []


async def test_a_mention_in_a_comment_is_told_on_the_other_issue(forge: Forge) -> None:
    for title in "ab":
        forge.world.open_issue(REPO, "timmy", title)
    comment = forge.world.comment(REPO, 2, "timmy", "like #1")
    row = (await forge.client().get(f"{WEB}/issues/1/timeline")).json[0]
    assert (row["type"], row["ref_issue"]["number"]) == ("comment_ref", 2)
    assert row["ref_comment"]["id"] == comment.id
