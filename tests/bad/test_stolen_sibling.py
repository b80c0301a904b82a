"""A stolen lane of three in virtual time, a few seeds; more of them with `make trials`."""

from __future__ import annotations

from pathlib import Path

import pytest

from .stolen_sibling import play
from .thieves import PAGES, RECORDS, Thief


@pytest.mark.parametrize("number", range(9))
async def test_a_stolen_lane_reaches_noise_and_silence_and_no_more(
    tmp_path: Path, number: int
) -> None:
    outcome = await play(tmp_path, f"9/{number}")
    assert outcome.faults == (), outcome


def test_every_kind_of_lie_is_in_the_plots_of_a_few_seeds() -> None:
    kinds = (*PAGES, *RECORDS)
    plots = [Thief("c", ("a", "b"), f"9/{number}", kinds).plot for number in range(9)]
    assert {kind for plot in plots for kind in plot} == set(kinds)
