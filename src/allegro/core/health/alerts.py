"""What a person should see, kept by urgency: nothing urgent is pushed out by what is less so.

Pure: a set of alerts in, the changed one and the evicted ones out. The same sentence again is
counted. A lane has a share of each urgency, so that one cannot push out what others cause.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from allegro.core.base.untrusted import text_of

URGENCIES = ("critical", "high", "medium", "low")
MOST = 200
LANE_SHARE = 50
MAX_SENTENCE = 500

Key = tuple[str, str, str]
"""urgency, lane, sentence"""


class Alert(msgspec.Struct, frozen=True):
    """One sentence for a person. `lane` is whose word caused it, empty for the house's own.

    `first_s` and `last_s` are Unix seconds; `count` says how often it was raised.
    """

    urgency: str
    lane: str
    sentence: str
    first_s: float
    last_s: float
    count: int = 1

    @property
    def key(self) -> Key:
        return (self.urgency, self.lane, self.sentence)


def raised(
    held: dict[Key, Alert], urgency: str, lane: str, sentence: str, now_s: float
) -> tuple[Alert, list[Key]]:
    """Return the alert as it is now held, and the keys that must go for it.

    An urgency that is none counts as the highest.
    """
    urgency = urgency if urgency in URGENCIES else URGENCIES[0]
    sentence = text_of(sentence, MAX_SENTENCE)
    known = held.get((urgency, lane, sentence))
    if known is not None:
        return msgspec.structs.replace(known, last_s=now_s, count=known.count + 1), []
    alert = Alert(urgency, lane, sentence, now_s, now_s)
    return alert, _evicted(held.values(), alert)


def _evicted(held: Iterable[Alert], new: Alert) -> list[Key]:
    same = sorted((one for one in held if one.urgency == new.urgency), key=lambda one: one.last_s)
    mine = [one for one in same if one.lane == new.lane]
    if new.lane and len(mine) >= LANE_SHARE:
        return [mine[0].key]
    if len(same) < MOST:
        return []
    by_lane: dict[str, list[Alert]] = {}
    for one in same:
        by_lane.setdefault(one.lane, []).append(one)
    return [max(by_lane.values(), key=len)[0].key]


def by_urgency(held: Iterable[Alert]) -> list[Alert]:
    """Return alerts with the most urgent first, among equals the newest first."""
    return sorted(held, key=lambda one: (URGENCIES.index(one.urgency), -one.last_s))
