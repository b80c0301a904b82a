"""The two daemons as programs: what they load, how they start and end."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from allegro.core.base.errors import UserError
from allegro.scratch.processes import Forge, Process, Stage
from tests.patience import patient

from .fleet_fixture import QuickStage
from .forks import QuickProcess
from .test_keys import WORLD


class Programs(QuickStage):
    """Prepared in this process; the two daemons are started anew, as a person starts them."""

    process = Process

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.simulator = QuickProcess("simulator", folder)

    async def program(self, *arguments: str, code: int = 0) -> str:
        """Run a command in a process of its own."""
        return await Stage.command(self, *arguments, code=code)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Programs]:
    """A paired lane and house that are not started yet."""
    stage = Programs(tmp_path / "stage")
    try:
        simulator = await stage.start_simulator(WORLD)
        tokens = simulator["tokens"]
        bots = ("allegro", "allegro-change")
        daily, change = tokens["allegro"]["daily"], tokens["allegro-change"]["change"]
        await stage.prepare(Forge(simulator["url"], "timmy/house", bots, daily, change))
        yield stage
    finally:
        await stage.close()


async def test_a_running_lane_has_loaded_no_house_client_or_testing_module(stage: Programs) -> None:
    await stage.lane.start(
        [
            *f"{sys.executable} -X importtime -m allegro lane --config".split(),
            str(stage.lane_config),
        ]
    )
    await stage.start_house()
    await stage.linked()
    loaded = loaded_by(stage)
    assert "allegro.lane.app" in loaded
    foreign = (
        "allegro.house",
        "allegro.client",
        "allegro.testing",
        "allegro.scratch",
        "allegro.demo",
    )
    assert not {name for name in loaded if name.startswith(foreign)}


async def test_a_running_house_has_loaded_nothing_that_could_load_the_sovereign_key(
    stage: Programs,
) -> None:
    await stage.start_lane()
    await stage.house.start(
        [
            *f"{sys.executable} -X importtime -m allegro house --config".split(),
            str(stage.house_config),
        ]
    )
    await stage.linked()
    loaded = loaded_by(stage, stage.house)
    assert "allegro.house.app" in loaded
    foreign = (
        "allegro.sovereign",
        "allegro.lane",
        "allegro.testing",
        "allegro.scratch",
        "allegro.demo",
    )
    assert not {name for name in loaded if name.startswith(foreign)}


async def test_a_lane_that_is_alone_starts_no_council_server_and_loads_nothing_of_one(
    stage: Programs,
) -> None:
    await stage.lane.start(
        [
            *f"{sys.executable} -X importtime -m allegro lane --config".split(),
            str(stage.lane_config),
        ]
    )
    await stage.start_house()
    await stage.linked()
    await stage.until(
        lambda: "allegro.core.authority.lease" in loaded_by(stage), "it loaded its roles"
    )
    foreign = ("nats", "nkeys", "allegro.adapters.nats")
    assert not {name for name in loaded_by(stage) if name.startswith(foreign)}
    tasks = Path(f"/proc/{stage.lane.pid}/task")
    if tasks.exists():
        assert [file.read_text() for file in tasks.glob("*/children") if file.read_text()] == []
    assert not (stage.folder / "lane" / "council" / "running.json").exists()


def loaded_by(stage: Stage, process: Process | None = None) -> set[str]:
    """Return the modules that a program (the lane's, where none is named) says it loaded."""
    lines = (process or stage.lane).log.read_text().splitlines()
    return {line.rsplit("|", 1)[1].strip() for line in lines if line.startswith("import ")}


async def test_both_daemons_tell_their_supervisor_and_end_cleanly(stage: Programs) -> None:
    path = stage.folder / "notify.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(path))
        supervisor.setblocking(False)
        loop = asyncio.get_running_loop()
        for process, command in (
            (stage.lane, ["lane", "--config", str(stage.lane_config)]),
            (stage.house, ["house", "--config", str(stage.house_config)]),
        ):
            await process.start(
                [sys.executable, "-m", "allegro", *command], {"NOTIFY_SOCKET": str(path)}
            )
            received = b""
            while b"READY=1" not in received:
                received = await asyncio.wait_for(loop.sock_recv(supervisor, 4096), patient(20))
            assert await process.end(signal.SIGTERM) == 0
            while b"STOPPING=1" not in received:
                received = await asyncio.wait_for(loop.sock_recv(supervisor, 4096), patient(20))


async def test_a_second_house_on_the_same_folder_is_refused(stage: Programs) -> None:
    await stage.start_house()
    await stage.until(stage.status, "the house starts", stage.house)
    with pytest.raises(UserError, match="another house runs"):
        await stage.program("house", "--config", str(stage.house_config))


async def test_an_unpaired_lane_says_what_to_do(stage: Programs) -> None:
    (stage.folder / "lane" / "trust.json").unlink()
    with pytest.raises(UserError, match="acts for nobody until it is whole"):
        await stage.program("lane", "--config", str(stage.lane_config))
    (stage.folder / "lane" / "paired.json").unlink()
    with pytest.raises(UserError, match="allegro pair"):
        await stage.program("lane", "--config", str(stage.lane_config))


async def test_a_secret_that_others_can_read_is_refused(stage: Programs) -> None:
    (stage.folder / "daily.token").chmod(0o644)
    with pytest.raises(UserError, match="chmod 600"):
        await stage.program("lane", "--config", str(stage.lane_config))


async def test_the_socket_of_the_house_is_its_owners_alone(stage: Programs) -> None:
    await stage.start_house()
    await stage.until(stage.status, "the house starts", stage.house)
    assert stage.socket.stat().st_mode & 0o777 == 0o600
    assert (stage.folder / "house").stat().st_mode & 0o077 == 0


async def test_a_silent_house_gives_the_exit_code_for_unreachable(stage: Programs) -> None:
    await stage.program("status", code=3)


async def test_an_administrators_token_stops_the_lane(stage: Programs) -> None:
    await stage.simulate("add_user", login="root2", admin=True)
    token = (await stage.simulate("token", user="root2", scopes=["all"]))["result"]
    (stage.folder / "daily.token").write_text(f"{token}\n")
    with pytest.raises(UserError, match="administrator"):
        await stage.program("lane", "--config", str(stage.lane_config))
