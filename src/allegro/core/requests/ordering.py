"""What may be ordered now, what waits, and for how long: decisions about requests, from values.

One order a thing at a time; none before the silence after the last one is over; pauses that grow
while nobody gives a clear answer, and an end. Pure: clock and dice are arguments.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable

import msgspec

from allegro.core.authority.actions.families import family_of_kind
from allegro.core.authority.actions.forge import MirrorRequest
from allegro.core.base.backoff import Backoff
from allegro.core.requests.lifecycle import MOST_DOUBTS, TABLE, State, Step
from allegro.core.requests.requests import ORDERED_LINE, Request, parsed

OUT = frozenset({State.ORDERED, State.SENT})
IN_DOUBT = Backoff(first_s=60.0, cap_s=3_600.0)
"""Pauses from the second order on that brought no clear answer; the first is repeated at once."""
REFUSED_LONG = Backoff(first_s=30.0, cap_s=120.0)
"""Pauses once a lane refused an order OFTEN times in a row."""
OFTEN = 24
FINAL_REFUSALS = {
    "malformed_action": Step.FAIL,
    "repository_refused": Step.FAIL,
    "approval_expired": Step.EXPIRE,
    "wrong_seat": Step.UNSEAT,
    "wrong_key": Step.UNSEAT,
}
"""Refusals after which the same order would be refused again, and how the request ends."""


class Verdict(enum.Enum):
    """What is to be done about a request now."""

    NOTHING = enum.auto()
    WAITS = enum.auto()
    RAN_OUT = enum.auto()
    SILENT = enum.auto()
    OVERTAKEN = enum.auto()
    HELD = enum.auto()
    DUE = enum.auto()


class Way(enum.Enum):
    """How a request that is due goes on."""

    ORDER = enum.auto()
    LOOK = enum.auto()
    FOLLOW = enum.auto()
    END = enum.auto()
    WAIT = enum.auto()


class Plan(msgspec.Struct, frozen=True):
    """What is done about a request that is due.

    `step` ends it (END), or ends it where a look finds nothing (LOOK); None leaves it open then.
    `why` is the reason as its history shows it.
    """

    way: Way
    step: Step | None = None
    why: str = ""


def serial_key(request: Request) -> str:
    """Name what may not be done twice at once: a request's mirror, an issue's status."""
    if request.kind == "update_status":
        return f"status {request.target}"
    if request.kind == "mirror_request":
        action = parsed(request)
        return f"mirror {action.request}" if isinstance(action, MirrorRequest) else request.id
    return request.id


def verdict(
    request: Request, same: Iterable[Request], *, now_s: float, silence_over: bool,
    carried: Callable[[str], bool],
) -> Verdict:  # fmt: skip
    """Decide about one request.

    `same` are the other open requests of its serial key, `silence_over` whether its last order
    brought no word for long enough, `carried` whether a request is being ordered right now.
    """
    if request.is_final or carried(request.id):
        return Verdict.NOTHING
    if request.state is State.PROPOSED:
        return Verdict.RAN_OUT if request.document.expires_s <= now_s else Verdict.WAITS
    if request.state in OUT:
        return Verdict.SILENT if silence_over else Verdict.WAITS
    others = list(same)
    if any(other.created_s > request.created_s for other in others):
        return Verdict.OVERTAKEN
    if any(other.state in OUT or carried(other.id) for other in others):
        return Verdict.HELD
    return Verdict.DUE


def overtaken_step(request: Request) -> Step:
    """Return how a request ends that a newer one about the same makes moot."""
    return Step.WITHDRAW if request.state is State.APPROVED else Step.EXPIRE


def ends_s(request: Request) -> float:
    """Return until when (Unix s, not included) a request may be answered or ordered."""
    if request.needs_approval and request.state is not State.PROPOSED:
        return float(request.approval_exp)
    return request.document.expires_s


def has_run_out(request: Request, now_s: float) -> bool:
    """Say whether a decided request may no longer be ordered. Only a time before its end may."""
    return not now_s < ends_s(request)


def is_void(request: Request) -> bool:
    """Say whether the approval was given under an earlier seat or key and is gone."""
    return request.needs_approval and request.approval is None


def may_be_carried(request: Request, now_s: float, *, thawed: bool, able: bool) -> bool:
    """Say whether something can be done about a request that is due.

    `able` says that a lane can take it. What ran out before any order needs neither lane nor thaw;
    what is in doubt is looked at while frozen.
    """
    over = has_run_out(request, now_s)
    if not thawed and not over and request.state is not State.UNKNOWN:
        return False
    return able or (over and request.state is State.APPROVED)


def gives_up(request: Request) -> bool:
    """Say whether so many orders brought no clear answer that no further one is given."""
    return request.doubts >= MOST_DOUBTS and family_of_kind(request.kind).repeats


def doubt_pause_s(request: Request, dice: Callable[[], float]) -> float:
    """Return the seconds before the next order after one that brought no clear answer."""
    if request.doubts < 2 or not family_of_kind(request.kind).repeats:
        return 0.0
    return IN_DOUBT.delay_s(request.doubts - 2, dice)


def refusal_pause_s(kind: str, refusals: int, dice: Callable[[], float]) -> float:
    """Return the seconds before the next try after so many refusals (from 0) in a row."""
    family = family_of_kind(kind)
    if refusals < OFTEN or not family.repeats:
        return family.pause.delay_s(refusals, dice)
    return REFUSED_LONG.delay_s(refusals - OFTEN, dice)


def plan_of(request: Request, *, now_s: float, thawed: bool) -> Plan:
    """Decide how a request that is due goes on. What was ordered never ends before a look.

    Where an order may not be repeated (`Family.repeats`), nothing is looked at on a forge: who
    follows the act settles it while it is in doubt.
    """
    repeats = family_of_kind(request.kind).repeats
    if request.state is State.UNKNOWN and not repeats:
        return Plan(Way.FOLLOW)
    if has_run_out(request, now_s) or is_void(request):
        if request.state is State.APPROVED and request.order_number == 0:
            return Plan(Way.END, Step.EXPIRE, "ran out before an order was given")
        if not repeats:
            return Plan(Way.END, Step.EXPIRE, "ran out after an order")
        return Plan(Way.LOOK, Step.EXPIRE, "ran out; looked: not there")
    if not thawed:
        return Plan(Way.LOOK) if repeats else Plan(Way.WAIT)
    if gives_up(request):
        return Plan(Way.LOOK, Step.FAIL, _why_given_up(request))
    return Plan(Way.ORDER)


def plan_after_refusal(request: Request, reason: str, detail: str) -> Plan:
    """Decide how a request goes on whose order was refused for this reason (the gate's word)."""
    step = FINAL_REFUSALS.get(reason)
    if step is Step.UNSEAT and request.needs_approval:
        why = "approved by an earlier key or seat: approve again"
        return Plan(Way.END, Step.UNSEAT, why)
    if step is Step.FAIL or step is Step.EXPIRE:
        repeats = family_of_kind(request.kind).repeats
        return Plan(Way.LOOK if repeats else Way.END, step, detail)
    return Plan(Way.WAIT)


def _why_given_up(request: Request) -> str:
    """Return why no further order is given, with the forge's last words and what to do."""
    return (
        f"{request.doubts} orders brought no clear answer and it is not there: {request.detail};"
        " mend what the forge says, then ask again"
    )


def given_to(request: Request) -> dict[int, str]:
    """Return order number → lane, as the history tells it."""
    found = {}
    for line in request.history:
        match = ORDERED_LINE.fullmatch(line.detail) if line.what == Step.ORDER else None
        if match:
            found[int(match[1])] = match[2]
    return found


def was_ordered(request: Request, order: int, lane: str) -> bool:
    """Say whether this lane was given this order of this request."""
    return given_to(request).get(order) == lane


def may_have_written(request: Request) -> bool:
    """Say whether an order of it may have come to something, and no write of it is known yet.

    While it is still approved an order that was called void counts too: a forge that said no for a
    while may have done it all the same.
    """
    if request.artifact or (request.state, Step.RECEIPT) not in TABLE:
        return False
    return bool(request.outstanding) or (not request.is_final and request.order_number > 0)


def holders(request: Request) -> list[str]:
    """Return the lanes whose orders may have come to something, the newest order's first.

    Only what they see settles the request (S10): a lane that had no order, or refused it, can give
    a hint.
    """
    lanes = given_to(request)
    held = [
        lanes[number] for number in sorted(request.outstanding, reverse=True) if number in lanes
    ]
    return list(dict.fromkeys(held))
