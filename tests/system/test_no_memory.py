"""Nothing of a session stays with the lane, and no secret is where it can be read (H5)."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web

from allegro.scratch.processes import free_port

from .agent_fixture import (
    PROVIDER_KEY,
    Agency,
    children,
    command_of,
    marker,
    needs_hermes,
    open_agency,
    pids,
    terminal,
    types,
)

pytestmark = [pytest.mark.slow, needs_hermes, pytest.mark.asyncio(loop_scope="module")]
TOKEN = re.compile(r"[0-9a-f]{48}")
ENDS = {
    "completed": "completed", "failed": "failed", "killed": "lost", "stopped": "stopped",
    "timed": "stopped",
}  # fmt: skip


class Words(msgspec.Struct, frozen=True):
    """The markers of one session: each stands in one kind of text."""

    prompt: str
    instructions: str
    history: str
    tool: str
    question: str
    answer: str


class Traces:
    """What five sessions left. `sessions` are their ids, `seen` what was read while they ran."""

    def __init__(self, agency: Agency) -> None:
        self.agency = agency
        self.sessions: dict[str, str] = {}
        self.words: dict[str, Words] = {}
        self.states: dict[str, str] = {}
        self.whys: dict[str, str] = {}
        self.runtime = Path()
        self.tokens: set[str] = set()
        self.commands = ""
        self.environments = b""

    def everywhere(self) -> list[str]:
        """Return all markers of all sessions."""
        return [word for words in self.words.values() for word in msgspec.structs.astuple(words)]

    async def play(self, kind: str) -> None:
        words = Words(*(marker(f"{kind}{name}") for name in Words.__struct_fields__))
        agency = self.agency
        model = "echo" if kind == "failed" else agency.new_model()
        slow = {"say": words.answer, "pieces": 400, "gap_ms": 50}
        last = {"say": words.answer} if kind == "completed" else slow
        await agency.ready()
        session = await agency.begin(
            {"say": words.answer, **terminal(f"echo {words.tool} | tee /tmp/x ~/x")},
            terminal(f"rm -rf /tmp/{words.question}"), last,
            tag=words.prompt, model=model, limit_s=4 if kind == "timed" else 60,
            instructions=words.instructions,
            history=[("user", words.history), ("assistant", words.history)],
        )  # fmt: skip
        if kind == "failed":
            await self.keep(kind, session, words)
            return
        await agency.reject(await agency.question(session))
        if last is slow:
            await agency.turn(words.prompt, 3)
            await asyncio.sleep(0.3)
            self.look_at_processes()
        if kind == "killed":
            agency.kill_gateways()
        if kind == "stopped":
            await agency.bridge.stop_session(session)
        await self.keep(kind, session, words)

    async def keep(self, kind: str, session: str, words: Words) -> None:
        result = await self.agency.result(session)
        self.sessions[kind], self.words[kind] = session, words
        self.states[kind], self.whys[kind] = result.state, result.why

    def look_at_processes(self) -> None:
        """Note the model token, every command line, and what ours have in their environment."""
        stage = self.agency.theatre.stage
        ours = [stage.lane.pid, stage.house.pid]
        for pid in ours:
            ours += children(pid)
        self.runtime = self.agency.runtime()
        for pid in ours:
            with contextlib.suppress(OSError):
                self.environments += Path(f"/proc/{pid}/environ").read_bytes()
            with contextlib.suppress(OSError):
                output = Path(f"/proc/{pid}/root/home/agent/.hermes/config.yaml").read_text()
                self.tokens |= set(TOKEN.findall(output))
        self.commands += "\n".join(command_of(pid) for pid in pids())

    def files(self) -> list[Path]:
        """Return all that the lane, its journal and its gateways could have written."""
        stage = self.agency.theatre.stage
        roots = [stage.folder / "lane", self.runtime, Path("/dev/shm"), Path("/run/allegro")]
        roots += list(Path("/tmp").glob("allegro*"))
        found = [one for root in roots for one in _files(root)]
        return [*found, stage.lane.log, stage.house.log]


def _files(root: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return [one for one in root.rglob("*") if one.is_file()]
    return []


def holding(files: Iterable[Path], words: Iterable[str]) -> list[str]:
    """Return which of the files hold which of the words."""
    found, wanted = [], [word.encode() for word in words]
    for file in files:
        with contextlib.suppress(OSError):
            content = file.read_bytes()
            found += [f"{file}: {word.decode()}" for word in wanted if word in content]
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def traces(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Traces]:
    """A fleet after five sessions that ended in five ways, and all is at the house."""
    folder, port = tmp_path_factory.mktemp("memory"), free_port()
    provider = web.AppRunner(_tactless())
    await provider.setup()
    await web.TCPSite(provider, "127.0.0.1", port).start()
    echo = {"echo": f"http://127.0.0.1:{port}/v1"}
    try:
        async with open_agency(folder, lane={"hermes.gateways": 2}, base_urls=echo) as agency:
            left = Traces(agency)
            failing = asyncio.create_task(left.play("failed"))
            for kind in ("completed", "stopped", "timed"):
                await left.play(kind)
            await failing
            await left.play("killed")
            await agency.theatre.home()
            yield left
    finally:
        await provider.cleanup()


def _tactless() -> web.Application:
    """Return a provider that refuses every call, and says back what it was told."""

    async def refuse(request: web.Request) -> web.Response:
        message = f"{request.headers['Authorization']} is no key. {await request.text()}"
        return web.json_response({"error": {"message": message}}, status=401)

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", refuse)
    return app


async def test_each_session_ended_in_its_way_and_was_seen(traces: Traces) -> None:
    assert traces.states == ENDS
    for session in traces.sessions.values():
        assert types(await traces.agency.events_of(session), "session.end") == ["session.end"]


async def test_no_word_of_a_session_is_left_with_the_lane(traces: Traces) -> None:
    files = traces.files()

    assert any(file.name == "journal.db" for file in files)
    assert holding(files, traces.everywhere()) == []


@pytest.mark.parametrize("kind", ENDS)
async def test_the_house_has_the_words_sealed_on_disk_and_opens_them(
    traces: Traces, kind: str
) -> None:
    words, house = traces.words[kind], traces.agency.theatre.house_files.folder
    events = str(await traces.agency.events_of(traces.sessions[kind]))

    if kind != "failed":
        assert words.tool in events
        assert words.question in events
        assert words.answer in events
    assert holding(house.glob("archive.db*"), traces.everywhere()) == []


async def test_no_key_or_token_is_kept_or_shown(traces: Traces) -> None:
    stage = traces.agency.theatre.stage
    secrets = [PROVIDER_KEY, *traces.tokens]
    assert len(traces.tokens) >= 3
    house = [one for one in stage.folder.joinpath("house").rglob("*") if one.is_file()]

    assert holding([*traces.files(), *house], secrets) == []
    events = str([one async for one in stage.client.events()])
    for secret in secrets:
        assert secret not in traces.commands
        assert secret not in events
        assert secret.encode() not in traces.environments
        assert secret not in str(traces.whys)
    assert "bwrap" in traces.commands
    assert b"API_SERVER_KEY" not in traces.environments


async def test_a_session_fails_without_a_word_of_the_provider(traces: Traces) -> None:
    assert "dead_key" in traces.whys["failed"]
    assert "is no key" not in traces.whys["failed"]
    assert holding([traces.agency.theatre.stage.lane.log], ["is no key"]) == []


async def test_a_lane_that_was_stopped_leaves_nothing_in_memory_file_systems(
    traces: Traces,
) -> None:
    assert traces.runtime.is_dir()

    await traces.agency.theatre.stage.lane.end()

    assert not traces.runtime.exists()
    assert holding(traces.files(), traces.everywhere()) == []
    await traces.agency.theatre.until(lambda: not traces.agency.processes(), "no sandbox runs", 5)


async def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    tmp_path.joinpath("x").write_bytes(b"\0before-the word-after")

    assert holding(_files(tmp_path), ["the word", "another"]) == [f"{tmp_path}/x: the word"]
