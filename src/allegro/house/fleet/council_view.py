"""What a house makes of its lanes' words about their council: more than one lane must say it. Pure.

Each `FleetLane` is one lane's answer as `api.fleet` read it: its types and bounds hold, and any
value in it may be a lie of a stolen lane.
"""

from __future__ import annotations

from collections.abc import Sequence

from allegro.core.protocol.answers.fleet import FleetLane, Holder


def agreement(lanes: Sequence[FleetLane], members: Sequence[str]) -> bool | None:
    """Return whether the council agrees, by the own words of most of its members.

    False where every member that answers says no; None where it cannot be told.
    """
    said = [one.quorum for one in lanes if one.name in members and one.answers]
    if sum(said) * 2 > len(members):
        return True
    return False if said and (not any(said) or said.count(False) * 2 > len(members)) else None


def holder_of(role: str, lanes: Sequence[FleetLane], members: Sequence[str]) -> Holder | None:
    """Return who holds a role: a lane that says so itself and that other members name too.

    Of several the one that most members name, then the one with the highest epoch. Where there is
    a council, what a lane outside of it does for itself is no claim. A claim that no other member
    repeats counts only where no other member says anything of the role.
    """
    claims = [
        (_named_by(one.name, role, lanes, members), one.held[role], one.name)
        for one in lanes
        if role in one.held and (not members or one.name in members)
    ]
    if not claims:
        return None
    named, epoch, name = max(claims)
    if members and not named and _named_by("", role, lanes, members, but=name):
        return None
    ages = {one.name: one.held_for_s.get(role) for one in lanes}
    rivals = len(claims) if members else 1  # lanes that are alone have nobody to agree with
    return Holder(name, epoch, rivals, ages[name])


def registered(role: str, lanes: Sequence[FleetLane], members: Sequence[str]) -> str:
    """Return whom most members read as holder, whether that lane says so itself or not."""
    names = [one.holders[role] for one in lanes if one.name in members and one.holders.get(role)]
    return max(sorted(set(names)), key=names.count) if names else ""


def _named_by(
    name: str, role: str, lanes: Sequence[FleetLane], members: Sequence[str], but: str = ""
) -> int:
    """Return how many other members read this lane as holder; with no name, read any other one."""
    words = [
        one.holders.get(role, "")
        for one in lanes
        if one.name in members and one.name != (name or but)
    ]
    return sum(bool(word) and (word == name if name else word != but) for word in words)
