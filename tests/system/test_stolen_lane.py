"""A stolen lane beside an honest one on real programs; the whole number is in `make trials`."""

from __future__ import annotations

from pathlib import Path

from .robbery import play

SEEDS = (2, 7, 9, 12, 1043, 1119)
"""The last two failed once: stops without end, and an answer that nobody can read."""


async def test_a_stolen_lane_beside_an_honest_one_reaches_noise_and_no_more(tmp_path: Path) -> None:
    found = await play(tmp_path / "w", SEEDS)
    assert [one.seed for one in found] == list(SEEDS)
    assert [f"seed {one.seed}, {one.plot}: {fault}" for one in found for fault in one.faults] == []
    assert all(one.archived_s >= 0 and one.frozen_s >= 0 for one in found)
