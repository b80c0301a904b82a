from __future__ import annotations

import math
from typing import Any

import pytest

from allegro.core.effects.matching import (
    GRACE_S,
    Altered,
    BotWrite,
    Doubled,
    Matched,
    Receipt,
    Unmatched,
    Waiting,
    judge,
)

RECEIPT = Receipt("comment", "forge/7#3", 55, "words", "r1")
WRITE = BotWrite("e1", "comment", "forge/7#3", 55, "words", seen_s=1000.0)


def verdict(
    *receipts: Receipt, write: BotWrite = WRITE, open_order: bool = False, home: bool = True,
    now_s: float = 1001.0,
) -> Any:  # fmt: skip
    return judge(write, receipts, open_order=open_order, journals_home=home, now_s=now_s)


def test_a_write_with_its_receipt_is_ours() -> None:
    other = Receipt("comment", "forge/7#3", 54, "words", "r0")
    assert verdict(other, RECEIPT) == Matched()


@pytest.mark.parametrize("receipt", [
    Receipt("close", "forge/7#3", 55, "words", "r1"), Receipt("comment", "forge/7#4", 55, "words", "r1"),
    Receipt("comment", "forge/7#3", 56, "other words", "r1"),
])  # fmt: skip
def test_a_receipt_for_anything_else_covers_nothing(receipt: Receipt) -> None:
    assert verdict(receipt) == Unmatched()


def test_a_comment_of_ours_whose_words_somebody_changed_is_told_as_altered() -> None:
    edited = BotWrite("e2", "comment", "forge/7#3", 55, "other words", seen_s=1000.0)
    assert verdict(RECEIPT, write=edited) == Altered()
    assert verdict(RECEIPT, write=edited, home=False) == Waiting()


def test_a_second_copy_of_our_words_is_told_and_a_third_is_nobodys() -> None:
    first, second = (Receipt("comment", "forge/7#3", n, "words", "r1") for n in (53, 54))
    assert verdict(first) == Doubled(first)
    assert verdict(first, open_order=True) == Waiting()
    assert verdict(first, second) == Unmatched()


def test_the_same_words_asked_for_twice_may_each_be_doubled() -> None:
    other = Receipt("comment", "forge/7#3", 52, "words", "r2")
    first, second = (Receipt("comment", "forge/7#3", n, "words", "r1") for n in (53, 54))
    assert verdict(first, second, other) == Doubled(other)


def test_a_close_is_covered_until_it_was_settled_and_never_later() -> None:
    closed = Receipt("close", "forge/7#3", 5_000, "", "r1")
    for at_s, expected in ((4_000, Matched()), (5_600, Matched()), (5_601, Unmatched())):
        write = BotWrite("e1", "close", "forge/7#3", at_s, "", seen_s=9_000.0)
        assert verdict(closed, write=write) == expected


@pytest.mark.parametrize("ahead_s", [-3_600, -60, 0, 60, 3_600])
def test_a_close_is_judged_by_the_houses_clock_wherever_the_forges_stands(ahead_s: int) -> None:
    closed = Receipt("close", "forge/7#3", 50_000, "", "r1")
    for made_s, expected in ((49_000, Matched()), (50_600, Matched()), (50_601, Unmatched())):
        write = BotWrite("e1", "close", "forge/7#3", made_s + ahead_s, "", seen_s=90_000.0)
        judged = judge(
            write, [closed], open_order=False, journals_home=True, now_s=90_000.0, ahead_s=ahead_s
        )
        assert judged == expected


def test_nothing_is_made_after_it_was_seen_whatever_the_forges_clock_says() -> None:
    closed = Receipt("close", "forge/7#3", 50_000, "", "r1")
    for seen_s, expected in ((50_005, Matched()), (50_700, Unmatched())):
        write = BotWrite("e1", "close", "forge/7#3", 53_600, "", seen_s=seen_s)
        judged = judge(write, [closed], open_order=False, journals_home=True, now_s=seen_s)
        assert judged == expected


def test_any_wording_we_once_gave_a_mirror_is_ours() -> None:
    newer = Receipt("comment", "forge/7#3", 55, "newer words", "r1")
    assert verdict(RECEIPT, newer) == Matched()
    assert verdict(newer, RECEIPT) == Matched()


def test_an_issue_opened_under_our_name_is_never_covered_by_a_comment() -> None:
    opened = BotWrite("e3", "issue", "forge/7#3", 55, "words", seen_s=1000.0)
    assert verdict(RECEIPT, write=opened) == Unmatched()


def test_it_waits_while_an_order_is_open_or_a_journal_is_on_its_way() -> None:
    assert verdict(open_order=True) == Waiting()
    assert verdict(home=False) == Waiting()


def test_it_never_waits_longer_than_ten_minutes() -> None:
    assert verdict(open_order=True, home=False, now_s=1000.0 + GRACE_S - 0.1) == Waiting()
    assert verdict(open_order=True, home=False, now_s=1000.0 + GRACE_S) == Unmatched()


def test_a_clock_that_shows_no_time_is_no_reason_to_wait() -> None:
    assert verdict(open_order=True, home=False, now_s=math.nan) == Unmatched()


# --- labels, branches, and what nobody edited ---------------------------------------------------

LABEL = Receipt("label", "forge/7#3", 5_000, "status/done", "r1")


def labelled(content: str = "status/done", at_s: int = 5_000, kind: str = "label") -> BotWrite:
    return BotWrite("e1", kind, "forge/7#3", at_s, content, seen_s=9_000.0)


def under_lease(write: BotWrite, *labels: str) -> Any:
    return judge(
        write, [], open_order=False, journals_home=True, now_s=9_001.0, leased=frozenset(labels)
    )


@pytest.mark.parametrize(("at_s", "expected"), [
    (4_000, Matched()), (5_600, Matched()), (5_601, Unmatched()),
])  # fmt: skip
def test_a_label_is_covered_until_it_was_settled_and_never_later(at_s: int, expected: Any) -> None:
    assert verdict(LABEL, write=labelled(at_s=at_s)) == expected


def test_a_label_that_was_not_ordered_is_nobodys_also_at_the_same_moment() -> None:
    assert verdict(LABEL, write=labelled("status/other")) == Unmatched()


def test_a_close_beside_a_receipt_of_other_words_is_nobodys() -> None:
    closed = Receipt("close", "forge/7#3", 5_000, "other", "r1")
    assert verdict(closed, write=labelled("", kind="close")) == Unmatched()


def test_a_label_that_a_lane_may_set_under_its_lease_needs_no_order() -> None:
    assert under_lease(labelled("triage/seen"), "triage/seen", "pending") == Matched()
    assert under_lease(labelled("triage/other"), "triage/seen", "pending") == Unmatched()


@pytest.mark.parametrize("kind", ["close", "comment", "branch"])
def test_a_lease_covers_labels_alone(kind: str) -> None:
    assert under_lease(labelled("triage/seen", kind=kind), "triage/seen") == Unmatched()


def test_a_branch_at_a_commit_that_was_not_ordered_is_nobodys() -> None:
    ours = Receipt("branch", "forge/7", 0, "roses@a", "r1")
    for content, expected in (("roses@a", Matched()), ("roses@b", Unmatched())):
        write = BotWrite("e1", "branch", "forge/7", 0, content, seen_s=1000.0)
        assert verdict(ours, write=write) == expected


def test_other_words_that_nobody_edited_were_never_ours() -> None:
    fresh = BotWrite("e2", "comment", "forge/7#3", 55, "other words", seen_s=1000.0, fresh=True)
    assert verdict(RECEIPT, write=fresh) == Unmatched()
