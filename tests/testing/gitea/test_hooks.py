"""Webhooks: what is sent, how it is signed, and that it is sent once at most."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from .forge import WEB, Forge

REPO = "acme/web"


class Receiver:
    """A web server that keeps what it is sent."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.got: asyncio.Queue[tuple[dict[str, str], bytes]] = asyncio.Queue()

    async def _take(self, request: web.Request) -> web.Response:
        self.got.put_nowait((dict(request.headers), await request.read()))
        return web.Response(status=self.status)

    async def start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/hook", self._take)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        return runner

    async def next(self) -> tuple[dict[str, str], Any]:
        async with asyncio.timeout(5):
            headers, body = await self.got.get()
        return headers, json.loads(body)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    runner = await receiver.start()
    yield receiver
    await runner.cleanup()


async def hook(forge: Forge, receiver: Receiver, *events: str, **more: Any) -> dict[str, Any]:
    forge.faults.hook_delay_s = 0.0
    config = {"url": receiver.url, "content_type": "json", "secret": "s3cret"}
    body = {"type": "gitea", "config": config, "active": True, "events": list(events), **more}
    made = await forge.client("timmy").post(f"{WEB}/hooks", body)
    assert made.status == 201
    shape: dict[str, Any] = made.json
    return shape


async def test_a_hook_is_off_by_default_asks_for_pushes_and_hides_its_secret(
    forge: Forge, receiver: Receiver
) -> None:
    config = {"url": receiver.url, "content_type": "json", "secret": "s3cret"}
    body = {"type": "gitea", "config": config}
    made = (await forge.client("timmy").post(f"{WEB}/hooks", body)).json
    assert (made["active"], made["events"]) == (False, ["push"])
    assert "secret" not in made["config"]


async def test_hooks_are_for_admins(forge: Forge) -> None:
    assert (await forge.client("bot").get(f"{WEB}/hooks")).status == 403
    assert (await forge.client("bot").get("/orgs/acme/hooks")).status == 403
    timmy = forge.client("timmy")
    bad = {"type": "gitea", "config": {"url": "ftp://x", "content_type": "json"}}
    assert (await timmy.post("/orgs/acme/hooks", bad)).status == 422
    good = {"type": "gitea", "config": {"url": "http://127.0.0.1:9/", "content_type": "json"}}
    made = await timmy.post("/orgs/acme/hooks", good)
    path = f"/orgs/acme/hooks/{made.json['id']}"
    assert (await timmy.patch(path, {"active": True})).json["active"] is True
    assert len((await timmy.get("/orgs/acme/hooks")).json) == 1
    assert (await timmy.delete(path)).status == 204
    assert (await timmy.get(path)).status == 404


async def test_a_delivery_is_signed_and_named(forge: Forge, receiver: Receiver) -> None:
    await hook(forge, receiver, "issues")
    forge.world.open_issue(REPO, "alice", "t", "b")
    async with asyncio.timeout(5):
        headers, body = await receiver.got.get()
    signature = hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    assert headers["X-Gitea-Signature"] == signature
    assert headers["X-Hub-Signature-256"] == f"sha256={signature}"
    assert headers["X-Gitea-Event"] == headers["X-Gitea-Event-Type"] == "issues"
    assert "X-Forgejo-Event" not in headers
    payload = json.loads(body)
    assert (payload["action"], payload["number"], payload["issue"]["title"]) == ("opened", 1, "t")
    assert payload["repository"]["full_name"] == REPO
    assert payload["sender"]["login"] == "alice"


async def test_forgejo_adds_its_own_headers(forgejo: Forge, receiver: Receiver) -> None:
    await hook(forgejo, receiver, "issues")
    forgejo.world.open_issue(REPO, "alice", "t")
    headers, _ = await receiver.next()
    assert headers["X-Forgejo-Event"] == headers["X-Gitea-Event"] == "issues"
    assert headers["X-Forgejo-Signature"] == headers["X-Gitea-Signature"]


async def test_the_signature_is_empty_without_a_secret(forge: Forge, receiver: Receiver) -> None:
    config = {"url": receiver.url, "content_type": "json"}
    await hook(forge, receiver, "issues", config=config)
    forge.world.open_issue(REPO, "alice", "t")
    headers, _ = await receiver.next()
    assert headers["X-Gitea-Signature"] == ""


async def test_issues_covers_labels_and_comments_but_issues_only_does_not(
    forge: Forge, receiver: Receiver
) -> None:
    forge.world.add_label(REPO, "bug")
    await hook(forge, receiver, "issues")
    narrow = await hook(forge, receiver, "issues_only")
    forge.world.open_issue(REPO, "alice", "t")
    forge.world.add_labels(REPO, 1, "timmy", ["bug"])
    comment = forge.world.comment(REPO, 1, "alice", "c")
    forge.world.edit_comment(comment, "alice", "d")
    forge.world.delete_comment(comment, "alice")
    forge.world.delete_issue(REPO, 1, "timmy")
    delivered = [
        (row.hook_id == narrow["id"], row.event) for row in forge.simulator.hooks.deliveries
    ]
    wide = [event for is_narrow, event in delivered if not is_narrow]
    assert wide == ["issues", "issue_label", *["issue_comment"] * 3, "issues"]
    assert [event for is_narrow, event in delivered if is_narrow] == ["issues", "issues"]


async def test_edits_tell_what_was_before(forge: Forge, receiver: Receiver) -> None:
    await hook(forge, receiver, "issue_comment")
    forge.world.open_issue(REPO, "alice", "t")
    comment = forge.world.comment(REPO, 1, "alice", "old")
    await receiver.next()
    forge.world.edit_comment(comment, "alice", "new")
    _, payload = await receiver.next()
    assert payload["changes"] == {"body": {"from": "old"}}
    assert (payload["action"], payload["is_pull"]) == ("edited", False)


async def test_a_comment_of_a_pull_request_has_a_coarse_and_an_exact_name(
    forge: Forge, receiver: Receiver
) -> None:
    await hook(forge, receiver, "pull_request_comment")
    forge.world.commit(REPO, "f", {"a": "b"}, "bot")
    forge.world.open_pull(REPO, "bot", "f", "main", "p")
    forge.world.comment(REPO, 1, "alice", "c")
    headers, payload = await receiver.next()
    assert headers["X-Gitea-Event"] == "issue_comment"
    assert headers["X-Gitea-Event-Type"] == "pull_request_comment"
    assert payload["is_pull"] is True


async def test_pushes_branches_statuses_and_pull_requests_are_told(
    forge: Forge, receiver: Receiver
) -> None:
    await hook(forge, receiver, "push", "create", "delete", "status", "pull_request")
    sha = forge.world.commit(REPO, "f", {"a": "b"}, "bot", "m")
    forge.world.open_pull(REPO, "bot", "f", "main", "p")
    forge.world.commit(REPO, "f", {"a": "c"}, "bot")
    forge.world.set_status(REPO, "bot", sha, "success")
    forge.world.delete_branch(REPO, "f", "bot")
    kinds = [row.event for row in forge.simulator.hooks.deliveries]
    assert kinds == [
        "create",
        "push",
        "pull_request",
        "pull_request_sync",
        "push",
        "status",
        "delete",
    ]
    push = json.loads(forge.simulator.hooks.deliveries[1].body)
    assert (push["ref"], push["after"], push["commits"][0]["added"]) == (
        "refs/heads/f",
        sha,
        ["a"],
    )


async def test_a_refused_delivery_is_never_sent_again(forge: Forge, receiver: Receiver) -> None:
    await hook(forge, receiver, "issues")
    receiver.status = 500
    forge.world.open_issue(REPO, "alice", "t")
    await receiver.next()
    [delivery] = forge.simulator.hooks.deliveries
    await delivery.done.wait()
    assert delivery.status == 500
    await asyncio.sleep(0.05)
    assert receiver.got.empty()


async def test_a_delivery_can_be_lost(forge: Forge, receiver: Receiver) -> None:
    await hook(forge, receiver, "issues")
    forge.faults.lose_hooks = 1
    for title in "ab":
        forge.world.open_issue(REPO, "alice", title)
    _, payload = await receiver.next()
    assert payload["issue"]["title"] == "b"
    assert forge.simulator.hooks.deliveries[0].status == 0


async def test_a_hook_of_an_organisation_hears_all_its_repositories(
    forge: Forge, receiver: Receiver
) -> None:
    forge.faults.hook_delay_s = 0.0
    config = {"url": receiver.url, "content_type": "json"}
    body = {"type": "gitea", "config": config, "active": True, "events": ["issues"]}
    await forge.client("timmy").post("/orgs/acme/hooks", body)
    forge.world.open_issue(REPO, "alice", "t")
    headers, _ = await receiver.next()
    assert headers["X-Gitea-Hook-Installation-Target-Type"] == "organization"


async def test_a_test_delivery_is_a_push(forge: Forge, receiver: Receiver) -> None:
    made = await hook(forge, receiver, "issues")
    path = f"{WEB}/hooks/{made['id']}/tests"
    assert (await forge.client("timmy").post(path)).status == 204
    headers, _ = await receiver.next()
    assert headers["X-Gitea-Event"] == "push"


async def test_hooks_are_changed_and_deleted(forge: Forge, receiver: Receiver) -> None:
    made = await hook(forge, receiver, "issues")
    timmy, path = forge.client("timmy"), f"{WEB}/hooks/{made['id']}"
    changed = await timmy.patch(path, {"active": False, "events": ["push"]})
    assert (changed.json["active"], changed.json["events"]) == (False, ["push"])
    forge.world.open_issue(REPO, "alice", "t")
    assert forge.simulator.hooks.deliveries == []
    assert (await timmy.delete(path)).status == 204
    assert (await timmy.get(f"{WEB}/hooks")).json == []
