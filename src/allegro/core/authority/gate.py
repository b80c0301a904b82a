"""The gate: judges an order and returns a permit, without which nothing can be written.

Invariant: an effect happens only under a `Permit`, and a permit exists only for one exact action.
Either an order names that action's digest, was signed by the house key this lane trusts, for this
lane, under the newest seat, and quotes a challenge that this process made and nobody used, still
within its `ttl_s`; and where `policy` says so, the newest sovereign key signed the same digest
under the same seat. Or (`judge_leased`) the act is one of the few that need a role's lease alone,
and the lease is held now. Only this module makes permits: `_SENTINEL` is not exported, and
`tests/core/test_permits.py` reads the sources for any other way. An adapter that writes takes a
permit and computes its content from `permit.action`, so what was not judged cannot be sent.

Order of the checks (the first that fails is the answer):
1. the order's signature, type, audience, lane, seat and range of `ttl_s`;
2. the challenge, which is used up here whatever follows. It comes after 1, so that a stranger
   cannot use up challenges, and before all else, so that an order is judged once;
3. the age since the challenge was made, on the boot-time clock: no wall clock takes part;
4. the bytes have the ordered digest, and only then are parsed;
5. the policy row of the kind, then freezes, safe mode, disk, forge, repository;
6. the approval. Its `exp` is wall time, so an untrusted clock refuses it.
`may_write` asks 3 and the state in 5 again before each single write: time has gone by.

Must never happen: a permit from what is unknown (each grant is a positive test such as
`boot_s < until_s`, so NaN, None and a missing value refuse); an act while frozen or without room
for its intent on disk; an approval that stands for other bytes, an earlier seat or an earlier key;
a standing order (known here, and refused); any kind that `policy` does not list.

Sources: ADR docs/adr/0003-three-keys-and-strict-tokens.md,
docs/adr/0004-orders-with-challenges.md, docs/adr/0008-comment-only-until-protected.md,
docs/adr/0013-no-acting-15-s-after-last-contact.md; the table in docs/policy.md; RFC 8785
(canonical JSON) for the bytes that are digested. Forges offer neither conditional writes nor
idempotency keys (docs/forge.md), so the rule *once* rests on the challenge and on the house.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from allegro.core.authority.actions.families import (
    action_bytes,
    action_digest,
    family_of,
    kind_of,
    parse_action,
)
from allegro.core.authority.actions.family import Action
from allegro.core.authority.freeze import FreezeSet
from allegro.core.authority.lease import Lease
from allegro.core.authority.policy import Needs, needs_of
from allegro.core.authority.tokens import (
    TYPES,
    Approval,
    C,
    Order,
    Roster,
    StandingOrder,
    Verify,
    read_token,
    sovereign_kid,
    token_type,
)
from allegro.core.base.errors import Refusal

MAX_TTL_S = 60
MAX_IAT_AHEAD_S = 300
_SENTINEL: Final = object()


class Trust(msgspec.Struct, frozen=True):
    """Whom a lane believes; kept on disk.

    `fleet` is the random id that every token must name as `aud`, `lane` the fingerprint of this
    lane's own key. Keys are 32 raw bytes of Ed25519; `house` is empty while no house is certified,
    and an empty key verifies nothing. Numbers and `seat` only grow (0: none yet); a rotation sets
    house key, house number and seat back to none.
    """

    fleet: str
    lane: str
    sovereign: bytes
    sovereign_number: int
    house: bytes
    house_number: int
    recovery: bytes
    seat: int


class LaneTrust(msgspec.Struct, frozen=True):
    """What a lane keeps on disk: trust, fingerprints of keys taken out of the fleet, the roster.

    `roster_by` is the number of the sovereign key that signed the roster.
    """

    trust: Trust
    revoked: frozenset[str] = frozenset()
    roster: Roster | None = None
    roster_by: int = 0


class Situation(msgspec.Struct, frozen=True):
    """The state of the lane at the moment of judging.

    `boot_s` is a clock that counts suspend; `now_s` is wall time and `clock_trusted` says whether
    it is within 30 s of house and forge. `room` is false while journal or disk is full.
    `refused_repositories` maps repository ids to the audit's reason against code changes.
    """

    freezes: FreezeSet
    boot_s: float
    now_s: float
    clock_trusted: bool
    room: bool
    safe_mode: bool
    forge: str
    refused_repositories: dict[int, str] = {}


class Presented(msgspec.Struct, frozen=True):
    """What came with an order: the tokens in compact form and the very bytes that were signed.

    `approval` is None where none was sent; whether one is needed is the policy's to say.
    """

    order: str
    action: bytes
    approval: str | None = None


class Permit:
    """The right to carry out one action, once, until `until_boot_s`. Made by this module only.

    `digest` is 64 hex digits; `order_number` is None under a lease; `until_boot_s` counts on the
    boot-time clock. Raises TypeError when anybody else tries to make one.
    """

    __slots__ = ("action", "digest", "order_number", "until_boot_s")

    def __init__(
        self,
        sentinel: object,
        action: Action,
        digest: str,
        order_number: int | None,
        until_boot_s: float,
    ) -> None:
        if sentinel is not _SENTINEL:
            raise TypeError("a Permit comes from core.gate and nowhere else")
        self.action = action
        self.digest = digest
        self.order_number = order_number
        self.until_boot_s = until_boot_s


def read_sovereign(token: str, expect: type[C], trust: Trust, verify: Verify) -> C | Refusal:
    """Read a token that must be signed by the newest sovereign key this lane knows."""
    kid = sovereign_kid(trust.sovereign_number)
    return read_token(token, expect, kid=kid, key=trust.sovereign, aud=trust.fleet, verify=verify)


def judge_order(
    shown: Presented,
    trust: Trust,
    situation: Situation,
    *,
    take_challenge: Callable[[str], float | None],
    verify: Verify,
) -> Permit | Refusal:
    """Return a permit for exactly the ordered action, or the first reason against it.

    `take_challenge` uses up a challenge this process made and returns when it was made (boot-time
    seconds), or None when it is not one of ours, used, or forgotten by a restart. It is asked
    only once the house's signature holds.
    """
    order = _read_order(shown.order, trust, verify)
    if isinstance(order, Refusal):
        return order
    made_s = take_challenge(order.challenge)
    if made_s is None:
        return Refusal("unknown_challenge", "not a challenge of this process, or used before")
    until_s = made_s + order.ttl_s
    if not situation.boot_s < until_s:
        return Refusal("order_expired", f"older than its {order.ttl_s} s")
    action = _read_action(shown.action, order.digest)
    if isinstance(action, Refusal):
        return action
    needs = needs_of(kind_of(action))
    if needs not in {Needs.ORDER, Needs.APPROVAL}:
        return Refusal("not_orderable", f"{kind_of(action)} needs {needs.value}")
    refusal = check_situation(action, situation)
    if refusal is None and needs is Needs.APPROVAL:
        refusal = _check_approval(shown.approval, order, trust, situation, verify)
    return refusal or Permit(_SENTINEL, action, order.digest, order.number, until_s)


def judge_leased(action: Action, lease: Lease | None, situation: Situation) -> Permit | Refusal:
    """Return a permit for an act that needs its role's lease and is harmless when done twice.

    `lease` is None where this lane does not hold the role. The permit ends with the lease.
    """
    if needs_of(kind_of(action)) is not Needs.LEASE:
        return Refusal("not_leasable", f"{kind_of(action)} is not done under a lease")
    if lease is None or not situation.boot_s < lease.until_boot_s:
        return Refusal("no_lease", "this lane does not hold the role")
    raw = action_bytes(action)
    parsed = parse_action(raw)
    if isinstance(parsed, Refusal):
        return parsed
    refusal = check_situation(action, situation)
    return refusal or Permit(_SENTINEL, action, action_digest(raw), None, lease.until_boot_s)


def check_situation(action: Action, situation: Situation) -> Refusal | None:
    """Return why this lane must not act now at all, or None. Asked again before each write."""
    if not situation.freezes.is_thawed:
        why = "; ".join(f.reason for f in situation.freezes.active) or "freeze set not known yet"
        return Refusal("frozen", why)
    if situation.safe_mode:
        return Refusal("safe_mode", "this lane restarted in safe mode and does not act")
    if not situation.room:
        return Refusal("no_room", "journal or disk is full; no intent on disk, no effect")
    place = family_of(action).place(action)
    if place is None:
        return None
    if place.forge != situation.forge:
        return Refusal("wrong_forge", f"this lane serves {situation.forge}")
    against = situation.refused_repositories.get(place.repository)
    if against is not None and needs_of(kind_of(action)) is Needs.APPROVAL:
        return Refusal("repository_refused", against)
    return None


def may_write(permit: Permit, situation: Situation, *, needs_s: float) -> Refusal | None:
    """Return why one more write that takes up to `needs_s` seconds may not start now, or None."""
    if not situation.boot_s + needs_s < permit.until_boot_s:
        return Refusal("order_expired", "not enough time left for another write")
    return check_situation(permit.action, situation)


def _read_order(token: str, trust: Trust, verify: Verify) -> Order | Refusal:
    order = read_token(
        token,
        Order,
        kid=f"house:{trust.house_number}",
        key=trust.house,
        aud=trust.fleet,
        verify=verify,
    )
    if isinstance(order, Refusal):
        return order
    if order.lane != trust.lane:
        return Refusal("wrong_lane", "ordered from another lane")
    if order.seat != trust.seat:
        return Refusal("wrong_seat", f"seat {order.seat}, must be {trust.seat}")
    if not 0 < order.ttl_s <= MAX_TTL_S:
        return Refusal("malformed_token", f"ttl_s must be 1 to {MAX_TTL_S}")
    return order


def _read_action(raw: bytes, digest: str) -> Action | Refusal:
    if action_digest(raw) != digest:
        return Refusal("changed_content", "the content is not what was ordered")
    return parse_action(raw)


def _check_approval(
    token: str | None, order: Order, trust: Trust, situation: Situation, verify: Verify
) -> Refusal | None:
    if token is None:
        return Refusal("no_approval", "this act needs the sovereign's approval")
    if token_type(token) == TYPES[StandingOrder]:
        return Refusal("standing_orders_off", "standing orders are not accepted yet")
    approval = read_sovereign(token, Approval, trust, verify)
    if isinstance(approval, Refusal):
        return approval
    if approval.digest != order.digest:
        return Refusal("changed_content", "the approval is for other content")
    if approval.seat != trust.seat:
        return Refusal("wrong_seat", "approved under an earlier seat; ask again")
    if not situation.clock_trusted:
        return Refusal("clock_untrusted", "this lane's clock is more than 30 s off")
    if not situation.now_s < approval.exp:
        return Refusal("approval_expired", "ask again")
    if not approval.iat <= situation.now_s + MAX_IAT_AHEAD_S:
        return Refusal("approval_from_the_future", "signed on a clock that is ahead")
    return None
