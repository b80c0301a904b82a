"""The arbiter: one order at a time, none before silence is over, nothing lost on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from allegro.core.errors import EdgeError, Refusal
from allegro.core.freeze import Freeze, FreezeSet
from allegro.core.lifecycle import State, Step
from allegro.core.requests import Request
from allegro.core.settings import OrderSettings
from allegro.testing.virtual import VirtualClock

from .house import LANE, PRINT, House, claims_of, until

WAIT_S = OrderSettings().ttl_s + OrderSettings().settle_s
BACKOFF_S = 15.0
FROZEN = FreezeSet((Freeze("f1", 1.0, "a person", "stop"),))


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path, VirtualClock())
    await made.start()
    yield made
    await made.ledger.close()


async def told(house: House, request: Request, what: Step, detail: str = "") -> None:
    """Let the lane's word about a request arrive, as `Follow` brings it."""
    assert not isinstance(await house.requests.take_step(request, what, detail), Refusal)


def state_of(house: House, request: Request) -> State:
    return house.now(request).state


async def test_an_order_names_lane_challenge_digest_and_seat(house: House) -> None:
    request = await house.comment()
    await house.step()
    (given,) = house.lane.orders
    order = claims_of(given)
    assert (order.lane, order.challenge, order.seat) == (PRINT, "c1", 1)
    assert (order.digest, order.ttl_s) == (request.digest, OrderSettings().ttl_s)
    assert given.action == request.action
    assert given.change_token is None
    assert house.now(request).lane == LANE


async def test_no_second_order_before_silence_has_lasted(house: House) -> None:
    request = await house.comment()
    await house.live(WAIT_S - 0.1)
    assert len(house.lane.orders) == 1
    assert state_of(house, request) is State.ORDERED

    await house.live(0.2)
    assert Step.SILENCE in [line.what for line in house.now(request).history]
    await house.live(2)
    first, second = map(claims_of, house.lane.orders)
    assert second.number > first.number
    assert state_of(house, request) is State.ORDERED


async def test_after_a_restart_the_silence_is_counted_anew(house: House) -> None:
    request = await house.comment()
    await house.live(WAIT_S - 1)
    await house.restart()

    await house.live(WAIT_S - 1)
    assert len(house.lane.orders) == 1
    await house.live(3)
    assert len(house.lane.orders) == 2
    numbers = [claims_of(given).number for given in house.lane.orders]
    assert numbers == sorted(set(numbers))
    assert state_of(house, request) is State.ORDERED


async def test_an_intent_is_waited_for_as_long_as_an_order(house: House) -> None:
    request = await house.comment()
    await house.step()
    await told(house, request, Step.INTENT)
    await house.live(WAIT_S - 0.1)
    assert state_of(house, request) is State.SENT
    await house.live(5)
    assert len(house.lane.orders) == 2


async def test_a_void_order_is_given_again_but_not_at_once(house: House) -> None:
    request = await house.comment()
    await house.step()
    await told(house, request, Step.VOID, "the lane was full")
    await house.step()
    assert len(house.lane.orders) == 1
    assert "the lane was full" in house.orders.blocked
    await house.live(BACKOFF_S)
    assert len(house.lane.orders) == 2


async def test_each_refusal_makes_the_next_wait_longer_up_to_its_cap(house: House) -> None:
    await house.comment()
    house.lane.answers.extend(["frozen"] * 1000)
    await house.live(60)
    early = len(house.lane.orders)
    await house.live(120)
    assert early < 15
    assert 120 / BACKOFF_S <= len(house.lane.orders) - early <= 2 * 120 / BACKOFF_S + 1


async def test_an_order_lost_on_the_way_counts_as_out(house: House) -> None:
    request = await house.comment()
    house.lane.answers.append(EdgeError("the link broke", transient=True))
    await house.live(WAIT_S - 1)
    assert len(house.lane.orders) == 1
    assert state_of(house, request) is State.ORDERED
    await house.live(20)
    assert len(house.lane.orders) == 2


async def test_what_ran_out_before_any_order_expires_unseen_by_the_lane(house: House) -> None:
    house.is_linked = True
    request = await house.approved_close(lasts_s=60)
    house.is_linked = False
    await house.live(61)
    assert state_of(house, request) is State.EXPIRED
    assert house.lane.looks == 0
    assert house.lane.orders == []


@pytest.mark.parametrize("finding", ["Present", "Absent", "Conflict"])
async def test_what_ran_out_after_an_order_is_looked_at_before_it_ends(
    house: House, finding: str
) -> None:
    request = await house.approved_close(lasts_s=WAIT_S // 2)
    await house.step()
    house.lane.world["look"] = {"finding": finding, "number": 3, "content": "", "reason": "odd"}
    await house.live(WAIT_S + 5)

    assert len(house.lane.orders) == 1
    assert house.lane.looks == 1
    ends = {"Present": State.DONE, "Absent": State.EXPIRED, "Conflict": State.CONFLICT}
    assert state_of(house, request) is ends[finding]
    receipts = await house.ledger.receipts_for(request.target)
    assert [r.kind for r in receipts] == (["close"] if finding == "Present" else [])


async def test_nothing_expires_unlooked_while_no_lane_can_look(house: House) -> None:
    request = await house.approved_close(lasts_s=WAIT_S // 2)
    await house.step()
    house.is_linked = False
    await house.live(2 * WAIT_S)
    assert state_of(house, request) is State.UNKNOWN
    house.is_linked = True
    await house.live(BACKOFF_S)
    assert state_of(house, request) is State.EXPIRED
    assert house.lane.looks == 1


async def test_a_request_that_nobody_answers_expires(house: House) -> None:
    request = await house.propose(kind="close_issue", issue=3, expires_in_s=100.0)
    await house.live(99)
    assert state_of(house, request) is State.PROPOSED
    await house.live(31)
    assert state_of(house, request) is State.EXPIRED


async def test_frozen_nothing_is_ordered_but_unknown_ones_are_looked_at(house: House) -> None:
    out = await house.comment("out")
    await house.step()
    house.frozen = FROZEN
    waits = await house.comment("waits")
    house.lane.world["look"] = {"finding": "Present", "number": 44, "content": "k"}
    await house.live(WAIT_S + 5)

    assert len(house.lane.orders) == 1
    assert state_of(house, out) is State.DONE
    assert state_of(house, waits) is State.APPROVED
    assert house.orders.blocked == "frozen"
    house.frozen = FreezeSet()
    await house.live(2)
    assert len(house.lane.orders) == 2


async def test_unknown_and_absent_while_frozen_stays_unknown(house: House) -> None:
    request = await house.comment()
    await house.step()
    house.frozen = FROZEN
    await house.live(3 * WAIT_S)
    assert state_of(house, request) is State.UNKNOWN
    assert len(house.lane.orders) == 1
    assert house.lane.looks >= 2


async def test_of_two_status_updates_of_one_issue_the_newer_wins(house: House) -> None:
    older, newer = await house.status("ready"), await house.status("done")
    other = await house.status("blocked", issue=4)
    await house.live(5)
    assert state_of(house, older) is State.WITHDRAWN
    assert {claims_of(given).digest for given in house.lane.orders} == {newer.digest, other.digest}


async def test_a_newer_status_waits_while_an_older_one_is_out(house: House) -> None:
    older = await house.status("ready")
    await house.step()
    newer = await house.status("done")
    await house.live(WAIT_S - 1)
    assert [claims_of(given).digest for given in house.lane.orders] == [older.digest]

    await house.live(5)  # silence: nothing more can come of the older one
    assert state_of(house, older) is State.EXPIRED
    assert claims_of(house.lane.orders[-1]).digest == newer.digest


async def test_the_newer_status_also_wins_when_the_older_comes_back_void(house: House) -> None:
    older = await house.status("ready")
    await house.step()
    newer = await house.status("done")
    await told(house, older, Step.VOID)
    await house.live(BACKOFF_S)
    assert state_of(house, older) is State.WITHDRAWN
    digests = [claims_of(given).digest for given in house.lane.orders]
    assert digests == [older.digest, newer.digest]


async def test_of_two_mirrors_of_one_request_only_the_newest_wording_is_ordered(
    house: House,
) -> None:
    first = await house.mirror("r1", "proposed")
    await house.step()
    second, third = await house.mirror("r1", "failed"), await house.mirror("r1", "done")
    elsewhere = await house.mirror("r2", "proposed")
    await house.live(5)
    assert [claims_of(given).digest for given in house.lane.orders] == [
        first.digest,
        elsewhere.digest,
    ]
    await told(house, first, Step.RECEIPT)
    await house.live(5)
    assert state_of(house, second) is State.WITHDRAWN
    assert claims_of(house.lane.orders[-1]).digest == third.digest


async def test_two_comments_on_one_issue_are_both_ordered(house: House) -> None:
    await house.comment("one")
    await house.comment("two")
    await house.step()
    assert len(house.lane.orders) == 2


@pytest.mark.parametrize("reason", ["wrong_seat", "wrong_key"])
async def test_an_approval_of_an_earlier_seat_or_key_is_asked_for_again(
    house: House, reason: str
) -> None:
    request = await house.approved_close()
    house.lane.answers.append(reason)
    await house.live(60)

    assert state_of(house, request) is State.PROPOSED
    assert house.now(request).approval is None
    assert len(house.lane.orders) == 1
    await house.approve(house.now(request))
    await house.live(60)
    assert len(house.lane.orders) >= 2


async def test_what_a_lane_will_never_do_fails_after_a_look(house: House) -> None:
    request = await house.approved_close()
    house.lane.answers.append("repository_refused")
    await house.live(60)
    assert state_of(house, request) is State.FAILED
    assert house.lane.looks == 1
    assert len(house.lane.orders) == 1


async def test_no_more_orders_are_being_given_at_once_than_set(house: House) -> None:
    house.lane.held = asyncio.Event()
    for n in range(10):
        await house.comment(f"comment {n}")
    most = OrderSettings().parallel
    for _ in range(3):
        await house.orders.step()
        await until(lambda: len(house.lane.orders) >= most)
    assert house.orders.carrying == most
    assert len(house.lane.orders) == most

    house.lane.held.set()
    await until(lambda: house.orders.carrying == 0)
    house.lane.held = None
    for _ in range(3):
        await house.step()
    assert len({claims_of(given).digest for given in house.lane.orders}) == 10
    assert len(house.lane.orders) == 10


async def test_a_disk_that_refuses_blocks_and_loses_nothing(house: House) -> None:
    fresh = await house.comment("fresh")
    dying = await house.propose(kind="close_issue", issue=3, expires_in_s=10.0)
    house.ledger.worn = True
    await house.live(60)
    assert house.lane.orders == []
    assert "disk" in house.orders.blocked
    assert state_of(house, fresh) is State.APPROVED
    assert state_of(house, dying) is State.PROPOSED

    house.ledger.worn = False
    await house.live(2 * BACKOFF_S)
    assert len(house.lane.orders) == 1
    assert state_of(house, dying) is State.EXPIRED
    assert house.orders.blocked == ""


async def test_what_was_decided_is_on_disk_when_the_house_comes_back(house: House) -> None:
    request = await house.approved_close()
    await house.step()
    before = house.now(request)
    await house.restart()
    assert house.now(request) == before


async def test_without_a_lane_nothing_is_ordered_and_the_first_link_gets_it(house: House) -> None:
    request = await house.comment()
    house.is_linked = False
    await house.live(300)
    assert state_of(house, request) is State.APPROVED
    assert house.orders.blocked == "no lane is linked"
    house.is_linked = True
    await house.live(1)
    assert len(house.lane.orders) == 1
