"""The fleet: which lanes form the council, which lane holds a role, and handing roles over."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path

import click

from allegro.cli.exit_codes import Exit
from allegro.cli.help import ASKS_HOUSE, Group
from allegro.cli.output import Failure, json_option, now_s, print_json, run_async, socket_option
from allegro.cli.secrets import passphrase, reload
from allegro.client.errors import HouseUnreachable
from allegro.client.house_client import HouseClient, ask_house
from allegro.config import load_house
from allegro.core.authority.roster import MIN_MEMBERS, check_member, orders_of
from allegro.core.authority.tokens import Member, fingerprint
from allegro.core.base.errors import Refusal
from allegro.core.base.timestamps import span
from allegro.core.effects.render import lined, one_line
from allegro.core.protocol.answers.fleet import FleetAnswer, FleetLane
from allegro.core.protocol.asked import LetRest
from allegro.house.files import Fleet, HouseFiles, files_of, load_fleet, socket_of
from allegro.sovereign.ceremony import sign_roster
from allegro.sovereign.keystore import load_sovereign_key

_CONFIG = click.option(
    "--config", type=click.Path(path_type=Path), required=True, help="house.toml"
)
_ORDER = click.option(
    "--order",
    multiple=True,
    metavar="ROLE=LANE,LANE",
    help="Order of preference for forge or hermes (default: the first lane, the second lane).",
)


@click.group(cls=Group, example="allegro fleet status", exits=ASKS_HOUSE, renamed={"rest": "drain"})
def fleet() -> None:
    """Make lanes one fleet; show and move their roles."""


@fleet.command(
    example="allegro fleet join --config house.toml first second third", exits=ASKS_HOUSE
)
@_CONFIG
@_ORDER
@click.argument("lanes", nargs=-1, required=True)
def join(config: Path, order: tuple[str, ...], lanes: tuple[str, ...]) -> None:
    """Take paired LANES into the council: at least three, the first time all at once.

    Each lane must be linked and have council.listen in its lane.toml. What is signed is shown
    first: the lane's key, where its server is reached, its certificate.
    """
    settings = load_house(config)
    files, socket = files_of(settings), socket_of(settings)
    known = load_fleet(files)
    before = {member.name: member for member in _trusted(known)}
    offered = {name: _offered(socket, known, name) for name in lanes}
    members = tuple({**before, **offered}.values())
    if len(members) < MIN_MEMBERS:
        raise Failure(
            f"a council needs {MIN_MEMBERS} lanes to go on without one; name all of them:\n"
            "  allegro fleet join --config house.toml FIRST SECOND THIRD"
        )
    for old in known.roster.members if known.roster else ():
        if old.name not in {member.name for member in members}:
            click.echo(f"{old.name} leaves: its key is revoked")
    for member in members:
        state = "stays" if before.get(member.name) == member else "joins"
        key, address = one_line(member.lane), one_line(member.address)
        click.echo(f"{one_line(member.name)} {state}: key {key}, council at {address}")
        domain = one_line(member.domain) or "none given"
        click.echo(f"  certificate {_pin(member.certificate)}, domain {domain}")
    _sign(files, socket, members, _orders(members, order, known))


@fleet.command(example="allegro fleet leave --config house.toml fourth", exits=ASKS_HOUSE)
@_CONFIG
@_ORDER
@click.option(
    "--all", "everybody", is_flag=True, help="End the fleet: each lane works alone again."
)
@click.argument("lanes", nargs=-1)
def leave(config: Path, order: tuple[str, ...], everybody: bool, lanes: tuple[str, ...]) -> None:
    """Take LANES out of the council; they then work alone.

    At least three must remain: let a replacement join first, or end the fleet with --all.
    """
    settings = load_house(config)
    files, socket = files_of(settings), socket_of(settings)
    known = load_fleet(files)
    before = known.roster.members if known.roster else ()
    if unknown := [name for name in lanes if name not in {member.name for member in before}]:
        raise Failure(f"not in the council: {', '.join(unknown)}")
    if not before or not (lanes or everybody):
        raise Failure("there is no council" if not before else "name the lanes, or --all")
    members = () if everybody else tuple(m for m in _trusted(known) if m.name not in lanes)
    if members and len(members) < MIN_MEMBERS:
        raise Failure(
            f"{len(members)} lanes cannot go on when one fails: let another join first,\n"
            "or end the fleet: allegro fleet leave --config house.toml --all"
        )
    click.echo(
        f"the council: {', '.join(m.name for m in members) or 'none, each lane works alone'}"
    )
    _sign(files, socket, members, _orders(members, order, known))


@fleet.command(
    example="allegro fleet status",
    exits={**ASKS_HOUSE, Exit.REFUSED: "no quorum, no linked lane, or a role that nobody holds"},
)
@socket_option
@json_option
def status(socket: Path | None, as_json: bool) -> int:
    """Show which lane holds which role, since when, and whether the council has a quorum."""
    response = run_async(ask_house(socket, HouseClient.fleet))
    if as_json:
        print_json(response)
    else:
        for line in fleet_lines(response, now_s()):
            click.echo(line)
    served = {role for lane in response.lanes for role in lane.serves}
    is_well = response.local_only_since_s is None and response.quorum is not False
    return 0 if is_well and served <= set(response.roles) else 1


@fleet.command(example="allegro fleet drain first --minutes 20", exits=ASKS_HOUSE)
@socket_option
@click.option(
    "--role",
    type=click.Choice(["forge", "hermes"]),
    default=None,
    help="Hand over this role only (default: all its roles).",
)
@click.option("--to", default="", help="Hand over to this lane (default: the first ready one).")
@click.option("--minutes", default=60.0, help="How long LANE gets no role.")
@click.argument("lane")
def drain(socket: Path | None, role: str | None, to: str, minutes: float, lane: str) -> None:
    """Hand the roles of LANE to another lane: before a reboot, or when it misbehaves."""
    wish = LetRest(lane, role or "", to, minutes * 60)
    answer = run_async(ask_house(socket, lambda house: house.let_rest(wish)))
    roles = ", ".join(one_line(name) for name in answer.roles)
    click.echo(f"{one_line(lane)} is drained of {roles} for {minutes:g} minutes")
    for name, outcome in answer.outcomes.items():
        if name not in answer.informed():
            click.echo(f"  {one_line(name)}: {one_line(outcome)}")


@fleet.command(example="allegro fleet resume first", exits=ASKS_HOUSE)
@socket_option
@click.argument("lane")
def resume(socket: Path | None, lane: str) -> None:
    """Send orders to LANE again, after one of its events could not be handled."""
    run_async(ask_house(socket, lambda house: house.resume(lane)))
    click.echo(f"orders go to {one_line(lane)} again")


def fleet_lines(response: FleetAnswer, now_s: float) -> list[str]:
    """Return the lines of `fleet status`; every foreign word in them stays within its line."""
    shown = lined(response)
    if shown.members:
        quorum = {
            True: "agrees",
            False: "HAS NO QUORUM: no role changes hands",
            None: "too few lanes say whether it agrees",
        }[shown.quorum]
        lines = [f"council {shown.roster} of {', '.join(shown.members)}: {quorum}"]
    else:
        lines = ["no council: each lane works alone"]
    if shown.local_only_since_s is not None:
        lines.append(
            f"LOCAL ONLY for {span(now_s - shown.local_only_since_s)}: no lane can be reached"
        )
    for role, holder in shown.roles.items():
        claims = "" if holder.claims == 1 else f"; CLAIMED by {holder.claims} lanes"
        order = ", ".join(shown.orders.get(role, ()))
        since = "" if holder.for_s is None else f" for {span(holder.for_s)}"
        preferred = f", preferred {order}" if order else ""
        lines.append(f"{role}: {holder.lane}{since}, epoch {holder.epoch}{preferred}{claims}")
    served = {role for lane in shown.lanes for role in lane.serves}
    lines += [
        f"{role}: NOBODY holds it"
        + (f"; the council names {name}" if (name := shown.registers.get(role)) else "")
        for role in sorted(served - set(shown.roles))
    ]
    lines += [_lane_line(lane, now_s) for lane in shown.lanes]
    lines += [
        f"lane {lane.name} KEEPS council {lane.roster or 'none'}, signed is {shown.roster}"
        for lane in shown.lanes
        if lane.answers and lane.name in shown.members and lane.roster != shown.roster
    ]
    lines += [
        f"lane {lane.name} is FROZEN by what the house does not hold: {', '.join(unknown)}"
        for lane in shown.lanes
        if (unknown := lane.freezes_unknown_here)
    ]
    lines += [
        f"SHARED failure domain {domain}: one outage there takes more than one lane"
        for domain in shown.shared_domains
    ]
    for took in shown.take_overs:
        lines.append(
            f"{took.at} {took.role}: {took.before or 'nobody'} -> {took.lane} "
            f"({took.why}): silent {took.silent_s:.1f} s, taken in {took.take_s:.2f} s, "
            f"first act {took.act_s:.2f} s later"
        )
    return lines


def _lane_line(lane: FleetLane, now_s: float) -> str:
    if not lane.linked:
        heard = f", last heard {span(now_s - lane.heard_s)} ago" if lane.heard_s else ""
        return f"lane {lane.name}: NOT LINKED{heard}"
    held = ", ".join(lane.held) or "no role"
    if not lane.answers:
        why = lane.trouble or "DOES NOT ANSWER"
        return f"lane {lane.name}: linked, {why}; it last said: {held}"
    hears = f"; hears {', '.join(lane.hears)}" if lane.hears else ""
    able = ", ".join(lane.ready) or "nothing"
    return f"lane {lane.name}: {held}; able to do {able}{hears}"


def _offered(socket: Path, known: Fleet, name: str) -> Member:
    """Return what a linked lane offers, checked; nothing of it is signed before it is shown."""
    lane = next((one for one in known.lanes if one.name == name and not one.revoked), None)
    if lane is None:
        raise Failure(f"no paired lane is named {name!r}")
    offer = run_async(ask_house(socket, lambda house: house.offer(name)))
    member = Member(
        lane=fingerprint(lane.key),
        name=name,
        address=offer.address,
        certificate=offer.certificate,
        domain=offer.domain[:64],
    )
    if isinstance(refusal := check_member(member), Refusal):
        raise Failure(f"{name}: {one_line(refusal.detail)}")
    return member


def _trusted(known: Fleet) -> tuple[Member, ...]:
    """Return the members of the council whose keys are not revoked."""
    revoked = {fingerprint(lane.key) for lane in known.lanes if lane.revoked}
    members = known.roster.members if known.roster else ()
    return tuple(member for member in members if member.lane not in revoked)


def _orders(
    members: tuple[Member, ...], wanted: tuple[str, ...], known: Fleet
) -> dict[str, tuple[str, ...]]:
    """Return who is preferred for each role: as wanted, else as before, new lanes last."""
    orders = orders_of([member.name for member in members]) if members else {}
    before = known.roster.roles if known.roster else {}
    for role, names in orders.items():
        kept = [name for name in before.get(role, ()) if name in names]
        if kept:
            orders[role] = (*kept, *(name for name in names if name not in kept))
    for one in wanted:
        role, _, preferred = one.partition("=")
        if role not in orders:
            raise Failure(f"--order {one}: known roles are forge and hermes", 2)
        orders[role] = tuple(name.strip() for name in preferred.split(",") if name.strip())
    return orders


def _sign(
    files: HouseFiles,
    socket: Path,
    members: tuple[Member, ...],
    roles: dict[str, tuple[str, ...]],
) -> None:
    for role, names in roles.items():
        click.echo(f"{role}: {', then '.join(names)}")
    above = _highest_kept(socket)
    signed = sign_roster(files, load_sovereign_key(files, passphrase), members, roles, above)
    assert signed.roster is not None
    click.echo(f"council {signed.roster.number} is signed")
    reload(socket)


def _highest_kept(socket: Path) -> int:
    """Return the highest council number that a linked lane says it keeps."""
    try:
        response = run_async(ask_house(socket, HouseClient.fleet))
    except HouseUnreachable:
        return 0
    return max((lane.roster for lane in response.lanes), default=0)


def _pin(certificate: str) -> str:
    try:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).hexdigest()[:32]
    except ValueError as error:
        raise Failure(f"a lane's certificate cannot be read: {one_line(error)}") from error
