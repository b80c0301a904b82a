"""`python -m allegro.testing.gitea`: the simulator as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

from .seed import Tokens, plant
from .server import GiteaSimulator, Listen
from .world import World


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m allegro.testing.gitea", description=__doc__)
    parser.add_argument(
        "--directory", type=Path, required=True, help="repositories and saved state"
    )
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument(
        "--controller", default="", help="address that may use /_sim/ besides loopback"
    )
    parser.add_argument("--flavour", choices=["gitea", "forgejo"], default="gitea")
    parser.add_argument("--version")
    parser.add_argument("--seed-file", type=Path, help="world.json; unused when state was saved")
    return parser.parse_args()


def _kept_tokens(world: World) -> Tokens:
    tokens: Tokens = {}
    for token in world.tokens.values():
        tokens.setdefault(world.user(token.user_id).login, {})[token.name] = token.value
    return tokens


async def _serve(arguments: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    simulator = GiteaSimulator(
        arguments.directory,
        flavour=arguments.flavour,
        version=arguments.version,
        listen=Listen(arguments.host, arguments.port, arguments.controller),
    )
    if arguments.seed_file is not None and not simulator.world.users:
        plant(simulator.world, json.loads(arguments.seed_file.read_text()))
    url = await simulator.start()
    sys.stdout.write(json.dumps({"url": url, "tokens": _kept_tokens(simulator.world)}) + "\n")
    sys.stdout.flush()
    await stopped.wait()
    await simulator.stop()
    simulator.world.save()


if __name__ == "__main__":
    asyncio.run(_serve(_arguments()))
