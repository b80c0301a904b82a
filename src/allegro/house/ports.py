"""What the duties of the house stand on: stores, clock, dice, lanes, and whom they tell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

import msgspec

from allegro.core.base.events import Event
from allegro.core.health.alert_state import Told
from allegro.core.health.alerts import RaiseAlert
from allegro.core.health.facts import Fact
from allegro.core.ports import Clock, Dice
from allegro.core.protocol.payloads.chat import ChatNoted
from allegro.core.protocol.queries import Params
from allegro.core.requests.decisions import NewDecision
from allegro.core.stores import Archive, Ledger
from allegro.runtime.consumer import OnSetAside, ReaderPorts, nothing_to_settle

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


async def _nobody(note: ChatNoted, lane: str) -> None:
    del note, lane


async def _of_nobody(question: NewDecision, lane: str, key: str) -> None:
    del question, lane, key


class StateFacts(Protocol):
    """Takes all that a producer knows now; see `Alerting.state`."""

    def __call__(self, facts: Iterable[Fact], producer: str) -> None: ...


def _stated_to_nobody(facts: Iterable[Fact], producer: str) -> None:
    del facts, producer


def _to_nobody(reported: Told) -> None:
    del reported


class Reactions(msgspec.Struct, frozen=True):
    """Whom a duty tells: a person, by an alarm; and who takes the items that it cannot handle.

    `state` takes facts that expire; `lane_called` what a lane told a person by itself; `pressed`
    what a person noted by a button of the chat, as the lane of this name says; `asked` a question
    that a lane puts to the owner, and the key of this asking. `settle` returns once what was
    raised is on disk: await it before what caused it is noted as read.
    """

    alarm: RaiseAlert
    on_set_aside: OnSetAside
    state: StateFacts = _stated_to_nobody
    lane_called: Callable[[Told], None] = _to_nobody
    pressed: Callable[[ChatNoted, str], Awaitable[None]] = _nobody
    settle: Callable[[], Awaitable[None]] = nothing_to_settle
    asked: Callable[[NewDecision, str, str], Awaitable[None]] = _of_nobody


def reading(ports: Ports, reactions: Reactions) -> ReaderPorts:
    """Return what a reader of the archive stands on."""
    return ReaderPorts(
        ports.archive, ports.ledger, ports.clock, reactions.on_set_aside, reactions.settle
    )
