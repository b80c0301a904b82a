from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allegro.adapters.crypto.signatures import verify
from allegro.core.authority.actions.families import (
    action_bytes,
    action_digest,
    kind_of,
)
from allegro.core.authority.actions.family import Action
from allegro.core.authority.freeze import UNKNOWN, Freeze, FreezeSet, add
from allegro.core.authority.gate import (
    Permit,
    Presented,
    check_situation,
    judge_leased,
    judge_order,
    may_write,
)
from allegro.core.authority.lease import Lease
from allegro.core.authority.tokens import StandingOrder, issue_token
from allegro.core.base.errors import Refusal
from tests.core.builders import (
    EVERY_ACTION,
    EVERY_FORGE_ACTION,
    EVERY_SESSION_ACTION,
    HOUSE,
    PIN,
    SOVEREIGN,
    TRUST,
    answer_once,
    approval_for,
    change,
    close,
    comment_action,
    judged,
    lend_model,
    order_for,
    refused,
    run_session,
    seen_action,
    situation,
)

LEASE = Lease("forge", "lane-a", 1, until_boot_s=110.0)
ORDERABLE = [action for action in EVERY_ACTION if kind_of(action) != "mark_seen"]
FROZEN = add(FreezeSet(), Freeze("f1", 1.0, "house", "stop"))


def shown(action: Action, /, **changes: Any) -> Presented:
    values = {
        "order": order_for(action), "action": action_bytes(action), "approval": approval_for(action),
    }  # fmt: skip
    return Presented(**{**values, **changes})


def judge(presented: Presented, **changes: Any) -> Permit | Refusal:
    return judge_order(
        presented, TRUST, situation(**changes), take_challenge=lambda _: 100.0, verify=verify
    )


@pytest.mark.parametrize("action", ORDERABLE, ids=kind_of)
def test_what_was_approved_and_ordered_gets_a_permit_for_exactly_that(action: Action) -> None:
    permit = judged(action)
    assert isinstance(permit, Permit)
    assert permit.action == action
    assert permit.digest == action_digest(action_bytes(action))
    assert (permit.order_number, permit.until_boot_s) == (4, 120.0)


def test_a_permit_cannot_be_made_elsewhere() -> None:
    with pytest.raises(TypeError, match=r"^a Permit comes from core\.gate and nowhere else$"):
        Permit(object(), close(), "digest", 1, 10.0)


def test_a_challenge_is_not_used_up_before_the_signature_holds() -> None:
    taken: list[str] = []
    forged = issue_token(
        StandingOrder(aud="fleet", kinds=(), repositories=(), count=1, exp=1), "house:1", HOUSE.sign
    )
    for token in (forged, order_for(close(), lane="another"), order_for(close(), ttl_s=0)):
        judge_order(
            shown(close(), order=token), TRUST, situation(), take_challenge=taken.append, verify=verify
        )  # fmt: skip
    assert taken == []


def test_the_challenge_that_stands_in_the_order_is_used_up_and_no_other() -> None:
    asked: list[str] = []

    def take(challenge: str) -> float:
        asked.append(challenge)
        return 100.0

    order = order_for(close(), challenge="c9")
    permit = judge_order(
        shown(close(), order=order), TRUST, situation(), take_challenge=take, verify=verify
    )
    assert isinstance(permit, Permit)
    assert asked == ["c9"]


def test_an_order_is_void_when_the_process_that_made_its_challenge_is_gone() -> None:
    assert refused(judged(close(), made_s=None), "unknown_challenge")


@pytest.mark.parametrize("boot_s", [120.0, 121.0, math.nan, math.inf])
def test_an_order_lives_its_seconds_from_the_challenge_on(boot_s: float) -> None:
    assert refused(judged(close(), at=situation(boot_s=boot_s)), "order_expired")


def test_a_challenge_made_at_no_time_gives_no_permit() -> None:
    assert refused(judged(close(), made_s=math.nan), "order_expired")


def test_content_that_differs_by_a_byte_is_refused() -> None:
    assert refused(judge(shown(close(), action=action_bytes(close(issue=4)))), "changed_content")


def test_faulty_content_is_refused_even_when_signed() -> None:
    assert refused(judged(comment_action(body="")), "malformed_action")


def test_an_act_under_a_lease_cannot_be_ordered() -> None:
    assert refused(judged(seen_action()), "not_orderable")


def test_an_order_alone_does_not_close() -> None:
    assert refused(judge(shown(close(), approval=None)), "no_approval")


def test_a_standing_order_is_known_and_refused() -> None:
    standing = StandingOrder(
        aud="fleet", kinds=("close_issue",), repositories=(), count=1, exp=2_000_000
    )
    token = issue_token(standing, "sovereign:1", SOVEREIGN.sign)
    assert refused(judge(shown(close(), approval=token)), "standing_orders_off")


@pytest.mark.parametrize(("changes", "reason"), [
    ({"digest": "0" * 64}, "changed_content"), ({"seat": 2}, "wrong_seat"),
    ({"exp": 1_000_000}, "approval_expired"), ({"iat": 1_000_301}, "approval_from_the_future"),
    ({"aud": "other"}, "wrong_audience"),
])  # fmt: skip
def test_an_approval_must_hold_in_every_point(changes: dict[str, Any], reason: str) -> None:
    assert refused(judge(shown(close(), approval=approval_for(close(), **changes))), reason)


@pytest.mark.parametrize(("changes", "reason"), [
    ({"lane": "another"}, "wrong_lane"), ({"seat": 0}, "wrong_seat"), ({"seat": 2}, "wrong_seat"),
    ({"ttl_s": 0}, "malformed_token"), ({"ttl_s": 61}, "malformed_token"),
])  # fmt: skip
def test_an_order_must_hold_in_every_point(changes: dict[str, Any], reason: str) -> None:
    assert refused(judge(shown(close(), order=order_for(close(), **changes))), reason)


@pytest.mark.parametrize("now_s", [math.nan, math.inf])
def test_a_clock_that_shows_no_time_lets_no_approval_pass(now_s: float) -> None:
    assert refused(judge(shown(close()), now_s=now_s), "approval_expired")


def test_a_clock_nobody_vouches_for_lets_no_approval_pass() -> None:
    assert refused(judge(shown(close()), clock_trusted=False), "clock_untrusted")


STOPPED = [
    ({"freezes": FROZEN}, "frozen"), ({"freezes": UNKNOWN}, "frozen"),
    ({"safe_mode": True}, "safe_mode"), ({"room": False}, "no_room"),
]  # fmt: skip
SITUATIONS = [*STOPPED, ({"forge": "other.example.org"}, "wrong_forge")]


@pytest.mark.parametrize(("changes", "reason"), SITUATIONS)
def test_an_order_that_comes_to_a_stopped_lane_gives_no_permit(changes: Any, reason: str) -> None:
    assert refused(judged(close(), at=situation(**changes)), reason)


@pytest.mark.parametrize(("changes", "reason"), STOPPED)
@pytest.mark.parametrize("action", EVERY_ACTION, ids=kind_of)
def test_a_lane_that_must_not_act_does_not(action: Action, changes: Any, reason: str) -> None:
    assert refused(check_situation(action, situation(**changes)), reason)


@pytest.mark.parametrize("action", EVERY_FORGE_ACTION, ids=kind_of)
def test_a_lane_writes_to_its_own_forge_alone(action: Action) -> None:
    elsewhere = situation(forge="other.example.org")
    assert refused(check_situation(action, elsewhere), "wrong_forge")


@pytest.mark.parametrize("action", EVERY_SESSION_ACTION, ids=kind_of)
def test_a_session_asks_for_no_forge_and_no_repository(action: Action) -> None:
    at = situation(forge="", refused_repositories={7: "not protected"})
    assert isinstance(judged(action, at=at), Permit)


@pytest.mark.parametrize("action", [run_session(), lend_model()], ids=kind_of)
def test_a_session_and_a_loan_need_no_approval_and_no_wall_clock(action: Action) -> None:
    ordered = shown(action, approval=None)
    assert isinstance(judge(ordered, clock_trusted=False, now_s=0.0), Permit)


def test_an_order_alone_lets_no_question_pass() -> None:
    assert refused(judge(shown(answer_once(), approval=None)), "no_approval")


@pytest.mark.parametrize("changes", [
    {"question": "d" * 64}, {"number": 2}, {"run": "run_2"}, {"session": "z" * 16}, {"lane": "b"},
    {"id": "z" * 16},
])  # fmt: skip
def test_an_approval_lets_no_other_question_pass(changes: dict[str, Any]) -> None:
    other = approval_for(answer_once(**changes))
    assert refused(judge(shown(answer_once(), approval=other)), "changed_content")


@pytest.mark.parametrize("action", EVERY_SESSION_ACTION, ids=kind_of)
@pytest.mark.parametrize(("changes", "reason"), STOPPED)
def test_an_order_for_a_session_given_before_a_stop_begins_nothing_after_it(
    action: Action, changes: Any, reason: str
) -> None:
    permit = judged(action)
    assert isinstance(permit, Permit)
    assert may_write(permit, situation(), needs_s=1.0) is None
    assert refused(may_write(permit, situation(**changes), needs_s=1.0), reason)


@pytest.mark.parametrize(("changes", "reason"), SITUATIONS)
def test_an_order_given_before_a_stop_writes_nothing_after_it(changes: Any, reason: str) -> None:
    permit = judged(close())
    assert isinstance(permit, Permit)
    assert refused(may_write(permit, situation(**changes), needs_s=1.0), reason)


def test_a_frozen_lane_says_by_whom_and_why() -> None:
    refusal = check_situation(close(), situation(freezes=FROZEN))
    assert refusal is not None
    assert refusal.detail == "stop"


def test_a_refused_repository_takes_comments_but_no_changes() -> None:
    at = situation(refused_repositories={7: "not protected"})
    assert check_situation(comment_action(), at) is None
    assert refused(check_situation(change(), at), "repository_refused")
    assert check_situation(change(), situation(refused_repositories={8: "other"})) is None


@pytest.mark.parametrize(("boot_s", "needs_s", "may"), [
    (101.0, 8.0, True), (111.9, 8.0, True), (112.0, 8.0, False), (math.nan, 8.0, False),
    (101.0, math.nan, False),
])  # fmt: skip
def test_a_write_starts_only_when_it_ends_within_the_permit(
    boot_s: float, needs_s: float, may: bool
) -> None:
    permit = judged(close())
    assert isinstance(permit, Permit)
    answer = may_write(permit, situation(boot_s=boot_s), needs_s=needs_s)
    assert answer is None if may else refused(answer, "order_expired")


def test_a_held_role_may_mark_an_issue_as_seen_until_the_lease_ends() -> None:
    permit = judge_leased(seen_action(), LEASE, situation())
    assert isinstance(permit, Permit)
    assert permit.action == seen_action()
    assert (permit.order_number, permit.until_boot_s) == (None, 110.0)


@pytest.mark.parametrize("action", ORDERABLE, ids=kind_of)
def test_nothing_else_is_done_under_a_lease(action: Action) -> None:
    assert refused(judge_leased(action, LEASE, situation()), "not_leasable")


@pytest.mark.parametrize("boot_s", [110.0, math.nan])
def test_a_role_that_is_not_held_now_is_no_right(boot_s: float) -> None:
    assert refused(judge_leased(seen_action(), LEASE, situation(boot_s=boot_s)), "no_lease")
    assert refused(judge_leased(seen_action(), None, situation()), "no_lease")


def test_an_act_under_a_lease_is_checked_like_any_other() -> None:
    assert refused(judge_leased(seen_action(issue=0), LEASE, situation()), "malformed_action")
    assert refused(judge_leased(seen_action(), LEASE, situation(freezes=FROZEN)), "frozen")


def test_an_issue_that_became_another_is_another_action() -> None:
    other = close(**{**PIN, "id": "z" * 16})
    assert refused(judge(shown(close(), approval=approval_for(other))), "changed_content")


@given(st.text(max_size=40), st.binary(max_size=40), st.none() | st.text(max_size=40))
def test_rubbish_gets_a_reason_and_no_permit(
    order: str, action: bytes, approval: str | None
) -> None:
    assert isinstance(judge(Presented(order, action, approval)), Refusal)
    assert isinstance(judge(shown(close(), action=action)), Refusal)
    assert isinstance(judge(shown(close(), approval=approval)), Refusal)


def test_the_longest_order_lives_a_minute() -> None:
    permit = judge(shown(close(), order=order_for(close(), ttl_s=60)), boot_s=159.9)
    assert isinstance(permit, Permit)
    assert permit.until_boot_s == 160.0


def test_the_shortest_order_and_an_approval_at_the_edge_of_the_future_still_count() -> None:
    brief = shown(close(), order=order_for(close(), ttl_s=1))
    permit = judge(brief, boot_s=100.5)
    assert isinstance(permit, Permit)
    assert permit.until_boot_s == 101.0
    edge = shown(close(), approval=approval_for(close(), iat=1_000_300, exp=1_000_400))
    assert isinstance(judge(edge), Permit)
    past = shown(close(), approval=approval_for(close(), iat=1_000_301, exp=1_000_400))
    assert refused(judge(past), "approval_from_the_future")


def test_a_permit_under_a_lease_names_its_action_too() -> None:
    permit = judge_leased(seen_action(), LEASE, situation())
    assert isinstance(permit, Permit)
    assert permit.digest == action_digest(action_bytes(seen_action()))


def approved(**changes: Any) -> Presented:
    return shown(close(), approval=approval_for(close(), **changes))


def ordered(**changes: Any) -> Presented:
    return shown(close(), order=order_for(close(), **changes))


def test_every_refusal_tells_a_person_why() -> None:
    standing = StandingOrder(aud="fleet", kinds=(), repositories=(), count=1, exp=2_000_000)
    permit = judged(close())
    assert isinstance(permit, Permit)
    brake = add(FROZEN, Freeze("f2", 2.0, "person", "wait for me"))
    answers = [
        judged(close(), made_s=None),
        judged(close(), made_s=80.0),
        judged(seen_action()),
        judge_leased(close(), LEASE, situation()),
        judge_leased(seen_action(), None, situation()),
        check_situation(close(), situation(freezes=brake)),
        check_situation(close(), situation(freezes=UNKNOWN)),
        check_situation(close(), situation(safe_mode=True)),
        check_situation(close(), situation(room=False)),
        check_situation(close(), situation(forge="other.example.org")),
        check_situation(change(), situation(refused_repositories={7: "not protected"})),
        may_write(permit, situation(), needs_s=19.0),
        judge(ordered(lane="another")),
        judge(ordered(seat=2)),
        judge(ordered(ttl_s=61)),
        judge(shown(close(), action=b"{}")),
        judge(shown(close(), approval=None)),
        judge(shown(close(), approval=issue_token(standing, "sovereign:1", SOVEREIGN.sign))),
        judge(approved(digest="0" * 64)),
        judge(approved(seat=2)),
        judge(approved(), clock_trusted=False),
        judge(approved(exp=1_000_000)),
        judge(approved(iat=1_000_301)),
    ]
    assert [str(answer) for answer in answers] == [
        "unknown_challenge: not a challenge of this process, or used before",
        "order_expired: older than its 20 s",
        "not_orderable: mark_seen needs the role's lease",
        "not_leasable: close_issue is not done under a lease",
        "no_lease: this lane does not hold the role",
        "frozen: stop; wait for me",
        "frozen: freeze set not known yet",
        "safe_mode: this lane restarted in safe mode and does not act",
        "no_room: journal or disk is full; no intent on disk, no effect",
        "wrong_forge: this lane serves other.example.org",
        "repository_refused: not protected",
        "order_expired: not enough time left for another write",
        "wrong_lane: ordered from another lane",
        "wrong_seat: seat 2, must be 1",
        "malformed_token: ttl_s must be 1 to 60",
        "changed_content: the content is not what was ordered",
        "no_approval: this act needs the sovereign's approval",
        "standing_orders_off: standing orders are not accepted yet",
        "changed_content: the approval is for other content",
        "wrong_seat: approved under an earlier seat; ask again",
        "clock_untrusted: this lane's clock is more than 30 s off",
        "approval_expired: ask again",
        "approval_from_the_future: signed on a clock that is ahead",
    ]
