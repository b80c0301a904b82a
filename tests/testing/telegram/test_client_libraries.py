"""The stand-in is Telegram enough for two client libraries that know nothing of us."""

from __future__ import annotations

import asyncio
import os
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

from allegro.testing.telegram.server import TelegramStandIn
from allegro.testing.telegram.world import TOKEN

HERE = Path(__file__).parent
LIBRARIES = {"use_python_telegram_bot": "python-telegram-bot", "use_telebot": "pyTelegramBotAPI"}


@pytest.mark.parametrize("script", LIBRARIES)
async def test_a_client_library_finds_what_it_expects(script: str) -> None:
    if not list(distributions(name=LIBRARIES[script])):
        pytest.skip(f"{LIBRARIES[script]} is not installed")
    async with TelegramStandIn() as server:
        world = server.world
        world.says(77, "/stop")
        message = world.says(77, "hello")
        assert message is not None
        world.presses(77, 77, message["message"]["message_id"], "y")
        environment = {
            name: value for name, value in os.environ.items() if "proxy" not in name.lower()
        }
        child = await asyncio.create_subprocess_exec(
            sys.executable, str(HERE / f"{script}.py"), server.url, TOKEN, "77",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=environment,
        )  # fmt: skip
        output, _ = await asyncio.wait_for(child.communicate(), 60)
        assert child.returncode == 0, output.decode()
        assert output.decode().strip() == "good"
