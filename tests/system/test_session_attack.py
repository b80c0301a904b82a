"""What a hostile model orders its tools to do from inside the sandbox comes to nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from allegro.scratch.processes import free_port
from tests.patience import patient

from . import attacks
from .agent_fixture import HERMES, MODEL, Agency, marker, needs_hermes, open_agency, terminal, types
from .attacks import PLAIN, Attack, filled, in_python

pytestmark = [pytest.mark.slow, needs_hermes, pytest.mark.asyncio(loop_scope="module")]
DISK_MB, MEMORY_MB, PROCESSES = 64, 1024, 200
TOKEN = re.compile(r"[0-9a-f]{48}")


class Siege:
    """An agency under attack. `outputs` are what the plain attacks gave back, by name."""

    def __init__(self, agency: Agency, places: dict[str, str]) -> None:
        self.agency = agency
        self.places = places
        self.outputs: dict[str, str] = {}

    def order(self, command: str) -> dict[str, object]:
        """Return the turn of the model that orders an attack."""
        return terminal(filled(Attack("", command), self.places))

    async def yes(self, session: str) -> None:
        """Approve whatever a session asks: what holds must hold even then."""
        number = 1
        while True:
            question = await self.agency.question(session, number)
            await self.agency.theatre.approve(question)
            number += 1

    async def run_plain(self) -> None:
        """Play every plain attack in one session that gets a yes to every question."""
        steps = [terminal(filled(attack, self.places)) for attack in PLAIN]
        session = await self.agency.begin(*steps, {"say": "done"})
        approver = asyncio.create_task(self.yes(session))
        try:
            result = await self.agency.result(session)
        finally:
            approver.cancel()
        assert result.state == "completed", result
        outputs = await self.agency.output_of_tools(session)
        assert len(outputs) == len(PLAIN)
        self.outputs = {one.name: out for one, out in zip(PLAIN, outputs, strict=True)}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def siege(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Siege]:
    """A fleet with every listener open, after one session of all plain attacks."""
    folder = tmp_path_factory.mktemp("attack")
    ports = {"status_port": free_port(), "webhook_port": free_port()}
    secret = folder / "hook.secret"
    secret.touch(mode=0o600)
    secret.write_text("secret of the hook\n")
    lane = {
        "hermes.gateways": 2, "hermes.disk_mb": DISK_MB, "hermes.memory_mb": MEMORY_MB,
        "hermes.processes": PROCESSES, "status.listen": f"127.0.0.1:{ports['status_port']}",
        "webhook.listen": f"127.0.0.1:{ports['webhook_port']}",
        "webhook.secret_file": str(secret),
    }  # fmt: skip
    async with open_agency(folder, lane=lane) as agency:
        await agency.ready(2)
        stage = agency.theatre.stage
        opened = Siege(agency, {
            "lane": str(stage.folder / "lane"), "house": str(stage.folder / "house"),
            "lane_config": str(stage.lane_config), "house_config": str(stage.house_config),
            "passphrase": str(stage.passphrase_file), "runtime": str(agency.runtime()),
            "daily_token": str(stage.folder / "daily.token"), "hermes": str(HERMES),
            "key_file": str(folder / "provider.key"), "repository": str(HERMES.parent),
            "link_port": str(stage.link_port), "provider_port": str(agency.port),
            "forge_port": agency.theatre.url.rpartition(":")[2].strip("/"),
            "disk_bytes": str(DISK_MB * 1_000_000),
            **{name: str(port) for name, port in ports.items()},
        })  # fmt: skip
        assert (await agency.run({"say": "first"})).state == "completed"
        await opened.run_plain()
        yield opened


@pytest.mark.parametrize("attack", PLAIN, ids=lambda attack: attack.name)
async def test_a_tool_cannot(siege: Siege, attack: Attack) -> None:
    assert "WON" not in siege.outputs[attack.name]


@pytest.mark.parametrize("attack", [a for a in PLAIN if a.outside], ids=lambda attack: attack.name)
async def test_outside_the_sandbox_one_can(siege: Siege, attack: Attack) -> None:
    command = filled(attack, siege.places)
    if command.startswith("echo "):  # a script: kept where nobody else writes
        command = command.replace("/tmp/try.py", str(siege.agency.theatre.stage.folder / "try.py"))

    def work() -> str:
        done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=60, check=False)
        return done.stdout.decode("utf-8", "replace")

    try:
        assert "WON" in await asyncio.to_thread(work)
    finally:
        if "/dev/shm/x" in command:
            Path("/dev/shm/x").unlink(missing_ok=True)


async def test_settings_put_in_place_of_the_agents_own_do_not_end_its_questions(
    siege: Siege,
) -> None:
    session = await siege.agency.begin(
        siege.order(attacks.SWAP_SETTINGS), terminal("rm -rf /tmp/x; echo W''ON"), {"say": "done"}
    )
    asked = asyncio.create_task(siege.agency.question(session))
    result = asyncio.create_task(siege.agency.result(session))
    await asyncio.wait({asked, result}, return_when=asyncio.FIRST_COMPLETED)
    if asked.done():
        await siege.agency.reject(asked.result())
    else:
        asked.cancel()
    await result

    assert "WON" not in str(await siege.agency.output_of_tools(session))


async def test_a_tool_cannot_answer_the_question_itself(siege: Siege) -> None:
    session = await siege.agency.begin(
        siege.order(attacks.APPROVE_ITSELF), terminal("rm -rf /tmp/x; echo W''ON"),
        terminal("wc -c < /tmp/tried"), {"say": "done"},
    )  # fmt: skip
    question = await siege.agency.question(session)
    await asyncio.sleep(1.5)
    assert (await siege.agency.theatre.request(question["id"]))["state"] == "proposed"
    await siege.agency.reject(question)

    result = await siege.agency.result(session)

    outputs = await siege.agency.output_of_tools(session)
    assert (result.state, result.denied) == ("completed", 1)
    assert "WON" not in outputs[1]
    tried = re.search(r'"output": "(\d+)"', outputs[2])
    assert tried is not None
    assert int(tried[1]) > 20


class Shared(msgspec.Struct, frozen=True):
    """What is left of one session of several attacks: each says for itself what came of it."""

    session: str
    word: str
    outputs: list[str]
    events: list[dict[str, Any]]


def left_running(siege: Siege) -> list[str]:
    return [process for process in siege.agency.processes() if "86411" in process]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(siege: Siege) -> Shared:
    """The session of four attacks, the last of which leaves a process behind while it runs."""
    word = marker("forged")
    forge = attacks.FORGE_TELEMETRY.replace("{marker}", word)
    orders = (forge, attacks.ALLOCATE_UNSEEN, attacks.ASK_ANOTHER_MODEL, attacks.OUTLIVE)
    session = await siege.agency.begin(
        *(siege.order(one) for one in orders), terminal("sleep 0.3"), {"say": "done"}, model=MODEL
    )
    await siege.agency.theatre.until(lambda: left_running(siege), "the process runs", 60)
    assert (await siege.agency.result(session)).state == "completed"
    return Shared(
        session,
        word,
        await siege.agency.output_of_tools(session),
        await siege.agency.events_of(session),
    )


async def test_nothing_of_a_sandbox_outlives_its_session(siege: Siege, shared: Shared) -> None:
    assert shared.session
    await siege.agency.theatre.until(lambda: not left_running(siege), "it is gone", 5)


async def test_forged_telemetry_is_not_archived(shared: Shared) -> None:
    assert "sent" in shared.outputs[0]
    assert shared.word not in str(shared.events)
    (end,) = [one for one in shared.events if one["type"] == "session.end"]
    assert end["data"]["forged"] > 0
    assert len(types(shared.events, "session.tool_ended")) == 5


async def test_memory_that_no_process_shows_is_refused(shared: Shared) -> None:
    assert "WON" not in str(shared.outputs)
    assert "Operation not permitted" in shared.outputs[1]


async def test_a_tool_that_asks_for_another_model_does_not_get_it(shared: Shared) -> None:
    assert "asked 200" in shared.outputs[2]
    calls = [one["data"] for one in shared.events if one["type"] == "model.call"]
    assert len(calls) == 6 + 1  # one for each turn, and the tool's own
    assert {(call["asked"], call["provider"]) for call in calls} == {(MODEL, f"stub-{MODEL}")}


async def test_a_tool_cannot_hide_a_call_by_flooding_telemetry(siege: Siege) -> None:
    words = [marker("hidden") for _ in range(5)]
    session = await siege.agency.begin(
        siege.order(attacks.FLOOD_TELEMETRY), *(terminal(f"echo {word}") for word in words),
        {"say": "done"},
    )  # fmt: skip

    result = await siege.agency.result(session)

    events = str(await siege.agency.events_of(session, "session.tool_"))
    assert result.state == "completed"
    assert [word for word in words if word not in events] == []


async def test_the_disks_of_a_sandbox_are_bounded_and_the_lanes_does_not_grow(
    siege: Siege,
) -> None:
    def size() -> int:
        places = (siege.agency.theatre.lane_folder, siege.agency.runtime())
        files = [one for place in places for one in place.rglob("*")]
        return sum(one.stat().st_size for one in files if one.is_file())

    before = size()
    session = await siege.agency.begin(siege.order(attacks.FILL_DISKS), {"say": "done"})

    result = await siege.agency.result(session)

    outputs = str(await siege.agency.output_of_tools(session))
    assert result.state in {"completed", "failed", "lost"}
    assert "WON" not in outputs
    assert size() - before < 5_000_000


async def test_a_fork_bomb_stays_in_its_sandbox_and_starves_nobody(siege: Siege) -> None:
    await siege.agency.ready(2)
    bomb = await siege.agency.begin(siege.order(attacks.FORK), {"say": "done"})
    await siege.agency.theatre.until(lambda: len(siege.agency.processes()) > 60, "it forks")
    other = asyncio.create_task(siege.agency.run(terminal("echo he''re"), {"say": "beside"}))
    most, slowest = 0, 0.0
    for _ in range(10):
        began_s = time.monotonic()
        (lane,) = (await siege.agency.theatre.stage.status())["lanes"]
        assert lane["linked"]
        slowest = max(slowest, time.monotonic() - began_s)
        most = max(most, len(siege.agency.processes()))
        await asyncio.sleep(0.1)

    beside = await other
    assert (beside.state, beside.output) == ("completed", "beside")
    assert "here" in str(await siege.agency.events_of(beside.session_id, "session.tool_ended"))
    result = await siege.agency.result(bomb)

    assert result.state in {"completed", "failed", "lost"}
    assert most <= PROCESSES + 20  # its own, and the few of the gateway beside it
    assert slowest < patient(1.0)
    await siege.agency.theatre.until(
        lambda: len(siege.agency.processes()) < 20, "its processes are gone", 10
    )


async def test_memory_beyond_the_limit_ends_the_session(siege: Siege) -> None:
    session = await siege.agency.begin(siege.order(attacks.ALLOCATE), {"say": "done"})

    result = await siege.agency.result(session)

    assert "WON" not in str(await siege.agency.output_of_tools(session))
    assert result.state == "lost"
    assert "memory_mb" in result.why


async def test_a_model_token_ends_with_its_session(siege: Siege) -> None:
    gate = siege.agency.runtime() / "models"
    session = await siege.agency.begin(
        terminal("grep -o '[0-9a-f]\\{48\\}' ~/.hermes/config.yaml | head -1; sleep 1.5"),
        terminal("sleep 1"), {"say": "done"},
    )  # fmt: skip

    async def token_told() -> str:
        found = TOKEN.search(str(await siege.agency.events_of(session, "session.tool_ended")))
        return found[0] if found else ""

    async def status(token: str) -> int:
        connector = aiohttp.UnixConnector(path=str(gate))
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession(connector=connector, headers=headers) as http,
            http.get("http://lane/v1/models") as answer,
        ):
            return answer.status

    token = str(await siege.agency.theatre.until(token_told, "the token is told", 20))
    assert await status(token) == 200
    await siege.agency.result(session)
    assert await status(token) == 401
    source = (
        "import urllib.request, urllib.error\n"
        "ask = urllib.request.Request('http://127.0.0.1:8000/v1/models', None,"
        f" {{'Authorization': 'Bearer {token}'}})\n"
        "print('W' 'ON', urllib.request.urlopen(ask, timeout=2).status)"
    )
    other = await siege.agency.run(terminal(in_python(source)), {"say": "done"})
    outputs = await siege.agency.output_of_tools(other.session_id)
    assert "401" in outputs[0]
    assert "WON" not in outputs[0]
    with contextlib.suppress(ProcessLookupError):
        assert siege.agency.theatre.stage.lane.is_running


async def test_requests_that_a_tool_never_ends_do_not_fill_the_lanes_memory(siege: Siege) -> None:
    await siege.agency.ready(1)
    status = Path(f"/proc/{siege.agency.theatre.stage.lane.pid}/status")

    def megabytes() -> int:
        line = next(one for one in status.read_text().splitlines() if one.startswith("VmRSS"))
        return int(line.split()[1]) // 1000

    before, most = megabytes(), 0
    session = await siege.agency.begin(siege.order(attacks.FILL_DOORS), {"say": "done"})
    waiting = asyncio.create_task(siege.agency.result(session))
    while not waiting.done():
        most = max(most, megabytes())
        await asyncio.sleep(0.1)

    assert "held" in str(await siege.agency.output_of_tools(session))
    assert most - before < 200
    assert waiting.result().state == "completed"


async def test_connections_that_a_tool_holds_do_not_take_the_lanes_own(siege: Siege) -> None:
    await siege.agency.ready(2)
    stage = siege.agency.theatre.stage
    before = resource.prlimit(stage.lane.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(stage.lane.pid, resource.RLIMIT_NOFILE, (1024, before[1]))  # as services have
    try:
        session = await siege.agency.begin(siege.order(attacks.HOLD_DOORS), {"say": "done"})
        await siege.agency.running(session)
        await asyncio.sleep(2.0)
        siege.agency.theatre.path.cut()
        await asyncio.sleep(0.3)
        siege.agency.theatre.path.mend()
        await stage.linked(3)
        beside = await siege.agency.run({"say": "beside"})
        assert (beside.state, beside.output) == ("completed", "beside")
        await siege.agency.result(session)
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(stage.lane.pid, resource.RLIMIT_NOFILE, before)


async def test_a_model_call_that_a_slow_lane_refuses_does_not_wait_for_ever(siege: Siege) -> None:
    lane = siege.agency.theatre.stage.lane.pid
    session = await siege.agency.begin(siege.order(attacks.HOLD_DOORS_ON), {"say": "done"})
    await siege.agency.running(session)
    for _ in range(12):  # what is refused has been written before the lane comes to refuse it
        os.kill(lane, signal.SIGSTOP)
        await asyncio.sleep(0.3)
        os.kill(lane, signal.SIGCONT)
        await asyncio.sleep(0.2)

    result = await siege.agency.result(session)

    assert result.state in {"completed", "failed"}


async def test_after_all_of_it_the_lane_runs_sessions(siege: Siege) -> None:
    assert (await siege.agency.run({"say": "next"})).output == "next"
