"""Who was looked at in which minute, and who was seen: the ground of every figure of uptime.

A minute of a lane has two bits: *looked* (some other node looked at it) and *seen* (one of them saw
it). Bits are only ever set, so that what comes home late, or twice, or in another order, gives the
same days. A minute that was looked at and not seen is a minute down; one that nobody looked at is
neither up nor down. Days are of UTC; a minute is Unix seconds divided by 60.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

MINUTE_S = 60
DAY_S = 86_400
DAY_MIN = 1_440


class Look(msgspec.Struct, frozen=True):
    """One node looked at another in this minute, and saw it or not."""

    node: str
    minute: int
    is_seen: bool


class DayMinutes(msgspec.Struct, frozen=True):
    """The bits of one node and one day, as integers: bit n is minute n of the day."""

    looked: int = 0
    seen: int = 0


class Counted(msgspec.Struct, frozen=True):
    """Minutes of a span in which a node was looked at, and in which it was seen."""

    looked: int = 0
    seen: int = 0


Key = tuple[str, int]
"""A node, and the number of a day (Unix s divided by 86,400)."""


def with_looks(looks: Iterable[Look]) -> dict[Key, DayMinutes]:
    """Return the bits that these looks set."""
    days: dict[Key, DayMinutes] = {}
    for look in looks:
        day, minute = divmod(look.minute, DAY_MIN)
        held = days.get((look.node, day), DayMinutes())
        bit = 1 << minute
        days[look.node, day] = DayMinutes(
            held.looked | bit, held.seen | (bit if look.is_seen else 0)
        )
    return days


def joined(one: DayMinutes, other: DayMinutes) -> DayMinutes:
    return DayMinutes(one.looked | other.looked, one.seen | other.seen)


def counted(day: int, bits: DayMinutes, from_s: float, to_s: float) -> Counted:
    """Count the minutes of a day that begin within a span: from `from_s`, before `to_s`."""
    first, last = _minute(from_s, day), _minute(to_s, day)
    mask = (1 << max(0, last)) - (1 << max(0, min(first, last)))
    return Counted((bits.looked & mask).bit_count(), (bits.seen & mask).bit_count())


def _minute(at_s: float, day: int) -> int:
    """Return the first minute of a day that does not begin before a moment, 0 to DAY_MIN."""
    into_s = at_s - day * DAY_S
    return min(DAY_MIN, max(0, int(-(-into_s // MINUTE_S))))
