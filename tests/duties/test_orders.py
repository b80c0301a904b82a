"""The arbiter: one order at a time, none before silence is over, nothing lost on the way."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from allegro.core.authority.freeze import Freeze, FreezeSet
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.requests.lifecycle import MOST_DOUBTS, State, Step
from allegro.core.requests.requests import Request
from allegro.core.settings import OrderSettings
from allegro.house.orders.giving import SILENT
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


# --- a lane settles only what it was ordered to do --------------------------------------------

THERE = {"finding": "Present", "number": 44, "url": "http://forge.example.org/x", "commit": ""}
HINTED_S = 600.0


async def refused_for_good(house: House, *, word: dict[str, object]) -> Request:
    """Let the lane refuse an order for good; whoever looks then says `word`."""
    request = await house.comment()
    house.lane.answers.extend(["repository_refused"] * 1000)
    for lane in house.lanes.values():
        lane.world["look"] = word
    return request


async def test_what_a_lane_without_an_order_sees_is_no_more_than_a_hint(house: House) -> None:
    request = await house.comment()
    await house.step()
    thief = house.link_first("thief")
    house.lane.world["look"] = EdgeError("the forge is away", transient=True)
    thief.world["look"] = THERE
    house.frozen = FROZEN
    await house.live(3 * WAIT_S)
    assert thief.looks > 0
    assert state_of(house, request) is State.UNKNOWN

    house.polls[44] = frozenset({LANE})
    await house.live(200)
    assert state_of(house, request) is State.DONE
    done = house.now(request)
    assert (done.artifact, done.branch) == (44, "")
    assert done.url == "http://forge.example.org/home/garden/issues/3#issuecomment-44"


async def test_a_poll_of_the_lane_that_hints_is_the_same_word_twice(house: House) -> None:
    request = await house.comment()
    await house.step()
    thief = house.link_first("thief")
    house.lane.world["look"] = EdgeError("the forge is away", transient=True)
    thief.world["look"] = THERE
    house.polls[44] = frozenset({"thief"})
    house.frozen = FROZEN
    await house.live(3 * WAIT_S)
    assert state_of(house, request) is State.UNKNOWN


async def test_a_lane_that_refused_and_then_says_it_is_there_is_not_believed(
    house: House,
) -> None:
    request = await refused_for_good(house, word=THERE)
    await house.live(HINTED_S / 2)
    assert state_of(house, request) is State.APPROVED
    await house.live(HINTED_S)
    ended = house.now(request)
    assert ended.state is State.FAILED
    assert "not believed" in ended.detail
    assert "look at the forge" in ended.detail


async def test_a_poll_makes_it_true_after_a_refusal(house: House) -> None:
    request = await refused_for_good(house, word=THERE)
    house.polls[44] = frozenset({LANE})
    await house.live(60)
    assert state_of(house, request) is State.DONE
    ((_, artifact, content),) = set(house.compared)
    assert (artifact, len(content)) == (44, 40)


async def test_the_lane_with_the_order_is_asked_before_one_with_a_higher_epoch(
    house: House,
) -> None:
    request = await house.approved_close(lasts_s=WAIT_S // 2)
    await house.step()
    thief = house.link_first("thief")
    thief.world["look"] = {"finding": "Conflict", "reason": "believe me"}
    house.lane.world["look"] = {**THERE, "number": 3}
    await house.live(WAIT_S + 5)
    assert state_of(house, request) is State.DONE
    assert thief.looks == 0


@pytest.mark.parametrize(
    "found",
    [
        None, [], "Present", {}, {"finding": "Present"}, {"finding": "Present", "number": True},
        {"finding": "Present", "number": -5}, {"finding": "Present", "number": 2**63},
        {"finding": "Present", "number": 44, "url": "u" * 2_000_000}, {"finding": "Gone"},
    ],
)  # fmt: skip
async def test_an_answer_that_cannot_be_read_ends_in_the_time_that_is_set(
    house: House, found: object
) -> None:
    request = await house.approved_close(lasts_s=WAIT_S // 2)
    await house.step()
    house.lane.world["look"] = found
    await house.live(WAIT_S + 5)
    assert state_of(house, request) is State.UNKNOWN
    await house.live(HINTED_S + 200)
    ended = house.now(request)
    assert ended.state is State.EXPIRED
    assert "look at the forge" in ended.detail
    assert (ended.artifact, ended.url) == (0, "")


async def test_a_lane_that_gives_no_challenge_keeps_no_order_from_the_others(
    house: House,
) -> None:
    first = house.link_first("thief")
    first.mute = True
    requests = [await house.comment(f"comment {number}") for number in range(5)]
    await house.live(20)
    assert all(state_of(house, request) is State.ORDERED for request in requests)
    assert len(house.lane.orders) == 5

    first.mute = False
    await house.live(61)
    last = await house.comment("later")
    await house.live(1)
    assert house.now(last).lane == "thief"


async def test_a_lane_that_takes_orders_and_says_nothing_more_keeps_them_from_nobody(
    house: House,
) -> None:
    """Whatever role it claims: what it was given goes to another, and so does what comes next."""
    house.link_first("thief")
    taken = await house.comment("first")
    await house.live(1)
    assert house.now(taken).lane == "thief"
    await house.live(WAIT_S + 5)
    assert house.now(taken).lane == LANE
    later = await house.comment("later")
    await house.live(1)
    assert house.now(later).lane == LANE


async def test_a_lane_that_is_silent_again_and_again_waits_longer_each_time(house: House) -> None:
    house.link_first("thief")
    given = []
    for number in range(8):
        request = await house.comment(f"comment {number}")
        await house.live(1)
        given.append(house.now(request).lane)
        if given[-1] == "thief":
            await house.live(WAIT_S + 1)  # then it goes to the other lane, which does it
        await told(house, request, Step.RECEIPT)
        await house.live(SILENT.first_s)
    assert given == ["thief", "thief", LANE, "thief", LANE, LANE, LANE, "thief"]


# --- orders in doubt --------------------------------------------------------------------------


async def in_doubt(house: House, seconds: float) -> Request:
    """Order a comment whose every write the forge answers with 500, for so long."""
    request = await house.comment()
    until_s = house.clock.boot_s() + seconds
    while house.clock.boot_s() < until_s and not house.now(request).is_final:
        given = len(house.lane.orders)
        await house.step()
        if len(house.lane.orders) > given:
            await told(house, request, Step.INTENT, "about to write: comment")
            words = "500: the database says no"
            await house.requests.note(house.now(request), "no clear answer", words)
        house.clock.advance(5.0)
    return house.now(request)


async def test_an_order_in_doubt_grows_its_pauses_and_ends_saying_what_to_do(
    house: House,
) -> None:
    request = await in_doubt(house, 86_400)
    assert request.state is State.FAILED
    assert len(house.lane.orders) == MOST_DOUBTS
    assert house.lane.looks >= 1
    assert "500: the database says no" in request.detail
    assert "ask again" in request.detail
    at = [line.at_s for line in request.history if line.what == Step.ORDER]
    pauses = [after - before for before, after in itertools.pairwise(at)]
    assert pauses[0] < WAIT_S + 15  # a lane that died is replaced at once
    assert pauses[-1] > 1_800
    assert pauses[2] < pauses[5] < pauses[8]


async def test_the_words_of_the_forge_are_told_while_an_order_is_in_doubt(house: House) -> None:
    request = await in_doubt(house, 300)
    assert request.state in {State.UNKNOWN, State.SENT}
    assert "500: the database says no" in request.detail


async def test_what_was_done_after_all_is_found_before_it_is_given_up(house: House) -> None:
    house.lane.world["look"] = THERE
    request = await in_doubt(house, 86_400)
    assert request.state is State.DONE
    assert request.artifact == 44


async def test_a_restart_does_not_order_again_what_pauses_in_doubt(house: House) -> None:
    await in_doubt(house, 3_000)
    given = len(house.lane.orders)
    await house.restart()
    await house.live(60)
    assert len(house.lane.orders) == given


# --- content that travels ahead -----------------------------------------------------------------


async def test_content_sent_ahead_is_named_by_the_order_and_not_in_it(house: House) -> None:
    house.lane.takes_ahead = True
    request = await house.comment()
    await house.step()
    (given,) = house.lane.orders
    assert (given.action, given.content) == (b"", hashlib.sha256(request.action).hexdigest())


async def test_content_goes_on_after_each_cut_before_anything_is_ordered(house: House) -> None:
    house.lane.takes_ahead, house.lane.cuts = True, 20
    request = await house.comment()
    await house.step()
    assert house.lane.cuts == 0
    assert len(house.lane.orders) == 1
    assert state_of(house, request) is State.ORDERED


async def test_content_waits_for_a_link_that_stays_down(house: House) -> None:
    house.lane.takes_ahead, house.lane.cuts, house.lane.stays_down = True, 1, True
    request = await house.comment()
    await house.step()
    assert house.lane.orders == []
    assert state_of(house, request) is State.APPROVED

    house.lane.stays_down = False
    await house.live(BACKOFF_S)
    assert len(house.lane.orders) == 1


async def test_a_look_names_content_that_came_ahead(house: House) -> None:
    house.lane.takes_ahead = True
    request = await house.approved_close(lasts_s=5)
    house.lane.answers.append(EdgeError("the link was lost", transient=True))
    await house.live(WAIT_S + 10)
    method, params = next(one for one in house.lane.asked if one[0] == "look")
    assert method == "look"
    assert "action" not in params
    assert params["content"] == hashlib.sha256(request.action).hexdigest()
