"""What may be ordered now: each rule by example, at its borders."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from allegro.core.authority.actions.families import action_bytes, action_digest
from allegro.core.authority.actions.forge import MirrorRequest, RepositoryRef
from allegro.core.base.backoff import ORDER, SESSION
from allegro.core.requests.lifecycle import MOST_DOUBTS, State, Step
from allegro.core.requests.ordering import (
    OFTEN,
    Verdict,
    Way,
    doubt_pause_s,
    ends_s,
    given_to,
    gives_up,
    has_run_out,
    holders,
    is_void,
    may_be_carried,
    overtaken_step,
    plan_after_refusal,
    plan_of,
    refusal_pause_s,
    serial_key,
    verdict,
    was_ordered,
)
from allegro.core.requests.requests import Line, Request, ordered
from tests.core.builders import FORGE, close, comment_action, document, run_session


def one() -> float:
    return 1.0


def request(**changes: Any) -> Request:
    """Return a comment, decided: it needs no approval and lives until 100."""
    raw = action_bytes(comment_action())
    values: dict[str, Any] = {
        "id": "r1", "kind": "comment", "digest": action_digest(raw), "action": raw,
        "document": msgspec.structs.replace(document(), expires_s=100.0),
        "state": State.APPROVED, "created_s": 10.0, "target": "forge/7#3",
        "repository": "home/garden",
    }  # fmt: skip
    return Request(**{**values, **changes})


def approved_close(**changes: Any) -> Request:
    raw = action_bytes(close())
    values = {"kind": "close_issue", "action": raw, "approval": "token", "approval_exp": 50}
    return request(**{**values, **changes})


def mirror(of: str, **changes: Any) -> Request:
    action = MirrorRequest(
        id="a" * 20, forge=FORGE, repository=RepositoryRef(7, "home/garden"), issue=3, request=of,
        body="words",
    )  # fmt: skip
    return request(kind="mirror_request", action=action_bytes(action), **changes)


def judged(
    asked: Request, *same: Request, now_s: float = 20.0, silent: bool = False, carried: str = ""
) -> Verdict:
    return verdict(
        asked, same, now_s=now_s, silence_over=silent, carried=lambda id_: id_ == carried
    )


# --- what may not be done twice at once -------------------------------------------------------


def test_a_status_is_one_thing_an_issue() -> None:
    assert serial_key(request(kind="update_status")) == "status forge/7#3"
    assert serial_key(request(kind="update_status", target="forge/7#4")) == "status forge/7#4"


def test_a_mirror_is_one_thing_a_request() -> None:
    assert serial_key(mirror("r9")) == "mirror r9"
    assert serial_key(mirror("r9", id="m2")) == serial_key(mirror("r9", id="m3"))


def test_everything_else_is_a_thing_of_its_own() -> None:
    assert serial_key(request(id="r7")) == "r7"
    assert serial_key(request(id="r8", kind="mirror_request")) == "r8"  # no mirror's content


# --- verdicts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.DONE, State.FAILED, State.EXPIRED, State.WITHDRAWN])
def test_nothing_is_done_about_what_ended(state: State) -> None:
    assert judged(request(state=state), silent=True) is Verdict.NOTHING


def test_nothing_more_is_done_about_what_is_being_ordered() -> None:
    assert judged(request(), carried="r1") is Verdict.NOTHING
    assert judged(request(), carried="r2") is Verdict.DUE


def test_a_proposal_waits_for_its_answer_until_its_time_and_not_beyond() -> None:
    asked = approved_close(state=State.PROPOSED)
    assert judged(asked, now_s=99.9) is Verdict.WAITS
    assert judged(asked, now_s=100.0) is Verdict.RAN_OUT
    assert judged(asked, now_s=100.1) is Verdict.RAN_OUT


@pytest.mark.parametrize("state", [State.ORDERED, State.SENT])
def test_an_order_that_is_out_waits_until_silence_is_over(state: State) -> None:
    assert judged(request(state=state)) is Verdict.WAITS
    assert judged(request(state=state), silent=True) is Verdict.SILENT


@pytest.mark.parametrize("state", [State.APPROVED, State.UNKNOWN])
def test_a_newer_one_about_the_same_makes_an_older_one_moot(state: State) -> None:
    older = request(state=state, created_s=10.0)
    assert judged(older, request(id="r2", created_s=10.1)) is Verdict.OVERTAKEN
    assert judged(older, request(id="r2", created_s=9.9)) is Verdict.DUE
    assert judged(older, request(id="r2", created_s=10.0)) is Verdict.DUE


def test_a_newer_one_waits_while_an_older_one_is_out_or_being_ordered() -> None:
    older = request(id="r0", created_s=1.0)
    for state in (State.ORDERED, State.SENT):
        assert judged(request(), msgspec.structs.replace(older, state=state)) is Verdict.HELD
    assert judged(request(), older, carried="r0") is Verdict.HELD
    assert judged(request(), older) is Verdict.DUE


def test_what_is_out_is_not_overtaken() -> None:
    newer = request(id="r2", created_s=99.0)
    assert judged(request(state=State.SENT), newer) is Verdict.WAITS


def test_what_no_order_was_given_for_is_withdrawn_and_what_may_be_done_expires() -> None:
    assert overtaken_step(request()) is Step.WITHDRAW
    assert overtaken_step(request(state=State.UNKNOWN)) is Step.EXPIRE


# --- time -------------------------------------------------------------------------------------


def test_an_act_that_needs_approval_may_be_ordered_until_the_approval_ends() -> None:
    asked = approved_close()
    assert ends_s(asked) == 50.0
    assert not has_run_out(asked, 49.9)
    assert has_run_out(asked, 50.0)
    assert ends_s(approved_close(state=State.PROPOSED)) == 100.0


def test_an_act_without_approval_may_be_ordered_until_its_request_ends() -> None:
    assert ends_s(request(approval_exp=50)) == 100.0
    assert not has_run_out(request(), 99.9)
    assert has_run_out(request(), 100.0)


def test_a_time_that_is_no_number_counts_as_over() -> None:
    assert has_run_out(request(), float("nan"))


def test_an_approval_that_is_gone_is_void() -> None:
    assert is_void(approved_close(approval=None))
    assert not is_void(approved_close())
    assert not is_void(request())


# --- freeze, lanes ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "now_s", "thawed", "able", "may"),
    [
        (State.APPROVED, 20.0, True, True, True),
        (State.APPROVED, 20.0, True, False, False),
        (State.APPROVED, 20.0, False, True, False),
        (State.APPROVED, 100.0, False, False, True),  # ran out: ends without lane or thaw
        (State.APPROVED, 100.0, True, False, True),
        (State.UNKNOWN, 20.0, False, True, True),  # looked at while frozen
        (State.UNKNOWN, 20.0, False, False, False),
        (State.UNKNOWN, 20.0, True, False, False),
        (State.UNKNOWN, 100.0, False, False, False),  # never ends unlooked
        (State.UNKNOWN, 100.0, False, True, True),
    ],
)
def test_freeze_and_lanes_hold_back_what_they_must(
    state: State, now_s: float, thawed: bool, able: bool, may: bool
) -> None:
    assert may_be_carried(request(state=state), now_s, thawed=thawed, able=able) is may


# --- pauses -----------------------------------------------------------------------------------


def test_the_first_order_in_doubt_is_repeated_at_once_the_next_ones_wait_longer_each() -> None:
    pauses = [doubt_pause_s(request(doubts=doubts), one) for doubts in range(12)]
    assert pauses == [0, 0, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600]
    assert doubt_pause_s(request(doubts=3), lambda: 0.0) == 60.0


@pytest.mark.parametrize("kind", ["run_session", "answer_once", "lend_model"])
def test_a_session_in_doubt_is_never_begun_again_so_it_does_not_wait(kind: str) -> None:
    assert doubt_pause_s(request(kind=kind, doubts=9), one) == 0.0


def test_so_many_orders_in_doubt_are_given_and_no_more() -> None:
    assert not gives_up(request(doubts=MOST_DOUBTS - 1))
    assert gives_up(request(doubts=MOST_DOUBTS))
    assert gives_up(request(doubts=MOST_DOUBTS + 1))
    assert not gives_up(request(kind="lend_model", doubts=MOST_DOUBTS))


def test_refusals_are_tried_again_soon_then_seldom() -> None:
    soon = [refusal_pause_s("comment", count, one) for count in range(OFTEN)]
    assert soon == [ORDER.delay_s(count, one) for count in range(OFTEN)]
    assert max(soon) == 15.0
    later = [refusal_pause_s("comment", OFTEN + count, one) for count in range(5)]
    assert later == [30.0, 60.0, 120.0, 120.0, 120.0]
    assert refusal_pause_s("comment", 23, one) == 15.0
    assert refusal_pause_s("comment", 24, one) == 30.0
    assert refusal_pause_s("comment", 0, lambda: 0.0) == 0.25


def test_refused_sessions_are_tried_again_soon_for_a_person_waits() -> None:
    assert refusal_pause_s("run_session", 500, one) == SESSION.cap_s


# --- which lane may speak ---------------------------------------------------------------------


def told(*orders: tuple[int, str], outstanding: tuple[int, ...] = ()) -> Request:
    lines = [
        Line(float(number), Step.ORDER.value, ordered(number, lane)) for number, lane in orders
    ]
    return request(history=tuple(lines), outstanding=outstanding)


def test_the_history_tells_which_lane_was_given_which_order() -> None:
    asked = told((4, "a"), (5, "b c"))
    assert given_to(asked) == {4: "a", 5: "b c"}
    assert was_ordered(asked, 4, "a")
    assert not was_ordered(asked, 4, "b c")
    assert not was_ordered(asked, 6, "a")
    assert not was_ordered(request(), 0, "")


def test_words_of_others_are_no_orders() -> None:
    lines = (
        Line(1.0, Step.VOID.value, ordered(4, "a")), Line(1.0, "shown", "order 5 to b"),
        Line(1.0, Step.ORDER.value, "an order 6 to c"), Line(1.0, Step.ORDER.value, ""),
    )  # fmt: skip
    assert given_to(request(history=lines)) == {}


def test_only_lanes_whose_orders_may_have_come_to_something_hold_the_request() -> None:
    orders = ((4, "a"), (5, "b"), (6, "a"), (7, "c"))
    assert holders(told(*orders, outstanding=(4, 5, 6))) == ["a", "b"]
    assert holders(told(*orders, outstanding=(5, 4))) == ["b", "a"]
    assert holders(told(*orders)) == []
    assert holders(told(outstanding=(9,))) == []


# --- how one that is due goes on --------------------------------------------------------------


def session(**changes: Any) -> Request:
    return request(kind="run_session", action=action_bytes(run_session()), **changes)


@pytest.mark.parametrize(
    ("asked", "now_s", "thawed", "way", "step"),
    [
        (request(), 20.0, True, Way.ORDER, None),
        (request(state=State.UNKNOWN, doubts=1), 20.0, True, Way.ORDER, None),
        (request(), 100.0, True, Way.END, Step.EXPIRE),  # never ordered: nothing to look at
        (request(order_number=4), 100.0, True, Way.LOOK, Step.EXPIRE),
        (request(state=State.UNKNOWN), 100.0, True, Way.LOOK, Step.EXPIRE),
        (approved_close(approval=None), 20.0, True, Way.END, Step.EXPIRE),
        (request(), 20.0, False, Way.LOOK, None),
        (request(doubts=MOST_DOUBTS), 20.0, True, Way.LOOK, Step.FAIL),
        (session(), 20.0, True, Way.ORDER, None),
        (session(), 20.0, False, Way.WAIT, None),  # no lane looks for a session on a forge
        (session(state=State.UNKNOWN), 20.0, False, Way.FOLLOW, None),
        (session(state=State.UNKNOWN), 100.0, True, Way.FOLLOW, None),
        (session(order_number=4), 100.0, True, Way.END, Step.EXPIRE),
    ],
)
def test_what_was_ordered_ends_only_after_a_look_or_by_who_follows_it(
    asked: Request, now_s: float, thawed: bool, way: Way, step: Step | None
) -> None:
    plan = plan_of(asked, now_s=now_s, thawed=thawed)
    assert (plan.way, plan.step) == (way, step)


@pytest.mark.parametrize(
    ("asked", "reason", "way", "step"),
    [
        (approved_close(), "wrong_seat", Way.END, Step.UNSEAT),
        (approved_close(), "wrong_key", Way.END, Step.UNSEAT),
        (request(), "wrong_seat", Way.WAIT, None),  # no approval to void
        (approved_close(), "approval_expired", Way.LOOK, Step.EXPIRE),
        (request(), "repository_refused", Way.LOOK, Step.FAIL),
        (session(), "malformed_action", Way.END, Step.FAIL),
        (request(), "frozen", Way.WAIT, None),
    ],
)
def test_a_refusal_that_would_come_again_ends_the_request(
    asked: Request, reason: str, way: Way, step: Step | None
) -> None:
    plan = plan_after_refusal(asked, reason, "why")
    assert (plan.way, plan.step) == (way, step)
