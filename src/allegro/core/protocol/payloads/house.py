"""Events that the house writes about itself: its links, its looks at lanes, its requests.

Only the house is believed about them: the same names in a lane's journal say nothing.
"""

from __future__ import annotations

from allegro.core.base.untrusted import Number
from allegro.core.protocol.answers.bounds import Seconds
from allegro.core.protocol.event_types import EventType
from allegro.core.protocol.payloads.base import Payload


class LinkUp(Payload, frozen=True, kw_only=True):
    """A lane is linked since `since_s` (Unix s); `behind` entries of its journal were on the way."""

    type_ = EventType.LINK_UP
    lane: str
    since_s: Seconds
    behind: Number


class LinkDown(Payload, frozen=True, kw_only=True):
    """A lane is not linked any more since `since_s` (Unix s). A house that was killed writes none."""

    type_ = EventType.LINK_DOWN
    lane: str
    since_s: Seconds


class LinkCaughtUp(Payload, frozen=True, kw_only=True):
    """The `entries` that were on the way at the beginning of a link were home after `took_s`."""

    type_ = EventType.LINK_CAUGHT_UP
    lane: str
    took_s: Seconds
    entries: Number


class FleetProbed(Payload, frozen=True, kw_only=True):
    """Which lanes were linked and which not. Written each minute while one of them is not."""

    type_ = EventType.FLEET_PROBED
    linked: tuple[str, ...]
    silent: tuple[str, ...]


class RequestSettled(Payload, frozen=True, kw_only=True):
    """A request ended in `state`. Times are Unix s of the house; `decided_s` 0: no decision."""

    type_ = EventType.REQUEST_SETTLED
    request: str
    kind: str
    state: str
    lane: str
    created_s: Seconds
    decided_s: Seconds
    settled_s: Seconds
