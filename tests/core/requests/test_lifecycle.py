from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allegro.core.base.errors import Refusal
from allegro.core.requests.lifecycle import FINAL, STAGES, TABLE, State, Step, advance, render_table
from tests.core.builders import refused

OPEN = [State.PROPOSED, State.APPROVED, State.ORDERED, State.SENT, State.UNKNOWN]


def walk(state: State, *steps: Step) -> State | Refusal:
    for step in steps:
        after = advance(state, step)
        if isinstance(after, Refusal):
            return after
        state = after
    return state


def test_the_good_way_leads_to_done() -> None:
    assert walk(State.PROPOSED, Step.APPROVE, Step.ORDER, Step.INTENT, Step.RECEIPT) is State.DONE


def test_silence_is_asked_again_and_not_believed() -> None:
    silent = (Step.APPROVE, Step.ORDER, Step.INTENT, Step.SILENCE)
    assert walk(State.PROPOSED, *silent) is State.UNKNOWN
    assert walk(State.PROPOSED, *silent, Step.ORDER, Step.RECEIPT) is State.DONE


def test_a_receipt_after_the_wait_is_still_the_truth() -> None:
    assert walk(State.UNKNOWN, Step.EXPIRE, Step.RECEIPT) is State.DONE
    assert walk(State.UNKNOWN, Step.EXPIRE, Step.CONFLICT) is State.CONFLICT


def test_a_new_seat_sends_an_approval_back_to_be_asked() -> None:
    assert walk(State.PROPOSED, Step.APPROVE, Step.UNSEAT) is State.PROPOSED


def test_an_approval_can_be_withdrawn_until_its_order_is_out() -> None:
    assert walk(State.APPROVED, Step.WITHDRAW) is State.WITHDRAWN
    for state in (State.ORDERED, State.SENT, State.UNKNOWN):
        assert refused(advance(state, Step.WITHDRAW), "wrong_state")


def test_nothing_is_ordered_that_was_not_approved() -> None:
    for state in (State.PROPOSED, State.REJECTED, State.EXPIRED, State.WITHDRAWN, State.DONE):
        assert refused(advance(state, Step.ORDER), "wrong_state")


@pytest.mark.parametrize("state", OPEN)
def test_each_open_state_has_an_owner_a_limit_and_what_happens_then(state: State) -> None:
    stage = STAGES[state]
    assert stage.owner in {"sovereign", "house", "lane"}
    assert stage.limit
    assert isinstance(advance(state, stage.at_limit), State)


@pytest.mark.parametrize("state", OPEN)
def test_from_each_open_state_the_limits_alone_lead_to_an_end(state: State) -> None:
    for _ in State:
        if state in FINAL:
            return
        after = advance(state, STAGES[state].at_limit)
        assert isinstance(after, State)
        state = after
    pytest.fail("the limits go round in a circle")


def test_the_final_states_are_all_others() -> None:
    assert frozenset(State) - frozenset(OPEN) == FINAL


def test_an_end_stays_an_end_but_for_a_receipt_and_the_truth_about_an_expired_one() -> None:
    leaving = {(state, step) for state, step in TABLE if state in FINAL}
    late = {State.EXPIRED, State.FAILED, State.CONFLICT, State.STALE}
    assert leaving == {(State.EXPIRED, Step.CONFLICT), *((state, Step.RECEIPT) for state in late)}
    assert all(TABLE[line] in FINAL for line in leaving)


def test_each_step_from_each_state_is_in_the_table_or_refused() -> None:
    for state, step in itertools.product(State, Step):
        after = advance(state, step)
        if (state, step) in TABLE:
            assert after is TABLE[state, step]
        else:
            assert refused(after, "wrong_state")


def test_each_state_but_the_first_can_be_reached() -> None:
    assert {*TABLE.values(), State.PROPOSED} == set(State)


@given(st.lists(st.sampled_from(Step), max_size=12))
def test_no_way_leads_to_an_order_without_approval_or_to_done_without_receipt(
    steps: list[Step],
) -> None:
    state, taken = State.PROPOSED, []
    for step in steps:
        after = advance(state, step)
        if isinstance(after, State):
            state = after
            taken.append(step)
    if state is State.DONE:
        assert taken[-1] is Step.RECEIPT
    if Step.ORDER in taken:
        assert Step.APPROVE in taken[: taken.index(Step.ORDER)]
    if state in {State.ORDERED, State.SENT, State.UNKNOWN}:
        assert Step.ORDER in taken


def test_the_page_shows_every_state_and_every_line() -> None:
    page = render_table()
    assert all(f"| {state.value} |" in page for state in State)
    assert page.count("→") - 1 == len(TABLE)
    assert "| done | – | final | – |" in page


def test_the_page_says_of_each_state_who_acts_until_when_and_what_may_happen() -> None:
    lines = render_table().splitlines()
    assert lines[:2] == [
        "| state | owner | limit | step → next |", "|---|---|---|---|",
    ]  # fmt: skip
    steps = "approve → approved, reject → rejected, withdraw → withdrawn, expire → expired"
    assert lines[2] == f"| proposed | sovereign | request_expiry_s | {steps} |"
    assert len(lines) == 2 + len(State)
    assert render_table().endswith("|\n")
