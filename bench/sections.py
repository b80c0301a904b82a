"""What one run measures, section by section: every system in turn, round after round."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from bench import calls as bench_calls
from bench import daemons, floors
from bench import sessions as agent_sessions
from bench.child import Child
from bench.measure import Lag, median_of
from bench.nats_pair import NatsPair, nats_pair
from bench.nats_server import binary
from bench.pair import pair

RATES = (100, 1000)
BATCHES = (20, 500)


class Size:
    """How much is measured: the quick run says which way the wind blows, the full one measures."""

    def __init__(self, *, quick: bool) -> None:
        self.quick = quick
        self.rounds = 1 if quick else 3
        self.paced_s = 2.0 if quick else 5.0
        self.starts = 2 if quick else 5
        self.idle_s = 10.0
        self.backlog = 30_000 if quick else 100_000
        self.large = 100_000 if quick else 1_000_000


async def lag(folder: Path, size: Size) -> dict[str, Any]:
    """Measure birth to commit at the house, at each rate, beside floors and NATS."""
    async with (
        pair(folder / "ours") as ours,
        _nats(folder / "nats") as engines,
        Child("bench.floors") as echo,
    ):
        await ours.link()
        for engine in engines.values():
            await engine.link()
        await ours.lag(100, 0.5)
        found: dict[str, dict[str, list[Lag]]] = {}
        fsyncs: list[Lag] = []
        for _ in range(size.rounds):
            one, per_s = floors.fsync_loop(folder, 1.0)
            fsyncs.append({**one, "per_s": per_s})
            for rate in RATES:
                at = found.setdefault(str(rate), {})
                figures = await floors.echo(echo, folder, rate, size.paced_s)
                at.setdefault("websocket echo", []).append(figures)
                at.setdefault("allegro", []).append(await ours.lag(rate, size.paced_s))
                for name, engine in engines.items():
                    at.setdefault(name, []).append(await engine.lag(rate, size.paced_s))
        await ours.unlink()
    medians = {
        rate: {name: median_of(rounds) for name, rounds in at.items()} for rate, at in found.items()
    }
    return {"ms": medians, "fsync": median_of(fsyncs)}


async def ingest(folder: Path, size: Size) -> dict[str, Any]:
    """Measure the way in, and the way home of what gathered: events a second."""
    into: dict[str, list[float]] = {}
    home: dict[str, list[float]] = {}
    async with pair(folder / "ours") as ours, _nats(folder / "nats") as engines:
        for _ in range(size.rounds):
            per_s = await ours.singles(size.backlog // 5)
            into.setdefault("allegro, single events", []).append(per_s)
            per_s = await ours.ingest(size.backlog // 2, BATCHES[0])
            into.setdefault(f"allegro, batches of {BATCHES[0]}", []).append(per_s)
            await ours.catch_up(await ours.head())
            per_s = await ours.ingest(size.backlog, BATCHES[1])
            into.setdefault(f"allegro, batches of {BATCHES[1]}", []).append(per_s)
            took_s = await ours.catch_up(await ours.head())
            home.setdefault("allegro", []).append(size.backlog / took_s)
            for name, engine in engines.items():
                per_s, head = await engine.ingest(size.backlog)
                into.setdefault(f"{name}, batches of 1000", []).append(per_s)
                home.setdefault(name, []).append(size.backlog / await engine.catch_up(head))
    return {
        "backlog": size.backlog,
        "ingest_per_s": _medians(into),
        "catch_up_per_s": _medians(home),
    }


async def catchup(folder: Path, size: Size) -> dict[str, Any]:
    """Measure one large backlog, linked after it gathered."""
    async with pair(folder / "large") as ours:
        per_s = await ours.ingest(size.large, BATCHES[1])
        took_s = await ours.catch_up(await ours.head())
    return {
        "large": {
            "events": size.large, "ingest_per_s": per_s, "took_s": took_s,
            "per_s": size.large / took_s,
        }
    }  # fmt: skip


async def programs(folder: Path, size: Size) -> dict[str, Any]:
    """Measure the daemons as a person starts them, on an organisation and on a repository."""
    async with daemons.stage(folder / "org", f"org:{daemons.ORGANISATION}") as stage:
        ready = await daemons.start_up(stage, size.starts)
        idle = await daemons.idle(stage, size.idle_s)
        await stage.lane.end()
        chat = await daemons.chat(stage, size.idle_s, 1 if size.quick else 5)
        await stage.house.end()
        after = await daemons.backlog(stage, size.large)
    figures = {
        "ready_s": ready,
        "idle": idle,
        "chat": chat,
        "after": {**after, "events": size.large},
        "requests_per_cycle": {"organisation of 20": idle.pop("requests")},
    }
    if not size.quick:
        async with daemons.stage(folder / "repo", f"{daemons.ORGANISATION}/r00") as stage:
            await daemons.start_up(stage, 1)
            alone = await daemons.idle(stage, size.idle_s)
            figures["requests_per_cycle"]["repository"] = alone["requests"]
    return figures


async def sessions(folder: Path, size: Size) -> dict[str, Any]:
    """Measure agent sessions: model to archive, alone and beside others, and a bare client."""
    return await agent_sessions.sessions(folder, quick=size.quick)


async def calls(folder: Path, size: Size) -> dict[str, Any]:
    """Measure from a P0 to the request at Telegram."""
    return await bench_calls.calls(folder, 30 if size.quick else bench_calls.ROUNDS)


SECTIONS = {
    "calls": calls, "lag": lag, "ingest": ingest, "catchup": catchup, "programs": programs, "sessions": sessions,
}  # fmt: skip


@contextlib.asynccontextmanager
async def _nats(folder: Path) -> AsyncIterator[dict[str, NatsPair]]:
    """Start both servers, none where there is no nats-server."""
    if binary() is None:
        yield {}
        return
    async with (
        nats_pair(folder / "deferred", sync_always=False) as deferred,
        nats_pair(folder / "always", sync_always=True) as always,
    ):
        yield {"NATS, fsync deferred": deferred, "NATS, fsync always": always}


def _medians(found: dict[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(rounds) for name, rounds in found.items()}
