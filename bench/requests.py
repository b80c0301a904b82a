"""`python -m bench.requests`: what one look of the arbiter and one new request cost, by what is open.

Half of what is open are comments that wait while frozen, the rest as many mirrors, 1,000 at most.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
from tests.core.builders import FORGE
from tests.duties.house import House

from allegro.core.authority.actions.families import action_bytes, action_digest
from allegro.core.authority.actions.forge import MirrorRequest, RepositoryRef
from allegro.core.authority.freeze import Freeze, FreezeSet
from allegro.core.requests.requests import Request
from allegro.testing.virtual import VirtualClock

OPEN = (100, 10_000)
MIRRORS = 1_000
ROUNDS = 25


def _mirror(seed: Request, number: int) -> Request:
    action = MirrorRequest(
        id=f"m{number:019}", forge=FORGE, repository=RepositoryRef(7, "home/garden"), issue=3,
        request=f"r{number}", body="words",
    )  # fmt: skip
    raw = action_bytes(action)
    return msgspec.structs.replace(
        seed, id=action.id, kind="mirror_request", action=raw, digest=action_digest(raw),
        internal=True,
    )  # fmt: skip


async def _opened(folder: Path, count: int) -> House:
    house = House(folder, VirtualClock())
    await house.start()
    seed = await house.comment("seed")
    mirrors = [_mirror(seed, number) for number in range(min(MIRRORS, count // 2))]
    comments = [
        msgspec.structs.replace(seed, id=f"c{number:019}", digest=f"d{number}")
        for number in range(count - len(mirrors))
    ]
    await house.ledger.save(*comments, *mirrors)
    house.frozen = FreezeSet((Freeze("f1", 1.0, "a person", "stop"),))
    house.wire()
    await house.orders.step()
    return house


async def _median_ms(work: Callable[[], Awaitable[object]]) -> float:
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await work()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


async def _measure(count: int) -> tuple[float, float]:
    """Return the milliseconds of one idle look, and of one new request with the look after it."""
    with tempfile.TemporaryDirectory() as name:
        house = await _opened(Path(name), count)

        async def post() -> None:
            await house.comment("one more")
            await house.orders.step()

        idle, posted = await _median_ms(house.orders.step), await _median_ms(post)
        await house.ledger.close()
    return idle, posted


async def _main() -> None:
    few, many = [await _measure(count) for count in OPEN]
    for name, at in (("one idle look", 0), ("one request, with its look", 1)):
        print(
            f"{name:28} {few[at]:8.3f} ms at {OPEN[0]:,} open, {many[at]:8.3f} ms at {OPEN[1]:,}:"
            f" x {many[at] / few[at]:.2f}"
        )


if __name__ == "__main__":
    asyncio.run(_main())
