"""When a lane was linked: whose clock runs, and how long it stood still before.

A row's clock runs while the lane is linked. Intervals in which it was not are kept as the house
told them; a house that was killed told none, so a link that comes up while the last one is still
held to be up was down since the lane was last heard.
"""

from __future__ import annotations

import math

import msgspec

MAX_DOWNS = 64
"""So many of a lane's newest outages are held: an older one no longer stops a clock."""


class Linked(msgspec.Struct, frozen=True):
    """One lane's link. `downs` are (from, to) in Unix s, oldest first; `to` is inf while it lasts.

    `heard_s` is when its newest word was archived. Before the first link it was down.
    """

    downs: tuple[tuple[float, float], ...] = ((-math.inf, math.inf),)
    heard_s: float = 0.0

    @property
    def is_up(self) -> bool:
        return not self.downs or self.downs[-1][1] < math.inf


def went_up(linked: Linked, at_s: float) -> Linked:
    """Return the link after it came up."""
    *before, (from_s, to_s) = linked.downs
    if to_s < math.inf:  # nobody said that it was down
        down = (max(min(linked.heard_s, at_s), to_s), at_s)
        downs = (*linked.downs, down)
    else:
        downs = (*before, (from_s, max(at_s, from_s)))
    return msgspec.structs.replace(
        linked, downs=downs[-MAX_DOWNS:], heard_s=max(linked.heard_s, at_s)
    )


def went_down(linked: Linked, at_s: float) -> Linked:
    """Return the link after it was lost. Lost while it is down, it stays down since then.

    A loss from before the newest link came up is told late, and held already.
    """
    if not linked.is_up or (linked.downs and at_s < linked.downs[-1][1]):
        return linked
    return msgspec.structs.replace(linked, downs=(*linked.downs, (at_s, math.inf))[-MAX_DOWNS:])


def heard(linked: Linked, at_s: float) -> Linked:
    return msgspec.structs.replace(linked, heard_s=max(linked.heard_s, at_s))


def waited_s(linked: Linked | None, from_s: float, to_s: float) -> float:
    """Return for how much of a span (Unix s) the lane was not linked; 0 for a lane never linked."""
    if linked is None:
        return 0.0
    found = 0.0
    for down_s, up_s in reversed(linked.downs):
        if up_s <= from_s:
            break
        found += max(0.0, min(up_s, to_s) - max(down_s, from_s))
    return found
