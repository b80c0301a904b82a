"""Ringing a bell: the smallest family of actions there can be, as its one module would look."""

from __future__ import annotations

from allegro.core.authority.actions.family import Action, Delivery, Family, LaneNeed
from allegro.core.base.backoff import ORDER


class RingBell(Action, frozen=True, kw_only=True, tag_field="kind", tag="ring_bell"):
    """Ring the bell of one tower."""

    tower: str
    lane: str


BELL = Family(
    name="bell",
    types=(RingBell,),
    faults=lambda action: [] if action.tower else ["tower must be named"],
    subject=lambda action: f"bell:{action.tower}",
    place=lambda action: None,
    need=lambda action: LaneNeed(f"bell of {action.lane}", lane=action.lane),
    delivery=lambda action, digest, key: Delivery("", key("marker", digest)[:32]),
    delivery_fault=lambda action, delivery: None,
    code=frozenset(),
    repeats=False,
    pause=ORDER,
    if_rejected="the bell stays silent",
)
