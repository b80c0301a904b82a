"""What the fleet answers to a command, and how a waiting request is shown.

A chat belongs to a company that can read it, so by default it gets references, kinds, urgencies and
ages. Titles and names go there only where the owner has configured it (`content`).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from allegro.core.chat.stopping import Kept, Made, Muted, Over, Stop
from allegro.core.chat.texts import Foreign, Part

MOST_SHOWN = 10

COMMANDS = {
    "status": "how the fleet is",
    "requests": "what waits for you",
    "stop": "freeze everything, at once; only your key at home lifts it",
    "help": "this list",
}
"""What can be said, and what it does: for `/help` and for the chat's menu."""


class Waiting(msgspec.Struct, frozen=True):
    """A request that waits for its owner. `title` and `target` are words from outside."""

    reference: str
    kind: str
    urgency: str
    age_s: float
    title: str = ""
    target: str = ""


class LaneState(msgspec.Struct, frozen=True):
    """How one lane is, as seen `age_s` ago."""

    name: str
    state: Literal["ok", "warn", "bad", "unknown"]
    age_s: float


class Standing(msgspec.Struct, frozen=True):
    """What `/status` shows, as the lane `lane` knows it.

    `frozen` counts freezes that stand, `waiting` requests, `firing` alerts; None where that is not
    known. `house_s` is for how long the house has been silent: 0 while it is linked, None where it
    was not heard since this lane began. `roles` are those that this lane holds.
    """

    frozen: int | None
    waiting: int | None
    firing: int | None
    lanes: tuple[LaneState, ...] = ()
    lane: str = ""
    house_s: float | None = None
    roles: tuple[str, ...] = ()


def help_answer() -> tuple[Part, ...]:
    """Return the list of commands."""
    return ("\n".join(f"/{name} - {does}" for name, does in COMMANDS.items()),)


def status_answer(standing: Standing) -> tuple[Part, ...]:
    """Return how the fleet is. What is not known is said to be unknown, never zero."""
    if standing.frozen is None:
        first = "Whether it is frozen is unknown: taken as frozen."
    elif standing.frozen:
        first = f"FROZEN by {_count(standing.frozen, 'freeze')}. Nothing is written."
    else:
        first = "Not frozen."
    parts: list[Part] = [
        f"{first}\nWaiting for you: {_known(standing.waiting)}\nAlerts: {_known(standing.firing)}",
        f"\nHouse: {_house(standing.house_s)}",
    ]
    if standing.lane:
        roles = ", ".join(standing.roles) or "none"
        parts += ["\nThis lane: ", Foreign(standing.lane, 32), f", roles: {roles}"]
    for lane in standing.lanes[:MOST_SHOWN]:
        parts += ["\n", Foreign(lane.name, 32), f" {lane.state}, seen {age(lane.age_s)} ago"]
    return (*parts, _more(len(standing.lanes)))


def _house(silent_s: float | None) -> str:
    if silent_s is None:
        return "not heard since this lane began"
    return f"silent for {age(silent_s)}" if silent_s else "linked"


def requests_answer(
    waiting: tuple[Waiting, ...] | None, *, content: bool, count: int = 0, as_of_s: float = 0.0
) -> tuple[Part, ...]:
    """Return what waits, oldest first, at most ten of them and the count of the rest.

    None is what no house has said yet. `count` is how many wait in all, where not all are given;
    `as_of_s` is for how long the house has been silent.
    """
    if waiting is None:
        return ("Unknown: the house has not said yet what waits.",)
    known = f" (as of {age(as_of_s)} ago; the house is silent)" if as_of_s else ""
    if not waiting:
        return (f"Nothing waits for you{known}.",)
    count = max(count, len(waiting))
    parts: list[Part] = [f"{_count(count, 'request')} waiting, oldest first{known}:"]
    for one in sorted(waiting, key=lambda one: -one.age_s)[:MOST_SHOWN]:
        parts += ["\n", *request_line(one, content=content)]
    return (*parts, _more(count))


def request_line(one: Waiting, *, content: bool) -> tuple[Part, ...]:
    """Return one request in one line: reference, kind, urgency, age; and its words if allowed."""
    line: tuple[Part, ...] = (
        Foreign(one.reference, 64), f" {one.kind}, {one.urgency}, {age(one.age_s)} old",
    )  # fmt: skip
    if not content:
        return line
    words = [word for word in (one.target, one.title) if word]
    return (*line, *(part for word in words for part in (" ", Foreign(word))))


def stop_answer(stop: Stop) -> tuple[Part, ...]:
    """Return what became of a `/stop`."""
    match stop:
        case Made(freeze):
            return ("Frozen. Nothing is written until you thaw at home: ", Foreign(freeze.id, 64))
        case Kept(freeze_id):
            return ("Frozen already, by you: ", Foreign(freeze_id, 64))
        case Over(freeze_id):
            return ("That stop was lifted at home. Send /stop again to freeze: ",
                    Foreign(freeze_id, 64))  # fmt: skip
        case Muted():
            return ("Your stops are switched off since the last thaw. Nothing was frozen.",)


def unknown_answer() -> tuple[Part, ...]:
    """Return the answer to a command that does not exist."""
    return ("No such command.\n", *help_answer())


def age(seconds: float) -> str:
    """Return an age in its largest whole unit; `unknown` for what is no length of time."""
    if not 0 <= seconds < 1e9:
        return "unknown"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def _known(number: int | None) -> str:
    return "unknown" if number is None else str(number)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _more(number: int) -> str:
    return f"\nand {number - MOST_SHOWN} more" if number > MOST_SHOWN else ""
