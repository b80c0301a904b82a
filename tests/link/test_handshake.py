from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allegro.adapters.crypto.signatures import SigningKey, verify
from allegro.core.authority.gate import LaneTrust, Trust
from allegro.core.authority.tokens import (
    Claims,
    Greeting,
    HouseCertificate,
    Login,
    Revocation,
    Roster,
    Rotation,
    Seat,
    Thaw,
    b64url,
    fingerprint,
    issue_token,
    read_token,
)
from allegro.core.base.errors import Refusal
from allegro.core.protocol.messages import PROTOCOL, Greet, Hello, LogIn
from allegro.link.handshake import (
    MAX_CERTIFICATES,
    check_greeting,
    check_login,
    greet,
    is_challenge,
    take_token,
)
from tests.core.builders import HOUSE, LANE, RECOVERY, SOVEREIGN, STRANGER, TRUST, key_of, refused

HELD = LaneTrust(TRUST)
NOW_S = 100.0
CHALLENGE, COUNTER = b64url(b"h" * 32), b64url(b"c" * 32)
NEXT_HOUSE, NEXT_SOVEREIGN = key_of("next house"), key_of("next sovereign")


def signed(claims: Claims, key: SigningKey = SOVEREIGN, kid: str = "sovereign:1") -> str:
    return issue_token(claims, kid, key.sign)


def rotation(
    number: int = 2, by: SigningKey = SOVEREIGN, kid: str = "sovereign:1", **more: Any
) -> str:  # fmt: skip
    claims = {
        "aud": "fleet",
        "key": b64url(NEXT_SOVEREIGN.public),
        "number": number,
        "exp": 200,
        **more,
    }
    return signed(Rotation(**claims), by, kid)


def certificate(
    house: SigningKey = NEXT_HOUSE, number: int = 2, *, by: int = 1, exp: int = 200
) -> str:
    claims = HouseCertificate(aud="fleet", house=b64url(house.public), number=number, exp=exp)
    return signed(claims, SOVEREIGN if by == 1 else NEXT_SOVEREIGN, f"sovereign:{by}")


def seat(house: SigningKey = NEXT_HOUSE, number: int = 2, *, by: int = 1) -> str:
    claims = Seat(aud="fleet", number=number, house=fingerprint(house.public))
    return signed(claims, SOVEREIGN if by == 1 else NEXT_SOVEREIGN, f"sovereign:{by}")


def revocation(house: SigningKey, *, by: int = 1) -> str:
    claims = Revocation(aud="fleet", what="house", key=fingerprint(house.public))
    return signed(claims, SOVEREIGN if by == 1 else NEXT_SOVEREIGN, f"sovereign:{by}")


def login(
    *certificates: str, key: SigningKey = HOUSE, kid: str = "house:1", now_s: float = NOW_S, **more: Any
) -> LogIn:  # fmt: skip
    claims = Login(**{
        "aud": "fleet", "lane": TRUST.lane, "challenge": COUNTER, "seat": 1, "key_number": 1, **more,
    })  # fmt: skip
    return LogIn(issue_token(claims, kid, key.sign), certificates, (), (), (), (), now_s)


def enter(message: LogIn, held: LaneTrust = HELD, now_s: float = NOW_S) -> LaneTrust | Refusal:
    return check_login(message, held, counter_challenge=COUNTER, verify=verify, now_s=now_s)


def take(*tokens: str, held: LaneTrust = HELD, now_s: float = NOW_S) -> LaneTrust | Refusal:
    for token in tokens:
        taken = take_token(held, token, now_s=now_s, verify=verify)
        if isinstance(taken, Refusal):
            return taken
        held = taken
    return held


def trust_after(*tokens: str, held: LaneTrust = HELD) -> Trust:
    taken = take(*tokens, held=held)
    assert isinstance(taken, LaneTrust), taken
    return taken.trust


# --- greeting ------------------------------------------------------------------------------


def greeting(hello: Hello | None = None) -> Greet | Refusal:
    return greet(
        hello or Hello(PROTOCOL, CHALLENGE), TRUST, counter_challenge=COUNTER, version="1",
        sign=LANE.sign,
    )  # fmt: skip


def check(message: Greet, challenge: str = CHALLENGE) -> str | Refusal:
    return check_greeting(
        message, challenge=challenge, fleet="fleet", lane_key=LANE.public, verify=verify
    )


def test_a_lane_and_its_house_know_each_other_by_their_keys() -> None:
    message = greeting()
    assert isinstance(message, Greet)
    assert check(message) == COUNTER
    assert enter(login()) == HELD


@pytest.mark.parametrize("text", ["", "x", b64url(bytes(31)), b64url(bytes(33)), CHALLENGE + "="])
def test_a_challenge_is_32_bytes_and_nothing_else(text: str) -> None:
    assert not is_challenge(text)
    assert refused(greeting(Hello(PROTOCOL, text)), "bad_challenge")


def test_another_protocol_is_told_as_such_by_both_sides() -> None:
    assert refused(greeting(Hello(PROTOCOL + 1, CHALLENGE)), "wrong_protocol")
    message = greeting()
    assert isinstance(message, Greet)
    assert refused(check(msgspec.structs.replace(message, protocol=0)), "wrong_protocol")


def test_a_lane_signs_a_greeting_and_never_what_it_was_sent() -> None:
    message = greeting()
    assert isinstance(message, Greet)
    for expect in (Login, Rotation, Seat):
        claims = read_token(
            message.token, expect, kid=f"lane:{TRUST.lane}", key=LANE.public, aud="fleet", verify=verify
        )  # fmt: skip
        assert refused(claims, "wrong_type")


@pytest.mark.parametrize(("changes", "key", "reason"), [
    ({}, STRANGER, "bad_signature"), ({"aud": "other"}, LANE, "wrong_audience"),
    ({"lane": "other"}, LANE, "wrong_challenge"), ({"challenge": COUNTER}, LANE, "wrong_challenge"),
    ({"counter_challenge": "short"}, LANE, "bad_challenge"),
])  # fmt: skip
def test_a_greeting_must_hold_in_every_point(changes: Any, key: SigningKey, reason: str) -> None:
    claims = Greeting(**{
        "aud": "fleet", "lane": TRUST.lane, "challenge": CHALLENGE, "counter_challenge": COUNTER,
        **changes,
    })  # fmt: skip
    message = Greet(PROTOCOL, issue_token(claims, f"lane:{TRUST.lane}", key.sign), "1")
    assert refused(check(message), reason)


# --- log-in --------------------------------------------------------------------------------


@pytest.mark.parametrize(("message", "reason"), [
    (login(lane="other"), "wrong_lane"), (login(challenge=CHALLENGE), "wrong_challenge"),
    (login(seat=0), "wrong_seat"), (login(seat=2), "wrong_seat"), (login(key_number=0), "old_key"),
    (login(key_number=2), "old_key"), (login(key=STRANGER), "bad_signature"),
    (login(kid="house:2", key=NEXT_HOUSE), "wrong_key"), (login("rubbish"), "wrong_type"),
])  # fmt: skip
def test_a_log_in_must_hold_in_every_point(message: LogIn, reason: str) -> None:
    assert refused(enter(message), reason)


def test_a_new_house_comes_in_with_its_certificate_and_seat() -> None:
    message = login(certificate(), seat(), key=NEXT_HOUSE, kid="house:2", seat=2)
    after = enter(message)
    assert isinstance(after, LaneTrust)
    assert (after.trust.house, after.trust.house_number, after.trust.seat) == (
        NEXT_HOUSE.public,
        2,
        2,
    )


def test_a_certified_house_without_the_seat_stays_outside() -> None:
    for brought in ((certificate(),), (seat(HOUSE, 1), certificate())):
        assert refused(enter(login(*brought, key=NEXT_HOUSE, kid="house:2")), "wrong_seat")


def test_an_expired_certificate_is_not_revived_by_a_liar_or_by_a_slow_clock() -> None:
    old = certificate(exp=100)
    for said_s, own_s in ((10.0, 150.0), (150.0, 10.0)):
        message = login(old, seat(), key=NEXT_HOUSE, kid="house:2", seat=2, now_s=said_s)
        assert refused(enter(message, now_s=own_s), "certificate_expired")


def test_a_log_in_with_a_flood_of_certificates_is_not_even_read() -> None:
    flood = ("rubbish",) * (MAX_CERTIFICATES + 1)
    assert refused(enter(login(*flood)), "too_many_certificates")


def test_a_refused_log_in_changes_no_trust() -> None:
    assert isinstance(enter(login(certificate(), seat(), key=HOUSE)), Refusal)
    assert enter(login()) == HELD


# --- trust ---------------------------------------------------------------------------------


def test_a_rotation_names_the_next_sovereign_key() -> None:
    after = trust_after(rotation())
    assert (after.sovereign, after.sovereign_number) == (NEXT_SOVEREIGN.public, 2)


def test_a_new_sovereign_key_says_house_and_seat_again() -> None:
    # a thief of the old key gave itself the highest numbers there are
    thief = take(certificate(STRANGER, 2**53 - 1), seat(STRANGER, 2**53 - 1))
    assert isinstance(thief, LaneTrust)
    after = trust_after(
        rotation(7, RECOVERY, "recovery"),
        signed(
            HouseCertificate(aud="fleet", house=b64url(HOUSE.public), number=2, exp=200),
            NEXT_SOVEREIGN, "sovereign:7",
        ),
        signed(Seat(aud="fleet", number=2, house=fingerprint(HOUSE.public)), NEXT_SOVEREIGN, "sovereign:7"),
        held=thief,
    )  # fmt: skip
    assert (after.house, after.house_number, after.seat) == (HOUSE.public, 2, 2)


def test_after_a_rotation_no_house_key_counts_until_it_is_certified_anew() -> None:
    rotated = take(rotation())
    assert isinstance(rotated, LaneTrust)
    for number in (0, 1):
        message = login(kid=f"house:{number}", seat=0, key_number=2)
        assert isinstance(enter(message, rotated), Refusal)


def test_a_stolen_sovereign_key_cannot_leap_beyond_the_recovery_key() -> None:
    assert refused(take(rotation(2**53 - 1)), "wrong_number")
    assert refused(take(rotation(1)), "wrong_number")
    assert trust_after(rotation(2**40, RECOVERY, "recovery")).sovereign_number == 2**40


def test_a_rotation_taken_before_changes_nothing() -> None:
    once = take(rotation())
    assert isinstance(once, LaneTrust)
    assert take(rotation(), held=once, now_s=10_000.0) == once
    by_recovery = rotation(2, RECOVERY, "recovery")
    assert take(by_recovery, held=once, now_s=10_000.0) == once


def test_an_old_rotation_cannot_bring_an_old_key_back() -> None:
    later = LaneTrust(msgspec.structs.replace(TRUST, sovereign_number=5))
    old = [
        rotation(2),
        rotation(9),
        rotation(5, RECOVERY, "recovery"),
        rotation(9, STRANGER, "sovereign:4"),
    ]
    for token in old:
        assert take(token, held=later) == later


@pytest.mark.parametrize(("token", "reason"), [
    (rotation(by=STRANGER), "bad_signature"), (rotation(by=HOUSE), "bad_signature"),
    (rotation(2, SOVEREIGN, "recovery"), "wrong_key"), (rotation(3, kid="sovereign:2"), "wrong_key"),
    (rotation(exp=100), "rotation_expired"), (rotation(aud="other"), "wrong_audience"),
    (rotation(3, RECOVERY, "recovery", exp=100), "rotation_expired"),
    (rotation(kid="sovereign:" + "9" * 5000), "wrong_key"),
    (rotation(key="%"), "malformed_token"), (rotation(key="QQ"), "malformed_token"),
])  # fmt: skip
def test_a_rotation_must_hold_in_every_point(token: str, reason: str) -> None:
    assert refused(take(token), reason)


@pytest.mark.parametrize(("token", "reason"), [
    (certificate(NEXT_HOUSE, 1), "old_key"), (certificate(HOUSE, 0), "old_key"),
    (certificate(exp=100), "certificate_expired"), (certificate(by=2), "wrong_key"),
    (signed(HouseCertificate(aud="fleet", house="QQ", number=2, exp=200)), "malformed_token"),
    (signed(HouseCertificate(aud="fleet", house="%", number=2, exp=200)), "malformed_token"),
    (signed(HouseCertificate(aud="fleet", house="", number=2, exp=200), RECOVERY, "recovery"), "wrong_key"),
])  # fmt: skip
def test_a_certificate_must_hold_in_every_point(token: str, reason: str) -> None:
    assert refused(take(token), reason)


def test_a_certificate_taken_before_is_good_for_ever() -> None:
    assert take(certificate(HOUSE, 1, exp=0)) == HELD


def test_a_seat_only_rises_and_only_for_the_house_that_is_certified() -> None:
    assert trust_after(seat(HOUSE, 9)).seat == 9
    assert take(seat(HOUSE, 1)) == HELD
    assert refused(take(seat(HOUSE, 0)), "wrong_seat")
    assert refused(take(seat(NEXT_HOUSE, 9)), "wrong_seat")
    assert refused(take(seat(HOUSE, 9, by=2)), "wrong_key")


def test_a_revoked_house_key_is_out_at_once_even_for_a_session_that_is_open() -> None:
    after = take(revocation(HOUSE))
    assert isinstance(after, LaneTrust)
    assert after.trust.house == b""
    assert isinstance(enter(login(), after), Refusal)
    assert refused(take(certificate(HOUSE, 9), held=after), "revoked")
    assert trust_after(certificate(NEXT_HOUSE, 2), held=after).house == NEXT_HOUSE.public


def test_a_revocation_of_another_key_leaves_the_house_in() -> None:
    after = take(revocation(STRANGER))
    assert isinstance(after, LaneTrust)
    assert after.revoked == {fingerprint(STRANGER.public)}
    assert enter(login(), after) == after


def test_revocations_of_a_sovereign_key_since_replaced_do_not_lock_the_house_out() -> None:
    message = login(
        rotation(), certificate(NEXT_HOUSE, 2, by=2), seat(NEXT_HOUSE, 2, by=2), revocation(HOUSE),
        key=NEXT_HOUSE, kid="house:2", seat=2, key_number=2,
    )  # fmt: skip
    assert isinstance(enter(message), LaneTrust)


def test_a_forged_revocation_revokes_nothing() -> None:
    assert refused(take(revocation(HOUSE, by=2)), "wrong_key")
    forged = signed(Revocation(aud="fleet", what="house", key="x"), HOUSE)
    assert refused(take(forged), "bad_signature")


@pytest.mark.parametrize("token", ["", "rubbish", signed(Thaw(aud="fleet", freezes=(), exp=1))])
def test_what_is_no_word_about_trust_changes_none(token: str) -> None:
    assert refused(take(token), "wrong_type")


@given(st.lists(
    st.sampled_from([
        rotation(2), rotation(2, RECOVERY, "recovery"), rotation(5, RECOVERY, "recovery"),
        rotation(3, NEXT_SOVEREIGN, "sovereign:2"), certificate(), certificate(by=2), certificate(HOUSE, 3),
        seat(), seat(HOUSE, 4), seat(by=2), revocation(HOUSE), revocation(NEXT_HOUSE, by=2),
    ]),
    max_size=8,
))  # fmt: skip
def test_in_whatever_order_tokens_come_key_numbers_never_fall(tokens: list[str]) -> None:
    held = HELD
    for token in tokens:
        taken = take_token(held, token, now_s=NOW_S, verify=verify)
        if isinstance(taken, Refusal):
            continue
        before, after = held.trust, taken.trust
        assert after.sovereign_number >= before.sovereign_number
        if after.sovereign_number == before.sovereign_number:
            assert after.sovereign == before.sovereign
            assert after.house_number >= before.house_number
            assert after.seat >= before.seat
        assert (after.fleet, after.lane, after.recovery) == (
            before.fleet,
            before.lane,
            before.recovery,
        )
        assert taken.revoked >= held.revoked
        assert fingerprint(after.house) not in taken.revoked
        held = taken


# --- the roster of the fleet -----------------------------------------------------------------


def roster(number: int = 1, *, by: SigningKey = SOVEREIGN, kid: str = "sovereign:1") -> str:
    return signed(Roster(aud="fleet", number=number, members=(), roles={}), by, kid)


def test_a_lane_takes_a_roster_the_sovereign_signed() -> None:
    held = taken(take_token(HELD, roster(), now_s=NOW_S, verify=verify))
    assert held.roster is not None
    assert held.roster.number == 1


@pytest.mark.parametrize("number", [1, 2])
def test_a_roster_that_is_not_newer_changes_nothing(number: int) -> None:
    held = taken(take_token(HELD, roster(2), now_s=NOW_S, verify=verify))
    assert take_token(held, roster(number), now_s=NOW_S, verify=verify) is held


def test_a_roster_by_anybody_else_is_refused() -> None:
    for key, kid in ((STRANGER, "sovereign:1"), (HOUSE, "house:1"), (RECOVERY, "recovery")):
        assert isinstance(
            take_token(HELD, roster(by=key, kid=kid), now_s=NOW_S, verify=verify), Refusal
        )


def test_a_roster_that_cannot_be_is_refused_though_it_is_signed() -> None:
    claims = Roster(aud="fleet", number=1, members=(), roles={"forge": ("nobody",)})
    assert refused(take_token(HELD, signed(claims), now_s=NOW_S, verify=verify), "bad_roster")


def test_a_thief_of_the_sovereign_key_cannot_outnumber_its_successor() -> None:
    held = taken(take_token(HELD, roster(2**40), now_s=NOW_S, verify=verify))
    held = taken(take_token(held, rotation(), now_s=NOW_S, verify=verify))
    held = taken(
        take_token(
            held, roster(3, by=NEXT_SOVEREIGN, kid="sovereign:2"), now_s=NOW_S, verify=verify
        )
    )
    assert held.roster is not None
    assert (held.roster.number, held.roster_by) == (3, 2)


def test_a_roster_that_its_signers_successor_did_not_renew_ends_at_the_next_log_in() -> None:
    held = taken(take_token(HELD, roster(5), now_s=NOW_S, verify=verify))
    again = (rotation(), certificate(by=2), seat(by=2))
    message = login(*again, key=NEXT_HOUSE, kid="house:2", seat=2, key_number=2)
    held = taken(enter(message, held))
    assert held.roster is None


def test_a_roster_by_a_key_that_was_replaced_passes_and_changes_nothing() -> None:
    held = taken(take_token(HELD, rotation(), now_s=NOW_S, verify=verify))
    assert take_token(held, roster(), now_s=NOW_S, verify=verify) is held


def taken(held: LaneTrust | Refusal) -> LaneTrust:
    assert isinstance(held, LaneTrust)
    return held
