"""One lane of a real fleet is stolen: it lies in the council, with its server too, until revoked."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from allegro.adapters.nats.council import STREAM, SUBJECT
from allegro.adapters.nats.server import Server, find_server, read_running
from allegro.core.base.errors import EdgeError, UserError
from allegro.drill.checker import calls_of
from allegro.drill.trial import by_user
from allegro.lane.fleet.build import UNDECIDED_S
from tests.bad import values as bad
from tests.bad.stolen_sibling import Outcome
from tests.bad.thieves import PAGES, RECORDS, SERVER, Thief

from .fleet_life import LEASE_S, Life, open_life

ATTACK_S = UNDECIDED_S + 10.0
REACH_S, GONE_S, THAWED_S = 5.0, 10.0, 15.0
QUIET_S = 5.0
READ = f"$JS.API.STREAM.MSG.GET.{STREAM}"
ANSWERS: tuple[dict[str, Any], ...] = (
    {"stream": STREAM, "seq": 8},
    {"error": {"code": 404, "err_code": 10037, "description": "x"}},
)


async def play_real(folder: Path, seed: str) -> Outcome:
    """Play one trial in a fleet of its own. Raises UserError where a step does not come."""
    async with open_life(folder / "fleet") as fleet:
        await fleet.settled()
        names = tuple(fleet.others())
        name = names[int(seed.rpartition("/")[2]) % len(names)]
        others = tuple(other for other in names if other != name)
        thief = Thief(name, others, seed, (*PAGES, *RECORDS, SERVER))
        return await Robbery(fleet, thief, seed).play()


class Robbery:
    """The thief has every key of its lane; its program and, if its plot says so, its server are its own."""

    def __init__(self, fleet: Life, thief: Thief, seed: str) -> None:
        self.fleet, self.thief, self.seed = fleet, thief, seed
        self.faults: list[str] = []
        self.written = 0
        self._bodies = [raw for answer in ANSWERS for _, raw in bad.bent_json(answer)]

    async def play(self) -> Outcome:
        fleet, thief = self.fleet, self.thief
        pids = self._pids()
        await fleet.lanes[thief.name].daemon.end(signal.SIGKILL)
        began_s = time.time()
        async with self._server(), self._writing():
            await asyncio.sleep(LEASE_S)
            await self._stop_and_thaw()
            await asyncio.sleep(max(0.0, began_s + ATTACK_S - time.time()))
            served = await self._served(began_s)
            gone_s = await self._revoke()
        await self._thaw_all()
        await fleet.came_home(await fleet.open_issue("after it was revoked"))
        if self._pids() != pids:
            self.faults.append("an honest lane ended")
        if gone_s > GONE_S:
            self.faults.append(f"the thief's influence ended {gone_s:.1f} s after its revocation")
        return Outcome(self.seed, thief.plot, tuple(self.faults), served, 0.0, gone_s)

    def _pids(self) -> list[tuple[int, bool]]:
        lanes = [self.fleet.lanes[name].daemon for name in self.thief.others]
        return [(daemon.pid, daemon.is_running) for daemon in lanes]

    async def _served(self, began_s: float) -> float:
        """Return 1 where an honest lane polled at the end of the attack, else 0 and a fault."""
        polls, _ = calls_of(await self.fleet.forge_log(), by_user)
        late = [poll for poll in polls if poll.at_s > time.time() - QUIET_S]
        if not late and not self.thief.may_hold and SERVER not in self.thief.plot:
            last_s = max((poll.at_s for poll in polls), default=began_s)
            self.faults.append(f"nobody polled for {time.time() - last_s:.0f} s")
        return float(bool(late))

    async def _stop_and_thaw(self) -> None:
        fleet = self.fleet
        stopped = json.loads(await fleet.command("stop", "--reason", "test", "--json"))
        await self._reaches("a stop", lambda name: stopped["freeze"] in _ids(fleet, name))
        await fleet.command("thaw", stopped["freeze"], "--config", str(fleet.house_config))
        await self._reaches("a thaw", lambda name: stopped["freeze"] in fleet.freezes(name).thawed)

    async def _reaches(self, what: str, has: Callable[[str], bool]) -> None:
        began_s = time.time()
        try:
            await self.fleet.until(
                lambda: all(has(name) for name in self.thief.others), what, within_s=2 * REACH_S
            )
        except UserError:
            self.faults.append(f"{what} did not reach both lanes")
            return
        if time.time() - began_s > REACH_S:
            self.faults.append(f"{what} took {time.time() - began_s:.1f} s")

    async def _revoke(self) -> float:
        """Revoke the thief; return after how long (s) nothing it does counts any more."""
        fleet, others = self.fleet, self.thief.others
        began_s = time.time()
        await fleet.command("revoke", "lane", "--config", str(fleet.house_config), self.thief.name)

        async def is_over() -> bool:
            if not await fleet.keep_council(*others):
                return False
            record = (await fleet.register(others[0])).record
            return (
                record is not None
                and not record.offered
                and record.holder in others
                and (await fleet.holder() == record.holder)
            )

        await fleet.until(is_over, "an honest lane holds the role", within_s=4 * GONE_S)
        gone_s, written = time.time() - began_s, self.written
        await asyncio.sleep(2.0)
        if self.written != written and SERVER not in self.thief.plot:
            self.faults.append("the thief still writes")
        return gone_s

    async def _thaw_all(self) -> None:
        """Lift what the thief froze: with --all, then by id what only a lane names."""
        fleet, until_s = self.fleet, time.time() + THAWED_S
        config = ("--config", str(fleet.house_config))
        while time.time() < until_s:
            left = {id_ for name in self.thief.others for id_ in _ids(fleet, name)}
            frozen = (await fleet.status())["freezes"]
            if not left and not frozen:
                return
            with contextlib.suppress(UserError):  # the set may have changed meanwhile
                named = ["--all"] if frozen else sorted(left)
                await fleet.command("thaw", *named, *config)
            await asyncio.sleep(0.5)
        self.faults.append("the honest lanes stay frozen")

    # --- what the thief does ------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _writing(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._write())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _write(self) -> None:
        while True:
            client = Client()
            try:
                await self._lie(client)
            except (nats.errors.Error, EdgeError, OSError, TimeoutError):
                await asyncio.sleep(0.3)
            finally:
                with contextlib.suppress(nats.errors.Error, OSError):
                    await client.close()

    async def _lie(self, client: Client) -> None:
        access = self.fleet.access(self.thief.name)
        if access is None:
            raise EdgeError("its server is away", transient=True)
        await client.connect(
            access.url, nkeys_seed_str=access.seed, allow_reconnect=False, connect_timeout=2
        )
        while True:
            key, value = self.thief.next(await self._register(client))
            ack = await client.request(SUBJECT + key, value, timeout=1.0)
            self.written += b'"error"' not in ack.data
            await asyncio.sleep(self.thief.dice.uniform(0.1, 0.5))

    async def _register(self, client: Client) -> bytes:
        question = msgspec.json.encode({"last_by_subj": SUBJECT + "role.forge"})
        found = json.loads((await client.request(READ, question, timeout=1.0)).data)
        return base64.b64decode(found.get("message", {}).get("data", ""))

    @contextlib.asynccontextmanager
    async def _server(self) -> AsyncIterator[None]:
        """Serve in the lane's place with one user more, which answers before the true server."""
        if SERVER not in self.thief.plot:
            yield
            return
        lane = self.fleet.lanes[self.thief.name]
        before = read_running(lane.server)
        await lane.council.end(signal.SIGKILL)  # the kernel ends its server with it
        if before is not None:
            await self.fleet.until(lambda: not _runs(before.pid), "the true server ends")
        config = json.loads(lane.server.config.read_text())
        config["accounts"]["COUNCIL"]["users"] = [{"user": "thief", "password": "thief"}]
        lane.server.config.write_text(json.dumps(config))
        server, client = Server(lane.server, find_server("")), Client()
        await server.start(self.fleet.roster.number)
        running = read_running(lane.server)
        assert running is not None
        try:
            await client.connect(running.client, user="thief", password="thief")
            for subject in (SUBJECT + "role.*", SUBJECT + "page.*"):
                await client.subscribe(subject, cb=self._answer)
            yield
        finally:
            await client.close()
            await server.stop()

    async def _answer(self, message: Msg) -> None:
        if message.reply:
            await message.respond(self.thief.dice.choice(self._bodies)[:60_000])


def _runs(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def _ids(fleet: Life, name: str) -> set[str]:
    return {freeze.id for freeze in fleet.freezes(name).active}
