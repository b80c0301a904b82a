from __future__ import annotations

import math

import msgspec
import pytest

from allegro.core.authority.lease import (
    ANYBODY,
    HELD,
    MAX_EPOCH,
    MAX_EPOCH_JUMP,
    STAGGER,
    Around,
    Keep,
    Lease,
    Me,
    Offer,
    Record,
    Sibling,
    Slot,
    Step,
    Take,
    View,
    Wait,
    decide,
    heir_of,
    holds,
    rank_of,
    seen,
    sending,
    stood_down,
    wrote,
)

LEASE = Lease("forge", "lane-a", 1, until_boot_s=100.0)
LEASE_S = 5.0
A, B = Me("a", "a1"), Me("b", "b1")
READY = Around(ready=True)
HELD_BY_A = Record("a", "a1", 3)


def test_a_role_is_held_until_the_lease_ends() -> None:
    assert holds(LEASE, 99.9)


@pytest.mark.parametrize("boot_s", [100.0, 1e9, math.nan, math.inf])
def test_a_role_is_not_held_at_its_end_or_at_no_time(boot_s: float) -> None:
    assert not holds(LEASE, boot_s)


def test_no_lease_is_no_role() -> None:
    assert not holds(None, 0.0)


def renewed(boot_s: float) -> Record:
    return Record("a", "a1", 3, beat=int(boot_s * 1000))


# --- taking a role ---------------------------------------------------------------------------


def saw(record: Record | None, *, at_s: float, me: Me = B, revision: int = 7) -> View:
    """Return the view of a lane that saw something else before, then this."""
    before = seen(View("forge"), Slot(revision - 1, Record("x", "x1", 1)), me, at_s - 1)
    return seen(before, Slot(revision, record), me, at_s)


def step(view: View, around: Around = READY, *, boot_s: float, me: Me = B) -> Step:
    return decide(view, me, around, lease_s=LEASE_S, boot_s=boot_s)


def test_who_waits_waits_as_long_as_the_holder_counts_on() -> None:
    """A lane with a shorter lease in its settings does not take a role that is still held."""
    view = saw(msgspec.structs.replace(HELD_BY_A, lease_s=20.0), at_s=10.0)
    assert isinstance(step(view, boot_s=29.9), Wait)
    assert isinstance(step(view, boot_s=30.0), Take)


def test_nothing_is_written_before_anything_was_read() -> None:
    assert isinstance(step(View("forge"), boot_s=1e9), Wait)


def test_a_role_is_taken_when_its_record_stood_still_for_a_whole_lease() -> None:
    view = saw(HELD_BY_A, at_s=10.0)
    assert step(view, boot_s=14.99) == Wait(until_s=15.0)
    assert step(view, boot_s=15.0) == Take(
        Record("b", "b1", 4, beat=15000, lease_s=5.0), 7, "expired"
    )


def test_each_change_of_the_record_starts_the_wait_anew() -> None:
    view = seen(saw(HELD_BY_A, at_s=10.0), Slot(8, HELD_BY_A), B, 14.0)
    assert isinstance(step(view, boot_s=15.0), Wait)
    assert isinstance(step(view, boot_s=19.0), Take)


def test_a_register_set_back_that_counts_its_revisions_again_is_not_the_same() -> None:
    view = seen(saw(HELD_BY_A, at_s=10.0), Slot(7, renewed(13.5)), B, 14.0)
    assert isinstance(step(view, boot_s=15.0), Wait)


def test_seeing_the_same_revision_again_changes_nothing() -> None:
    view = saw(HELD_BY_A, at_s=10.0)
    assert seen(view, Slot(7, HELD_BY_A), B, 14.0) is view


@pytest.mark.parametrize("boot_s", [math.nan, -math.inf])
def test_a_clock_that_says_nothing_takes_no_role(boot_s: float) -> None:
    assert isinstance(step(saw(HELD_BY_A, at_s=10.0), boot_s=boot_s), Wait)


@pytest.mark.parametrize("revision", [0, 9])
def test_an_empty_or_unreadable_register_is_waited_for_like_a_holder(revision: int) -> None:
    view = seen(View("forge", epoch=5), Slot(revision, None), B, 10.0)
    assert isinstance(step(view, boot_s=14.9), Wait)
    assert step(view, boot_s=15.0) == Take(
        Record("b", "b1", 6, beat=15000, lease_s=5.0), revision, "vacant"
    )


def test_who_is_not_ready_takes_nothing() -> None:
    assert isinstance(step(saw(HELD_BY_A, at_s=10.0), Around(ready=False), boot_s=99.0), Wait)


def test_who_is_about_to_leave_takes_nothing() -> None:
    leaving = Around(ready=True, heir=ANYBODY)
    assert isinstance(step(saw(HELD_BY_A, at_s=10.0), leaving, boot_s=99.0), Wait)


def test_a_lane_that_would_hand_the_role_on_takes_it_all_the_same() -> None:
    """A preferred lane that died looks well for a moment longer: nobody waits for it."""
    view = saw(HELD_BY_A, at_s=10.0)
    assert isinstance(step(view, Around(ready=True, heir="a"), boot_s=15.0), Take)


def test_a_preferred_lane_goes_first() -> None:
    view, second = saw(HELD_BY_A, at_s=10.0), Around(ready=True, rank=1)
    assert isinstance(step(view, second, boot_s=15.0), Wait)
    assert isinstance(step(view, second, boot_s=15.0 + LEASE_S * STAGGER), Take)


def test_an_offer_to_me_is_taken_at_once_and_one_to_another_is_not() -> None:
    offered = Record("a", "a1", 3, offered="b")
    assert step(saw(offered, at_s=10.0), boot_s=10.0) == Take(
        Record("b", "b1", 4, beat=10000, lease_s=5.0), 7, "offered"
    )
    view = saw(offered, at_s=10.0, me=Me("c", "c1"))
    assert isinstance(step(view, boot_s=14.9, me=Me("c", "c1")), Wait)
    assert isinstance(step(view, boot_s=15.0, me=Me("c", "c1")), Take)


def test_an_offer_to_anybody_is_taken_in_the_order_of_preference() -> None:
    view = saw(Record("a", "a1", 3, offered=ANYBODY), at_s=10.0)
    assert step(view, boot_s=10.0) == Take(
        Record("b", "b1", 4, beat=10000, lease_s=5.0), 7, "offered"
    )
    assert step(view, Around(ready=True, rank=1), boot_s=10.4) == Wait(until_s=10.5)


@pytest.mark.parametrize(("record", "epoch", "free_s"), [
    (None, 3, 15.0), (HELD_BY_A, 3, 10.0), (HELD_BY_A, 9, 10.0), (Record("c", "c1", 3), 9, 15.0),
    (Record("c", "c1", 3), 3, 15.0),
])  # fmt: skip
def test_each_lane_that_is_to_be_preferred_comes_half_a_second_before(
    record: Record | None, epoch: int, free_s: float
) -> None:
    """Vacant, revoked, an older copy, or run out: whatever makes the role free."""
    view = seen(View("forge", epoch=epoch), Slot(7, record), B, 10.0)
    for rank in (1, 2):
        around = Around(ready=True, rank=rank, banned=frozenset({"a"}))
        assert step(view, around, boot_s=0.0) == Wait(until_s=free_s + rank * 0.5)


def test_the_last_epoch_of_all_is_not_passed() -> None:
    last = View("forge", epoch=MAX_EPOCH)
    assert step(seen(last, Slot(7, None), B, 10.0), boot_s=99.0) == Wait()
    before = View("forge", epoch=MAX_EPOCH - 1)
    assert isinstance(step(seen(before, Slot(7, None), B, 10.0), boot_s=99.0), Take)


def test_the_role_of_a_revoked_lane_is_free_at_once() -> None:
    banned = Around(ready=True, banned=frozenset({"a"}))
    assert step(saw(HELD_BY_A, at_s=10.0), banned, boot_s=10.0) == Take(
        Record("b", "b1", 4, beat=10000, lease_s=5.0), 7, "revoked"
    )


def test_a_program_that_was_restarted_takes_up_its_own_role_at_once_with_a_new_epoch() -> None:
    again, left = Me("a", "a2"), Slot(7, HELD_BY_A)
    view = seen(View("forge", epoch=3, left=left), left, again, 10.0)
    assert step(view, boot_s=10.0, me=again) == Take(
        Record("a", "a2", 4, beat=10000, lease_s=5.0), 7, "restarted"
    )


@pytest.mark.parametrize("left", [
    None, Slot(6, HELD_BY_A), Slot(8, HELD_BY_A), Slot(7, Record("a", "a1", 3, beat=1)),
    Slot(7, None),
])  # fmt: skip
def test_a_program_that_was_restarted_waits_for_a_record_that_it_does_not_know_as_its_last(
    left: Slot | None,
) -> None:
    """Whoever wrote it in its name may have written over another lane's, which still counts on it."""
    again = Me("a", "a2")
    view = seen(View("forge", epoch=3, left=left), Slot(7, HELD_BY_A), again, 10.0)
    assert step(view, boot_s=10.0, me=again) == Wait(until_s=15.0)
    taken = step(view, boot_s=15.0, me=again)
    assert isinstance(taken, Take)
    assert taken.why == "expired"


def test_what_was_left_counts_for_the_first_look_alone() -> None:
    again, left = Me("a", "a2"), Slot(7, HELD_BY_A)
    view = View("forge", epoch=3, left=left)
    for slot in (Slot(8, Record("b", "b1", 3)), left):
        view = seen(view, slot, again, 10.0)
    assert step(view, boot_s=10.0, me=again) == Wait(until_s=15.0)


def test_a_twin_that_shows_up_later_is_a_stranger() -> None:
    """Two machines run with one lane's key: the one that was there does not grab back."""
    mine = wrote(saw(None, at_s=0.0, me=A), Record("a", "a1", 3), 8, lease_s=5, sent_s=10.0)
    view = seen(mine, Slot(9, Record("a", "a2", 4)), A, 11.0)
    assert view.lease is None
    assert isinstance(step(view, boot_s=11.0, me=A), Wait)


def test_a_register_that_went_back_offers_nothing() -> None:
    view = seen(View("forge", epoch=9), Slot(7, Record("a", "a1", 3, offered="b")), B, 10.0)
    assert isinstance(step(view, boot_s=10.0), Wait)
    assert step(view, boot_s=15.0) == Take(
        Record("b", "b1", 10, beat=15000, lease_s=5.0), 7, "expired"
    )


def test_an_epoch_far_ahead_is_a_lie_and_is_not_followed() -> None:
    view = saw(Record("a", "a1", 1 + MAX_EPOCH_JUMP + 1), at_s=10.0)
    assert view.epoch == 1
    view = saw(Record("a", "a1", 1 + MAX_EPOCH_JUMP), at_s=10.0)
    assert view.epoch == 1 + MAX_EPOCH_JUMP


# --- holding it ------------------------------------------------------------------------------


def holding() -> View:
    return wrote(saw(None, at_s=0.0, me=A), HELD_BY_A, 8, lease_s=LEASE_S, sent_s=10.0)


def test_a_lease_counts_from_before_it_was_asked_for_and_ends_early() -> None:
    view = holding()
    assert view.lease == Lease("forge", "a", 3, 10.0 + LEASE_S * HELD)
    assert holds(view.lease, 14.2)
    assert not holds(view.lease, 14.25)


def test_a_holder_writes_its_record_again_and_again() -> None:
    assert step(holding(), boot_s=11.0, me=A) == Keep(renewed(11.0), 8)


def test_a_holder_that_could_do_nothing_keeps_the_role_while_nobody_else_can() -> None:
    assert step(holding(), Around(ready=False), boot_s=11.0, me=A) == Keep(renewed(11.0), 8)


def test_a_lease_that_ran_out_is_renewed_when_nobody_took_the_role() -> None:
    view = holding()
    assert not holds(view.lease, 60.0)
    assert step(view, boot_s=60.0, me=A) == Keep(renewed(60.0), 8)


def test_an_answer_that_was_lost_extends_nothing() -> None:
    view = seen(holding(), Slot(9, HELD_BY_A), A, 13.0)
    assert view.lease == holding().lease
    assert step(view, boot_s=13.0, me=A) == Keep(renewed(13.0), 9)


def test_the_record_of_another_ends_the_lease_at_once() -> None:
    assert seen(holding(), Slot(9, Record("b", "b1", 4)), A, 10.5).lease is None
    assert seen(holding(), Slot(9, None), A, 10.5).lease is None


def test_handing_over_offers_the_role_with_the_lease_given_up() -> None:
    view = stood_down(holding())
    assert view.lease is None
    offer = step(view, Around(ready=True, heir="b"), boot_s=11.0, me=A)
    assert offer == Offer(Record("a", "a1", 3, offered="b", beat=11_000), 8)
    assert isinstance(offer, Offer)
    view = wrote(view, offer.record, 9, lease_s=LEASE_S, sent_s=11.0)
    assert view.lease is None
    assert isinstance(step(view, boot_s=12.0, me=A), Wait)
    assert isinstance(step(view, boot_s=16.0, me=A), Take), "nobody took it: taken back"


def test_the_epoch_is_the_highest_ever_seen() -> None:
    view = seen(holding(), Slot(9, Record("b", "b1", 8)), A, 10.5)
    assert seen(view, Slot(10, Record("b", "b1", 2)), A, 11.0).epoch == 8


# --- whom to prefer --------------------------------------------------------------------------

ORDER = ("a", "b", "c")


def sibling(name: str, ready_s: float) -> Sibling:
    return Sibling(name, ready_s)


def test_the_rank_counts_preferred_lanes_that_are_ready() -> None:
    assert rank_of("c", ORDER, [sibling("a", 9), sibling("b", 9)]) == 2
    assert rank_of("c", ORDER, [sibling("a", 0), sibling("b", 9)]) == 1
    assert rank_of("a", ORDER, [sibling("b", 9), sibling("c", 9)]) == 0
    assert rank_of("d", ORDER, [sibling("a", 9), sibling("e", 9)]) == 1
    assert rank_of("b", ORDER, [sibling("a", 0.5)]) == 1


def heir(me: str, siblings: list[Sibling], *, ready: bool = True) -> str:
    return heir_of(me, ORDER, siblings, ready=ready, return_after_s=300)


def test_a_holder_that_cannot_work_hands_over_to_the_first_that_can() -> None:
    assert heir("a", [sibling("c", 1), sibling("b", 1)], ready=False) == "b"
    assert heir("a", [sibling("b", 0), sibling("c", 1)], ready=False) == "c"
    assert heir("a", [sibling("b", 0), sibling("c", 0)], ready=False) == ""


def test_a_preferred_lane_gets_the_role_back_only_when_it_was_well_for_a_while() -> None:
    assert heir("b", [sibling("a", 299.9)]) == ""
    assert heir("b", [sibling("a", 300.0)]) == "a"
    assert heir("b", [sibling("c", 1e6)]) == "", "a lesser lane never gets it"
    assert heir("x", [sibling("y", 1e6)]) == "", "nor one that is listed as little"


@pytest.mark.parametrize("ready_s", [math.nan, -1.0])
def test_a_sibling_without_a_clear_word_is_not_ready(ready_s: float) -> None:
    assert heir("a", [sibling("b", ready_s)], ready=False) == ""
    assert rank_of("b", ORDER, [sibling("a", ready_s)]) == 0


@pytest.mark.parametrize(
    "raw",
    [
        b'{"holder":"","process":"p","epoch":1}',
        b'{"holder":"a","process":"p","epoch":0}',
        b'{"holder":"a","process":"p","epoch":1e300}',
        b'{"holder":"a","process":"p","epoch":1,"more":1}',
        b'{"holder":"a","process":"p","epoch":true}',
    ],
)
def test_a_record_out_of_form_is_no_record(raw: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(raw, type=Record)


# --- what a stolen lane writes in another's name ---------------------------------------------


@pytest.mark.parametrize("forged", [
    Record("a", "a1", MAX_EPOCH), Record("a", "a1", 3, beat=1), Record("a", "a1", 1),
    Record("a", "a1", 4), Record("a", "a1", 3, lease_s=60.0),
])  # fmt: skip
def test_a_record_in_my_name_that_i_did_not_write_makes_me_hold_nothing(forged: Record) -> None:
    view = seen(holding(), Slot(9, forged), A, 10.5)
    assert view.lease is None
    assert view.epoch < MAX_EPOCH
    assert isinstance(step(view, boot_s=10.5, me=A), Wait)
    taken = step(view, boot_s=15.5, me=A)
    assert isinstance(taken, Take), "a lease later the role is free again, for me too"
    assert taken.record.epoch == view.epoch + 1


def test_a_record_of_mine_that_somebody_wrote_again_extends_no_lease() -> None:
    view = seen(holding(), Slot(99, HELD_BY_A), A, 14.0)
    assert view.lease == holding().lease
    assert not holds(view.lease, 14.3)


def test_a_write_whose_answer_was_lost_is_known_as_mine() -> None:
    sent = renewed(11.0)
    view = seen(sending(holding(), sent), Slot(9, sent), A, 12.0)
    assert view.lease == holding().lease
    assert isinstance(step(view, boot_s=12.0, me=A), Keep)


def test_what_was_mine_before_another_held_the_role_is_mine_no_more() -> None:
    view = seen(holding(), Slot(9, Record("b", "b1", 4)), A, 10.5)
    view = seen(view, Slot(10, HELD_BY_A), A, 11.0)
    assert view.lease is None
    assert isinstance(step(view, boot_s=11.0, me=A), Wait)


def test_an_older_epoch_never_lowers_the_one_a_lease_counts_under() -> None:
    view = wrote(saw(None, at_s=0.0, me=A), Record("a", "a1", 501), 8, lease_s=5, sent_s=10.0)
    lower = seen(view, Slot(9, Record("a", "a1", 1)), A, 10.5)
    assert lower.epoch == 501
    taken = step(lower, boot_s=16.0, me=A)
    assert isinstance(taken, Take)
    assert taken.record.epoch == 502


def test_a_write_of_mine_lifts_the_epoch_no_further_than_another_lanes_would() -> None:
    view = wrote(View("forge", epoch=3), Record("a", "a1", MAX_EPOCH), 8, lease_s=5, sent_s=1.0)
    assert view.epoch == 3


def test_the_lease_of_a_lane_that_is_in_no_council_is_not_waited_for() -> None:
    """Nor one in my own name: only a member may be counting on a lease of its own length."""
    around = Around(ready=True, members=frozenset({"a", "b"}))
    for holder, free_s in (("a", 70.0), ("b", 15.0), ("zz", 15.0)):
        view = saw(Record(holder, "p", 3, lease_s=60.0), at_s=10.0)
        assert step(view, around, boot_s=10.0) == Wait(until_s=free_s), holder
