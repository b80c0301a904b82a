"""Apprise sends in a child process, to a receiver on loopback; its address is never shown."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from importlib.util import find_spec
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from allegro.adapters.channels.apprise.channel import AppriseChannel, addresses
from allegro.core.channels import ChannelError, Message
from allegro.core.chat.texts import Foreign
from allegro.core.settings.channels import AppriseSettings

pytestmark = pytest.mark.skipif(find_spec("apprise") is None, reason="apprise is not installed")
HELLO = Message("Alert", ("The forge is silent: ", Foreign("org/x\x1b\u202e\n")))


class Receiver:
    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.status = 200
        self.address = ""

    async def take(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.json())
        return web.Response(status=self.status)

    def channel(self, address: str = "", timeout_s: float = 60.0) -> AppriseChannel:
        text = f"# copies\n\n{address or self.address}\n"
        settings = AppriseSettings(urls_file="urls", timeout_s=timeout_s)
        return AppriseChannel(settings, 1, lambda _: text, lambda: 7.0)


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made, app = Receiver(), web.Application()
    app.router.add_post("/{path:.*}", made.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.address = f"json://user:secret-word@127.0.0.1:{runner.addresses[0][1]}/x"
    yield made
    await runner.cleanup()


async def test_a_message_arrives_and_leaves_a_proof_without_an_id(receiver: Receiver) -> None:
    proof = await receiver.channel().send(HELLO)
    assert (proof.channel, proof.message, proof.at_s) == ("apprise-1", "", 7.0)
    (body,) = receiver.bodies
    assert body["title"] == "Alert"
    assert body["message"] == "The forge is silent: “org/x⟨U+001B⟩⟨U+202E⟩⟨U+000A⟩”"
    assert "apprise" not in sys.modules


async def test_a_refusal_may_pass_and_shows_no_address(receiver: Receiver) -> None:
    receiver.status = 500
    with pytest.raises(ChannelError) as caught:
        await receiver.channel().send(HELLO)
    assert not caught.value.permanent
    assert "secret-word" not in repr(caught.value)


@pytest.mark.parametrize("address", ["nothing://x", "x"])
async def test_an_address_of_no_known_service_is_for_a_person(
    receiver: Receiver, address: str
) -> None:
    with pytest.raises(ChannelError) as caught:
        await receiver.channel(address).send(HELLO)
    assert caught.value.permanent


async def test_a_child_that_takes_too_long_is_ended(receiver: Receiver) -> None:
    with pytest.raises(ChannelError) as caught:
        await receiver.channel(timeout_s=0.01).send(HELLO)
    assert (caught.value.kind, caught.value.permanent) == ("unreachable", False)


def test_blank_lines_and_remarks_are_no_addresses() -> None:
    assert addresses("\n# a\n json://x \n\n") == ["json://x"]
