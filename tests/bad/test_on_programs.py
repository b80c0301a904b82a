"""A seeded sample of bad values against a real lane and a real house; all of them in trials."""

from __future__ import annotations

from pathlib import Path

import pytest

from .on_programs import house_under_bent_events, lane_under_bent_answers

pytestmark = pytest.mark.slow


async def test_a_real_lane_reads_on_after_bent_answers_of_its_forge(tmp_path: Path) -> None:
    assert await lane_under_bent_answers(tmp_path, 16, 5) == []


async def test_a_real_house_reads_on_after_bent_events_of_a_lane(tmp_path: Path) -> None:
    assert await house_under_bent_events(tmp_path, 400, 5) == []
