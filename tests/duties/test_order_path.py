"""The way of an approval through the house: how often it is handed on, how often it is read."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from allegro.core.requests.lifecycle import Step
from allegro.core.requests.requests import Request
from allegro.core.requests.work import Work
from allegro.testing.virtual import VirtualClock

from .house import House

ORDERS = {"arbiter.py", "carrying.py", "giving.py"}
ROOMS = {*ORDERS, "choice.py", "pauses.py"}
MOST_IN_ORDERS = 9
MOST_IN_ALL = 12
"""With the lanes that can take it, and the pauses before it."""


class Trace:
    """The functions that were entered with one request as an argument, and how often it was read."""

    def __init__(self, house: House, id_: str) -> None:
        self._house = house
        self._id = id_
        self._frames: list[FrameType] = []
        self.stays: list[str] = []
        self.readings = 0

    def note(self, frame: FrameType, event: str, _: object) -> None:
        """Take note of a function's first call; a coroutine that goes on is no new one."""
        code = frame.f_code
        if event != "call" or self._house.lane.orders or frame in self._frames:
            return
        if code.co_name == "parse_action":
            self.readings += 1
        path = Path(code.co_filename)
        if path.parent.name != "orders" or path.name not in ROOMS:
            return
        arguments = [frame.f_locals[name] for name in code.co_varnames[: code.co_argcount]]
        if any(map(self._is_it, arguments)):
            self._frames.append(frame)
            self.stays.append(f"{path.name}:{code.co_name}")

    def _is_it(self, value: object) -> bool:
        if isinstance(value, Work):
            value = value.request
        return value == self._id or (isinstance(value, Request) and value.id == self._id)


@contextmanager
def traced(house: House, request: Request) -> Iterator[Trace]:
    trace = Trace(house, request.id)
    sys.setprofile(trace.note)
    try:
        yield trace
    finally:
        sys.setprofile(None)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path, VirtualClock())
    await made.start()
    yield made
    await made.ledger.close()


async def test_an_approval_stays_at_few_places_and_is_read_once_before_its_order_leaves(
    house: House,
) -> None:
    request = await house.propose(kind="close_issue", issue=3)
    with traced(house, request) as trace:
        await house.approve(request)
        await house.step()
    assert len(house.lane.orders) == 1
    by_room = Counter(stay.partition(":")[0] for stay in trace.stays)
    assert 0 < sum(by_room[room] for room in ORDERS) <= MOST_IN_ORDERS, trace.stays
    assert len(trace.stays) <= MOST_IN_ALL, trace.stays
    assert trace.readings == 1


async def test_what_needs_no_approval_is_read_only_when_it_is_asked_for(house: House) -> None:
    request = await house.comment()
    with traced(house, request) as trace:
        await house.step()
    assert len(house.lane.orders) == 1
    assert trace.readings == 0


async def test_an_action_is_forgotten_when_its_request_ends(house: House) -> None:
    request = await house.comment()
    await house.step()
    held = house.requests.work(house.now(request)).action
    assert house.requests.work(house.now(request)).action is held
    await house.requests.withdraw(request.id)
    await house.requests.take_step(house.now(request), Step.RECEIPT, "done")
    assert house.requests.work(house.now(request)).action is not held
