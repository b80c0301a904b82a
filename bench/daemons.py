"""The two programs as a person starts them: start-up, memory, wake-ups, requests when idle."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sqlite3
import statistics
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from allegro.lane.folder.files import LaneFiles
from allegro.scratch.processes import Forge, Process, Stage, override, secret_file
from allegro.testing.telegram.server import TelegramStandIn
from allegro.testing.telegram.world import TOKEN
from bench import events
from bench.lane import bench_journal, fill
from bench.measure import cpu_seconds, rss_mb, switches

ORGANISATION = "acme"
REPOSITORIES = 20
POLL_S = 5.0
READY_S = 20.0


class ReadySocket:
    """The supervisor's end of sd_notify: says when a child told READY=1."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(READY_S)

    def wait(self) -> float:
        """Return the moment (monotonic) of the next READY=1."""
        while b"READY=1" not in self._socket.recv(4096):
            pass
        return time.monotonic()

    def close(self) -> None:
        self._socket.close()


def world() -> dict[str, Any]:
    """Return a forge with one organisation of twenty repositories, an issue in each."""
    daily = ["write:issue", "read:repository", "read:user", "read:organization"]
    repo = {
        "files": {"README.md": "bench\n"},
        "collaborators": {"allegro": "write", "allegro-change": "write"},
        "protections": [{"branch": "main"}],
        "labels": [{"name": "triage/seen", "color": "#cccccc"}],
        "issues": [{"user": "timmy", "title": "one", "labels": ["triage/seen"]}],
    }
    return {
        "users": [{"login": login} for login in ("timmy", "allegro", "allegro-change")],
        "orgs": [{"name": ORGANISATION, "members": {"timmy": "owner"}}],
        "repos": [
            {"owner": ORGANISATION, "name": f"r{n:02d}", **repo} for n in range(REPOSITORIES)
        ],
        "tokens": [
            {"user": "allegro", "name": "daily", "scopes": daily},
            {"user": "allegro-change", "name": "change", "scopes": ["write:repository"]},
        ],
    }


@contextlib.asynccontextmanager
async def stage(folder: Path, watch: str) -> AsyncIterator[Stage]:
    """Set up forge, lane and house, paired and not yet started."""
    stage = Stage(folder)
    try:
        simulator = await stage.start_simulator(world())
        tokens = simulator["tokens"]
        forge = Forge(
            simulator["url"], watch, ("allegro", "allegro-change"), tokens["allegro"]["daily"],
            tokens["allegro-change"]["change"],
        )  # fmt: skip
        settings = {"forge.poll_s": POLL_S, "forge.sweep_s": 60.0}
        await stage.prepare(forge, lane={**settings, "journal.cap_mb": 4000})
        yield stage
    finally:
        await stage.close()


async def start(process: Process, role: str, config: Path, ready: ReadySocket) -> float:
    """Start a daemon; return the seconds from spawn to READY=1."""
    began_s = time.monotonic()
    await process.start(
        [sys.executable, "-m", "allegro", role, "--config", str(config), "--log-level", "warning"]
        if role == "lane"
        else [sys.executable, "-m", "allegro", role, "--config", str(config)],
        {"NOTIFY_SOCKET": str(ready.path)},
    )
    return await asyncio.to_thread(ready.wait) - began_s


async def start_up(stage: Stage, rounds: int) -> dict[str, float]:
    """Return the median seconds to ready of each daemon; leave both running."""
    ready = ReadySocket(stage.folder / "n")
    took: dict[str, list[float]] = {"lane": [], "house": []}
    try:
        for n in range(rounds):
            took["lane"].append(await start(stage.lane, "lane", stage.lane_config, ready))
            took["house"].append(await start(stage.house, "house", stage.house_config, ready))
            if n < rounds - 1:
                await stage.house.end()
                await stage.lane.end()
    finally:
        ready.close()
    return {name: statistics.median(found) for name, found in took.items()}


async def idle(stage: Stage, seconds: float) -> dict[str, Any]:
    """Return wake-ups a second, memory and forge requests a cycle of the linked, idle pair."""
    await stage.linked()
    await asyncio.sleep(POLL_S + 1.0)
    log = len(await stage.forge_log())
    pids = {"lane": stage.lane.pid, "house": stage.house.pid}
    before = {name: switches(pid) for name, pid in pids.items()}
    await asyncio.sleep(seconds)
    after = {name: switches(pid) for name, pid in pids.items()}
    calls = (await stage.forge_log())[log:]
    threads = {
        name: {
            thread: (count - before[name].get(thread, 0)) / seconds
            for thread, count in after[name].items()
            if count > before[name].get(thread, 0)
        }
        for name in pids
    }
    return {
        "wake_ups_per_s": {name: sum(found.values()) for name, found in threads.items()},
        "loop_wake_ups_per_s": {
            name: found.get(str(pids[name]), 0.0) for name, found in threads.items()
        },
        "by_thread": threads,
        "rss_mb": {name: rss_mb(pid) for name, pid in pids.items()},
        "requests": requests_per_cycle(calls),
    }


async def chat(stage: Stage, seconds: float, rounds: int) -> dict[str, Any]:
    """Return what a chat adds to the idle lane: memory, CPU, wake-ups; medians of pairs."""
    plain = stage.lane_config.read_text("utf-8")
    found: dict[str, list[dict[str, float]]] = {"without": [], "with": []}
    async with TelegramStandIn() as telegram:
        token = secret_file(stage.folder / "telegram.token", TOKEN)
        reads = {
            "telegram.token_file": str(token), "telegram.chat": "77", "telegram.allow": ["77"],
            "telegram.url": telegram.url,
        }  # fmt: skip
        for _ in range(rounds):
            for name, settings in (("without", {}), ("with", reads)):
                stage.lane_config.write_text(plain, "utf-8")
                override(stage.lane_config, settings)
                await stage.start_lane()
                await stage.linked()
                await asyncio.sleep(POLL_S + 1.0)
                found[name].append(await _beside(stage.lane.pid, seconds))
                await stage.lane.end()
        assert telegram.good_polls, "the chat was read"
    stage.lane_config.write_text(plain, "utf-8")
    return {
        name: {key: statistics.median(one[key] for one in runs) for key in runs[0]}
        for name, runs in found.items()
    }


async def _beside(pid: int, seconds: float) -> dict[str, float]:
    cpu_s, before = cpu_seconds(pid), switches(pid)
    await asyncio.sleep(seconds)
    woken = switches(pid)[str(pid)] - before[str(pid)]
    return {
        "rss_mb": rss_mb(pid),
        "cpu_ms_per_s": (cpu_seconds(pid) - cpu_s) * 1_000 / seconds,
        "loop_wake_ups_per_s": woken / seconds,
    }


def requests_per_cycle(calls: list[dict[str, Any]]) -> float:
    """Return the requests between one poll and the next: the median of whole cycles.

    A poll starts with its listing of issues; what follows within the cycle is counted to it.
    """
    cycles: list[int] = []
    last_s = float("-inf")
    for call in calls:
        if call["at_s"] - last_s > POLL_S / 2:
            cycles.append(0)
        last_s = call["at_s"]
        cycles[-1] += 1
    return statistics.median(cycles) if cycles else 0.0


async def backlog(stage: Stage, count: int) -> dict[str, Any]:
    """Fill the lane's journal while it is down, start both; return seconds and memory after."""
    journal = await bench_journal(LaneFiles(stage.folder / "lane").journal)
    try:
        await fill(events.recorder(journal, events.any_sealing_key()), count, 1000)
    finally:
        await journal.close()
    ready = ReadySocket(stage.folder / "m")
    try:
        await start(stage.lane, "lane", stage.lane_config, ready)
        began_s = time.monotonic()
        await start(stage.house, "house", stage.house_config, ready)
    finally:
        ready.close()

    archive = sqlite3.connect(f"file:{stage.folder / 'house' / 'archive.db'}?mode=ro", uri=True)

    def is_home() -> bool:
        # the cursor is read beside the house: a status asked so often would count a million rows
        (seq,) = archive.execute("SELECT COALESCE(MAX(seq), 0) FROM cursor").fetchone()
        return bool(seq >= count)

    await stage.until(is_home, f"{count} events are home", stage.house, 120)
    took_s = time.monotonic() - began_s
    archive.close()
    await asyncio.sleep(2)
    pids = {"lane": stage.lane.pid, "house": stage.house.pid}
    return {"took_s": took_s, "rss_mb": {name: rss_mb(pid) for name, pid in pids.items()}}
