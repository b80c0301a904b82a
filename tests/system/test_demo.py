"""The demo is the product in one piece: it must hold, and say so in figures."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from allegro.cli.setup.made import covers, house_things, lane_things
from allegro.config import load_house, load_lane
from tests.patience import patient


async def demo(*arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "allegro",
        "demo",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await asyncio.wait_for(child.communicate(stdin), patient(90))
    return child.returncode or 0, out.decode(), error.decode()


async def test_the_demo_ends_well_and_its_json_says_what_happened(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    code, out, error = await demo("--json", "--keep", str(kept))
    assert code == 0, error
    report: dict[str, Any] = json.loads(out)
    assert report["schema"] == "allegro.demo/1"
    assert report["ok"] is True
    assert {step["name"] for step in report["steps"]} >= {
        "issue",
        "triage",
        "pull_request",
        "drain",
    }
    assert all(step["ok"] for step in report["steps"])
    assert report["pull_request"]["number"] > 0
    assert report["pull_request"]["after_approval_s"] < 120
    assert report["versions"]["forge"].startswith("gitea ")
    assert report["events"]["sent"] == report["events"]["archived"] == 5000
    assert report["events"]["lost"] == report["events"]["duplicated"] == 0
    assert report["outage"]["backlog"] == 5000
    assert [one["reason"] for one in report["refused"]] == [
        "bad_signature",
        "approval_expired",
        "unknown_challenge",
        "changed_content",
        "no_approval",
        "bad_branch",
    ]
    assert report["triage_s"] < 300
    for name, things in {
        "house": house_things(load_house(kept / "house.toml"), kept / "house.toml"),
        "lane": lane_things(load_lane(kept / "lane.toml"), kept / "lane.toml"),
    }.items():
        left = [path for path in (kept / name).rglob("*") if not path.is_dir()]
        assert left
        assert [path for path in left if not covers(things, path)] == [], "what uninstall lists"


async def test_a_request_that_is_not_approved_changes_nothing(tmp_path: Path) -> None:
    code, out, error = await demo("--ask", "--keep", str(tmp_path / "kept"), stdin=b"n")
    assert code == 1
    assert "not approved: nothing was changed" in error
    assert "Oil the front door" in out
    assert "\x1b" not in out
    assert (tmp_path / "kept" / "lane.log").exists()


async def test_a_kept_run_is_private() -> None:
    code, _, error = await demo("--remove")
    assert code == 2
    assert "--keep" in error
