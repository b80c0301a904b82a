from __future__ import annotations

from typing import Any

import msgspec
import pytest

from allegro.core.authority.gate import LaneTrust
from allegro.core.authority.roster import (
    MAX_MEMBERS,
    banned_of,
    check_form,
    check_roster,
    members_of,
    orders_of,
)
from allegro.core.authority.tokens import Member, Roster
from tests.core.builders import TRUST, refused

PEM = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"
NAMES = ("a", "b", "c")


def member(name: str, **changes: Any) -> Member:
    number = ord(name[0])
    values = {
        "lane": f"{number:032x}", "name": name, "address": f"192.0.2.{number % 100}:7423",
        "certificate": PEM.format(f"MII{name}"), "domain": "",
    }  # fmt: skip
    return Member(**{**values, **changes})


def roster(*members: Member, **changes: Any) -> Roster:
    names = [one.name for one in members]
    values = {"aud": "fleet", "number": 1, "members": members, "roles": orders_of(names)}
    return Roster(**{**values, **changes})


THREE = roster(*map(member, NAMES))


def test_three_lanes_make_a_council_and_none_ends_it() -> None:
    assert check_roster(THREE) is None
    assert check_roster(roster(roles={})) is None


@pytest.mark.parametrize("count", [1, 2, MAX_MEMBERS + 1])
def test_a_council_that_could_not_go_on_without_one_is_refused(count: int) -> None:
    members = [member(chr(97 + n)) for n in range(count)]
    assert refused(check_roster(roster(*members)), "bad_roster")


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "A"}, {"name": ""}, {"name": "x\ny"}, {"lane": "0" * 31}, {"lane": "Z" * 32},
        {"address": "192.0.2.1"}, {"address": "192.0.2.1:7423\n"}, {"address": "a b:1"},
        {"address": 'h":1'}, {"address": "[:::::]:4222"}, {"address": "[.]:4222"}, {"address": "...:1"},
        {"address": "[192.0.2.1]:1"}, {"address": "192.0.2.256:1"}, {"address": "192.0.2.1:0"},
        {"address": "192.0.2.1:65536"}, {"address": "192.0.2.1:99999"}, {"address": "192.0.2.1:٣"},
        {"address": "-a.example:1"}, {"address": "a..example:1"}, {"address": "x." * 130 + "y:1"},
        {"address": "a" * 64 + ".example:1"}, {"address": ":1"}, {"address": "2001:db8::1:7423"}, {"domain": "a\x1b[2Jb"}, {"domain": "x" * 65}, {"certificate": "none"}, {"certificate": PEM.format('"')},
        {"certificate": PEM.format("MIIa") * 2},
    ],
)  # fmt: skip
def test_a_member_that_could_not_be_written_into_a_servers_settings_is_refused(
    changes: dict[str, Any],
) -> None:
    broken = roster(msgspec.structs.replace(member("a"), **changes), member("b"), member("c"))
    assert refused(check_roster(msgspec.structs.replace(broken, roles={})), "bad_roster")


@pytest.mark.parametrize(
    "address",
    [
        "192.0.2.1:1", "[2001:db8::1]:65535", "[::ffff:192.0.2.1]:7423", "lane-1.example.org:7423",
        "localhost:7423", "xn--e1afmkfd.example:7423", "7.example:80", "10.example.org:80",
    ],
)  # fmt: skip
def test_an_address_that_can_be_dialled_is_taken(address: str) -> None:
    assert check_roster(roster(member("a", address=address), member("b"), member("c"))) is None


def test_a_member_whose_address_cannot_be_used_is_left_out_and_the_others_keep_council() -> None:
    signed_before = roster(member("a"), member("b", address="[.]:4222"), member("c"))
    assert check_form(signed_before) is None
    assert [one.name for one in members_of(held(signed_before))] == ["a", "c"]


@pytest.mark.parametrize("same", ["lane", "name", "address", "certificate"])
def test_two_members_never_share_what_tells_them_apart(same: str) -> None:
    twin = msgspec.structs.replace(member("b"), **{same: getattr(member("a"), same)})
    broken = roster(member("a"), twin, member("c"), roles={})
    assert refused(check_roster(broken), "bad_roster")


@pytest.mark.parametrize(
    "roles", [{"forge": ("d",)}, {"forge": ("a", "a")}, {"cooking": ("a",)}, {"hermes": ("a", "d")}]
)
def test_a_role_names_lanes_of_the_roster_each_once(roles: dict[str, tuple[str, ...]]) -> None:
    assert refused(check_roster(msgspec.structs.replace(THREE, roles=roles)), "bad_roster")


def test_by_default_the_first_lane_polls_and_the_second_runs_sessions() -> None:
    assert orders_of(NAMES) == {"forge": ("a", "b", "c"), "hermes": ("b", "c", "a")}


def held(roster_: Roster | None, *, lane: str = member("a").lane, revoked: str = "") -> LaneTrust:
    trust = msgspec.structs.replace(TRUST, lane=lane)
    return LaneTrust(trust, frozenset({revoked} if revoked else ()), roster_)


def test_a_lane_keeps_council_with_the_members_that_are_not_revoked() -> None:
    assert [one.name for one in members_of(held(THREE))] == ["a", "b", "c"]
    with_thief = held(THREE, revoked=member("b").lane)
    assert [one.name for one in members_of(with_thief)] == ["a", "c"]
    assert banned_of(with_thief) == {"b"}


def test_a_lane_that_is_on_no_roster_or_revoked_itself_keeps_no_council() -> None:
    assert members_of(held(None)) == ()
    assert banned_of(held(None)) == frozenset()
    assert members_of(held(THREE, lane="f" * 32)) == ()
    assert members_of(held(THREE, revoked=member("a").lane)) == ()
