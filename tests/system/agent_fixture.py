"""A fleet whose lane runs a real Hermes in its sandbox, with a model that plays what it is told."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from allegro import HermesBridge
from allegro.client.errors import StillOpen
from allegro.client.hermes_bridge import HermesResult
from allegro.scratch.processes import free_port
from allegro.testing.models import ModelStub, play
from tests.patience import patient

from .fleet_fixture import Theatre, open_theatre

HERMES = Path(__file__).parents[2] / ".hermes"
needs_hermes = pytest.mark.skipif(
    not (HERMES / ".ready").exists(), reason="not installed: scripts/setup.sh agent"
)
NEWER = HERMES.with_name(".hermes-newer")
needs_newer = pytest.mark.skipif(
    not (NEWER / ".ready").exists(), reason="not installed: scripts/setup.sh agent model"
)
PROVIDER_KEY = "provider-key-7c1f0e5a93d24b68"
MODELS = 24
MODEL = "main"
_numbers = itertools.count(1)


class Agency:
    """A theatre with an agent in it. Use `open_agency`."""

    def __init__(self, theatre: Theatre, stub: ModelStub, port: int, user_id: int) -> None:
        self.theatre = theatre
        self.stub = stub
        self.port = port
        self.user_id = user_id
        self.bridge = HermesBridge(theatre.stage.socket, wait_s=patient(60.0))
        self._models = iter(range(1, MODELS))

    def new_model(self) -> str:
        """Return a model that no session used yet: what cools down for one does not for it."""
        return f"m{next(self._models)}"

    async def ready(self, gateways: int = 1, within_s: float = 30.0) -> None:
        """Wait until so many gateways wait for a session."""

        async def are_ready() -> bool:
            return int((await self.lane_sessions())["ready"]) >= gateways

        await self.theatre.until(are_ready, f"{gateways} gateways are ready", within_s)

    async def lane_sessions(self) -> dict[str, Any]:
        """Return what the lane tells about its sessions."""
        (lane,) = (await self.theatre.stage.status())["lanes"]
        return dict((lane["detail"] or {}).get("sessions") or {"ready": 0, "running": []})

    # --- sessions --------------------------------------------------------------------------

    async def begin(self, *steps: dict[str, Any], tag: str = "", **asked: Any) -> str:
        """Ask for a session whose model does these turns; return its id."""
        return await self.bridge.begin_session(play(*steps, tag=tag), **asked)

    async def run(self, *steps: dict[str, Any], tag: str = "", **asked: Any) -> HermesResult:
        return await self.result(await self.begin(*steps, tag=tag, **asked))

    async def result(self, session: str, within_s: float = 60.0) -> HermesResult:
        try:
            return await self.bridge.result(session, wait_s=patient(within_s))
        except StillOpen as error:
            raise AssertionError(f"{error}: {await self.place_of(session)}") from error

    async def place_of(self, session: str) -> str:
        """Return where a session without an end stands, as house, lane and its gateways show it."""
        stage = self.theatre.stage
        known = await stage.client.get(f"sessions/{session}")
        events = types(await self.events_of(session))
        processes = "\n".join(sorted(self.processes()))
        return (
            f"the house has {known}\nlast events: {events[-12:]}\nthe lane: {await self.lane_sessions()}"
            f"\nprocesses of the sandboxes:\n{processes}\nlane's log:\n{stage.lane.tail(60)}"
        )

    async def running(self, session: str) -> None:
        """Wait until the house knows that a session runs."""

        async def runs() -> bool:
            session_now = await self.theatre.stage.client.get(f"sessions/{session}")
            return bool(session_now.get("run") or session_now.get("end"))

        await self.theatre.until(runs, f"session {session} runs", 30)

    async def ended(self, session: str, within_s: float = 30.0) -> None:
        """Wait until the house has the end of a session, whatever its request came to."""

        async def has_end() -> bool:
            return bool((await self.theatre.stage.client.get(f"sessions/{session}")).get("end"))

        await self.theatre.until(has_end, f"session {session} has ended", within_s)

    async def turn(self, tag: str, turns: int = 1) -> None:
        """Wait until the model was called so often in the session whose prompt has this tag."""
        await self.theatre.until(lambda: len(self.calls(tag)) >= turns, f"{tag} has a turn", 30)

    async def question(self, session: str, number: int = 1) -> dict[str, Any]:
        """Wait for a question of a session; return its request."""
        key = f"question {session} "

        async def asked() -> dict[str, Any] | None:
            response = await self.theatre.stage.client.get("requests")
            for request in response["requests"]:
                if request["kind"] != "answer_once" or request["state"] != "proposed":
                    continue
                full = await self.theatre.request(request["id"])
                action = json.loads(base64.b64decode(full["action"]))
                if action["session"] == session and action["number"] == number:
                    return full
            return None

        return dict(await self.theatre.until(asked, f"{key}{number}", 30))

    async def reject(self, request: dict[str, Any]) -> None:
        await self.theatre.stage.client.post(f"requests/{request['id']}/reject", {"reason": "no"})

    async def events_of(self, session: str, prefix: str = "") -> list[dict[str, Any]]:
        """Return the archived events of a session, words opened, in order."""
        events = self.theatre.stage.client.events(subject=f"session:{session}", prefix=prefix)
        return [event async for event in events]

    async def output_of_tools(self, session: str) -> list[str]:
        """Return what each tool call of a session gave back, in order."""
        ended = await self.events_of(session, "session.tool_ended")
        return [str((event["words"] or {}).get("result")) for event in ended]

    def calls(self, tag: str) -> list[dict[str, Any]]:
        """Return the calls that the model got for a prompt with this tag."""
        return [one for one in self.stub.requests if tag in str(one.get("messages"))]

    def beginnings(self, tag: str) -> int:
        """Return how often the model saw the first turn of a prompt with this tag."""
        return sum(
            not any(message.get("role") == "assistant" for message in one["messages"])
            for one in self.calls(tag)
        )

    # --- processes ---------------------------------------------------------------------------

    def gateways(self) -> list[int]:
        """Return the process ids of the sandboxes that the lane runs."""
        lane = self.theatre.stage.lane.pid
        return [
            pid for pid in children(lane) if command_of(pid).partition(" ")[0].endswith("bwrap")
        ]

    def runtime(self) -> Path:
        """Return the lane's folder of sockets, as the sandboxes' commands name it."""
        for pid in self.gateways():
            for word in command_of(pid).split():
                if word.endswith("/models") and word.startswith("/") and "/doors" not in word:
                    return Path(word).parent.parent
        raise AssertionError("no sandbox runs")

    def kill_gateways(self) -> int:
        """Kill the sandboxes of the lane; return how many there were."""
        found = self.gateways()
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(found)

    def processes(self) -> list[str]:
        """Return the commands of all processes of the sandboxes' users, one for each gateway."""
        return [command_of(pid) for pid in pids() if 0 <= user_of(pid) - self.user_id < 8]


def pids() -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            yield int(entry.name)


def user_of(pid: int) -> int:
    """Return the user of a process, -1 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return -1
    return next((int(line.split()[1]) for line in lines if line.startswith("Uid:")), -1)


def command_of(pid: int) -> str:
    """Return the command line of a process, empty when it is gone."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return raw.replace(b"\0", b" ").decode("utf-8", "replace").strip()


def children(parent: int) -> list[int]:
    found = []
    for pid in pids():
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent:
                found.append(pid)
    return found


@contextlib.asynccontextmanager
async def open_agency(
    folder: Path, *, lane: dict[str, Any] | None = None,
    house: dict[str, Any] | None = None, base_urls: dict[str, str] | None = None,
) -> AsyncIterator[Agency]:  # fmt: skip
    """Yield a running fleet with one gateway and a terminal, unless `lane` says otherwise.

    `base_urls` names providers of the test's own, by model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stub = ModelStub(key=PROVIDER_KEY)
    port = await stub.start()
    key_file = folder / "provider.key"
    key_file.touch(mode=0o600)
    key_file.write_text(PROVIDER_KEY + "\n")
    rung = {
        "base_url": f"http://127.0.0.1:{port}/v1", "upstream": "stub", "key_file": str(key_file),
    }  # fmt: skip
    names = [MODEL, *(f"m{n}" for n in range(1, MODELS))]
    user_id = 100_000 + free_port()
    agent = {
        "hermes.gateways": 1, "hermes.folder": str(HERMES), "hermes.tools": ["terminal"],
        "hermes.user_id": user_id, "models.stall_s": 2.0,
        "models.rungs": [
            *({**rung, "model": name, "provider": f"stub-{name}"} for name in names),
            *({**rung, "model": name, "provider": name, "base_url": url}
              for name, url in (base_urls or {}).items()),
        ],
    }  # fmt: skip
    try:
        async with open_theatre(
            folder / "play",
            lane={**agent, **(lane or {})},
            house={"orders.ttl_s": 18, **(house or {})},
        ) as theatre:
            agency = Agency(theatre, stub, port, user_id)
            try:
                yield agency
            finally:
                await agency.bridge.close()
    finally:
        await stub.stop()


def terminal(command: str) -> dict[str, Any]:
    """Return a turn in which the model orders this command."""
    return {"tool": "terminal", "arguments": {"command": command}}


def marker(kind: str) -> str:
    """Return a word that stands nowhere else."""
    return f"mark{kind}{os.getpid()}x{next(_numbers)}x{os.urandom(6).hex()}"


def joined_text(events: list[dict[str, Any]]) -> str:
    """Return what the agent said, put together from its pieces."""
    return "".join(
        event["words"]["text"] for event in events if event["type"] == "session.delta"
    ).strip()


def types(events: list[dict[str, Any]], *wanted: str) -> list[str]:
    return [event["type"] for event in events if not wanted or event["type"] in wanted]
