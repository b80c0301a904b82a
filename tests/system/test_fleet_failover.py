"""Whatever befalls a lane, another goes on within 30 s, and nothing is done twice or lost (R1, R2).

The trials run in processes of their own: each moves into a network of its own making.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from allegro.drill.faults import FAULTS
from allegro.drill.network import Namespaces

from .fleet_trials import LEADER_S, Line

_TROUBLE = Namespaces.trouble()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(_TROUBLE), reason=_TROUBLE or "none"),
    pytest.mark.asyncio(loop_scope="module"),
]
FAR = ("kill-all", "silent", "no-council")
ROOT = Path(__file__).parents[2]
WITHIN_S = 240.0
CLOSE_S = 45.0


class Runner:
    """Processes that play trials, and what they told so far."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, float], asyncio.Future[Line]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._children: list[asyncio.subprocess.Process] = []

    async def start(self, faults: tuple[str, ...], delay_ms: float) -> None:
        for fault in faults:
            self._lines[fault, delay_ms] = asyncio.get_running_loop().create_future()
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.system.fleet_trials", "--faults", ",".join(faults),
            "--delay", str(delay_ms), "--out", "-", "--seed", "7", cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self._children.append(child)
        self._tasks.append(asyncio.create_task(self._read(child, delay_ms)))

    async def _read(self, child: asyncio.subprocess.Process, delay_ms: float) -> None:
        assert child.stdout is not None
        async for raw in child.stdout:
            line = msgspec.json.decode(raw, type=Line)
            future = self._lines[line.wanted.fault, delay_ms]
            if not future.done():
                future.set_result(line)
        for (fault, delay), future in self._lines.items():
            if delay == delay_ms and not future.done() and child.returncode is not None:
                future.set_exception(AssertionError(f"no word of {fault} at {delay:g} ms"))

    async def of(self, fault: str, delay_ms: float) -> Line:
        return await asyncio.wait_for(asyncio.shield(self._lines[fault, delay_ms]), WITHIN_S)

    async def close(self) -> None:
        all_told = all(line.done() for line in self._lines.values())
        for child in self._children:
            if not all_told and child.returncode is None:
                child.send_signal(signal.SIGINT)  # it ends its fleet, then itself
            try:
                await asyncio.wait_for(child.wait(), CLOSE_S)
            except TimeoutError:
                child.kill()
                await child.wait()
        for task in self._tasks:
            task.cancel()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def runner() -> AsyncIterator[Runner]:
    """Two fleets side by side: half of the faults each, then three of them far apart."""
    opened = Runner()
    names = tuple(FAULTS)
    await opened.start(names[::2], 0.0)
    await opened.start(names[1::2], 0.0)
    await opened.start(FAR, 150.0)
    yield opened
    await opened.close()


@pytest.mark.timeout(260)
@pytest.mark.parametrize(
    ("fault", "delay_ms"), [*((name, 0.0) for name in FAULTS), *((name, 150.0) for name in FAR)]
)
async def test_another_lane_goes_on(runner: Runner, fault: str, delay_ms: float) -> None:
    line = await runner.of(fault, delay_ms)

    assert not line.trouble
    assert line.outcome is not None
    assert line.outcome.faults == ()
    assert line.outcome.duplicates == line.outcome.lost == 0
    assert line.outcome.take_over_s < LEADER_S
    assert line.ok
