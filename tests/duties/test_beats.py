"""The heartbeat, and the dead-man switch that is called only while all is well (T1)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from allegro.adapters.deadman import ping
from allegro.core.authority.freeze import FreezeSet
from allegro.core.authority.gate import LaneTrust
from allegro.core.base.crashes import LASTS_S
from allegro.core.base.errors import EdgeError
from allegro.core.protocol.payloads.lane import SafeModeEnded
from allegro.core.settings import BeatSettings, ForgeSettings, LaneIdentity, LaneSettings
from allegro.lane.context.recorder import Author, Recorder
from allegro.lane.context.state import KeptState, LaneState
from allegro.lane.health.heartbeat import Beats
from allegro.lane.health.housekeeping import end_safe_mode
from allegro.testing.virtual import PlainSealer, SeededDice, VirtualClock
from tests.core.builders import TRUST

from .contexts import context_of
from .lane import FORGE, journal_in


class Watcher:
    """A healthchecks-style service that counts its calls, on loopback."""

    def __init__(self) -> None:
        self.calls, self.status, self.url = 0, 200, ""
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/ping/{id}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/ping/1"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, _: web.Request) -> web.Response:
        self.calls += 1
        return web.Response(status=self.status, headers={"Location": "/elsewhere"})


@pytest.fixture
async def watcher() -> AsyncIterator[Watcher]:
    opened = Watcher()
    await opened.start()
    yield opened
    await opened.stop()


@pytest.fixture
async def beats(tmp_path: Path, watcher: Watcher) -> AsyncIterator[Beats]:
    clock = VirtualClock()
    journal = await journal_in(tmp_path, clock)
    state = LaneState(
        clock=clock,
        journal=journal,
        kept=KeptState(LaneTrust(TRUST), FreezeSet(), lambda _: None, lambda _: None),
        forge=FORGE,
        safe_mode=False,
    )
    recorder = Recorder(journal, PlainSealer(), clock, SeededDice(1), by=Author("a", b"s" * 32))
    settings = LaneSettings(
        LaneIdentity("a", "state"), ForgeSettings(), beat=BeatSettings(watcher.url)
    )
    ctx = context_of(state, recorder, clock, settings)
    yield Beats(
        ctx, lambda: 3, lambda: (("b",), ("c",)), lambda: 7, lambda: not state.forge_trouble, ping
    )
    await journal.close()


async def test_a_lane_that_is_well_calls_its_watcher(beats: Beats, watcher: Watcher) -> None:
    await beats.call()
    assert (watcher.calls, beats.ping_trouble) == (1, "")


async def test_a_lane_that_is_ill_lets_its_watcher_miss_it(beats: Beats, watcher: Watcher) -> None:
    beats._state.forge_trouble = "the forge is away"
    await beats.call()
    assert watcher.calls == 0
    assert "unhealthy" in beats.ping_trouble


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_a_watcher_that_says_no_is_told(beats: Beats, watcher: Watcher, status: int) -> None:
    watcher.status = status
    await beats.call()
    assert str(status) in beats.ping_trouble
    watcher.status = 200
    await beats.call()
    assert beats.ping_trouble == ""


async def test_a_watcher_that_is_away_is_told_and_ends_nothing(watcher: Watcher) -> None:
    await watcher.stop()
    with pytest.raises(EdgeError, match="cannot be reached"):
        await ping(watcher.url)


async def test_a_beat_says_what_was_done_last(beats: Beats) -> None:
    beats._state.did("polled")
    head = beats._recorder.journal.head.seq
    await beats.beat()
    assert beats._recorder.journal.head.seq == head + 1


async def test_a_safe_mode_ends_also_where_the_journal_cannot_take_the_news(tmp_path: Path) -> None:
    clock = VirtualClock()
    journal = await journal_in(tmp_path, clock)
    state = LaneState(
        clock=clock,
        journal=journal,
        kept=KeptState(LaneTrust(TRUST), FreezeSet(), lambda _: None, lambda _: None),
        forge=FORGE,
        safe_mode=True,
    )
    recorder = Recorder(journal, PlainSealer(), clock, SeededDice(1), by=Author("a", b"s" * 32))
    await journal.close()
    with pytest.raises(EdgeError):
        await recorder.tell(SafeModeEnded())
    ending = asyncio.create_task(end_safe_mode(context_of(state, recorder, clock, ForgeSettings())))
    await asyncio.sleep(0)
    clock.advance(LASTS_S + 1)
    await ending
    assert not state.safe_mode


async def test_a_watcher_whose_host_is_no_name_is_told_as_one_that_cannot_be_reached() -> None:
    with pytest.raises(EdgeError, match="cannot be reached"):
        await ping("http://a..b/ping")
