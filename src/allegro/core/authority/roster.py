"""Which lanes form the council: what a roster must be, and what a lane makes of it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from allegro.core.authority.gate import LaneTrust
from allegro.core.authority.lease import ROLES
from allegro.core.authority.tokens import Member, Roster
from allegro.core.base.errors import Refusal
from allegro.core.base.untrusted import whole_number

MIN_MEMBERS = 3
MAX_MEMBERS = 7
_NAME = re.compile(r"[a-z0-9-]{1,32}")
_MAX_ADDRESS = 253
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)
_V6 = re.compile(r"\[[0-9a-fA-F:.]{2,45}\]")
_NUMERIC = re.compile(r"(?:.*\.)?[0-9]+")
_LANE = re.compile(r"[0-9a-f]{32}")
_DOMAIN = re.compile(r"[ -~]{0,64}")
_CERTIFICATE = re.compile(
    r"-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]{1,4000}-----END CERTIFICATE-----\n"
)


def check_roster(roster: Roster) -> Refusal | None:
    """Return why this roster cannot be signed, or None.

    What it says ends up in a server's settings.
    """
    for member in roster.members:
        if (refusal := check_member(member)) is not None:
            return refusal
    return check_form(roster)


def check_form(roster: Roster) -> Refusal | None:
    """Return why these lanes together cannot be a council, or None.

    A lane asks no more than this: a member whose own values cannot be used is left out by
    `members_of`, so that it keeps no other lane out of the council.
    """
    members = roster.members
    if members and not MIN_MEMBERS <= len(members) <= MAX_MEMBERS:
        return Refusal("bad_roster", f"a council has {MIN_MEMBERS} to {MAX_MEMBERS} lanes, or none")
    for distinct in ("lane", "name", "address", "certificate"):
        if len({getattr(member, distinct) for member in members}) != len(members):
            return Refusal("bad_roster", f"two lanes have the same {distinct}")
    names = {member.name for member in members}
    if set(roster.roles) - set(ROLES) or any(
        not set(order) <= names or len(set(order)) != len(order) for order in roster.roles.values()
    ):
        return Refusal("bad_roster", "a role names lanes of the roster, each once")
    return None


def check_member(member: Member) -> Refusal | None:
    """Return why this lane cannot be in a roster, or None."""
    if not _NAME.fullmatch(member.name) or not _LANE.fullmatch(member.lane):
        return Refusal("bad_roster", "a member has no proper name or key")
    if not is_address(member.address):
        return Refusal("bad_roster", f"{member.name}: its council address must be host:port")
    if not _DOMAIN.fullmatch(member.domain):
        return Refusal("bad_roster", f"{member.name}: its failure domain is not plain words")
    if not _CERTIFICATE.fullmatch(member.certificate):
        return Refusal("bad_roster", f"{member.name}: its certificate cannot be read")
    return None


def is_address(address: str) -> bool:
    """Say whether this is host:port as a server can listen there and others can dial it.

    The host is a name, an IPv4 address, or an IPv6 address in brackets; the port 1 to 65535.
    """
    if len(address) > _MAX_ADDRESS:
        return False
    host, _, port = address.rpartition(":")
    number = whole_number(port, limit=65_536)
    if not number or not (_V6.fullmatch(host) or _HOST.fullmatch(host)):
        return False
    if host.startswith("[") or _NUMERIC.fullmatch(host):
        return _is_ip(host.strip("[]"), 6 if host.startswith("[") else 4)
    return True


def _is_ip(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False


def orders_of(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the default order of each role: the first lane polls, the second runs sessions.

    So one lane's death moves one role, and both stay with the preferred lanes.
    """
    turned = (*names[1:], *names[:1])
    return {"forge": tuple(names), "hermes": tuple(turned)}


def members_of(held: LaneTrust) -> tuple[Member, ...]:
    """Return the lanes this lane keeps council with, itself among them; none when it is alone."""
    if held.roster is None:
        return ()
    members = tuple(
        m for m in held.roster.members if m.lane not in held.revoked and check_member(m) is None
    )  # one that was signed before it was refused keeps no other lane's server from starting
    return members if any(m.lane == held.trust.lane for m in members) else ()


def banned_of(held: LaneTrust) -> frozenset[str]:
    """Return the names of members whose key was revoked since the roster was signed."""
    if held.roster is None:
        return frozenset()
    return frozenset(m.name for m in held.roster.members if m.lane in held.revoked)
