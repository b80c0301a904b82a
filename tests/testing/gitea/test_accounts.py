"""Who may call what: credentials, scopes, rights, moved repositories."""

from __future__ import annotations

from base64 import b64encode

import pytest

from .conftest import MakeForge
from .forge import WEB, Client, Forge


async def test_bad_credentials_are_401_on_any_endpoint(forge: Forge) -> None:
    client = forge.client("", Authorization="token nonsense")
    assert (await client.get("/version")).status == 401
    assert (await client.get(WEB)).status == 401


@pytest.mark.parametrize("form", ["token {}", "Bearer {}"])
async def test_a_token_is_accepted_in_both_header_forms(forge: Forge, form: str) -> None:
    token = forge.world.token("bot")
    client = forge.client("", Authorization=form.format(token))
    assert (await client.get("/user")).json["login"] == "bot"


async def test_a_token_is_accepted_as_basic_user_or_password(forge: Forge) -> None:
    token = forge.world.token("bot")
    for pair in (f"{token}:x-oauth-basic", f"any:{token}"):
        basic = b64encode(pair.encode()).decode()
        client = forge.client("", Authorization=f"Basic {basic}")
        assert (await client.get("/user")).json["login"] == "bot"


async def test_nobody_signed_in_is_401_where_a_user_is_needed(forge: Forge) -> None:
    answer = await forge.client("").get("/user")
    assert (answer.status, answer.json["message"]) == (401, "token is required")


async def test_a_missing_scope_is_403_and_names_required_and_held(forge: Forge) -> None:
    client = forge.client("bot", "read:issue", "read:user")
    answer = await client.post(f"{WEB}/issues", {"title": "t"})
    assert answer.status == 403
    assert "required=[write:issue]" in answer.json["message"]
    assert "token scope=read:issue,read:user" in answer.json["message"]


async def test_forgejo_names_the_required_scope_only(forgejo: Forge) -> None:
    answer = await forgejo.client("bot", "read:user").get(WEB)
    assert answer.json["message"].endswith("required scope(s): [read:repository]")


async def test_write_scope_covers_read(forge: Forge) -> None:
    assert (await forge.client("bot", "write:issue").get(f"{WEB}/issues")).status == 200


async def test_a_private_repository_is_404_for_a_stranger(forge: Forge) -> None:
    for path in (WEB, f"{WEB}/issues", "/repositories/11", f"{WEB}/branches/main"):
        answer = await forge.client("stranger").get(path)
        assert answer.status == 404
        assert set(answer.json) == {"message", "url"}


async def test_older_servers_and_forgejo_add_errors_to_a_404(
    forgejo: Forge, make_forge: MakeForge
) -> None:
    old = await make_forge("gitea", "1.26.3")
    for forge, errors in ((forgejo, []), (old, None)):
        assert (await forge.client().get("/repos/no/no")).json["errors"] == errors


async def test_a_public_only_token_does_not_reach_private_repositories(forge: Forge) -> None:
    forge.world.add_repo("acme", "open", False, {"a": "b"})
    client = forge.client("bot", "all", "public-only")
    assert (await client.get(WEB)).status == 403
    assert (await client.get("/repos/acme/open")).status == 200


async def test_the_version_is_told_to_anybody(forge: Forge, forgejo: Forge) -> None:
    assert (await forge.client("").get("/version")).json == {"version": "1.27.0"}
    answer = await forgejo.client("").get("/version")
    assert answer.json == {"version": "14.0.0+gitea-1.22.0"}


async def test_settings_tell_the_page_cap(forge: Forge) -> None:
    settings = (await forge.client().get("/settings/api")).json
    assert (settings["max_response_items"], settings["default_paging_num"]) == (50, 30)


async def test_a_token_tells_its_own_scopes_and_can_revoke_itself(forge: Forge) -> None:
    client = forge.client("bot", "read:user", "write:issue")
    response = (await client.get("/token")).json
    assert response["scopes"] == ["read:user", "write:issue"]
    assert response["user"]["login"] == "bot"
    assert (await client.delete("/token")).status == 204
    assert (await client.get("/token")).status == 401


async def test_only_gitea_from_1_27_has_the_token_endpoint(
    forgejo: Forge, make_forge: MakeForge
) -> None:
    old = await make_forge("gitea", "1.26.3")
    for forge in (forgejo, old):
        assert (await forge.client().get("/token")).status == 404


async def test_a_token_makes_a_narrower_token_but_no_wider_one(forge: Forge) -> None:
    client = forge.client("bot", "write:user", "write:issue")
    body = {"name": "narrow", "scopes": ["read:issue"]}
    made = await client.post("/users/bot/tokens", body)
    assert (made.status, len(made.json["sha1"])) == (201, 40)
    assert (await client.post("/users/bot/tokens", body)).status == 400
    wide = {"name": "wide", "scopes": ["write:repository"]}
    assert (await client.post("/users/bot/tokens", wide)).status == 403


async def test_before_1_27_a_token_is_made_by_password_only(make_forge: MakeForge) -> None:
    forge = await make_forge("gitea", "1.26.3")
    body = {"name": "n", "scopes": ["read:user"]}
    assert (await forge.client().post("/users/bot/tokens", body)).status == 401
    basic = b64encode(b"bot:password-of-bot").decode()
    client = forge.client("", Authorization=f"Basic {basic}")
    assert (await client.post("/users/bot/tokens", body)).status == 201
    assert (await client.delete("/users/bot/tokens/n")).status == 204


async def test_users_carry_username_as_twin_of_login(forge: Forge) -> None:
    user = (await forge.client().get("/users/timmy")).json
    assert user["username"] == user["login"] == "timmy"


async def test_a_deleted_author_is_shown_as_the_ghost(forge: Forge) -> None:
    forge.world.open_issue(WEB[7:], "alice", "t")
    forge.world.delete_user("alice")
    user = (await forge.client().get(f"{WEB}/issues/1")).json["user"]
    assert (user["id"], user["login"]) == (-1, "Ghost")


async def test_a_repository_tells_the_callers_permissions(forge: Forge) -> None:
    async def permissions(client: Client) -> object:
        return (await client.get(WEB)).json["permissions"]

    assert await permissions(forge.client("alice")) == {"admin": False, "push": False, "pull": True}
    assert await permissions(forge.client("bot")) == {"admin": False, "push": True, "pull": True}
    assert await permissions(forge.client("timmy")) == {"admin": True, "push": True, "pull": True}


@pytest.mark.parametrize(
    ("flavour", "version", "status"),
    [("gitea", None, 301), ("gitea", "1.22.6", 307), ("forgejo", None, 301)],
)
async def test_a_renamed_repository_redirects_and_keeps_its_id(
    make_forge: MakeForge, flavour: str, version: str | None, status: int
) -> None:
    forge = await make_forge(flavour, version)
    forge.world.rename_repo("acme/web", "site")
    answer = await forge.client().get(f"{WEB}/issues", state="all")
    assert answer.status == status
    assert answer.headers["Location"] == "/api/v1/repos/acme/site/issues?state=all"
    found = await forge.client().get("/repositories/11")
    assert found.json["full_name"] == "acme/site"


async def test_a_transferred_repository_keeps_issue_ids_and_numbers(forge: Forge) -> None:
    before = forge.world.open_issue("acme/web", "timmy", "t")
    forge.world.transfer_repo("acme/web", "timmy")
    issue = (await forge.client("timmy").get("/repos/timmy/web/issues/1")).json
    assert (issue["id"], issue["number"]) == (before.id, 1)
    assert (await forge.client("timmy").get(f"{WEB}/issues/1")).status == 301


async def test_repository_names_do_not_depend_on_case(forge: Forge) -> None:
    assert (await forge.client().get("/repos/ACME/Web")).json["full_name"] == "acme/web"


async def test_an_archived_repository_refuses_writes_with_423(forge: Forge) -> None:
    forge.world.open_issue("acme/web", "timmy", "t")
    assert (await forge.client("timmy").patch(WEB, {"archived": True})).json["archived"] is True
    client = forge.client()
    assert (await client.post(f"{WEB}/issues", {"title": "t"})).status == 423
    assert (await client.post(f"{WEB}/issues/1/comments", {"body": "b"})).status == 423
    assert (await client.post(f"{WEB}/branches", {"new_branch_name": "b"})).status == 423
    assert (await client.get(f"{WEB}/issues/1")).status == 200


async def test_repositories_are_made_listed_and_deleted(forge: Forge) -> None:
    timmy = forge.client("timmy")
    body = {"name": "api", "private": True, "auto_init": True}
    assert (await timmy.post("/orgs/acme/repos", body)).json["full_name"] == "acme/api"
    assert (await timmy.post("/orgs/acme/repos", body)).status == 409
    assert (await timmy.post("/user/repos", {"name": "own"})).json["empty"] is True
    names = [repo["name"] for repo in (await timmy.get("/orgs/acme/repos")).json]
    assert names == ["api", "web"]
    assert [r["name"] for r in (await forge.client().get("/user/repos")).json] == ["web"]
    assert (await forge.client("bot").delete(WEB)).status == 403
    assert (await timmy.delete("/repos/acme/api")).status == 204
    assert (await timmy.get("/repos/acme/api")).status == 404


async def test_an_organisation_is_shown_and_a_missing_one_is_404(forge: Forge) -> None:
    assert (await forge.client().get("/orgs/acme")).json["name"] == "acme"
    assert (await forge.client().get("/orgs/timmy")).status == 404


async def test_collaborators_are_set_by_admins_only(forge: Forge) -> None:
    path = f"{WEB}/collaborators/stranger"
    assert (await forge.client("bot").put(path, {"permission": "admin"})).status == 403
    assert (await forge.client("timmy").put(path, {"permission": "read"})).status == 204
    assert (await forge.client("stranger").get(WEB)).status == 200
    response = await forge.client("timmy").get(f"{path}/permission")
    assert response.json["permission"] == "read"
    assert (await forge.client("timmy").delete(path)).status == 204
    assert (await forge.client("stranger").get(WEB)).status == 404


async def test_head_works_on_gets_from_1_27_only(forge: Forge, forgejo: Forge) -> None:
    answer = await forge.client().call("HEAD", f"{WEB}/issues")
    assert (answer.status, answer.text, answer.headers["X-Total-Count"]) == (200, "", "0")
    assert (await forgejo.client().call("HEAD", f"{WEB}/issues")).status == 405


async def test_every_answer_carries_the_servers_date(forge: Forge) -> None:
    answer = await forge.client().get("/version")
    assert answer.headers["Date"] == "Mon, 21 Sep 2026 14:13:20 GMT"


async def test_forgejo_has_its_own_version_route(forge: Forge, forgejo: Forge) -> None:
    async def status(one: Forge) -> int:
        client = one.client("")
        url = f"{one.simulator.url}/api/forgejo/v1/version"
        async with client.session.get(url) as response:
            return response.status

    assert (await status(forge), await status(forgejo)) == (404, 200)


async def test_the_repositories_of_an_organisation_are_paged_first_and_filtered_then(
    forge: Forge,
) -> None:
    timmy = forge.client("timmy")
    for name, private in (("aa", True), ("bb", False), ("cc", False)):
        await timmy.post("/orgs/acme/repos", {"name": name, "private": private})
    stranger = forge.client()
    pages = [await stranger.get(f"/orgs/acme/repos?limit=2&page={n}") for n in (1, 2, 3)]
    assert [[repo["name"] for repo in page.json] for page in pages] == [["bb"], ["cc", "web"], []]
    assert pages[0].headers["X-Total-Count"] == "4"
    assert 'rel="next"' in pages[0].headers["Link"]
    assert 'rel="next"' not in pages[1].headers["Link"]


async def test_a_repository_without_issues_and_pulls_is_404_below_both(forge: Forge) -> None:
    forge.world.open_issue("acme/web", "timmy", "t")
    off = {"has_issues": False, "has_pull_requests": False}
    assert (await forge.client("timmy").patch(WEB, off)).status == 200
    client = forge.client()
    for path in ("/issues", "/issues/1", "/issues/comments", "/pulls"):
        assert (await client.get(WEB + path)).status == 404
    assert (await client.get(WEB)).status == 200
    found = await client.get("/repos/issues/search?owner=acme")
    assert len(found.json) == 1


async def test_gitea_28_and_forgejo_16_have_what_the_newest_before_them_had(
    make_forge: MakeForge,
) -> None:
    gitea = await make_forge("gitea", "28.1.0")
    assert (await gitea.client("timmy").get("/token")).status == 200
    forgejo = await make_forge("forgejo", "16.0.5+gitea-1.22.0")
    assert (await forgejo.client("timmy").get("/token")).status == 404
