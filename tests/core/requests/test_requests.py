from __future__ import annotations

from typing import Any

import msgspec
import pytest

from allegro.core.authority.actions.families import action_bytes, action_digest
from allegro.core.requests.lifecycle import FINAL, State, Step
from allegro.core.requests.requests import (
    HISTORY,
    MAX_DETAIL,
    MAX_HISTORY_CHARS,
    Line,
    Request,
    ordered,
    parsed,
    step,
    void_earlier,
    with_line,
)
from tests.core.builders import close, comment_action, document, refused


def request(**changes: Any) -> Request:
    raw = action_bytes(close())
    values: dict[str, Any] = {
        "id": "r1", "kind": "close_issue", "digest": action_digest(raw), "action": raw,
        "document": document(), "state": State.PROPOSED, "created_s": 10.0, "target": "forge/7#3",
        "repository": "home/garden",
    }  # fmt: skip
    return Request(**{**values, **changes})


def test_a_step_changes_the_state_and_adds_a_line_of_history() -> None:
    after = step(
        request(), Step.APPROVE, 11.0, "by the sovereign", approval="token", decided_s=11.0
    )
    assert isinstance(after, Request)
    assert (after.state, after.detail, after.approval) == (
        State.APPROVED,
        "by the sovereign",
        "token",
    )
    (line,) = after.history
    assert (line.at_s, line.what, line.detail) == (11.0, "approve", "by the sovereign")
    assert (after.is_final, after.settled_s) == (False, 0.0)


def test_a_step_without_a_word_keeps_the_last_word() -> None:
    after = step(request(detail="waiting"), Step.APPROVE, 11.0)
    assert isinstance(after, Request)
    assert after.detail == "waiting"


@pytest.mark.parametrize("what", [Step.REJECT, Step.WITHDRAW, Step.EXPIRE])
def test_an_end_notes_when_it_was_settled(what: Step) -> None:
    after = step(request(), what, 12.0)
    assert isinstance(after, Request)
    assert (after.is_final, after.settled_s) == (True, 12.0)


def test_a_step_the_table_does_not_know_changes_nothing() -> None:
    assert refused(step(request(), Step.ORDER, 11.0), "wrong_state")


def test_history_never_grows_without_end() -> None:
    held = request(state=State.SENT)
    for n in range(300):
        after = step(held, Step.INTENT, float(n))
        assert isinstance(after, Request)
        held = after
    assert len(held.history) == 200
    assert held.history[-1].at_s == 299.0


def test_what_is_asked_says_whether_it_needs_the_sovereign() -> None:
    assert request().needs_approval
    assert not request(kind="comment").needs_approval
    assert not request(kind="merge").needs_approval


def test_a_stored_action_is_read_back_and_a_damaged_one_is_a_bug() -> None:
    assert parsed(request()) == close()
    assert parsed(request(action=action_bytes(comment_action()))) == comment_action()
    with pytest.raises(ValueError, match="cannot be read"):
        parsed(request(action=b"{}"))


def test_a_request_survives_its_stored_form() -> None:
    held = request(bases={"a": b"x", "b": None})
    assert msgspec.json.decode(msgspec.json.encode(held), type=Request) == held


def test_every_final_state_is_seen_as_final() -> None:
    assert all(request(state=state).is_final is (state in FINAL) for state in State)


def walked(held: Request, *steps: tuple[Step, int]) -> Request:
    """Return a request after steps; a number is that of the order a step gives, or 0."""
    for what, order in steps:
        changes: dict[str, Any] = {"order_number": order} if order else {}
        after = step(held, what, 1.0, **changes)
        assert isinstance(after, Request)
        held = after
    return held


def test_a_void_order_leaves_what_was_approved() -> None:
    after = walked(request(state=State.APPROVED), (Step.ORDER, 1), (Step.INTENT, 0), (Step.VOID, 0))
    assert (after.state, after.outstanding) == (State.APPROVED, ())


def test_a_void_order_says_nothing_about_a_silent_one_before_it() -> None:
    after = walked(
        request(state=State.APPROVED), (Step.ORDER, 1), (Step.SILENCE, 0), (Step.ORDER, 2),
        (Step.VOID, 0),
    )  # fmt: skip
    assert (after.state, after.outstanding) == (State.UNKNOWN, (1,))
    assert after.history[-1].what == "doubt"


def test_the_doubt_ends_with_the_word_of_the_silent_order() -> None:
    doubted = walked(
        request(state=State.APPROVED), (Step.ORDER, 1), (Step.SILENCE, 0), (Step.ORDER, 2),
        (Step.VOID, 0),
    )  # fmt: skip
    after = void_earlier(doubted, 1, 2.0, "not sent")
    assert isinstance(after, Request)
    assert (after.state, after.outstanding, after.detail) == (State.APPROVED, (), "not sent")


def test_the_word_of_an_earlier_order_changes_nothing_while_a_newer_one_is_out() -> None:
    held = walked(
        request(state=State.APPROVED), (Step.ORDER, 1), (Step.SILENCE, 0), (Step.ORDER, 2)
    )
    after = void_earlier(held, 1, 2.0, "not sent")
    assert isinstance(after, Request)
    assert (after.state, after.outstanding) == (State.ORDERED, (2,))
    assert walked(after, (Step.VOID, 0)).state is State.APPROVED


def test_the_orders_that_are_outstanding_never_grow_without_end() -> None:
    held = request(state=State.APPROVED)
    for n in range(1, HISTORY + 20):
        held = walked(held, (Step.ORDER, n), (Step.SILENCE, 0))
    assert len(held.outstanding) == HISTORY
    assert held.outstanding[-1] == HISTORY + 19


# --- bounds -----------------------------------------------------------------------------------


def test_what_is_said_of_a_request_is_cut_where_it_is_kept() -> None:
    long = "x" * 1_000_000
    after = step(
        request(state=State.ORDERED, outstanding=(1,), order_number=1), Step.CONFLICT, 11.0, long,
        url=long, commit=long, branch=long,
    )  # fmt: skip
    assert isinstance(after, Request)
    assert (len(after.detail), len(after.history[0].detail)) == (MAX_DETAIL, MAX_DETAIL)
    assert (len(after.url), len(after.branch), len(after.commit)) == (300, 300, 64)


def test_a_history_is_bounded_however_often_an_order_is_refused() -> None:
    asked = request(state=State.APPROVED)
    for number in range(1, 400):
        ordered_ = step(asked, Step.ORDER, 1.0, ordered(number, "a"), order_number=number, lane="a")
        assert isinstance(ordered_, Request)
        refused_ = step(ordered_, Step.VOID, 1.0, "no " * 1_000)
        assert isinstance(refused_, Request)
        asked = refused_
    assert len(asked.history) == HISTORY
    assert sum(len(line.detail) for line in asked.history) <= MAX_HISTORY_CHARS + MAX_DETAIL
    assert len(msgspec.msgpack.encode(asked)) < 60_000
    assert asked.history[-1].detail.startswith("no no")


def test_the_line_of_an_order_that_may_have_come_to_something_stays() -> None:
    asked = step(request(state=State.APPROVED), Step.ORDER, 1.0, ordered(1, "a"), order_number=1)
    assert isinstance(asked, Request)
    for at in range(2 * HISTORY):
        asked = with_line(asked, Line(float(at), "shown", "y" * MAX_DETAIL))
    assert len(asked.history) == HISTORY
    assert [line.detail for line in asked.history if line.what == "order"] == [ordered(1, "a")]


def test_silence_counts_as_doubt_until_the_next_approval() -> None:
    asked = request(state=State.ORDERED, outstanding=(1,), order_number=1)
    silent = step(asked, Step.SILENCE, 1.0)
    assert isinstance(silent, Request)
    assert silent.doubts == 1
    again = step(msgspec.structs.replace(silent, state=State.SENT), Step.SILENCE, 2.0)
    assert isinstance(again, Request)
    assert again.doubts == 2
    voided = step(again, Step.VOID, 3.0)
    assert isinstance(voided, Request)
    assert voided.doubts == 2
    approved = step(request(doubts=9), Step.APPROVE, 4.0)
    assert isinstance(approved, Request)
    assert approved.doubts == 0
