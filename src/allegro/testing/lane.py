"""Runs the real lane and makes it die, or fail, at a named point between duty and adapter.

    python -m allegro.testing.lane --config lane.toml --die after:intent

The points stand on the ports, so the product has no hook. Each is `before:`, `after:` or `sent:`
with one of:

- `order`: before the challenge of an order is made; after the order was taken
- `look`: the first look of an effect
- `intent`, `receipt`: the append of that event
- `branch`, `commit`, `pull`, `comment`, `edit`, `label`, `close`: that write; `sent:` is while
  it is on the wire, `--on-wire-ms` after it began
- `ack`: the acknowledgement of the house that covers a receipt
- `receive`, `confirm`, `reply`, `answer`: that call on the chat; `freeze`: the append of one

The first session of the lane can meet trouble with its agent gateway: `--lose-answer` and
`--steal` are told in `allegro.testing.gateways`.

`--clock FILE` adds the number in that file to the lane's wall clock, read anew each time.

SIGUSR1 appends `--flood` events at once.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import structlog

from allegro.config import load_lane
from allegro.core.base.events import Event
from allegro.core.base.timestamps import rfc3339
from allegro.core.channels import Chat
from allegro.core.ports import Clock, Dice, ForgeReader, ForgeWriter, Journal
from allegro.core.protocol.event_types import EventType
from allegro.lane.app import run
from allegro.lane.context.ports import Ports
from allegro.testing.gateways import STEALS, Trouble

STEPS = ("branch", "commit", "pull", "comment", "edit", "label", "close")
CHAT = ("receive", "confirm", "reply", "answer")
POINTS = (
    *(
        f"{when}:{what}"
        for what in ("order", "look", "intent", "receipt", "ack", *STEPS, "freeze", *CHAT)
        for when in ("before", "after")
    ),
    *(f"sent:{step}" for step in STEPS),
)
LOOKS = frozenset({"pulls_between", "comments", "issue"})
CHUNK = 500


class Points:
    """Counts passages and strikes at the `nth` of the one that was asked for."""

    def __init__(self, point: str, nth: int, strike: Callable[[], None]) -> None:
        self.point = point
        self._left = nth
        self._strike = strike

    def passing(self, when: str, what: str) -> None:
        if f"{when}:{what}" != self.point:
            return
        self._left -= 1
        if self._left == 0:
            self._strike()


class Watched:
    """Stands before a port. `name(method, arguments)` says which point a call is, if any."""

    def __init__(
        self, port: Any, points: Points, name: Callable[[str, tuple[Any, ...]], str], wire_s: float
    ) -> None:
        self._port = port
        self._points = points
        self._name = name
        self._wire_s = wire_s

    def __getattr__(self, method: str) -> Any:
        found = getattr(self._port, method)
        if inspect.iscoroutinefunction(found):
            return self._awaited(method, found)
        return self._called(method, found) if callable(found) else found

    def _called(self, method: str, found: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            what = self._name(method, arguments)
            self._points.passing("before", what)
            result = found(*arguments, **named)
            self._points.passing("after", what)
            return result

        return call

    def _awaited(self, method: str, found: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*arguments: Any, **named: Any) -> Any:
            what = self._name(method, arguments)
            if not what:
                return await found(*arguments, **named)
            self._points.passing("before", what)
            if self._points.point != f"sent:{what}":
                result = await found(*arguments, **named)
                self._points.passing("after", what)
                return result
            under_way = asyncio.ensure_future(found(*arguments, **named))
            await asyncio.sleep(self._wire_s)
            self._points.passing("sent", what)
            return await under_way

        return call


class Names:
    """Knows which call on which port is which point."""

    def __init__(self) -> None:
        self._receipts = 0

    def journal(self, method: str, arguments: tuple[Any, ...]) -> str:
        if method == "acknowledge":
            return "ack" if self._receipts else ""
        if method != "append":
            return ""
        for event in arguments[0]:
            if event.type == EventType.ACTION_RECEIPT:
                self._receipts += 1
                return "receipt"
            if event.type == EventType.ACTION_INTENT and event.data.get("order"):
                return "intent"
            if event.type == EventType.FREEZE_ADDED:
                return "freeze"
        return ""

    def chat(self, method: str, arguments: tuple[Any, ...]) -> str:
        del arguments
        return method if method in CHAT else ""

    def reader(self, method: str, arguments: tuple[Any, ...]) -> str:
        del arguments
        return "look" if method in LOOKS and _inside("Executor.carry_out") else ""

    def writer(self, method: str, arguments: tuple[Any, ...]) -> str:
        return str(arguments[1].value) if method == "perform" and len(arguments) > 1 else ""

    def dice(self, method: str, arguments: tuple[Any, ...]) -> str:
        asked = method == "token" and arguments == (32,) and _inside("Connection._answer")
        return "order" if asked else ""


class Taken:
    """Tells that an order was taken: the effect's first question to the forge."""

    def __init__(self, port: Any, points: Points) -> None:
        self._port = port
        self._points = points

    def __getattr__(self, method: str) -> Any:
        if method == "repository_by_id" and _inside("Executor.carry_out"):
            self._points.passing("after", "order")
        return getattr(self._port, method)


class Stepped:
    """A clock whose wall time is off by what a file says; nothing else is touched."""

    def __init__(self, clock: Clock, file: Path) -> None:
        self._clock = clock
        self._file = file

    def now_s(self) -> float:
        off = self._file.read_text("utf-8") if self._file.exists() else "0"
        return self._clock.now_s() + float(off or 0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clock, name)


def _inside(coroutine: str) -> bool:
    """Say whether the task that runs now is within this coroutine function."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_qualname == coroutine:
            return True
        frame = frame.f_back
    return False


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _bug() -> None:
    raise ZeroDivisionError("a bug, on purpose")


def wrap(arguments: argparse.Namespace) -> Callable[[Ports], Ports]:
    """Return what puts the points between duties and adapters."""
    strike = _bug if arguments.bug else _die
    point = arguments.bug or arguments.die or ""
    points, names = Points(point, arguments.nth, strike), Names()
    wire_s = arguments.on_wire_ms / 1000
    lost_s = None if arguments.lose_answer is None else arguments.lose_answer / 1000
    trouble = Trouble(lose_after_s=lost_s, steal=arguments.steal, events=arguments.steal_events)

    def wrapped(ports: Ports) -> Ports:
        ports = msgspec.structs.replace(ports, agents=trouble.host)
        if arguments.clock is not None:
            stepped = cast(Clock, Stepped(ports.clock, arguments.clock))
            ports = msgspec.structs.replace(ports, clock=stepped)
        if arguments.flood:
            _flood_on_signal(ports, arguments.flood, arguments.flood_type)
        if not point:
            return ports
        reader = Watched(Taken(ports.reader, points), points, names.reader, wire_s)
        dice = Watched(ports.dice, points, names.dice, wire_s)
        if point == "after:order":  # the challenge is made long before the order is taken
            dice = Watched(ports.dice, points, lambda method, _: "", wire_s)
        return msgspec.structs.replace(
            ports,
            dice=cast(Dice, dice),
            journal=cast(Journal, Watched(ports.journal, points, names.journal, wire_s)),
            reader=cast(ForgeReader, reader),
            writer=cast(ForgeWriter, Watched(ports.writer, points, names.writer, wire_s)),
            chats=lambda chat: cast(Chat, Watched(chat, points, names.chat, wire_s)),
        )

    return wrapped


def _flood_on_signal(ports: Ports, count: int, type_: str) -> None:
    running: set[asyncio.Task[None]] = set()

    def start() -> None:
        task = asyncio.create_task(_flood(ports.journal, ports.clock, count, type_))
        running.add(task)
        task.add_done_callback(running.discard)

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, start)


async def _flood(journal: Journal, clock: Clock, count: int, type_: str) -> None:
    """Append so many numbered events; a full journal ends it."""
    for first in range(0, count, CHUNK):
        at = rfc3339(clock.now_s())
        numbers = range(first, min(count, first + CHUNK))
        await journal.append(
            [Event(f"flood-{n}", type_, "lane:flood", at, data={"n": n}) for n in numbers]
        )


def _arguments(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m allegro.testing.lane",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, required=True, help="lane.toml")
    parser.add_argument("--die", choices=POINTS, help="SIGKILL at this point")
    parser.add_argument("--bug", choices=POINTS, help="raise a bug at this point")
    parser.add_argument("--nth", type=int, default=1, help="the how manieth passage")
    parser.add_argument("--on-wire-ms", type=float, default=20.0, help="for sent: points")
    parser.add_argument(
        "--lose-answer",
        type=float,
        metavar="MS",
        help="lose what Hermes answers to a begin, so long after it",
    )
    parser.add_argument("--steal", choices=STEALS, default="", help="let another read the stream")
    parser.add_argument("--steal-events", type=int, default=1, help="how many events it takes")
    parser.add_argument("--flood", type=int, default=0, help="events to append on SIGUSR1")
    parser.add_argument("--flood-type", default="test.flood", help="their type")
    parser.add_argument("--clock", type=Path, help="file with seconds to add to the wall clock")
    parser.add_argument("--leave-safe-mode", action="store_true")
    return parser.parse_args(given)


def main(given: list[str]) -> int:
    arguments = _arguments(given)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    settings = load_lane(arguments.config)
    leave = arguments.leave_safe_mode
    return asyncio.run(run(settings, leave_safe_mode=leave, wrap=wrap(arguments)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
