"""What is said and signed of a fleet: who is in its council, who holds what, what a drill showed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from allegro.cli.commands.drill import drill_lines
from allegro.cli.commands.fleet import _orders, _trusted, fleet_lines
from allegro.core.authority.tokens import Member, Roster, fingerprint
from allegro.core.protocol.answers.fleet import FleetAnswer, FleetLane
from allegro.drill.report import DrillTrial, summary, unfinished
from allegro.house.files import Fleet, KnownLane
from allegro.house.fleet.council_view import agreement, holder_of, registered

NAMES = ("a", "b", "c", "d")


def lane(name: str, *, revoked: bool = False) -> KnownLane:
    return KnownLane(name, name.encode() * 32, f"wss://{name}", None, revoked=revoked)


def member(name: str) -> Member:
    return Member(fingerprint(name.encode() * 32), name, f"{name}:1", "pem", "")


def fleet(*names: str, revoked: tuple[str, ...] = (), **roles: tuple[str, ...]) -> Fleet:
    orders = roles or {"forge": names, "hermes": (*names[1:], names[0])}
    roster = Roster(aud="f", number=3, members=tuple(map(member, names)), roles=orders)
    return Fleet(
        "f", 0.0, b"", 1, b"", b"", 1, "", 1, "", b"", b"", b"",
        lanes=tuple(lane(name, revoked=name in revoked) for name in NAMES), roster=roster,
    )  # fmt: skip


def test_a_revoked_lane_is_no_member_any_more() -> None:
    assert [one.name for one in _trusted(fleet("a", "b", "c", revoked=("b",)))] == ["a", "c"]


def test_who_is_preferred_stays_and_new_lanes_come_last() -> None:
    known = fleet("a", "b", "c", forge=("c", "a", "b"), hermes=("a", "b", "c"))
    members = tuple(map(member, ("a", "b", "c", "d")))
    assert _orders(members, (), known) == {
        "forge": ("c", "a", "b", "d"), "hermes": ("a", "b", "c", "d"),
    }  # fmt: skip
    assert _orders(members[1:], (), known)["forge"] == ("c", "b", "d")
    assert _orders(members, ("forge=d, a",), known)["forge"] == ("d", "a")


def said(name: str, names: str = "", *, quorum: bool = True, **held: int) -> FleetLane:
    """Return what one lane says: what it holds, and whom it reads as holder of the forge role."""
    return FleetLane(
        name=name,
        held=held,
        held_for_s=dict.fromkeys(held, 5.0),
        quorum=quorum,
        holders={"forge": names, "hermes": ""},
        answers=True,
    )


def test_a_lane_outside_of_the_council_claims_nothing() -> None:
    lanes = [said("a", forge=4), said("b"), said("d", forge=9)]
    holder = holder_of("forge", lanes, ["a", "b", "c"])
    assert holder is not None
    assert (holder.lane, holder.claims) == ("a", 1)
    assert holder_of("forge", lanes[1:], ["a", "b", "c"]) is None


MEMBERS = ("a", "b", "c")


def test_a_thief_that_claims_a_role_is_not_shown_as_its_holder() -> None:
    thief = said("c", "c", forge=2**52)
    holder = holder_of("forge", [said("a", "a", forge=4), said("b", "a"), thief], MEMBERS)
    assert holder is not None
    assert (holder.lane, holder.epoch, holder.claims) == ("a", 4, 2)
    assert holder_of("forge", [said("a", "b"), said("b", "a"), thief], MEMBERS) is None
    assert holder_of("forge", [thief], MEMBERS) is not None, "nobody says otherwise"


def test_the_council_agrees_when_most_of_its_lanes_say_so_themselves() -> None:
    yes, no = said("a"), said("b", quorum=False)
    assert agreement([yes, said("b"), said("c", quorum=False)], MEMBERS) is True
    assert agreement([no, said("a", quorum=False), said("c")], MEMBERS) is False
    assert agreement([no], MEMBERS) is False
    assert agreement([said("c")], MEMBERS) is None
    assert agreement([said("c"), no], MEMBERS) is None
    assert agreement([], MEMBERS) is None
    assert agreement([said("d"), said("e"), said("f")], MEMBERS) is None
    silent = msgspec.structs.replace(said("b"), answers=False)
    assert agreement([said("a"), silent, silent], MEMBERS) is None


def test_whom_the_council_names_is_what_most_members_read() -> None:
    lanes = [said("a", "b"), said("b", "b"), said("c", "c"), said("d", "c"), said("e", "c")]
    assert registered("forge", lanes, MEMBERS) == "b"
    assert registered("hermes", lanes, MEMBERS) == ""


def test_a_lane_that_is_frozen_by_what_the_house_does_not_hold_is_named() -> None:
    lines = "\n".join(fleet_lines(status(freezes_unknown_here=("f1", "f2")), 10.0))
    assert "lane a is FROZEN by what the house does not hold: f1, f2" in lines


def test_lanes_that_are_alone_are_no_rivals() -> None:
    holder = holder_of("forge", [said("a", forge=4), said("b", forge=2)], [])
    assert holder is not None
    assert holder.claims == 1


def status(quorum: bool | None = True, **changes: Any) -> FleetAnswer:
    one = FleetLane(name="a", linked=True, answers=True, roster=3)
    return FleetAnswer(
        members=("a",),
        roster=3,
        quorum=quorum,
        registers={"forge": "", "hermes": ""},
        lanes=(msgspec.structs.replace(one, **changes),),
    )


def test_a_lane_whose_answer_cannot_be_read_is_shown_with_the_reason() -> None:
    told = status(answers=False, trouble="its answer cannot be read: Expected `bool`")
    assert "its answer cannot be read" in "\n".join(fleet_lines(told, 10.0))


def test_a_lane_that_does_not_answer_is_not_said_to_be_unable() -> None:
    lines = "\n".join(fleet_lines(status(None, answers=False, roster=0), 10.0))
    assert "DOES NOT ANSWER" in lines
    assert "too few lanes say whether it agrees" in lines
    assert "able to do" not in lines
    assert "KEEPS" not in lines


GOOD = DrillTrial(
    fault="planned",
    victim="a",
    holder="b",
    take_over_s=1.5,
    detected_s=0.0,
    taken_s=0.01,
    act_s=0.4,
    duplicates=0,
    lost=0,
)


def test_a_drill_tells_detection_take_over_and_first_act() -> None:
    report = summary([GOOD], "planned")
    assert (report.ok, report.max_s, report.duplicates, report.lost) == (True, 1.5, 0, 0)
    line, verdict = drill_lines(report)
    for part in ("a -> b", "next poll after 1.5 s", "detected in 0.0", "taken in 0.01", "0.40 s"):
        assert part in line
    assert "nobody polled for" not in line
    assert verdict.startswith("passed")


@pytest.mark.parametrize("before", [[], [GOOD]])
def test_a_drill_that_failed_says_so_in_its_json(before: list[DrillTrial]) -> None:
    report = summary([*before, unfinished("planned", "a", 30.0, "nobody took over")], "planned")
    assert not report.ok
    assert report.max_s == 30.0
    assert report.trials[-1].faults == ("nobody took over",)
    assert drill_lines(report)[-1].startswith("FAILED")
    assert "FAULT nobody took over" in "".join(drill_lines(report))
