"""The link on lines as people have them at home: slow, long, and cut now and then."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections.abc import AsyncIterator
from pathlib import Path

from allegro.core.authority.freeze import Freeze
from allegro.core.base.errors import EdgeError
from allegro.core.base.events import Event
from allegro.core.protocol.messages import GiveOrder, Stop
from allegro.link.dial import LaneLink
from tests.duties.link_ends import TIME, House, Pair, dialling, open_lane, until

from .tcp_proxy import Line, Pathway


@contextlib.asynccontextmanager
async def linked(folder: Path, path: Pathway) -> AsyncIterator[Pair]:
    async with open_lane(folder, "127.0.0.1:0") as (lane, listener):
        path.lead_to(listener.port)
        await path.start()
        try:
            house = House(f"ws://127.0.0.1:{path.port}")
            async with dialling(house) as link:
                yield Pair(lane, house, link, listener)
        finally:
            await path.stop()


async def order(link: LaneLink, content: bytes) -> str:
    """Order as the arbiter does, again until it was taken; return the reason."""
    while True:
        with contextlib.suppress(EdgeError):
            return await order_once(link, content)
        await asyncio.sleep(0.05)


async def order_once(link: LaneLink, content: bytes) -> str:
    digest = await link.send_ahead(content)
    await link.challenge()
    action = b"" if digest else content
    answer = await link.order(lambda id_: GiveOrder(id_, "o", action, None, "", "", None, digest))
    return answer.reason


async def test_content_crosses_a_slow_line_once_however_often_it_is_cut(tmp_path: Path) -> None:
    up = Line(125_000, 0.03)
    path = Pathway(0, up=up, down=Line(250_000, 0.03))
    content = random.Random(1).randbytes(800_000)

    async def cutting() -> None:
        for _ in range(6):
            await asyncio.sleep(0.9)
            path.cut()
            path.mend()

    async with linked(tmp_path, path) as pair:
        cuts = asyncio.create_task(cutting())
        began_s = asyncio.get_running_loop().time()
        assert await order(pair.link, content) == ""
        took_s = asyncio.get_running_loop().time() - began_s
        await cuts
    assert pair.lane.orders == [content]
    assert up.carried < 1.3 * len(content)
    assert took_s < 1.3 * len(content) / 125_000 + 20


async def test_a_backlog_keeps_neither_a_freeze_nor_an_answer_waiting(tmp_path: Path) -> None:
    rate = 40_000
    down = Line(rate, 0.05)
    path = Pathway(0, up=Line(rate, 0.05), down=down)
    body = random.Random(2).randbytes(1_500).hex()
    count = 130
    async with linked(tmp_path, path) as pair:
        loop = asyncio.get_running_loop()
        began_s, before = loop.time(), down.carried
        await pair.lane.record(
            *(Event(f"e{n}", "x.kept", "lane:a", TIME, data={"x": body}) for n in range(count))
        )
        pair.lane.answers["show"] = "x" * 2_000
        asked: list[float] = []
        frozen: list[float] = []
        while len(pair.house.ids) < count:
            at_s = loop.time()
            await pair.link.ask("show", {})
            asked.append(loop.time() - at_s)
            at_s = loop.time()
            await pair.link.say(Stop(Freeze(f"f{len(frozen)}", 0.0, "me", "")))
            await until(lambda: len(pair.lane.freezes) > len(frozen))
            frozen.append(loop.time() - at_s)
            await asyncio.sleep(0.2)
        carried_s = (down.carried - before) / rate
        took_s = loop.time() - began_s
    assert len(asked) >= 8
    assert sorted(asked)[int(len(asked) * 0.95)] < 2
    assert sorted(frozen)[int(len(frozen) * 0.95)] < 1
    assert took_s < carried_s / 0.8
    assert down.carried - before < 1.2 * count * 3_100


async def test_an_event_and_an_answer_longer_than_a_dead_peer_is_waited_for_arrive(
    tmp_path: Path,
) -> None:
    path = Pathway(0, up=Line(40_000, 0.02), down=Line(40_000, 0.02))
    async with linked(tmp_path, path) as pair:
        await pair.lane.record(Event("big", "x.kept", "lane:a", TIME, data={"x": "x" * 250_000}))
        pair.lane.answers["show"] = hashlib.shake_128(b"x").hexdigest(60_000)
        shown = await pair.link.ask("show", {}, timeout_s=4)
        await until(lambda: pair.house.ids == ["big"], 30)
    assert len(shown) == 120_000
    assert path.connections == 1


async def test_a_peer_is_alive_while_any_byte_moves_and_dead_soon_after(tmp_path: Path) -> None:
    up = Line(250_000)
    path = Pathway(0, up=up, down=Line(250_000))
    async with linked(tmp_path, path) as pair:
        loop = asyncio.get_running_loop()
        path.hold()
        began_s = loop.time()
        await until(lambda: not pair.link.is_up, 6)
        assert 2.5 < loop.time() - began_s < 5.0
        path.mend()
        await until(lambda: pair.link.is_up, 10)


async def test_an_event_longer_than_a_cut_lets_through_arrives_in_the_end(tmp_path: Path) -> None:
    down = Line(100_000, 0.02)
    path = Pathway(0, up=Line(100_000, 0.02), down=down)
    async with linked(tmp_path, path) as pair:
        await pair.lane.record(Event("big", "x.kept", "lane:a", TIME, data={"x": "x" * 500_000}))
        for _ in range(20):
            await asyncio.sleep(1.0)  # a fifth of what it needs
            path.cut()
            path.mend()
            if pair.house.ids:
                break
        await until(lambda: pair.house.ids == ["big"], 15)
    assert down.carried < 900_000
