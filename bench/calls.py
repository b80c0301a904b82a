"""From a cause to the request at Telegram: the alert machine on a real ledger, and a bare channel."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from allegro.adapters.channels.telegram.channel import TelegramChannel
from allegro.adapters.clock import SystemClock, SystemDice
from allegro.adapters.sqlite.archive import open_archive
from allegro.adapters.sqlite.ledger import make_ledger, open_ledger
from allegro.core.channels import Message
from allegro.core.health import codes
from allegro.core.settings import HouseIdentity, HouseSettings, TelegramSettings
from allegro.house.health.build import SETTLE_S, Calling
from allegro.runtime.duties import Duties
from allegro.scratch.processes import secret_file
from allegro.testing.telegram.server import TelegramStandIn
from allegro.testing.telegram.world import TOKEN

ROUNDS = 200


class Arrivals(TelegramStandIn):
    """The stand-in that notes when a message arrived (seconds of the performance counter)."""

    def __init__(self) -> None:
        super().__init__()
        self.at_s: list[float] = []
        self.came = asyncio.Event()

    async def _carry_out(self, method: str, fields: dict[str, Any]) -> Any:
        if method == "sendmessage":
            self.at_s.append(time.perf_counter())
            self.came.set()
        return await super()._carry_out(method, fields)

    async def one(self) -> float:
        """Wait for the next message; return when it came."""
        await asyncio.wait_for(self.came.wait(), 10)
        self.came.clear()
        return self.at_s[-1]


async def calls(folder: Path, rounds: int = ROUNDS) -> dict[str, Any]:
    """Return milliseconds from a P0 to its request, stored before it is sent; and without that."""
    folder.mkdir(parents=True)
    clock, dice = SystemClock(), SystemDice()
    token = secret_file(folder / "token", TOKEN)
    telegram = Arrivals()
    async with telegram:
        telegram.world.message(77, 77, "/start")
        settings = TelegramSettings(token_file=str(token), chat="77", url=telegram.url)
        bare = TelegramChannel(settings, lambda _: TOKEN, clock.boot_s)
        alone = []
        for n in range(rounds):
            began_s = time.perf_counter()
            await bare.send(Message(f"message {n}", ("words",)))
            alone.append((await telegram.one() - began_s) * 1e3)
        await bare.close()
        archive = open_archive(folder / "archive.db", quota_bytes=10**8)
        make_ledger(folder / "ledger.db")
        ledger = open_ledger(folder / "ledger.db")
        house = HouseSettings(HouseIdentity("home", str(folder)), telegram=settings)
        calling = Calling(house, archive, ledger, clock, dice)
        duties = Duties(clock, dice, lambda name, why: None)
        duties.join(*calling.duties())
        await clock.sleep(SETTLE_S)
        ours = []
        for n in range(rounds):
            began_s = time.perf_counter()
            calling.alerting.raise_alert(codes.STORES, f"cause {n}")
            ours.append((await telegram.one() - began_s) * 1e3)
            await asyncio.sleep(0.1)
        await duties.stop()
        await calling.close()
        await ledger.close()
        await archive.close()
    return {"cause_to_request_ms": spread(ours), "bare_request_ms": spread(alone)}


def spread(found: list[float]) -> dict[str, float]:
    """Return median and 99th percentile."""
    ordered = sorted(found)
    return {"p50": ordered[len(ordered) // 2], "p99": ordered[int(len(ordered) * 0.99) - 1]}
