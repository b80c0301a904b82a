"""What the duties of the house stand on: stores, clock, dice, lanes, and whom they tell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from allegro.core.base.events import Event
from allegro.core.health.alerts import RaiseAlert
from allegro.core.ports import Clock, Dice
from allegro.core.protocol.payloads.chat import ChatNoted
from allegro.core.protocol.queries import Params
from allegro.core.stores import Archive, Ledger
from allegro.runtime.consumer import OnSetAside, ReaderPorts

Ask = Callable[[str, Params], Awaitable[Any]]
"""(query, parameters) -> the answer of a lane that is linked, in plain values. Raises EdgeError."""

AskLane = Callable[[str, str, Params], Awaitable[Any]]
"""(lane, query, parameters) -> the answer of this very lane, in plain values. Raises EdgeError."""


class Ports(msgspec.Struct, frozen=True):
    """The stores of one house. `open_words` opens what a lane sealed into an event, None for none."""

    archive: Archive
    ledger: Ledger
    clock: Clock
    dice: Dice
    open_words: Callable[[Event], Any]


async def _nobody(note: ChatNoted) -> None:
    del note


class Reactions(msgspec.Struct, frozen=True):
    """Whom a duty tells: a person, by an alarm; and who takes the items that it cannot handle.

    `pressed` takes what a person noted by a button of the chat, whatever it is about.
    """

    alarm: RaiseAlert
    on_set_aside: OnSetAside
    pressed: Callable[[ChatNoted], Awaitable[None]] = _nobody


def reading(ports: Ports, reactions: Reactions) -> ReaderPorts:
    """Return what a reader of the archive stands on."""
    return ReaderPorts(ports.archive, ports.ledger, ports.clock, reactions.on_set_aside)
