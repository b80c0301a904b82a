"""The check at start on a real agent: it offers what its toolsets hold, asks, and takes a no."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from tests.duties.agents import LoopClock
from tests.duties.providers import LADDER, ScriptedProviders

from allegro.adapters.hermes.gateway import HermesGateway
from allegro.adapters.hermes.host import Doors, HermesHost, Installed
from allegro.adapters.sandbox.door import open_door
from allegro.core.base.errors import EdgeError
from allegro.core.models.ladder import Spend
from allegro.core.ports import GatewaySpec
from allegro.core.settings import ModelSettings
from allegro.lane.agent.check_at_start import CANARY_S, CheckFailed, check
from allegro.lane.models.proxy import ModelProxy

from .agent_backends import MODELS, Place

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("tools")]
TRIES = 3


class Checked:
    """A proxy that serves the check alone, and gateways that reach it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.proxy = ModelProxy(
            ModelSettings(rungs=LADDER), ScriptedProviders(), LoopClock(), self._record, Spend,
            lambda *_: None,
        )  # fmt: skip

    async def _record(self, *_: object) -> None:
        raise AssertionError("a check calls no provider")

    async def _door(self, path: Path) -> Callable[[], Awaitable[None]]:
        return await open_door(self.proxy.routes(), path, most=24, mode=0o666)

    async def check(self, *tools: str) -> None:
        """Check a gateway with these toolsets, which are those it promises."""
        (verdict,) = await self.verdicts(tools, tools)
        if verdict is not None:
            raise verdict

    async def verdicts(
        self, tools: tuple[str, ...], *promises: tuple[str, ...]
    ) -> list[CheckFailed | None]:
        """Start a gateway with these toolsets and check it against each promise, one after the
        other; return what each check found, None for nothing.

        Gateways are tried until one gives verdicts, as a lane does: the first run of a newer Hermes
        can fail on a busy machine, where two of its threads import the same module.
        """
        for left in range(TRIES - 1, -1, -1):
            try:
                return await self._verdicts(tools, promises)
            except EdgeError:
                if not left:
                    raise
        raise AssertionError("unreachable")

    async def _verdicts(
        self, tools: tuple[str, ...], promises: tuple[tuple[str, ...], ...]
    ) -> list[CheckFailed | None]:
        place = self.place
        host = HermesHost(
            place.settings,
            Installed(place.python, place.folder),
            Doors(self._door, None),
            place.sandbox,
            lambda: secrets.token_hex(32),
            max_tokens=4096,
        )
        spec = GatewaySpec(secrets.token_hex(8), tools, MODELS, network=False)
        gateway = await host.start(spec)
        try:
            return [
                await self._verdict(gateway, msgspec.structs.replace(spec, tools=promised))
                for promised in promises
            ]
        finally:
            await gateway.close("")

    async def _verdict(self, gateway: HermesGateway, shown: GatewaySpec) -> CheckFailed | None:
        name = f"canary-{secrets.token_hex(6)}"
        try:
            async with asyncio.timeout(CANARY_S):
                await check(self.proxy, shown, gateway, name, LoopClock().boot_s() + CANARY_S)
        except CheckFailed as error:
            return error
        return None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def with_terminal(place: Place) -> list[CheckFailed | None]:
    """What is found of one agent with a terminal: checked as promised, then against no tool."""
    tools = ("file", "terminal") if place.is_real else ("terminal",)
    return await Checked(place).verdicts(tools, tools, ())


async def test_an_agent_with_a_terminal_asks_and_takes_a_no(
    with_terminal: list[CheckFailed | None],
) -> None:
    assert with_terminal[0] is None


async def test_a_tool_beside_those_that_were_asked_for_is_seen(
    with_terminal: list[CheckFailed | None],
) -> None:
    assert re.search(r"offers .*\bterminal\b.* with every tool off", str(with_terminal[1]))


async def test_an_agent_without_tools_offers_none(place: Place) -> None:
    await Checked(place).check()


async def test_code_is_asked_about_or_the_toolset_is_to_blame(place: Place) -> None:
    if not place.is_real:
        pytest.skip("a stand-in runs no code")
    toolset = await blamed(Checked(place).check("code_execution", "terminal"))
    assert toolset == ("code_execution" if place.is_new else "")


async def blamed(checking: Awaitable[None]) -> str:
    """Return the toolset that a check finds to blame, empty where it finds nothing wrong."""
    try:
        await checking
    except CheckFailed as error:
        return error.tool or str(error)
    return ""
