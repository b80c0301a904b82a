"""What people write reaches the archive, whatever dies meanwhile; the path's deadlines hold."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest

from tests.patience import patient

from .fleet_fixture import Theatre
from .loss import differences, nothing_is_lost

pytestmark = pytest.mark.slow


async def test_nothing_is_lost_while_everything_dies(tmp_path: Path) -> None:
    trials = [
        nothing_is_lost(tmp_path / str(n), random.Random(f"loss {n}"), seconds=6.0)
        for n in range(4)
    ]
    assert await asyncio.gather(*trials) == [[], [], [], []]


def test_the_comparison_sees_what_is_missing_old_and_too_much() -> None:
    forge = {"issue 1": ["a"], "issue 2": ["new"]}
    archive = {"issue 2": ["old"], "comment 3": ["gone"]}
    assert len(differences(forge, archive)) == 3


async def test_a_dead_path_is_noticed_in_five_seconds_and_redialled_in_one(
    theatre: Theatre,
) -> None:
    async def linked() -> bool:
        return bool((await theatre.stage.client.get("status"))["lanes"][0]["linked"])

    async def unlinked() -> bool:
        return not await linked()

    for break_path in (theatre.path.hold, theatre.path.cut):
        began_s = time.monotonic()
        break_path()
        await theatre.until(unlinked, "the house notices", 10)
        assert time.monotonic() - began_s <= patient(5.3)  # asking takes time too
        await asyncio.sleep(1.0)
        theatre.path.mend()
        began_s = time.monotonic()
        await theatre.until(linked, "the house is linked again", 10)
        assert time.monotonic() - began_s <= patient(1.5)
