"""Where the contract runs: a stand-in on either wire, or the real Hermes Agent.

Only this module knows which it is. A place has a model provider of its own and starts gateways as
the lane does, in the sandbox where there is one; where there is none, without tools.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import aiohttp
import msgspec
from tests.patience import patient

from allegro.adapters.hermes.existing import ExistingHermes
from allegro.adapters.hermes.gateway import HermesGateway
from allegro.adapters.hermes.home import Template, home_files
from allegro.adapters.hermes.host import Doors, HermesHost, Installed
from allegro.adapters.hermes.wire import HermesWire
from allegro.adapters.sandbox.boundary import find_sandbox
from allegro.core.agent.sessions import AgentEvent, Ended, TextDelta
from allegro.core.authority.actions.agent import Turn
from allegro.core.base.errors import EdgeError
from allegro.core.ports import AgentGateway, GatewaySpec, Run
from allegro.core.settings import HermesSettings
from allegro.testing.agents import make_stand_in
from allegro.testing.models import ModelStub, play

STAND_INS = ("0.19", "new")
MODELS = ("stub", "other")
TOKEN = "one-session"
RUN_S = 30.0
WARM_RUNS = 5
NO_REAL_AGENT = "no real Hermes Agent: make test installs it, or set ALLEGRO_HERMES_PYTHON"
T = TypeVar("T")
OnEvent = Callable[[str, AgentEvent], Awaitable[None]]


REAL = {"real": ".hermes", "newer": ".hermes-newer"}
UNGUARDED = {"HERMES_STATE_DB_GUARD_BYPASS": "1"}
"""A newer Hermes whose parent runs under pytest takes its own store for a developer's live one."""


def real_python(kind: str = "real") -> Path | None:
    """Return the interpreter of a real Hermes, None where it is not installed."""
    own = Path(__file__).parents[3] / REAL[kind]
    if (own / ".ready").exists():
        return own / "bin" / "python"
    named = os.environ.get("ALLEGRO_HERMES_PYTHON") if kind == "real" else None
    return Path(named) if named else None


class Place:
    """One Hermes with its model provider."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.folder = folder
        self.is_real, self.is_new = kind in REAL, kind in {"new", "newer"}
        real = real_python(kind) if self.is_real else None
        self.python = real or make_stand_in(folder / "hermes", wire=kind)
        self.sandbox = find_sandbox("auto")
        self.settings = HermesSettings(gateways=2, question_timeout_s=60, start_s=30.0)
        self.model = ModelStub(MODELS, TOKEN)
        self.model_port = 0

    async def open(self) -> None:
        self.model_port = await self.model.start()

    async def close(self) -> None:
        await self.model.stop()

    async def _door(self, path: Path) -> Callable[[], Awaitable[None]]:
        await self.model.start_unix(path)

        async def close() -> None:
            """The stub is ended with the place."""

        return close

    async def start(self) -> HermesGateway:
        """Start a gateway of its own; with the terminal where a sandbox holds it."""
        doors = Doors(models=self._door, connect=None)
        host = HermesHost(
            self.settings,
            Installed(self.python, self.folder),
            doors,
            self.sandbox,
            lambda: secrets.token_hex(32),
            max_tokens=4096,
        )
        tools = ("terminal",) if self.sandbox.holds else ()
        gateway = await host.start(GatewaySpec(TOKEN, tools, MODELS, network=False))
        if self.is_real:
            await warm(gateway)
        return gateway

    @contextlib.asynccontextmanager
    async def existing(self, home: Path) -> AsyncIterator[tuple[ExistingHermes, HermesWire]]:
        """Run a Hermes that is not ours: no sandbox, no tools, an address and a key."""
        template = Template(TOKEN, (), MODELS, 60, 128_000, 4096, self.model_port)
        for file in home_files(template):
            path = home / ".hermes" / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # without a sandbox a newer one puts its socket there
            path.write_bytes(file.content)
        port, key = (
            free_port(),
            hashlib.sha256(str(home).encode()).hexdigest(),
        )  # runs are a key's own
        begin = (
            "import sys; sys.argv = ['hermes', 'gateway', 'run']; from hermes_cli.main import main"
        )
        process = await asyncio.create_subprocess_exec(
            str(self.python), "-I", "-c", f"{begin}; sys.exit(main())",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "HOME": str(home), "HERMES_HOME": f"{home}/.hermes",
                 "API_SERVER_ENABLED": "true", "API_SERVER_KEY": key,
                 "API_SERVER_HOST": "127.0.0.1", "API_SERVER_PORT": str(port), **UNGUARDED},
        )  # fmt: skip
        url = f"http://127.0.0.1:{port}"
        wire = HermesWire(url, key)
        try:
            for _ in range(int(patient(300))):
                if await wire.is_up():
                    break
                await asyncio.sleep(0.1)
            hermes = ExistingHermes(msgspec.structs.replace(self.settings, url=url), lambda: key)
            if self.is_real:
                first = await hermes.start(GatewaySpec("", (), (), network=False))
                await warm(first)
                await first.close("")
            yield hermes, wire
        finally:
            await wire.close()
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def asked(self, text: str) -> list[dict[str, object]]:
        """Return the model calls whose messages hold this text."""
        return [one for one in self.model.requests if text in str(one["messages"])]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def new_run(prompt: str, model: str = "stub", history: tuple[Turn, ...] = ()) -> Run:
    return Run(secrets.token_hex(8), prompt, "", history, model)


async def warm(gateway: AgentGateway) -> None:
    """Carry out runs until one says something, as the lane's check does before a gateway serves.

    A real Hermes answers while it still imports its agent in another thread; a first run that comes
    then fails, on a busy machine often.
    """
    why = ""
    for _ in range(WARM_RUNS):
        events = await carry_out(gateway, new_run(play({"say": "warm"})))
        if all_of(events, TextDelta):
            return
        why = end_of(events).error
    raise AssertionError(f"it never got warm: {why}")


async def carry_out(
    gateway: AgentGateway, run: Run, on_event: OnEvent | None = None
) -> list[AgentEvent]:
    """Begin a run and return all it tells; `on_event` gets each event with the run's id."""
    return await follow(gateway, await gateway.begin(run), on_event)


async def follow(
    gateway: AgentGateway, run: str, on_event: OnEvent | None = None
) -> list[AgentEvent]:
    events = []
    async with asyncio.timeout(patient(RUN_S)):
        async for event in gateway.events(run):
            events.append(event)
            if on_event is not None:
                await on_event(run, event)
    return events


def end_of(events: list[AgentEvent]) -> Ended:
    """Return the end; there is one, and nothing after it."""
    ends = [event for event in events if isinstance(event, Ended)]
    assert len(ends) == 1
    assert events[-1] is ends[0]
    return ends[0]


def all_of(events: list[AgentEvent], kind: type[T]) -> list[T]:
    return [event for event in events if isinstance(event, kind)]


async def steal_stream(gateway: HermesGateway, run: str) -> None:
    """Read a run's stream up to its first event as another reader would, and go away."""
    connector = aiohttp.UnixConnector(path=str(gateway._folder / "api.sock"))
    assert gateway.wire is not None
    headers = gateway.wire._session.headers
    async with (
        aiohttp.ClientSession(connector=connector, headers=headers) as session,
        session.get(f"http://hermes/v1/runs/{run}/events") as response,
    ):
        await response.content.readline()


def beside(gateway: HermesGateway, run: str) -> asyncio.Task[list[AgentEvent]]:
    """Read a run's stream to its end over a connection of its own."""

    async def read() -> list[AgentEvent]:
        assert gateway.wire is not None
        return [event async for event in gateway.wire.events(run)]

    return asyncio.create_task(read())


async def refused(call: Awaitable[object]) -> EdgeError:
    """Return the refusal that a call must end with."""
    try:
        await call
    except EdgeError as error:
        return error
    raise AssertionError("it was not refused")


async def lives(*, group: int = 0, words: str = "") -> bool:
    """Say whether a process of this group, or with these words, is there and no zombie."""
    listed = await asyncio.create_subprocess_exec(
        "ps", "-eo", "stat=,pgid=,args=", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await listed.communicate()
    rows = [line.split(maxsplit=2) for line in output.decode().splitlines()]
    return any(
        not state.startswith("Z") and (pgid == str(group) if group else words in args)
        for state, pgid, args in rows
    )


async def is_gone(*, group: int = 0, words: str = "") -> bool:
    """Say whether it is gone within two seconds."""
    for _ in range(40):
        if not await lives(group=group, words=words):
            return True
        await asyncio.sleep(0.05)
    return False
