"""Machines as a self-hoster sets them up: the commands of the README, the units of `examples/`.

A forge is simulated, the house runs beside the tests, each lane is a box with a network of its own.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from allegro.core.base.errors import UserError
from allegro.scratch.fleet import BOT, CODE_BOT, OWNER, REPOSITORY, UP_S, ScratchFleet, world
from allegro.scratch.network import Network
from allegro.scratch.processes import override, secret_file

from .fleet_fixture import QuickStage
from .systemd_vm import PROGRAM, Box

ALLEGRO = f"{PROGRAM}/.venv/bin/allegro"
LANE_TOML = "/etc/allegro/lane.toml"
HOUSE = {"orders.ttl_s": 6, "orders.settle_s": 2}
FORGE = {"forge.poll_s": 0.5, "forge.timeout_s": 2.0}
UNIT, HOUSE_UNIT, COUNCIL = "allegro-lane", "allegro-house", "allegro-council"
_EXAMPLES = f"{PROGRAM}/examples"
_NATS_LOG = "/var/lib/allegro/council/nats.log"
TIMMY = "timmy"
_HOME = f"/home/{TIMMY}"
HOUSE_TOML = f"{_HOME}/.config/allegro/house.toml"
_USER = (
    "useradd --system --user-group --home-dir /var/lib/allegro --shell /usr/sbin/nologin allegro"
)


class Machines(QuickStage, ScratchFleet):
    """Boxes named as their lanes. Use `open`, then `close` whatever happened."""

    def __init__(self, folder: Path, network: Network, names: Sequence[str]) -> None:
        super().__init__(folder, network)
        self.boxes: dict[str, Box] = {}
        self.names = tuple(names)
        self.tokens: dict[str, dict[str, str]] = {}
        self.url = ""

    async def open(self) -> None:
        """Start a forge, make a house, boot the boxes; a lane's user and folders are in each."""
        await self.network.start()
        self.forge_host, self.home = self.network.address("forge"), self.network.address("home")
        simulator = await self.start_simulator(world(), enter=self.network.enter("forge"))
        self.tokens, self.url = simulator["tokens"], str(simulator["url"])
        change = secret_file(self.folder / "change.token", self.tokens[CODE_BOT]["change"])
        await self.command(
            "init", "house", "--config", str(self.house_config), "--state-dir",
            str(self.folder / "house"), "--change-token-file", str(change),
        )  # fmt: skip
        override(self.house_config, HOUSE)
        self.boxes = {name: Box(name, self.network.enter(name)) for name in self.names}
        await asyncio.gather(*(self._set_up(box) for box in self.boxes.values()))

    async def _set_up(self, box: Box) -> None:
        await box.boot()
        await box.run(*_USER.split())
        folders = ("/etc/allegro", "/var/lib/allegro")
        await box.run("install", "-d", "-o", "allegro", "-g", "allegro", "-m", "0700", *folders)

    async def close(self) -> None:
        try:
            await super().close()
        finally:
            ends = (box.close() for box in self.boxes.values())
            for ended in await asyncio.gather(*ends, return_exceptions=True):
                if ended is not None:
                    raise ended

    # --- a lane, as the README says -------------------------------------------------------

    async def make_lane(self, name: str, values: dict[str, Any] | None = None) -> None:
        """Make and pair the lane of a box, which watches the forge."""
        token = "/etc/allegro/daily.token"
        box = self.boxes[name]
        await box.put(token, self.tokens[BOT]["daily"] + "\n", owner="allegro", mode="600")
        await self.allegro(
            name, "init", "lane", "--name", name, "--forge", self.url, "--token-file", token,
            "--watch", REPOSITORY, "--bot", BOT, "--bot", CODE_BOT,
            "--listen", f"{self.network.address(name)}:{self.network.port(name)}",
        )  # fmt: skip
        await self.edit(name, {**FORGE, **(values or {})})
        await self.pair(name)

    async def make_session_lane(self, name: str, model_url: str, key: str) -> None:
        """Make a lane that serves sessions and no forge; it is not paired yet."""
        await self.boxes[name].put(
            "/etc/allegro/first.key", key + "\n", owner="allegro", mode="600"
        )
        await self.allegro(
            name, "init", "lane", "--name", name, "--sessions", "1", "--model", "stub",
            "--model-url", model_url, "--model-key-file", "/etc/allegro/first.key",
            "--listen", f"{self.network.address(name)}:{self.network.port(name)}",
        )  # fmt: skip
        hermes = {"hermes.folder": f"{PROGRAM}/.hermes", "hermes.tools": ["terminal"]}
        await self.edit(name, hermes)

    async def pair(self, name: str, at_home: str = "") -> None:
        """Paste one line each way; the house runs beside the tests, or in the box `at_home`."""
        line = json.loads(await self.allegro(name, "pair", "--json"))["line"]
        if at_home:
            output = await self.at_home(at_home, "pair", "--config", HOUSE_TOML, line, "--json")
        else:
            output = await self.command("pair", "--config", str(self.house_config), line, "--json")
        await self.allegro(name, "pair", json.loads(output)["line"])

    async def allegro(self, name: str, *words: str, code: int | None = 0) -> str:
        """Run a command for a lane, on its machine and as its user."""
        return await self.boxes[name].run(
            ALLEGRO, *words, "--config", LANE_TOML, user="allegro", code=code
        )

    async def edit(self, name: str, values: dict[str, Any]) -> None:
        """Set keys in a lane's configuration, as a person would in an editor."""
        box, copy = self.boxes[name], self.folder / f"{name}.toml"
        copy.write_text(await box.run("cat", LANE_TOML))
        override(copy, values)
        await box.put(LANE_TOML, copy.read_text(), owner="allegro")

    # --- a house in a box, as the README says ---------------------------------------------

    async def make_house(self, name: str) -> None:
        """Make a house and its unit for a person of that box, who need not be logged in."""
        box, change = self.boxes[name], f"{_HOME}/.config/allegro/change.token"
        await box.run("useradd", "--create-home", TIMMY)
        await box.run("ln", "-s", PROGRAM, f"{_HOME}/allegro")
        await box.run("loginctl", "enable-linger", TIMMY)
        for path, text in (
            (change, self.tokens[CODE_BOT]["change"]),
            (f"{_HOME}/passphrase", "correct horse battery staple"),
        ):
            await box.put(path, text + "\n", owner=TIMMY, mode="600")
        await box.run("chown", "-R", f"{TIMMY}:", f"{_HOME}/.config")
        units = f"{_HOME}/.config/systemd/user"
        await box.run("mkdir", "-p", units, user=TIMMY)
        await box.run(
            "cp", f"{_EXAMPLES}/house.service", f"{units}/{HOUSE_UNIT}.service", user=TIMMY
        )
        await self.at_home(
            name, "init", "house", "--config", HOUSE_TOML, "--change-token-file", change
        )
        await self.user_systemctl(name, "enable", "--now", HOUSE_UNIT)

    async def at_home(self, name: str, *words: str, code: int | None = 0) -> str:
        """Run a command as the person whose house runs in this box."""
        words = (f"{_HOME}/allegro/.venv/bin/allegro", *words)
        return await self.boxes[name].run(*await self._person(name), *words, user=TIMMY, code=code)

    async def user_systemctl(self, name: str, *words: str) -> str:
        person = await self._person(name)
        return await self.boxes[name].run(*person, "systemctl", "--user", *words, user=TIMMY)

    async def _person(self, name: str) -> list[str]:
        number = (await self.boxes[name].run("id", "-u", TIMMY)).strip()
        return ["env", f"HOME={_HOME}", f"XDG_RUNTIME_DIR=/run/user/{number}",
                f"ALLEGRO_PASSPHRASE_FILE={_HOME}/passphrase"]  # fmt: skip

    # --- units ------------------------------------------------------------------------------

    async def put_unit(self, name: str, example: str, unit: str = UNIT) -> None:
        """Copy one of the shipped units, unchanged."""
        unit = f"/etc/systemd/system/{unit}.service"
        await self.boxes[name].run("cp", f"{_EXAMPLES}/{example}", unit)
        await self.systemctl(name, "daemon-reload")

    async def systemctl(self, name: str, *words: str) -> str:
        """Raises UserError with the end of the journal when it does not succeed."""
        try:
            return await self.boxes[name].run("systemctl", *words)
        except UserError as error:
            raise UserError(f"{error}\n{await self.journal(name)}") from error

    async def journal(self, name: str, *words: str, lines: int = 40) -> str:
        return await self.boxes[name].run("journalctl", "--no-pager", "-n", str(lines), *words)

    async def shown(self, name: str, unit: str = UNIT) -> dict[str, str]:
        """Return a unit's properties; the house's unit is its person's."""
        words = ("show", unit)
        if unit == HOUSE_UNIT:
            output = await self.user_systemctl(name, *words)
        else:
            output = await self.systemctl(name, *words)
        return dict(re.findall(r"^(\w+)=(.*)$", output, re.MULTILINE))

    async def whole(self, within_s: float = UP_S) -> str:
        """Wait until it is; return who polls then. Raises UserError with what the councils say."""
        try:
            return await super().whole(within_s)
        except UserError as error:
            lines = [str(error)]
            for name in self.names:
                lines += [f"--- {name}", await self.journal(name, "-u", COUNCIL)]
                lines += [await self.boxes[name].run("tail", "-n", "40", _NATS_LOG, code=None)]
            raise UserError("\n".join(lines)) from error

    # --- the forge and the archive ---------------------------------------------------------------

    async def are_linked(self) -> bool:
        lanes = (await self.status())["lanes"]
        return {lane["name"] for lane in lanes} == set(self.names) and all(
            lane["linked"] and (lane["detail"] or {}).get("healthy") for lane in lanes
        )

    async def work(self, title: str, within_s: float = 30.0) -> None:
        """Open an issue at the forge, and wait until it is home."""
        made = await self.simulate(
            "open_issue", repo=REPOSITORY, user=OWNER, title=title, body="do"
        )
        number = int(made["result"]["number"])

        async def is_home() -> bool:
            events = self.client.events(prefix="forge.snapshot.issue")
            return number in {event["data"]["number"] async for event in events}

        try:
            await self.until(is_home, f"issue {number} ({title}) is home", within_s=within_s)
        except UserError as error:
            logs = [await self.journal(name, "-u", UNIT) for name in self.names]
            raise UserError("\n".join([str(error), *logs])) from error

    async def came_back(
        self, name: str, before: dict[str, str], unit: str = UNIT
    ) -> dict[str, str]:
        """Wait until systemd has started a unit again that ended; return its properties."""

        async def is_back() -> dict[str, str]:
            shown = await self.shown(name, unit)
            is_new = shown["NRestarts"] != before["NRestarts"]
            return shown if is_new and shown["ActiveState"] == "active" else {}

        return dict(await self.until(is_back, f"{unit} comes back on {name}"))

    async def why_taken(self) -> str:
        """Return why the forge role changed hands the last time."""
        taken = [event["data"] async for event in self.client.events(prefix="role.taken")]
        forge = [one for one in taken if one["role"] == "forge"]
        return str(max(forge, key=lambda one: int(one["epoch"]))["why"])

    async def ready(self, name: str) -> None:
        """Wait until the lane beside the house of this box has a gateway ready for a session."""

        async def is_ready() -> bool:
            status = json.loads(await self.at_home(name, "status", "--json", code=None) or "{}")
            details = [lane["detail"] or {} for lane in status.get("lanes", ()) if lane["linked"]]
            return any(detail["sessions"]["ready"] for detail in details if "sessions" in detail)

        try:
            await self.until(is_ready, "a gateway is ready", within_s=60.0)
        except UserError as error:
            raise UserError(f"{error}\n{await self.journal(name)}") from error

    async def is_quiet(self, name: str, secret: str) -> None:
        """Assert that the journal of all boots tells no secret, no seccomp kill, no unit's fault."""
        log = await self.boxes[name].run("journalctl", "--no-pager", "-o", "export")
        assert "lane.ready" in log
        traps = ("SIGSYS", "status=31", "status=159", "ConfigurationDirectory", "Unknown key",
                 "timed out. Killing")  # fmt: skip
        assert [trap for trap in (secret, *traps) if trap in log] == []
