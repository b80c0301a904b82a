"""Agent sessions: from the model's piece or tool call to the house's archive, beside a bare client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from allegro import HermesBridge
from allegro.adapters.clock import SystemClock, SystemDice
from allegro.adapters.crypto.signatures import HpkeSealer, SealingKey
from allegro.adapters.hermes.gateway import HermesGateway
from allegro.adapters.hermes.host import Doors, HermesHost, Installed
from allegro.adapters.providers.openai import HttpProviders
from allegro.adapters.sandbox.boundary import find_sandbox
from allegro.adapters.sandbox.door import open_door
from allegro.client.hermes_bridge import HermesResult, TelemetryEvent
from allegro.core.agent.sessions import Ended, TextDelta, ToolBegan
from allegro.core.models.ladder import Spend
from allegro.core.ports import GatewaySpec, Run
from allegro.core.protocol.payloads.sessions import Talk
from allegro.core.settings import HermesSettings, ModelSettings, Rung
from allegro.lane.context.recorder import Author, Recorder
from allegro.lane.models.grants import Grant
from allegro.lane.models.proxy import ModelProxy
from allegro.scratch.processes import Stage, override
from allegro.testing.agents import make_stand_in
from allegro.testing.models import ModelStub, play
from bench.lane import bench_journal
from bench.measure import Lag, lag_of, rss_mb

REAL = Path(__file__).parents[1] / ".hermes"
GAP_MS = 10
COMMAND = {"command": "true"}


def hermes(folder: Path) -> tuple[Path, str]:
    """Return the environment of Hermes to measure: the real one where it is installed."""
    if (REAL / ".ready").exists():
        return REAL.absolute(), "real"
    make_stand_in(folder / "stand-in")
    return folder / "stand-in", "stand-in"


def prompt(pieces: int, tools: int, tag: str) -> str:
    """Return a play: tool calls first, then text of so many pieces."""
    calls = [{"tool": "terminal", "arguments": COMMAND} for _ in range(tools)]
    return play(*calls, {"say": f"{tag}-", "pieces": pieces, "gap_ms": GAP_MS}, tag=tag)


class SessionStage(Stage):
    """A house and a lane that serves sessions and no forge."""

    async def prepare_sessions(self, port: int, folder: Path, gateways: int) -> None:
        await self.command(
            "init", "house", "--config", str(self.house_config), "--state-dir",
            str(self.folder / "house"),
        )  # fmt: skip
        await self.command(
            "init", "lane", "--config", str(self.lane_config), "--name", "bench", "--state-dir",
            str(self.folder / "lane"), "--sessions", str(gateways), "--model", "stub",
            "--model-url", f"http://127.0.0.1:{port}/v1",
            "--listen", f"127.0.0.1:{self.link_port}",
        )  # fmt: skip
        tools = ["terminal"] if find_sandbox("auto").holds else []
        override(self.lane_config, {"hermes.folder": str(folder), "hermes.tools": tools})
        offer = json.loads(await self.command("pair", "--config", str(self.lane_config), "--json"))
        answer = json.loads(
            await self.command("pair", "--config", str(self.house_config), offer["line"], "--json")
        )
        await self.command("pair", "--config", str(self.lane_config), answer["line"])
        await self.start_lane()
        await self.start_house()
        await self.linked()

    async def ready(self, gateways: int) -> None:
        """Wait until so many gateways are ready."""

        async def are_ready() -> bool:
            told = (await self.status())["lanes"][0]["detail"]["sessions"]
            return bool(told["ready"] >= gateways)

        await self.until(are_ready, f"{gateways} gateways are ready", self.lane, 90.0)


@contextlib.asynccontextmanager
async def fleet(folder: Path, gateways: int) -> AsyncIterator[tuple[SessionStage, ModelStub]]:
    environment, _ = hermes(folder.parent)
    stub = ModelStub(("stub",))
    port = await stub.start()
    stage = SessionStage(folder)
    try:
        await stage.prepare_sessions(port, environment, gateways)
        await stage.ready(gateways)
        yield stage, stub
    finally:
        await stage.close()
        await stub.stop()


async def measured(
    stage: SessionStage, stub: ModelStub, tags: list[str], pieces: int, tools: int
) -> tuple[list[float], list[float], list[HermesResult]]:
    """Run sessions at once; return the lags of text and of tool calls in ms, and how they ended."""
    stub.sent.clear()
    stub.called.clear()
    async with HermesBridge(stage.socket) as bridge:
        ids = [await bridge.begin_session(prompt(pieces, tools, tag)) for tag in tags]
        results = await asyncio.gather(*(bridge.result(id_, wait_s=120) for id_ in ids))
        text: list[float] = []
        calls: list[float] = []
        for tag, id_ in zip(tags, ids, strict=True):
            events = await archived(stage, id_)
            text += text_lags(events, [(p, at) for p, at in stub.sent if p.startswith(tag)])
            calls += tool_lags(events, [at for name, at in stub.called if name == tag])
    return text, calls, list(results)


async def archived(stage: SessionStage, session: str) -> list[dict[str, Any]]:
    return [event async for event in stage.client.events(after=0, subject=f"session:{session}")]


def text_lags(events: list[dict[str, Any]], sent: list[tuple[str, float]]) -> list[float]:
    """Return archived - sent of each piece, in ms."""
    lags: list[float] = []
    waiting = list(sent)
    for event in events:
        words = event["words"] if isinstance(event["words"], dict) else {}
        text = str(words.get("text", "")) if event["type"] == "session.delta" else ""
        while waiting and waiting[0][0] in text:
            piece, at_s = waiting.pop(0)
            text = text.partition(piece)[2]
            lags.append((event["archived_s"] - at_s) * 1000)
    return lags


def tool_lags(events: list[dict[str, Any]], called: list[float]) -> list[float]:
    """Return archived - ordered of each tool call, in ms."""
    began = [event["archived_s"] for event in events if event["type"] == "session.tool_began"]
    return [(home - at) * 1000 for home, at in zip(began, called, strict=False)]


async def bare(folder: Path, stub: ModelStub, port: int, pieces: int) -> list[float]:
    """Return the lag of text at a client that reads Hermes' stream and keeps nothing."""
    settings = ModelSettings(
        rungs=(Rung(model="stub", provider="bench", base_url=f"http://127.0.0.1:{port}/v1"),)
    )
    async with gateway(folder, settings, ()) as (one, proxy, token):
        proxy.grant(token, Grant("bench", "stub", 1e12, 10**9))
        lags: list[float] = []
        for turn in range(2):  # the first run of a gateway loads half of Hermes
            stub.sent.clear()
            run = await one.begin(Run(f"bare{turn}", prompt(pieces, 0, "bare"), "", (), "stub"))
            seen: list[tuple[str, float]] = []
            async for event in one.events(run):
                if isinstance(event, TextDelta):
                    seen.append((event.text, time.time()))
                elif isinstance(event, Ended | ToolBegan) and isinstance(event, Ended):
                    break
            lags = [
                (at_s - sent_s) * 1000
                for (_, at_s), (_, sent_s) in zip(seen, stub.sent, strict=False)
            ]
    return lags


async def _door(proxy: ModelProxy, path: Path) -> Callable[[], Awaitable[None]]:
    return await open_door(proxy.routes(), path, most=24, mode=0o666)


@contextlib.asynccontextmanager
async def gateway(
    folder: Path, settings: ModelSettings, tools: tuple[str, ...]
) -> AsyncIterator[tuple[HermesGateway, ModelProxy, str]]:
    """Start one gateway of ours with a model proxy that keeps no record."""

    async def record(*_: Any) -> None:
        return None

    clock, dice = SystemClock(), SystemDice()
    providers = HttpProviders(settings, lambda _: "")
    proxy = ModelProxy(settings, providers, clock, record, Spend, lambda *_: None)
    runtime = Path(tempfile.mkdtemp(prefix="allegro-bench-"))
    environment, _ = hermes(folder)
    host = HermesHost(
        HermesSettings(gateways=1, tools=tools),
        Installed(environment / "bin" / "python", runtime),
        Doors(partial(_door, proxy), None),
        find_sandbox("auto"),
        lambda: dice.token(32).hex(),
        max_tokens=4096,
    )
    token = dice.token(24).hex()
    one = await host.start(GatewaySpec(token, tools, ("stub",), False))
    try:
        yield one, proxy, token
    finally:
        await one.close("bench")
        await providers.close()


async def overhead(folder: Path, port: int, calls: int) -> dict[str, float]:
    """Return the medians of a whole short call, straight and through the proxy, in ms.

    The proxy keeps its records as a lane does: sealed, and on disk before the call goes on.
    """
    settings = ModelSettings(
        rungs=(Rung(model="stub", provider="bench", base_url=f"http://127.0.0.1:{port}/v1"),)
    )

    journal = await bench_journal(folder / "proxy.db")
    clock, dice = SystemClock(), SystemDice()
    sealer = HpkeSealer("bench", SealingKey.make().public)
    recorder = Recorder(journal, sealer, clock, dice, by=Author("bench", b"s" * 32))

    async def record(holder: str, payload: Talk) -> None:
        await recorder.tell(payload, subject=holder)

    providers = HttpProviders(settings, lambda _: "")
    proxy = ModelProxy(settings, providers, clock, record, Spend, lambda *_: None)
    proxy.grant("t" * 32, Grant("bench", "stub", 1e12, 10**12))
    runner = web.AppRunner(proxy.routes(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    ours = f"http://127.0.0.1:{runner.addresses[0][1]}"
    took: dict[str, list[float]] = {"straight": [], "proxy": []}
    async with aiohttp.ClientSession() as session:
        for _ in range(calls):
            for name, base in (("straight", f"http://127.0.0.1:{port}"), ("proxy", ours)):
                began = time.perf_counter()
                await _one_call(session, base)
                took[name].append((time.perf_counter() - began) * 1000)
    await runner.cleanup()
    await providers.close()
    await journal.close()
    medians = {name: statistics.median(rounds) for name, rounds in took.items()}
    return {**medians, "overhead": medians["proxy"] - medians["straight"]}


async def _one_call(session: aiohttp.ClientSession, base: str) -> None:
    body = {"model": "stub", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    async with session.post(
        f"{base}/v1/chat/completions", json=body, headers={"Authorization": "Bearer " + "t" * 32}
    ) as response:
        await response.read()


async def sessions(folder: Path, *, quick: bool) -> dict[str, Any]:
    """Measure one session, two at once, one while another begins and its gateway is replaced."""
    pieces, tools = (60, 10) if quick else (400, 60)
    _, kind = hermes(folder)
    found: dict[str, Any] = {"agent": kind}
    async with fleet(folder / "fleet", 2) as (stage, stub):
        port = stub.port
        text, calls, _ = await measured(stage, stub, ["alone"], pieces, tools)
        found["alone"] = {"text": lag_of(text), "tools": lag_of(calls)}
        await stage.ready(2)
        text, calls, _ = await measured(stage, stub, ["left", "right"], pieces, tools)
        found["two"] = {"text": lag_of(text), "tools": lag_of(calls)}
        await stage.ready(2)
        found["starting"] = {"text": lag_of(await _while_another_starts(stage, stub, pieces))}
        found["bare"] = {"text": lag_of(await bare(folder, stub, port, pieces))}
        found["proxy_ms"] = await overhead(folder, port, 50 if quick else 300)
        if not quick:
            await stage.ready(2)
            found["hundred"] = await hundred(stage, stub)
    return found


async def _while_another_starts(stage: SessionStage, stub: ModelStub, pieces: int) -> list[float]:
    """Stream one session while another begins, ends, and its gateway is started anew."""
    stub.sent.clear()
    async with HermesBridge(stage.socket) as bridge:
        long = await bridge.begin_session(prompt(pieces, 0, "long"))
        await asyncio.sleep(0.3)
        await bridge.run_session(prompt(2, 0, "short"))
        await bridge.result(long, wait_s=120)
    sent = [(piece, at_s) for piece, at_s in stub.sent if piece.startswith("long")]
    return text_lags(await archived(stage, long), sent)


async def hundred(stage: SessionStage, stub: ModelStub) -> dict[str, Any]:
    """Run a hundred sessions, two at a time; count what came home, and the lane's memory."""
    before_mb, began = rss_mb(stage.lane.pid), time.monotonic()
    async with HermesBridge(stage.socket) as bridge:
        ids = [await bridge.begin_session(prompt(5, 1, f"n{n}")) for n in range(100)]
        results = await asyncio.gather(*(bridge.result(id_, wait_s=1800) for id_ in ids))
    whole = sum(
        result.state == "completed" and result.output.strip().endswith(f"n{n}-4")
        for n, result in enumerate(results)
    )
    return {
        "took_s": round(time.monotonic() - began, 1), "completed": whole,
        "rss_mb_before": before_mb, "rss_mb_after": rss_mb(stage.lane.pid),
        "load": os.getloadavg()[0],
    }  # fmt: skip


__all__ = ["Lag", "TelemetryEvent", "sessions"]
