"""A lane sets no other triage label than house.toml names, and a person is told which differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from allegro.core.base.errors import EdgeError
from allegro.core.protocol.queries import Params, QueryName
from allegro.house.seen_label import SeenLabel
from allegro.lane.context.seen_label import WAIT_S
from allegro.testing.virtual import FakeForge, VirtualClock
from tests.duties.alerts import noted

from .lane import GARDEN, Lane, journal_in, settings_of


async def lane_in(folder: Path, **changes: object) -> Lane:
    clock = VirtualClock()
    forge = FakeForge(clock)
    repo = forge.make_repository(GARDEN)
    lane = Lane(forge, clock, await journal_in(folder, clock), settings_of(**changes))
    await lane.start()
    await lane.live(5)
    forge.open_issue(repo)
    return lane


@pytest.mark.parametrize(("named", "is_set"), [
    ({"label": "triage/seen"}, True), ({"label": "seen"}, False), ({}, True), ({"label": 5}, True),
])  # fmt: skip
async def test_a_lane_sets_the_label_that_its_house_names_and_no_other(
    tmp_path: Path, named: dict[str, Any], is_set: bool
) -> None:
    lane = await lane_in(tmp_path)
    lane.state.home_label.logged_in()
    lane.state.home_label.hear(named)
    await lane.live(3 * WAIT_S)
    assert bool(lane.forge.written) is is_set
    await lane.journal.close()


async def test_after_a_log_in_a_lane_waits_for_the_houses_label_a_moment(tmp_path: Path) -> None:
    lane = await lane_in(tmp_path)
    lane.state.home_label.logged_in()
    await lane.step()
    assert lane.forge.written == []
    lane.state.home_label.hear({"label": "triage/seen"})
    await lane.live(5)
    assert lane.forge.written
    await lane.journal.close()


@pytest.mark.parametrize(("answer", "alerts"), [
    ({"label": "seen\nby us"}, 1), ({"label": "triage/seen"}, 0), ({"label": ""}, 0), (None, 0),
    ({"label": 5}, 0), ([], 0), (EdgeError("unknown question", transient=False), 0),
])  # fmt: skip
async def test_a_label_that_differs_is_told_with_what_to_write(answer: Any, alerts: int) -> None:
    told: list[tuple[str, str]] = []
    asked: list[tuple[str, dict[str, Any]]] = []

    async def ask(method: str, params: Params) -> Any:
        asked.append((method, dict(params)))
        if isinstance(answer, EdgeError):
            raise answer
        return answer

    seen = SeenLabel("triage/seen", noted(told))
    seen.tell("a", ask)
    await seen.idle()
    assert asked == [(QueryName.TRIAGE_LABEL, {"label": "triage/seen"})]
    assert len(told) == alerts
    assert all("house.toml" in one and "\n" not in one for _, one in told)
