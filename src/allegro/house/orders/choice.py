"""Which linked lanes can take an order, and who settles what may not be ordered again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from allegro.core.requests.lifecycle import State
from allegro.core.requests.requests import Request
from allegro.core.requests.work import Work
from allegro.house.orders.giving import LinkedLane


class Lanes(Protocol):
    """The lanes that are linked now, in the order of preference."""

    def linked(self) -> list[LinkedLane]: ...
    def serving_forge(self) -> list[LinkedLane]: ...
    def serving_sessions(self, busy: Callable[[str], int]) -> list[LinkedLane]: ...


class Follower(Protocol):
    """Who follows the acts of a family whose orders are not repeated."""

    def busy(self, lane: str) -> int:
        """Return how many of a lane's places are taken, as far as the house knows."""
        ...

    async def settle(self, request: Request) -> None:
        """Settle a request in doubt, or leave it as it is. Raises EdgeError."""
        ...


class Choice:
    """`followers` are named by the family whose acts they follow."""

    def __init__(self, lanes: Lanes, followers: Mapping[str, Follower]) -> None:
        self._lanes = lanes
        self._followers = followers

    def able(self, work: Work, filling: Callable[[], int]) -> list[LinkedLane]:
        """Return the linked lanes that can take this order, best first.

        `filling` counts the other orders that take a place somewhere and are being given now.
        """
        need = work.family.need(work.action)
        if need.lane:
            return [one for one in self._lanes.linked() if one[0] == need.lane]
        if need.role == "forge":
            return self._lanes.serving_forge()
        if not need.role or work.request.state is State.UNKNOWN:
            return self._lanes.linked()
        if not need.fills:
            return self._lanes.serving_sessions(lambda _: 0)
        busy, others = self._followers[work.family.name].busy, filling()
        return self._lanes.serving_sessions(lambda lane: busy(lane) + others)

    async def settle(self, work: Work) -> None:
        """Let who follows this act settle its request. Raises EdgeError."""
        await self._followers[work.family.name].settle(work.request)
