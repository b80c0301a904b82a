"""A scratch fleet: a simulated forge, three lanes with real council servers, and a house."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from allegro.adapters.nats.server import ServerFiles, read_running
from allegro.core.base.errors import UserError
from allegro.scratch.network import Network
from allegro.scratch.processes import Process, Stage, are_well, as_options, override, secret_file

LANES = ("allegro", "ezra", "bezalel")
REPOSITORY = "timmy/garden"
OWNER, BOT, CODE_BOT = "timmy", "allegro-bot", "allegro-change"
UP_S = 60.0
_READ = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=5).read().decode())"


def world() -> dict[str, object]:
    """Return one repository whose default branch our bots cannot change."""
    daily = ["write:issue", "read:repository", "read:user", "read:organization"]
    change = ["write:repository", "write:issue", "read:user", "read:organization"]
    return {
        "users": [{"login": login} for login in (OWNER, BOT, CODE_BOT)],
        "repos": [
            {
                "owner": OWNER,
                "name": "garden",
                "files": {"README.md": "a garden\n"},
                "collaborators": {BOT: "write", CODE_BOT: "write"},
                "protections": [{"branch": "main", "merge_users": [OWNER]}],
                "issues": [{"user": OWNER, "title": "first", "body": "the first issue"}],
            }
        ],
        "tokens": [
            {"user": OWNER, "name": "owner", "scopes": ["all"]},
            {"user": BOT, "name": "daily", "scopes": daily},
            {"user": CODE_BOT, "name": "change", "scopes": change},
        ],
    }


class ScratchLane:
    """One lane of the fleet: its daemon, its council program, its folder."""

    def __init__(self, name: str, folder: Path, process: type[Process]) -> None:
        self.name = name
        self.folder = folder / name
        self.config = folder / f"{name}.toml"
        self.daemon = process(name, folder)
        self.council = process(f"{name}-council", folder)
        self.server = ServerFiles(self.folder / "council")

    def pids(self, *, daemon: bool = True, server: bool = True) -> list[int]:
        """Return the processes of this lane that run now, council server last."""
        found = [self.daemon.pid] if daemon and self.daemon.is_running else []
        if server:
            found += [self.council.pid] if self.council.is_running else []
            running = read_running(self.server)
            found += [running.pid] if running is not None else []
        return found

    def signal(self, number: signal.Signals, *, daemon: bool = True, server: bool = True) -> None:
        """Signal them all; the council program before its server, so that it starts no other."""
        for pid in self.pids(daemon=daemon, server=server):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


class ScratchFleet(Stage):
    """Everything in one folder; `network` says where the nodes stand."""

    def __init__(self, folder: Path, network: Network) -> None:
        super().__init__(folder)
        self.network = network
        self.lanes = {name: ScratchLane(name, folder, self.process) for name in LANES}
        self.owner_token = ""
        self.delay_ms = 0.0
        self.disk_mb = 0
        self.program = "allegro"

    async def set_up(
        self, *, lane: Mapping[str, object] | None = None, house: Mapping[str, object] | None = None
    ) -> None:
        """Start everything, pair the lanes, sign the roster; return when all three are ready."""
        await self.network.start()
        self.forge_host, self.home = self.network.address("forge"), self.network.address("home")
        simulator = await self.start_simulator(world(), enter=self.network.enter("forge"))
        tokens = simulator["tokens"]
        self.owner_token = tokens[OWNER]["owner"]
        daily = secret_file(self.folder / "daily.token", tokens[BOT]["daily"])
        change = secret_file(self.folder / "change.token", tokens[CODE_BOT]["change"])
        await self.init_house(change)
        override(self.house_config, house or {})
        for one in self.lanes.values():
            await self._prepare(one, str(simulator["url"]), daily, lane or {})
            await self.start(one.name)
        await self.start_house()
        await self.until(self._all_linked, "the house reaches all lanes", self.house)
        await self.command("fleet", "join", "--config", str(self.house_config), *LANES)
        await self.until(self.is_whole, "three lanes form a council", within_s=UP_S)

    async def _prepare(
        self, lane: ScratchLane, forge: str, daily: Path, values: Mapping[str, object]
    ) -> None:
        address = self.network.address(lane.name)
        if self.disk_mb:
            lane.folder.mkdir(mode=0o700)
            size = f"size={self.disk_mb}m,mode=0700"
            await _run("mount", "-t", "tmpfs", "-o", size, "tmpfs", str(lane.folder))
        link, council = self.network.port(lane.name), self.network.port(lane.name)
        options = {
            "config": lane.config,
            "name": lane.name,
            "state-dir": lane.folder,
            "forge": forge,
            "token-file": daily,
            "watch": REPOSITORY,
            "listen": f"{address}:{link}",
        }
        bots = ("--bot", BOT, "--bot", CODE_BOT)
        await self.command("init", "lane", *as_options(options), *bots)
        override(
            lane.config,
            {
                "forge.poll_s": 1.0,
                "forge.sweep_s": 5.0,
                "lane.failure_domain": lane.name,
                "council.listen": f"{address}:{council}",
                **values,
            },
        )
        line = json.loads(await self.command("pair", "--config", str(lane.config), "--json"))
        answer = json.loads(
            await self.command("pair", "--config", str(self.house_config), line["line"], "--json")
        )
        await self.command("pair", "--config", str(lane.config), answer["line"], "--json")

    async def start(self, name: str, *, council: bool = True) -> None:
        """Start what of a lane does not run."""
        lane, enter = self.lanes[name], self.network.enter(name)
        if council and not lane.council.is_running:
            lane.council = self.process(f"{name}-council", self.folder)
            await lane.council.start(
                [*enter, sys.executable, "-m", "allegro", "council", "--config", str(lane.config)]
            )
        if not lane.daemon.is_running:
            lane.daemon = self.process(name, self.folder)
            await lane.daemon.start(self.lane_command(lane))

    def lane_command(self, lane: ScratchLane) -> list[str]:
        """Return how a lane's daemon is started."""
        program = [sys.executable, "-m", self.program]
        if self.program == "allegro":
            program.append("lane")
        else:  # the runner that can put a wrong clock before the lane's
            program += ["--clock", str(self._clock_file(lane.name))]
        return [*self.network.enter(lane.name), *program, "--config", str(lane.config)]

    def _clock_file(self, name: str) -> Path:
        return self.folder / f"{name}.clock"

    def set_clock(self, name: str, off_s: float) -> None:
        """Step a lane's wall clock. Raises UserError where its program cannot be fooled."""
        if self.program == "allegro":
            raise UserError("a clock is stepped in the runner for tests only")
        self._clock_file(name).write_text(str(off_s), "utf-8")

    async def cut(self, cuts: Iterable[tuple[str, str]]) -> None:
        """Cut exactly these links, one-way each; nothing mends all."""
        await self.network.shape(self.delay_ms, cuts)

    async def delay(self, delay_ms: float) -> None:
        """Let every packet take so long, one way."""
        self.delay_ms = delay_ms
        await self.network.shape(delay_ms, [])

    async def fleet(self) -> dict[str, Any]:
        """Return what `allegro fleet status --json` shows."""
        return dict(await self.client.get("fleet"))

    async def holder(self, role: str = "forge") -> str:
        """Return who holds a role as the house sees it; empty for nobody."""
        holder = (await self.client.fleet()).roles.get(role)
        return holder.lane if holder is not None else ""

    async def is_whole(self) -> bool:
        """Whether all lanes are linked, in agreement, ready, and one of them polls."""
        fleet = await self.client.fleet()
        holder, lanes = fleet.roles.get("forge"), fleet.lanes
        return (
            holder is not None
            and holder.claims == 1
            and all(one.linked and one.quorum and "forge" in one.ready for one in lanes)
            and all(len(one.hears) == len(LANES) - 1 for one in lanes)
        )

    async def whole(self, within_s: float = UP_S) -> str:
        """Wait until it is; return who polls then."""
        polls = ""

        async def settled() -> bool:
            nonlocal polls
            polls = await self.holder() if await self.is_whole() else ""
            return bool(polls)

        try:
            await self.until(settled, "the fleet is whole again", within_s=within_s)
            return polls
        except UserError as error:
            fleet = await self.fleet()
            seen = {key: fleet[key] for key in ("roles", "lanes", "take_overs")}
            raise UserError(f"{error} {json.dumps(seen)}") from error

    async def leads(self, name: str) -> bool:
        """Whether a lane's server leads the council's stream: losing it costs an election too."""
        running = read_running(self.lanes[name].server)
        if running is None:
            return False
        answer = await _run(
            *self.network.enter(name),
            sys.executable,
            "-c",
            _READ,
            f"{running.monitor}/jsz?accounts=true&streams=true",
        )
        return any(
            stream.get("cluster", {}).get("leader") == name
            for account in json.loads(answer).get("account_details", ())
            for stream in account.get("stream_detail", ())
        )

    async def _all_linked(self) -> bool:
        lanes = (await self.client.status()).lanes
        return len(lanes) == len(LANES) and are_well(lanes)

    async def close(self) -> None:
        """End every process and the network."""
        await self.client.close()
        ends = [self.house.end()]
        for lane in self.lanes.values():
            lane.signal(signal.SIGCONT)
            ends += [lane.daemon.end(), lane.council.end()]
        await asyncio.gather(*ends)
        await self.simulator.end()
        await self.network.stop()
        for lane in self.lanes.values():
            if self.disk_mb and lane.folder.is_mount():
                await _run("umount", "-l", str(lane.folder))


def pairs(nodes: Iterable[str], others: Sequence[str]) -> list[tuple[str, str]]:
    """Return both directions of every pair between two groups, for `Network.shape`."""
    return [
        pair
        for node in nodes
        for other in others
        if node != other
        for pair in ((node, other), (other, node))
    ]


async def _run(*words: str) -> bytes:
    child = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    output, _ = await child.communicate()
    if child.returncode:
        raise UserError(f"{words[0]} failed")
    return output
