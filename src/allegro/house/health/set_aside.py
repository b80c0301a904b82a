"""What becomes of an item that was set aside: told, and its lane suspended where it claimed much."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from allegro.core.authority.freeze import Freeze
from allegro.core.base.events import Event
from allegro.core.base.untrusted import number_of
from allegro.core.effects.render import one_line
from allegro.core.health import codes
from allegro.core.health.alerts import RaiseAlert
from allegro.core.requests.lifecycle import State
from allegro.core.requests.ordering import was_ordered
from allegro.core.stores import HOUSE, SetAside
from allegro.house.archive.content import event_of
from allegro.house.archive.suspended import CLAIMS, Suspended
from allegro.house.ports import Ports
from allegro.house.requests.requests import Requests

_OUT = frozenset({State.ORDERED, State.SENT, State.UNKNOWN})


class Measures(msgspec.Struct, frozen=True):
    """What is done about an item that was set aside.

    `alarm` shows it to a person, `freeze` stops the fleet.
    """

    alarm: RaiseAlert
    freeze: Callable[[Freeze], Awaitable[object]]


class Asides:
    """Takes each item that a supervised loop sets aside."""

    def __init__(
        self, ports: Ports, requests: Requests, suspended: Suspended, measures: Measures
    ) -> None:
        self._ledger = ports.ledger
        self._requests = requests
        self._suspended = suspended
        self._clock = ports.clock
        self._dice = ports.dice
        self._freeze = measures.freeze
        self._alarm = measures.alarm

    async def take(self, aside: SetAside, stored: bytes) -> None:
        """Tell of it. What claims a receipt or a freeze suspends work with the lane that sent it.

        The fleet freezes only where it concerns an order that is really out at that lane. Raises
        EdgeError of the ledger.
        """
        event = event_of(stored)
        what = f"{event.type} of lane {aside.lane}" if event else f"item {aside.item}"
        reason = one_line(aside.reason)
        self._alarm(codes.SET_ASIDE, one_line(what), aside.lane, duty=aside.duty, reason=reason)
        if event is None or not event.type.startswith(CLAIMS) or aside.lane in {"", HOUSE}:
            return
        why = f"its {event.type} could not be read: {aside.reason}"
        if await self._suspended.suspend(aside.lane, one_line(why)):
            self._alarm(codes.LANE_SUSPENDED, aside.lane, aside.lane, reason=one_line(why))
        if self._is_out(event, aside.lane):
            reason = f"lane {aside.lane} spoke of an order that is out, and {why}"
            id_ = self._dice.token(8).hex()
            await self._freeze(Freeze(id_, self._clock.now_s(), "house", one_line(reason)))

    def _is_out(self, event: Event, lane: str) -> bool:
        request = self._requests.of_digest(event.data.get("digest"))
        if request is None or request.state not in _OUT:
            return False
        return was_ordered(request, number_of(event.data.get("order")), lane)
