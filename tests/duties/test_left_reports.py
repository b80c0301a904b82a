"""Reports that programs and drills leave where they were asked for: one comment for each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from allegro.cli.commands.drill import _left
from allegro.client.errors import BadRequest, NotNow
from allegro.client.house_client import HouseClient
from allegro.core.authority.actions.forge import MirrorRequest
from allegro.core.documents.block import Block, read_block
from allegro.core.protocol.asked import LeaveReport
from allegro.drill.report import DrillTrial, summary
from tests.bad.api_house import ApiHouse, api_house

REPORT: dict[str, Any] = {
    "issue": "home/garden#3", "task": "water @rosa's roses", "status": "complete", "key": "k",
    "duration_s": 5.0, "results": ("wet",), "asked_by": "garden.py (pid 1)",
}  # fmt: skip


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiHouse]:
    async with api_house(tmp_path) as made:
        yield made


@pytest.fixture
async def client(api: ApiHouse) -> AsyncIterator[HouseClient]:
    async with HouseClient(api.socket) as made:
        yield made


def texts(api: ApiHouse) -> list[str]:
    requests = api.house.requests
    actions = [requests.work(one).action for one in requests.all()]
    return [one.body for one in actions if isinstance(one, MirrorRequest)]


async def test_a_report_is_left_once_for_each_key(api: ApiHouse, client: HouseClient) -> None:
    left = await client.leave_report(LeaveReport(**REPORT))
    again = await client.leave_report(LeaveReport(**{**REPORT, "asked_by": "garden.py (pid 2)"}))
    assert left.id == again.id
    (text,) = texts(api)
    assert text.startswith("## ✅ Allegro Report\n\n**Task:** `water @\u200brosa's roses`\n")
    assert read_block(text) == Block(document="report", id=left.id)
    other = await client.leave_report(LeaveReport(**{**REPORT, "key": "", "task": "else"}))
    assert other.id != left.id
    assert len(texts(api)) == 2


@pytest.mark.parametrize("issue", ["", "home/garden", "home/garden#0", "#3", "a/b#²"])
async def test_a_report_for_no_issue_is_refused(
    api: ApiHouse, client: HouseClient, issue: str
) -> None:
    with pytest.raises(BadRequest, match="owner/name#12"):
        await client.leave_report(LeaveReport(**{**REPORT, "issue": issue}))
    assert texts(api) == []


async def test_without_a_lane_nothing_is_kept_and_it_says_so(
    api: ApiHouse, client: HouseClient
) -> None:
    api.house.is_linked = False
    with pytest.raises(NotNow):
        await client.leave_report(LeaveReport(**REPORT))
    assert texts(api) == []


@pytest.mark.parametrize(
    ("faults", "status"), [((), "complete"), (("nobody took over",), "failed")]
)
async def test_a_drill_leaves_what_it_showed(
    api: ApiHouse, client: HouseClient, faults: tuple[str, ...], status: str
) -> None:
    trial = DrillTrial(
        fault="planned",
        victim="a",
        holder="b",
        take_over_s=4.0,
        faults=faults,
        duplicates=0,
        lost=0,
    )
    await _left(client, summary([trial, trial], "planned"), "home/garden#3")
    (text,) = texts(api)
    for words in ("fail-over drill, planned", f"**Status:** {status}\n", "- Executions: 2",
                  "- Avg latency: 4.0 s", "planned: a -> b"):  # fmt: skip
        assert words in text
    assert ("- Success rate: 100%" in text) == (not faults)
