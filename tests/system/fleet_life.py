"""A scratch fleet as its operator lives with it: all on loopback, the house's lines can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from allegro.adapters.crypto.tls import make_certificate
from allegro.adapters.files import read_state
from allegro.adapters.nats.council import Access, NatsCouncil
from allegro.adapters.nats.server import (
    Running,
    Server,
    access_of,
    find_server,
    make_seed,
    public_of,
    read_running,
)
from allegro.adapters.nats.settings import Serving, render
from allegro.core.authority.freeze import FreezeSet
from allegro.core.authority.lease import Record, Slot
from allegro.core.authority.tokens import Roster
from allegro.core.base.errors import UserError
from allegro.drill.checker import SEEN, Write, calls_of
from allegro.drill.trial import FINAL, by_user
from allegro.house.files import files_of, load_fleet
from allegro.lane.folder.files import LaneFiles
from allegro.scratch.fleet import LANES, OWNER, REPOSITORY, ScratchFleet, ScratchLane
from allegro.scratch.network import Loopback
from allegro.scratch.processes import free_port, override

from .fleet_fixture import QuickStage
from .tcp_proxy import Pathway

LEASE_S, RETURN_S, APPROVAL_S = 3.0, 3.0, 10
LANE = {
    "forge.poll_s": 0.5, "forge.timeout_s": 2.0, "journal.min_free_mb": 1, "council.disk_mb": 16,
    "council.lease_s": LEASE_S, "council.return_s": RETURN_S,
}  # fmt: skip
HOUSE = {"orders.ttl_s": 6, "orders.settle_s": 2, "requests.approval_s": APPROVAL_S}
DRAWN_S = 45.0
_NOT_STOLEN = (
    "lane.key",
    "link.key",
    "council.key",
    "user.nk",
    "store-*",
    "running.json",
    "*.ports",
    "*.lock",
)


class Wired(Loopback):
    """Loopback that knows beforehand which port a lane's link will have: its first."""

    def __init__(self) -> None:
        self.links: dict[str, int] = {}
        self._given: set[str] = set()

    def link(self, node: str) -> int:
        return self.links.setdefault(node, free_port())

    def port(self, node: str) -> int:
        if node in self._given:
            return free_port()
        self._given.add(node)
        return self.link(node)


class Life(QuickStage, ScratchFleet):
    """`wires` are the house's lines to its lanes, by name."""

    def __init__(self, folder: Path) -> None:
        self.wired = Wired()
        super().__init__(folder, self.wired)
        self.wires: dict[str, Pathway] = {}
        self._forge = ""
        self._daily = Path()

    async def _prepare(
        self, lane: ScratchLane, forge: str, daily: Path, values: Mapping[str, object]
    ) -> None:
        self._forge, self._daily = forge, daily
        wire = self.wires[lane.name] = Pathway(self.wired.link(lane.name))
        await wire.start()
        url = f"wss://127.0.0.1:{wire.port}"
        await super()._prepare(lane, forge, daily, {**values, "link.public_url": url})

    async def add_lane(self, name: str) -> None:
        """Pair and start one more lane; it is alone until it joins."""
        lane = self.lanes[name] = ScratchLane(name, self.folder, self.process)
        await self._prepare(lane, self._forge, self._daily, LANE)
        await self.start(name)
        await self.until(lambda: self.sees(name, linked=True), f"{name} is linked")

    async def close(self) -> None:
        await super().close()
        for wire in self.wires.values():
            await wire.stop()

    # --- the council as it stands -------------------------------------------------------------

    @property
    def roster(self) -> Roster:
        from allegro.config import load_house  # noqa: PLC0415 (as the commands do)

        roster = load_fleet(files_of(load_house(self.house_config))).roster
        assert roster is not None
        return roster

    def others(self, *names: str) -> list[str]:
        return [member.name for member in self.roster.members if member.name not in names]

    async def called_about(self, name: str) -> dict[str, Any]:
        """Return what the house tells of one lane of its fleet."""
        return next(one for one in (await self.fleet())["lanes"] if one["name"] == name)

    async def sees(self, name: str, **wanted: Any) -> bool:
        """Say whether the house tells exactly this of a lane."""
        told = await self.called_about(name)
        return all(told[key] == value for key, value in wanted.items())

    async def is_settled(self, names: Iterable[str]) -> bool:
        """Whether these lanes agree and hear each other, and the first of the order polls."""
        names, told = set(names), await self.fleet()
        lanes = [one for one in told["lanes"] if one["name"] in names]
        held = told["roles"].get("forge", {"lane": "", "claims": 0})
        return (
            len(lanes) == len(names)
            and (held["lane"], held["claims"]) == (told["orders"]["forge"][0], 1)
            and all(one["linked"] and one["quorum"] and "forge" in one["ready"] for one in lanes)
            and all(names - {one["name"]} <= set(one["hears"]) for one in lanes)
        )

    async def agree(self, *names: str) -> bool:
        """Whether exactly these lanes keep council, all hear each other, and one of them polls."""
        wanted, told = set(names), await self.fleet()
        lanes = [one for one in told["lanes"] if one["name"] in wanted]
        held = told["roles"].get("forge", {"lane": "", "claims": 0})
        return (
            set(self.others()) == wanted
            and held["lane"] in wanted
            and held["claims"] == 1
            and all(one["quorum"] and set(one["hears"]) == wanted - {one["name"]} for one in lanes)
        )

    async def is_held_again(self, by_key_of: str, not_by: str) -> bool:
        record = (await self.register(by_key_of)).record
        return record is not None and record.holder != not_by

    async def settled(self, *names: str) -> str:
        """Start what does not run, and wait until nothing is wrong; return who polls."""
        names = names or tuple(self.others())
        for name in names:
            self.wires[name].mend()
            await self.start(name)
        try:
            await self.until(lambda: self.is_settled(names), "the fleet is well", within_s=DRAWN_S)
        except UserError as error:
            raise UserError(f"{error} {json.dumps(await self.fleet())}") from error
        return await self.holder()

    def access(self, name: str) -> Access | None:
        running = read_running(self.lanes[name].server)
        return None if running is None else access_of(self.lanes[name].server, running)

    @contextlib.asynccontextmanager
    async def council(self, name: str) -> AsyncIterator[NatsCouncil]:
        """Speak to the council as this lane, with its own key."""
        council = NatsCouncil(lambda: self.access(name), timeout_s=2.0)
        try:
            yield council
        finally:
            await council.close()

    async def register(self, name: str, role: str = "forge") -> Slot:
        async with self.council(name) as council:
            return await council.read(role)

    async def record(self, name: str) -> Record:
        record = (await self.register(name)).record
        assert record is not None
        return record

    def freezes(self, name: str) -> FreezeSet:
        """Return what a lane has on disk."""
        return read_state(LaneFiles(self.lanes[name].folder).freezes, FreezeSet) or FreezeSet()

    async def kill(self, *names: str) -> None:
        """Kill -9 these lanes, their council programs and servers."""
        for name in names:
            self.lanes[name].signal(signal.SIGKILL)
        await asyncio.gather(
            *(self.lanes[n].daemon.end(signal.SIGKILL) for n in names),
            *(self.lanes[n].council.end(signal.SIGKILL) for n in names),
        )

    async def copy_stores(self, folder: Path) -> None:
        """Copy what the council has stored, as a backup of every lane would."""
        for name in self.others():
            await asyncio.to_thread(_copy, self._store(name), folder / name)

    async def restore_stores(self, folder: Path) -> None:
        for name in self.others():
            await asyncio.to_thread(_copy, folder / name, self._store(name))

    def _store(self, name: str) -> Path:
        return self.lanes[name].folder / "council" / f"store-{self.roster.number}"

    async def routes(self, running: Running) -> set[str]:
        """Return which other servers a council server says it is connected with."""

        def ask() -> set[str]:
            with urlopen(f"{running.monitor}/routez", timeout=2) as answer:
                told = json.load(answer)
            return {route["remote_name"] for route in told.get("routes") or []}

        return await asyncio.to_thread(ask)

    async def keep_council(self, *names: str) -> bool:
        """Whether the servers of exactly these lanes are connected with each other."""
        for name in names:
            running = read_running(self.lanes[name].server)
            if running is None or await self.routes(running) != set(names) - {name}:
                return False
        return True

    def steal(self, name: str) -> ScratchLane:
        """Copy a lane's configuration, trust and council to a host that has none of its keys."""
        lane, thief = self.lanes[name], ScratchLane("thief", self.folder, self.process)
        shutil.copytree(lane.folder, thief.folder, ignore=shutil.ignore_patterns(*_NOT_STOLEN))
        text = lane.config.read_text().replace(str(lane.folder), str(thief.folder))
        thief.config.touch(mode=0o600)
        thief.config.write_text(text)
        override(thief.config, {
            "council.listen": f"127.0.0.1:{free_port()}", "link.listen": f"127.0.0.1:{free_port()}",
        })  # fmt: skip
        return thief

    async def serve_with_own_key(self, thief: ScratchLane, name: str) -> Server:
        """Start a council server in a lane's name, with a key and a certificate made by a thief."""
        files, members = thief.server, self.roster.members
        me = next(member for member in members if member.name == name)
        make_certificate(files.certificate, files.key, name, time.time(), "127.0.0.1")
        serving = Serving(
            fleet=self.roster.aud,
            number=self.roster.number,
            listen=f"127.0.0.1:{free_port()}",
            public=public_of(make_seed(files.seed, os.urandom(32))),
            disk_mb=16,
        )
        others = [member for member in members if member is not me]
        files.config.write_text(render(files, me, others, serving))
        server = Server(files, find_server(""))
        await server.start(self.roster.number)
        return server

    def council_command(self, lane: ScratchLane) -> list[str]:
        return [sys.executable, "-m", "allegro", "council", "--config", str(lane.config)]

    # --- work ---------------------------------------------------------------------------------

    async def open_issue(self, title: str) -> int:
        made = await self.simulate(
            "open_issue", repo=REPOSITORY, user=OWNER, title=title, body="do"
        )
        return int(made["result"]["number"])

    async def ask(self, text: str, key: str = "") -> str:
        """Ask for a comment on the first issue; return the request's id."""
        body = {"kind": "comment", "repository": REPOSITORY, "issue": 1, "body": text, "key": key}
        return str((await self.client.post("requests", body))["id"])

    async def keep_asking(self, text: str) -> str:
        """Ask as a program does that tries again while no lane can be reached."""
        return str(await self.until(lambda: self.ask(text, key=text), text, within_s=40))

    async def state(self, request: str, within_s: float = 40.0) -> str:
        """Wait until a request is final; return how it ended."""

        async def final() -> str:
            state = str((await self.client.get(f"requests/{request}"))["state"])
            return state if state in FINAL else ""

        return str(await self.until(final, f"request {request} is settled", within_s=within_s))

    async def writes(self) -> tuple[Write, ...]:
        """Return what our bots changed on the forge, by the forge's own log."""
        return calls_of(await self.forge_log(), by_user)[1]

    async def count(self, text: str) -> int:
        """Return how often something of this text or title was written."""
        return sum(write.name == text for write in await self.writes())

    async def commented(self, text: str, within_s: float = 40.0) -> None:
        """Ask for a comment and see it written exactly once."""
        assert await self.state(await self.ask(text), within_s) == "done"
        assert await self.count(text) == 1

    # --- what came home -----------------------------------------------------------------------

    async def events(self, prefix: str) -> list[dict[str, Any]]:
        return [event async for event in self.client.events(prefix=prefix)]

    async def versions(self, *numbers: int) -> Counter[tuple[int, str]]:
        """Count the archived versions of issues, each told apart by all that it says."""
        return Counter(
            (event["data"]["number"], json.dumps(event["words"], sort_keys=True))
            for event in await self.events("forge.snapshot.issue")
            if event["data"]["number"] in numbers
        )

    async def are_seen(self, *numbers: int) -> bool:
        """Whether the archive shows these issues with the label that says seen."""
        words = [words for number, words in await self.versions(*numbers) if f'"{SEEN}"' in words]
        return len({json.loads(one)["number"] for one in words}) == len(numbers)

    async def marked(self, number: int) -> int:
        """Return how often an issue was marked as seen, by the forge's own log."""
        path = f"/issues/{number}/labels"
        return sum(
            call["method"] in {"POST", "PUT"} and call["path"].endswith(path)
            for call in await self.forge_log()
        )

    async def came_home(self, *numbers: int, within_s: float = 30.0) -> None:
        """Wait until these issues are archived; each must be there once as it was opened.

        Marked as seen in the second in which it was opened, an issue may show twice as marked: a
        lane that saw both states tells them apart, one that saw the later alone does not.
        """

        async def arrived() -> bool:
            return {number for number, _ in await self.versions(*numbers)} == set(numbers)

        await self.until(arrived, f"issues {numbers} are home", within_s=within_s)
        found = await self.versions(*numbers)
        opened = [one for (_, words), one in found.items() if not json.loads(words)["labels"]]
        assert set(opened) <= {1}

    async def taken(self, since_s: float = 0.0) -> list[dict[str, Any]]:
        """Return who took the forge role since then by epoch: `lane`, `at_s` of the first poll."""
        found = [
            {**event["data"], "lane": event["lane"], "at_s": at_s}
            for event in await self.events("role.taken")
            if event["data"]["role"] == "forge"
            and (at_s := datetime.fromisoformat(event["time"]).timestamp()) >= since_s
        ]
        return sorted(found, key=lambda one: int(one["epoch"]))

    async def took(self, lane: str, since_s: float, within_s: float = 20.0) -> dict[str, Any]:
        """Wait until this lane polled after it took the role; return its take-over."""
        return await self._took(lambda name: name == lane, f"{lane} polls", since_s, within_s)

    async def another_took(
        self, lane: str, since_s: float, within_s: float = 20.0
    ) -> dict[str, Any]:
        """Wait until a lane other than this one took the role and polled."""
        return await self._took(lambda name: name != lane, "another polls", since_s, within_s)

    async def _took(
        self, fits: Callable[[str], bool], what: str, since_s: float, within_s: float
    ) -> dict[str, Any]:
        async def found() -> Any:
            return [one for one in await self.taken(since_s) if fits(str(one["lane"]))]

        return dict((await self.until(found, what, within_s=within_s))[0])

    async def alerts(self) -> list[str]:
        return [str(alert["sentence"]) for alert in (await self.status())["alerts"]]


def _copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


@contextlib.asynccontextmanager
async def open_life(folder: Path) -> AsyncIterator[Life]:
    """Yield a running fleet of three; end every process afterwards."""
    fleet = Life(folder)
    try:
        await fleet.set_up(lane=LANE, house=HOUSE)
        yield fleet
    finally:
        await fleet.close()


__all__ = ["APPROVAL_S", "LANES", "LEASE_S", "RETURN_S", "Life", "open_life"]
