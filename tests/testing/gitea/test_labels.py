"""Labels: exclusive scopes, names and ids, silence about unknown ones."""

from __future__ import annotations

import pytest

from .conftest import MakeForge
from .forge import WEB, Forge

REPO = "acme/web"


@pytest.fixture
def labelled(forge: Forge) -> Forge:
    for name in ("status/todo", "status/done"):
        forge.world.add_label(REPO, name, exclusive=True)
    forge.world.add_label(REPO, "bug")
    forge.world.add_label("acme", "shared")
    forge.world.open_issue(REPO, "timmy", "t")
    return forge


async def add(forge: Forge, *labels: object) -> list[str]:
    answer = await forge.client().post(f"{WEB}/issues/1/labels", {"labels": list(labels)})
    assert answer.status == 200
    return [row["name"] for row in answer.json]


async def test_an_exclusive_label_takes_the_place_of_its_sibling(labelled: Forge) -> None:
    assert await add(labelled, "bug", "status/todo") == ["bug", "status/todo"]
    assert await add(labelled, "status/done") == ["bug", "status/done"]


async def test_unknown_labels_are_silently_dropped(labelled: Forge) -> None:
    assert await add(labelled, "bug", "nonsense") == ["bug"]
    assert await add(labelled, 999_999) == ["bug"]


async def test_labels_of_the_organisation_work_too(labelled: Forge) -> None:
    assert await add(labelled, "shared") == ["shared"]
    listed = (await labelled.client().get("/orgs/acme/labels")).json
    assert [row["name"] for row in listed] == ["shared"]


async def test_ids_and_names_cannot_be_mixed(labelled: Forge) -> None:
    answer = await labelled.client().post(f"{WEB}/issues/1/labels", {"labels": ["bug", 301]})
    assert answer.status == 400


async def test_names_are_refused_before_1_23(make_forge: MakeForge) -> None:
    forge = await make_forge("gitea", "1.22.6")
    forge.world.add_label(REPO, "bug")
    forge.world.open_issue(REPO, "timmy", "t")
    client = forge.client()
    assert (await client.post(f"{WEB}/issues/1/labels", {"labels": ["bug"]})).status == 422
    assert (await client.post(f"{WEB}/issues/1/labels", {"labels": [301]})).status == 200


async def test_put_replaces_and_delete_clears(labelled: Forge) -> None:
    client = labelled.client()
    await add(labelled, "bug")
    answer = await client.put(f"{WEB}/issues/1/labels", {"labels": ["shared"]})
    assert [row["name"] for row in answer.json] == ["shared"]
    assert (await client.delete(f"{WEB}/issues/1/labels")).status == 204
    assert (await client.get(f"{WEB}/issues/1/labels")).json == []


async def test_one_label_is_removed_by_id(labelled: Forge) -> None:
    await add(labelled, "bug")
    client = labelled.client()
    label = next(row for row in labelled.world.labels.values() if row.name == "bug")
    assert (await client.delete(f"{WEB}/issues/1/labels/999999")).status == 422
    assert (await client.delete(f"{WEB}/issues/1/labels/{label.id}")).status == 204
    assert (await client.get(f"{WEB}/issues/1/labels")).json == []


async def test_forgejo_removes_a_label_by_name_too(forgejo: Forge) -> None:
    forgejo.world.add_label(REPO, "bug")
    forgejo.world.open_issue(REPO, "timmy", "t", labels=["bug"])
    assert (await forgejo.client().delete(f"{WEB}/issues/1/labels/bug")).status == 204
    forgejo.oracle.problems.clear()


async def test_readers_cannot_label(labelled: Forge) -> None:
    client = labelled.client("alice")
    assert (await client.post(f"{WEB}/issues/1/labels", {"labels": ["bug"]})).status == 403
    assert (await client.post(f"{WEB}/labels", {"name": "x", "color": "#fff"})).status == 403


async def test_labels_are_made_changed_and_deleted(forge: Forge) -> None:
    client = forge.client()
    body = {"name": "state/a", "color": "#00AABB", "exclusive": True}
    made = await client.post(f"{WEB}/labels", body)
    assert (made.status, made.json["color"], made.json["exclusive"]) == (201, "00aabb", True)
    path = f"{WEB}/labels/{made.json['id']}"
    assert (await client.patch(path, {"name": "state/b"})).json["name"] == "state/b"
    assert (await client.get(path)).json["name"] == "state/b"
    assert (await client.post(f"{WEB}/labels", {"name": "x", "color": "blue"})).status == 422
    assert (await client.delete(path)).status == 204
    assert (await client.get(path)).status == 404


async def test_organisation_labels_need_an_owner(forge: Forge) -> None:
    body = {"name": "shared", "color": "#fff"}
    assert (await forge.client("bot").post("/orgs/acme/labels", body)).status == 403
    made = await forge.client("timmy").post("/orgs/acme/labels", body)
    assert made.status == 201
    path = f"/orgs/acme/labels/{made.json['id']}"
    assert (await forge.client("timmy").patch(path, {"name": "x"})).json["name"] == "x"
    assert (await forge.client("timmy").delete(path)).status == 204


async def test_the_label_list_is_paged_only_when_a_page_is_asked_for(forge: Forge) -> None:
    for n in range(40):
        forge.world.add_label(REPO, f"l{n:02}")
    client = forge.client()
    assert len((await client.get(f"{WEB}/labels")).json) == 40
    assert len((await client.get(f"{WEB}/labels", page="1")).json) == 30
