"""The cap holds against what providers bill, whatever they say of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from .provider_world import (
    BEHAVIOURS,
    Behaviour,
    Reply,
    Work,
    miscounted,
    over_the_cap,
    reply,
)


def test_the_world_has_forty_behaviours_of_different_names() -> None:
    assert len({behaviour.name for behaviour in BEHAVIOURS}) == len(BEHAVIOURS) >= 40


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=[one.name for one in BEHAVIOURS])
async def test_what_is_counted_is_never_less_than_what_is_billed_nor_much_more_where_it_is_told(
    behaviour: Behaviour, tmp_path: Path
) -> None:
    for stream in (True, False):
        for seed in (1, 2):
            assert await miscounted(tmp_path, behaviour, seed, stream=stream) == ""


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_no_order_of_behaviours_passes_the_spend_cap(seed: int, tmp_path: Path) -> None:
    assert await over_the_cap(tmp_path, seed) == ""


async def test_a_bill_that_is_not_counted_is_found(tmp_path: Path) -> None:
    def lies(work: Work, _: object) -> Reply:
        payload = {"prompt_tokens": work.prompt, "completion_tokens": len(work.words)}
        return reply(work._replace(reasoning=work.reasoning + 99), payload)

    assert "too little" in await miscounted(
        tmp_path, Behaviour("lies", lies, tells=True), 1, stream=True
    )
