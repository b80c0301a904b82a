"""Writes down when links were lost and caught up, and who was seen while a lane was not linked.

Without it the archive cannot tell whose clock ran: a comment that took an hour because the link was
down for an hour took no time. That a lane is linked is written by its endpoint, before anything of
it is taken. A house that is killed writes no end of its links: the figures take them for down since
the lane was last heard.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from allegro.core.base.events import encode_event
from allegro.core.protocol.answers.house import LinkedLane
from allegro.core.protocol.payloads.base import Payload, own_event
from allegro.core.protocol.payloads.house import FleetProbed, LinkCaughtUp, LinkDown
from allegro.house.lanes import Lanes
from allegro.house.ports import Ports

PROBE_S = 60.0
ASLEEP_S = 20.0


class _Seen(msgspec.Struct, frozen=True):
    """What is written of a lane's newest link: since when it was up, down, and caught up (Unix s)."""

    up_s: float = 0.0
    down_s: float = 0.0
    caught_up_s: float = 0.0


class LinkWatch:
    """`look` compares each link with what was written of it."""

    def __init__(self, ports: Ports, lanes: Lanes) -> None:
        self._archive = ports.archive
        self._clock = ports.clock
        self._dice = ports.dice
        self._lanes = lanes
        self._seen: dict[str, _Seen] = {}
        self._probed_s = self._looked_s = ports.clock.boot_s()

    async def look(self) -> None:
        """Write what changed since the last look. Raises EdgeError of the archive."""
        described = self._lanes.describe()
        seen = dict(self._seen)
        news: list[Payload] = []
        for lane in described:
            name = lane.name
            found, seen[name] = _news(lane, seen.get(name, _Seen()))
            news += found
        news += self._probe(described)
        if news:
            await self._archive.add([self._event(one) for one in news], self._clock.now_s())
        self._seen = seen

    def _probe(self, described: Sequence[LinkedLane]) -> list[Payload]:
        """Return who is linked and who is not, once a minute while one is not.

        After a sleep, and at the start, lanes get a minute to come back: nobody looked meanwhile.
        """
        boot_s = self._clock.boot_s()
        if boot_s - self._looked_s > ASLEEP_S:
            self._probed_s = boot_s
        self._looked_s = boot_s
        silent = tuple(lane.name for lane in described if not lane.linked)
        if boot_s - self._probed_s < PROBE_S:
            return []
        self._probed_s = boot_s
        linked = tuple(lane.name for lane in described if lane.linked)
        return [FleetProbed(linked=linked, silent=silent)] if silent else []

    def _event(self, payload: Payload) -> bytes:
        id_, now_s = self._dice.token(16).hex(), self._clock.now_s()
        return encode_event(own_event(payload, id_=id_, now_s=now_s))


def _news(lane: LinkedLane, seen: _Seen) -> tuple[list[Payload], _Seen]:
    """Return what is to be written of a lane's link, and what is then written."""
    name, up_s = lane.name, lane.since_s or 0.0
    down_s, caught_up_s = lane.down_s, lane.caught_up_s
    found: list[Payload] = []
    if seen.up_s and down_s >= seen.up_s and down_s != seen.down_s:
        found.append(LinkDown(lane=name, since_s=down_s))
        seen = msgspec.structs.replace(seen, down_s=down_s)
    if lane.linked and up_s and up_s != seen.up_s:
        seen = msgspec.structs.replace(seen, up_s=up_s)
    if seen.up_s and caught_up_s != seen.caught_up_s and caught_up_s >= seen.up_s:
        took_s = max(0.0, caught_up_s - seen.up_s)
        entries = lane.behind
        found.append(LinkCaughtUp(lane=name, took_s=round(took_s, 3), entries=entries))
        seen = msgspec.structs.replace(seen, caught_up_s=caught_up_s)
    return found, seen
