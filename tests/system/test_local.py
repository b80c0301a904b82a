"""When no lane is reachable, the lane beside the house serves sessions, on a real local model."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from allegro import HermesBridge
from allegro.core.base.errors import UserError
from allegro.scratch.processes import Process, free_port, override
from allegro.testing.agents import make_stand_in
from allegro.testing.models import ModelStub

from .fleet_fixture import QuickStage

ROOT = Path(__file__).parents[2]
HERMES, MODEL = ROOT / ".hermes", ROOT / ".local-model"
needs_model = pytest.mark.skipif(
    not (MODEL / ".ready").exists(), reason="not installed: scripts/setup.sh agent model"
)


class TwoLanes(QuickStage):
    """A house with a lane far away and one beside it; neither serves a forge."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.beside = Process("beside", folder)

    async def prepare_two(self, far_url: str, near_url: str) -> None:
        hermes = HERMES
        if not (HERMES / ".ready").exists():
            hermes = self.folder / "stand-in"
            make_stand_in(hermes)
        await self.command(
            "init", "house", "--config", str(self.house_config), "--state-dir",
            str(self.folder / "house"),
        )  # fmt: skip
        near = f"unix:{self.folder / 'near.sock'}"
        await self._lane("lane", far_url, "stub", f"127.0.0.1:{self.link_port}", hermes)
        await self._lane("beside", near_url, "small", near, hermes, "--local")

    async def _lane(
        self, name: str, url: str, model: str, listen: str, hermes: Path, *more: str
    ) -> None:
        config = self.folder / f"{name}.toml"
        await self.command(
            "init", "lane", "--config", str(config), "--name", name, "--state-dir",
            str(self.folder / name), "--sessions", "1", "--model", model, "--model-url", url,
            "--listen", listen, *more,
        )  # fmt: skip
        override(config, {"hermes.folder": str(hermes), "models.max_tokens": 48})
        offer = json.loads(await self.command("pair", "--config", str(config), "--json"))
        answer = json.loads(
            await self.command("pair", "--config", str(self.house_config), offer["line"], "--json")
        )
        await self.command("pair", "--config", str(config), answer["line"])

    async def start_two(self) -> None:
        await self.start_lane()
        beside = ["-m", "allegro", "lane", "--config", str(self.folder / "beside.toml")]
        await self.beside.start([sys.executable, *beside])
        await self.start_house()
        await self.linked()

    async def close(self) -> None:
        await super().close()
        await self.beside.end()


@contextlib.asynccontextmanager
async def served_model(folder: Path) -> AsyncIterator[str]:
    """Serve the real small model; give its base address."""
    file = next(MODEL.rglob("*.gguf"))
    port = free_port()
    process = Process("model", folder)
    script = Path(__file__).with_name("local_model.py")
    await process.start([str(MODEL / "bin" / "python"), str(script), str(file), str(port)])
    url = f"http://127.0.0.1:{port}"
    try:
        async with aiohttp.ClientSession() as session:

            async def is_up() -> bool:
                async with session.get(f"{url}/health") as response:
                    return response.status == 200

            for _ in range(600):
                if await _quiet(is_up):
                    break
                await asyncio.sleep(0.1)
            else:
                raise AssertionError(f"the local model did not come up: {process.tail()}")
        yield f"{url}/v1"
    finally:
        await process.end()


async def _quiet(check: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return bool(await check())
    except aiohttp.ClientError:
        return False


@needs_model
async def test_a_real_local_model_answers_when_the_far_lane_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    stub = ModelStub(("stub",))
    port = await stub.start()
    stage = TwoLanes(folder / "fleet")
    async with served_model(folder) as near_url:
        try:
            await stage.prepare_two(f"http://127.0.0.1:{port}/v1", near_url)
            await stage.start_two()
            async with HermesBridge(stage.socket) as bridge:
                far = await bridge.run_session("hello")
                await stage.lane.end(signal.SIGKILL)

                async def is_gone() -> bool:
                    lanes = (await stage.status())["lanes"]
                    return not next(one for one in lanes if one["name"] == "lane")["linked"]

                await stage.until(is_gone, "the far lane is missed", None, 15.0)
                near = await bridge.run_session("Say hello in one short sentence.")
                events = [
                    event
                    async for event in stage.client.events(subject=f"session:{near.session_id}")
                ]
        except UserError as error:
            raise AssertionError(f"{error}\n{stage.beside.tail()}") from error
        finally:
            await stage.close()
            await stub.stop()

    assert (far.state, far.local, far.output) == ("completed", False, "ok")
    assert near.state == "completed"
    assert near.local
    assert near.model == "small"
    assert near.output.strip()
    assert near.tokens > 0
    assert near.cost_usd == 0.0
    assert all(event["data"].get("local") for event in events)
    assert {event["type"] for event in events} >= {"session.delta", "model.result", "session.end"}
