"""The house asks lanes that answer."""

from __future__ import annotations

from typing import Any, cast

import pytest

from allegro.core.base.errors import EdgeError
from allegro.core.protocol.messages import Serves
from allegro.core.protocol.queries import Params
from allegro.house.endpoint import House as Shared
from allegro.house.endpoint import LaneEndpoint
from allegro.house.lanes import MUTE_S, Lanes
from allegro.link.dial import LaneLink
from allegro.testing.virtual import VirtualClock
from tests.duties.test_house_sessions import _House, _Known


class _Link:
    """A lane's link that counts what it is asked, and answers or raises."""

    is_up = True

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.asked = 0

    async def ask(self, method: str, params: Params) -> Any:
        self.asked += 1
        if isinstance(self.answer, EdgeError):
            raise self.answer
        return self.answer


class _TimedHouse(_House):
    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()


def _lanes(house: _TimedHouse, **links: _Link) -> Lanes:
    made = Lanes(cast(Shared, house))
    for name, link in links.items():
        end = LaneEndpoint(cast(Shared, None), cast(Any, _Known(name)))
        end.serves = Serves(True, 0, local=False)
        made._ends[name] = (end, cast(LaneLink, link), cast(Any, None))
    return made


async def test_a_lane_that_claims_the_role_and_never_answers_holds_up_no_question() -> None:
    house, thief, honest = (
        _TimedHouse(),
        _Link(EdgeError("no answer", transient=True)),
        _Link(["a"]),
    )
    made = _lanes(house, thief=thief, honest=honest)
    made._ends["thief"][0].roles = {"forge": 2**53}
    for _ in range(5):
        assert await made.ask("sessions", {}) == ["a"]
    assert (thief.asked, honest.asked) == (1, 5)
    house.clock.advance(MUTE_S + 1)
    thief.answer = ["b"]
    assert await made.ask("sessions", {}) == ["b"]


async def test_a_clear_no_of_the_lane_that_is_asked_first_counts() -> None:
    first, other = _Link(EdgeError("no such file", transient=False)), _Link(["a"])
    with pytest.raises(EdgeError, match="no such file"):
        await _lanes(_TimedHouse(), first=first, other=other).ask("sessions", {})
    assert other.asked == 0


async def test_where_no_lane_answers_the_question_may_be_asked_again() -> None:
    silent = _Link(EdgeError("no answer", transient=True))
    with pytest.raises(EdgeError) as raised:
        await _lanes(_TimedHouse(), silent=silent).ask("sessions", {})
    assert raised.value.transient
    with pytest.raises(EdgeError, match="no lane is linked"):
        await _lanes(_TimedHouse()).ask("sessions", {})
