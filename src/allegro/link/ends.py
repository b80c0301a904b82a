"""What the link asks of the two programs it joins: the lane's end and the house's."""

from __future__ import annotations

import asyncio
from typing import Protocol

from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.ports import Journal
from allegro.core.protocol.messages import (
    Ack,
    Batch,
    FromHouse,
    FromLane,
    Greet,
    Hello,
    HouseBeat,
    LaneBeat,
    LogIn,
    Refused,
    Welcome,
)


class LaneEnd(Protocol):
    """What a lane answers. `grew` is set whenever the journal got longer."""

    journal: Journal
    grew: asyncio.Event

    def greet(self, hello: Hello) -> tuple[Greet | Refused, str]: ...
    async def log_in(self, message: LogIn, challenge: str) -> Welcome | Refused: ...
    async def answer(self, message: FromHouse) -> FromLane | None: ...
    async def heard(self, beat: HouseBeat) -> None: ...
    def beat(self) -> LaneBeat: ...


class HouseEnd(Protocol):
    """What the house says to one lane and does with what it hears."""

    name: str
    url: str
    pin: bytes | None

    def hello(self) -> Hello: ...
    async def log_in(self, greeting: Greet, hello: Hello) -> LogIn | Refusal: ...
    async def welcomed(self, welcome: Welcome) -> None: ...
    async def take(self, batches: list[Batch]) -> Ack | Refusal: ...
    async def hear(self, message: FromLane) -> None: ...
    def beat(self) -> HouseBeat: ...


class LinkRefused(EdgeError):
    """One side will not talk to the other."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}", transient=False, kind=reason)
