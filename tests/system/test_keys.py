"""The life of keys on running daemons: rotate, take the seat, revoke, recover, stop, thaw."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from allegro.client.gitea_bridge import GiteaBridge
from allegro.core.base.errors import UserError
from allegro.scratch.processes import Forge, Stage

from .fleet_fixture import QuickStage

DAILY = ["write:issue", "read:repository", "read:user", "read:organization"]
CHANGE = ["write:repository", "write:issue", "read:user", "read:organization"]
WORLD: dict[str, Any] = {
    "users": [{"login": login} for login in ("timmy", "alice", "allegro", "allegro-change")],
    "repos": [
        {
            "owner": "timmy",
            "name": "house",
            "private": True,
            "files": {"README.md": "# House\n"},
            "collaborators": {"allegro": "write", "allegro-change": "write", "alice": "write"},
            "protections": [{"branch": "main", "push_users": ["timmy"], "merge_users": ["timmy"]}],
        }
    ],
    "tokens": [
        {"user": "allegro", "name": "daily", "scopes": DAILY},
        {"user": "allegro-change", "name": "change", "scopes": CHANGE},
    ],
}


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """A linked lane and house on a simulated forge."""
    stage = QuickStage(tmp_path / "stage")
    try:
        simulator = await stage.start_simulator(WORLD)
        tokens = simulator["tokens"]
        forge = Forge(
            simulator["url"],
            "timmy/house",
            ("allegro", "allegro-change"),
            tokens["allegro"]["daily"],
            tokens["allegro-change"]["change"],
        )
        await stage.prepare(forge, lane={"forge.poll_s": 0.4})
        await stage.start_lane()
        await stage.start_house()
        await stage.linked()
        yield stage
    finally:
        await stage.close()


async def ask(stage: Stage, name: str) -> dict[str, Any]:
    return dict(
        await stage.client.post(
            "requests",
            {
                "kind": "propose_change",
                "repository": "timmy/house",
                "base": "main",
                "branch": name,
                "title": f"Add {name}",
                "files": {f"{name}.md": "bmV3Cg=="},
            },
        )
    )


async def approve(stage: Stage, request: dict[str, Any], code: int = 0) -> None:
    await stage.command(
        "approve",
        request["digest"],
        "--config",
        str(stage.house_config),
        "--yes",
        "--json",
        code=code,
    )


async def done(stage: Stage, request: dict[str, Any]) -> dict[str, Any]:
    async with GiteaBridge(stage.socket) as bridge:
        return await bridge.outcome(request["id"], wait_s=40)


async def test_a_rotated_sovereign_key_approves_and_the_old_one_no_longer_does(
    stage: Stage,
) -> None:
    old = (stage.folder / "house" / "sovereign.key").read_bytes()
    output = await stage.command("keys", "rotate", "sovereign", "--config", str(stage.house_config))
    assert "sovereign key 2" in output
    assert "could: approve" in output

    request = await ask(stage, "after-rotation")
    await approve(stage, request)
    assert (await done(stage, request))["state"] == "done"

    (stage.folder / "house" / "sovereign.key").write_bytes(old)
    with pytest.raises(UserError, match="not the sovereign key"):
        await approve(stage, await ask(stage, "with-the-old-key"))


async def test_a_lane_that_slept_through_two_rotations_links_again(stage: Stage) -> None:
    await stage.lane.end()
    for _ in range(2):
        await stage.command("keys", "rotate", "sovereign", "--config", str(stage.house_config))
    await stage.command("keys", "rotate", "house", "--config", str(stage.house_config))
    await stage.start_lane()
    await stage.linked()
    request = await ask(stage, "after-sleep")
    await approve(stage, request)
    assert (await done(stage, request))["state"] == "done"


async def test_taking_the_seat_voids_open_approvals_which_wait_as_requests_again(
    stage: Stage,
) -> None:
    await stage.command("stop", "--reason", "so that nothing is ordered")
    request = await ask(stage, "voided")
    await approve(stage, request)
    output = await stage.command("house", "--config", str(stage.house_config), "take-seat")
    assert "seat 2" in output
    assert (await stage.client.get(f"requests/{request['id']}"))["state"] == "proposed"

    await stage.command("thaw", "--all", "--config", str(stage.house_config))
    await approve(stage, request)
    assert (await done(stage, request))["state"] == "done"


async def test_a_revoked_lane_is_never_dialled_again(stage: Stage) -> None:
    output = await stage.command("revoke", "lane", "allegro", "--config", str(stage.house_config))
    assert "delete its daily token" in output

    async def is_gone() -> bool:
        return not (await stage.status())["lanes"]

    await stage.until(is_gone, "the lane is dropped")
    await stage.house.end()
    await stage.start_house()
    await stage.until(is_gone, "the lane stays dropped after a restart", stage.house)


async def test_stop_freezes_everywhere_and_only_a_signed_thaw_of_that_id_lifts_it(
    stage: Stage,
) -> None:
    stopped = json.loads(await stage.command("stop", "--reason", "smoke", "--json"))
    assert stopped["lanes_told"] == 1
    await stage.command("status", code=4)
    request = await ask(stage, "while-frozen")
    await approve(stage, request)

    await stage.lane.end()
    await stage.house.end()
    await stage.start_lane()
    await stage.start_house()

    async def is_linked_and_frozen() -> bool:
        status = await stage.status()
        lane = status["lanes"][0]["detail"]
        return bool(status["frozen"] and lane and lane["frozen"])

    await stage.until(is_linked_and_frozen, "both are frozen after a restart", stage.house)
    assert (await stage.client.get(f"requests/{request['id']}"))["state"] == "approved"
    await stage.command("thaw", stopped["freeze"], "--config", str(stage.house_config))
    assert (await done(stage, request))["state"] == "done"


async def test_the_recovery_key_stops_the_fleet_and_names_a_new_sovereign_key(
    tmp_path: Path,
) -> None:
    stage = QuickStage(tmp_path / "stage")
    try:
        printed = await stage.command(
            "init",
            "house",
            "--config",
            str(stage.house_config),
            "--state-dir",
            str(stage.folder / "house"),
        )
        recovery = next(line for line in printed.splitlines() if line.startswith("  ")).strip()
        await stage.start_house()
        await stage.until(stage.status, "the house starts", stage.house)
        stop = ("keys", "recovery-stop", "--config", str(stage.house_config))
        assert "the stop reached 0 lanes" in await stage.command(*stop, stdin=recovery + "\n")
        assert (await stage.status())["frozen"]

        (stage.folder / "house" / "sovereign.key").unlink()
        rotate = ("keys", "rotate", "sovereign", "--recovery", "--config", str(stage.house_config))
        output = await stage.command(*rotate, stdin=recovery + "\n")
        assert f"sovereign key {1 + 2**32}" in output
        await stage.command("thaw", "--all", "--config", str(stage.house_config))
        assert not (await stage.status())["frozen"]
    finally:
        await stage.close()
