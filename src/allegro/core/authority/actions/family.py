"""What an action is, and what a family of actions must say of itself to be asked for and ordered.

A family is one value. Gate, lanes, house and ledger ask it instead of testing which class they
hold, so that a new family is one module with this value and one line in `families.FAMILIES`.
Whether an act of it may be done at all, and with whose signature, is no word of the family: the one
policy table says that, and an act without a row in it is never done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from allegro.core.base.backoff import Backoff
from allegro.core.base.errors import Refusal

Key = Callable[[str, str], str]
"""(what for, text) -> hex that nobody without the fleet's key can compute."""


class Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One proposed act. Each kind is a subclass with `tag_field="kind"`; `id` is its request's id."""

    id: str


class Place(msgspec.Struct, frozen=True):
    """The forge and the repository's id that an act belongs to."""

    forge: str
    repository: int


class Delivery(msgspec.Struct, frozen=True):
    """What the house computes beside an order: the real branch ("" for none), 32 hex digits."""

    branch: str
    marker: str


class LaneNeed(msgspec.Struct, frozen=True):
    """Which lane can take an order.

    `lane` names the only one that can; empty is any that serves `role`, and with `role` empty any
    that is linked. `fills` says that it takes one of a lane's places for sessions. Requests with the
    same `line` wait for the same thing: when the first of them cannot be ordered, none can.
    """

    line: str
    role: str = ""
    lane: str = ""
    fills: bool = False


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """All that tells one family of actions from another. The functions take its own actions only.

    `types`: its kinds. `faults`: every reason why an action can never be carried out, as sentences.
    `subject`: what the act is done to, as events name it. `place`: where on a forge, None for an
    act that is done on none; the gate compares it with the forge its lane serves. `need`: which
    lane can take it. `delivery`: what goes beside its order, from the action, its digest and the
    fleet's key. `delivery_fault`: why a lane refuses what came beside it, or None. `code`: the kinds
    that carry the token for changes of code. `repeats`: whether an order that brought no clear
    answer may be given again, because the lane looks before it acts; without, one order is given and
    the family's follower settles it. `pause`: waits between refusals. `if_rejected`: what a
    sovereign's no leads to, as shown. Who carries it out on a lane is registered there by `name`.
    """

    name: str
    types: tuple[type[Action], ...]
    faults: Callable[[Any], list[str]]
    subject: Callable[[Any], str]
    place: Callable[[Any], Place | None]
    need: Callable[[Any], LaneNeed]
    delivery: Callable[[Any, str, Key], Delivery]
    delivery_fault: Callable[[Any, Delivery], Refusal | None]
    code: frozenset[type[Action]]
    repeats: bool
    pause: Backoff
    if_rejected: str

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds as canonical bytes and the policy table name them."""
        return frozenset(map(kind_of_type, self.types))


def kind_of_type(type_: type[Action]) -> str:
    return str(type_.__struct_config__.tag)
