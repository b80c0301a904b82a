"""The simulator as a process, driven from outside; keeping state; speed; its judge."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from allegro.testing.gitea import Call, GiteaSimulator, Reply
from allegro.testing.gitea.http import answer

from .forge import WEB, Clock, Forge
from .oracle import ContractBrokenError, Oracle, models, operations

REPO = "acme/web"
SEED = {
    "users": [{"login": "timmy"}, {"login": "bot", "bot": True}],
    "orgs": [{"name": "acme", "members": {"timmy": "owner"}, "labels": [{"name": "shared"}]}],
    "repos": [
        {
            "owner": "acme",
            "name": "web",
            "private": True,
            "files": {"README.md": "hello\n"},
            "collaborators": {"bot": "write"},
            "labels": [{"name": "bug", "color": "ff0000"}],
            "protections": [{"branch": "main"}],
            "issues": [{"user": "timmy", "title": "first", "labels": ["bug"]}],
        }
    ],
    "tokens": [{"user": "bot", "name": "daily", "scopes": ["write:issue", "read:repository"]}],
}


async def spawn(tmp_path: Path) -> tuple[asyncio.subprocess.Process, dict[str, Any]]:
    seed = tmp_path / "world.json"
    seed.write_text(json.dumps(SEED))
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "allegro.testing.gitea", "--seed-file", str(seed)],
        *["--directory", str(tmp_path / "forge")],
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(20):
        ready: dict[str, Any] = json.loads(await process.stdout.readline())
    return process, ready


async def end(process: asyncio.subprocess.Process) -> None:
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(10):
        assert await process.wait() == 0


async def test_a_process_serves_its_seed_and_is_driven_from_outside(tmp_path: Path) -> None:
    process, ready = await spawn(tmp_path)
    url, token = ready["url"], ready["tokens"]["bot"]["daily"]
    headers = {"Authorization": f"token {token}"}
    async with aiohttp.ClientSession(url) as session:

        async def get(path: str) -> Any:
            async with session.get(f"/api/v1{path}", headers=headers) as response:
                return response.status, await response.json()

        async def drive(path: str, body: object) -> Any:
            async with session.post(f"/_sim/{path}", json=body) as response:
                return response.status, await response.json()

        status, listed = await get(f"{WEB}/issues")
        assert (status, listed[0]["labels"][0]["name"]) == (200, "bug")
        act = {"act": "comment", "args": {"repo": REPO, "number": 1, "user": "timmy", "body": "c"}}
        assert (await drive("act", act))[0] == 200
        assert (await get(f"{WEB}/issues/1"))[1]["comments"] == 1
        assert (await drive("act", {"act": "save"}))[0] == 400
        wrong = {"act": "close", "args": {"repo": "no/no", "number": 1, "user": "timmy"}}
        assert (await drive("act", wrong))[0] == 400
        rule = {"kind": "status", "status": 503, "body": "{}"}
        assert (await drive("faults", {"add": [rule]}))[1] == {"rules": 1}
        async with session.get("/api/v1/version") as response:
            assert response.status == 503
        await drive("restart-connections", {})
        async with session.get("/_sim/log", params={"after": "1"}) as response:
            calls = (await response.json())["calls"]
        assert [call["status"] for call in calls] == [200, 503]
    await end(process)
    process, again = await spawn(tmp_path)
    assert again["tokens"] == ready["tokens"]
    async with (
        aiohttp.ClientSession(again["url"]) as session,
        session.get(f"/api/v1{WEB}/issues/1", headers=headers) as response,
    ):
        assert (await response.json())["comments"] == 1
    await end(process)


async def test_saved_state_is_read_again(tmp_path: Path) -> None:
    first = GiteaSimulator(tmp_path, clock=Clock())
    forge = Forge(first, Clock(), Oracle())
    forge.world.open_issue(REPO, "timmy", "kept")
    for n in range(1500):
        forge.world.open_issue(REPO, "timmy", "chained", f"see #{n}")
    forge.world.save()
    again = GiteaSimulator(tmp_path, clock=Clock())
    assert again.world.the_issue(REPO, 1).title == "kept"
    assert again.world.open_issue(REPO, "timmy", "next").number == 1502


async def test_three_thousand_issues_are_opened_fast_and_paged_in_milliseconds(
    forge: Forge,
) -> None:
    began = time.perf_counter()
    for n in range(3000):
        forge.world.open_issue(REPO, "timmy", f"issue {n}", "body")
        forge.clock.move(0.1)
    assert time.perf_counter() - began < 2
    forge.simulator.observer = None
    client = forge.client()
    times = []
    for _ in range(5):
        began = time.perf_counter()
        await client.get("/repos/issues/search", owner="acme", state="all", limit="50")
        times.append(time.perf_counter() - began)
    assert min(times) < 0.02


# the judge


def call(method: str, path: str, body: bytes = b"", **query: str) -> Call:
    return Call(0.0, method, f"/api/v1{path}", tuple(query.items()), "bot", body)


def test_the_judge_knows_the_whole_document() -> None:
    assert len(operations()) > 480
    assert {"Issue", "PullRequest", "FilesResponse"} <= models().keys()


@pytest.mark.parametrize(
    ("asked", "reply", "problem"),
    [
        (call("GET", "/nowhere"), answer([]), "no such operation"),
        (call("GET", f"{WEB}/issues", sort="x"), answer([]), "query name 'sort'"),
        (call("POST", f"{WEB}/issues", b'{"title":"t","x":1}'), answer({}, 201), "key 'x'"),
        (call("POST", f"{WEB}/issues", b"{}"), answer({}, 201), "body lacks 'title'"),
        (call("PATCH", f"{WEB}/issues/1", b"{}"), answer({}, 200), "200 is not documented"),
        (call("GET", "/version"), answer({"version": "1", "x": 1}), "unknown key 'x'"),
        (call("GET", "/version"), answer({}), "lacks 'version'"),
        (call("GET", "/version"), answer({"version": 1}), "is no text"),
        (call("GET", WEB), answer({"oops": 1}, 404), "error keys"),
    ],
)
def test_the_judge_catches(asked: Call, reply: Reply, problem: str) -> None:
    with pytest.raises(ContractBrokenError):
        Oracle().check(asked, reply)
    found = Oracle().judge(asked, reply)
    assert any(problem in text for text in found), found
