"""Whatever befalls a lane, another goes on within 30 s, and nothing is done twice or lost (R1, R2).

The trials run in processes of their own: each moves into a network of its own making.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from allegro.scratch.faults import FAULTS
from allegro.scratch.network import Namespaces
from tests.patience import patient
from tests.portion import WHOLE

from .fleet_trials import LEADER_S, Line, Wanted, apart

_TROUBLE = Namespaces.trouble()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(_TROUBLE), reason=_TROUBLE or "none"),
    pytest.mark.asyncio(loop_scope="module"),
]
# of each sort one: planned, ended, frozen, cut off, misled; far apart the rarest
NEAR: tuple[str, ...] = (
    "planned",
    "kill",
    "freeze-all",
    "box-gone",
    "mute",
    "clock-behind",
    "disk-full",
)
FAR: tuple[str, ...] = ("silent", "no-council")
if WHOLE:
    NEAR, FAR = tuple(FAULTS), ("kill-all", "silent", "no-council")
WITHIN_S = 240.0


class Runner:
    """Fleets that play trials side by side, and what they told so far."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, float], asyncio.Future[Line]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, faults: tuple[str, ...], delay_ms: float) -> None:
        for fault in faults:
            self._lines[fault, delay_ms] = asyncio.get_running_loop().create_future()
        trials = [Wanted(fault, delay_ms, f"7/{fault}") for fault in faults]
        self._tasks.append(asyncio.create_task(apart(trials, self._note)))

    def _note(self, line: Line) -> None:
        self._lines[line.wanted.fault, line.wanted.delay_ms].set_result(line)

    async def of(self, fault: str, delay_ms: float) -> Line:
        return await asyncio.wait_for(
            asyncio.shield(self._lines[fault, delay_ms]), patient(WITHIN_S)
        )

    async def close(self) -> None:
        if not all(line.done() for line in self._lines.values()):
            for task in self._tasks:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def runner() -> AsyncIterator[Runner]:
    """Two fleets side by side: half of the faults each, and one far apart."""
    opened = Runner()
    opened.start(NEAR[::2], 0.0)
    opened.start(NEAR[1::2], 0.0)
    opened.start(FAR, 150.0)
    yield opened
    await opened.close()


@pytest.mark.timeout(420)
@pytest.mark.parametrize(
    ("fault", "delay_ms"), [*((name, 0.0) for name in NEAR), *((name, 150.0) for name in FAR)]
)
async def test_another_lane_goes_on(runner: Runner, fault: str, delay_ms: float) -> None:
    line = await runner.of(fault, delay_ms)

    assert not line.trouble
    assert line.outcome is not None
    assert line.outcome.faults == ()
    assert line.outcome.duplicates == line.outcome.lost == 0
    assert line.outcome.take_over_s < LEADER_S
    assert line.ok
