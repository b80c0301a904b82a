"""What a person should see, kept by severity: nothing urgent is pushed out by what is less so.

An alert is a code with its subject and values; its sentence is written from the code's template
where it is shown. Pure: a set of alerts in, the changed one and the evicted ones out. The same code
of the same subject again is counted, and its newest values are kept. A lane has a share of each
severity, so that one cannot push out what others cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec

from allegro.core.base.untrusted import text_of
from allegro.core.health.codes import Code, Severity, code_of

URGENCIES = {
    Severity.P0: "critical", Severity.P1: "high", Severity.P2: "medium", Severity.P3: "low"
}  # fmt: skip
"""The words of the release before, kept for one release in `allegro status --json`."""
MOST = 200
LANE_SHARE = 50
MAX_SUBJECT = 300
MAX_VALUE = 300
MAX_SENTENCE = 500

Key = tuple[str, str, str]
"""code, lane, subject"""


class RaiseAlert(Protocol):
    """Shows a person that a condition began. `lane` is whose word caused it, empty for our own.

    `values` fill the template of the code.
    """

    def __call__(self, code: Code, subject: str, /, lane: str = "", **values: object) -> None: ...


class Alert(msgspec.Struct, frozen=True):
    """`severity` is the code's own; one of a ledger of before keeps what it had.

    `first_s` and `last_s` are Unix seconds; `count` says how often it was raised.
    """

    code: str
    lane: str
    subject: str
    severity: Severity
    values: dict[str, str]
    first_s: float
    last_s: float
    count: int = 1

    @property
    def key(self) -> Key:
        return (self.code, self.lane, self.subject)

    @property
    def sentence(self) -> str:
        return sentence_of(code_of(self.code), self.subject, self.lane, self.values)


class _Values(dict[str, object]):
    """The values of a sentence; one that is missing is shown as such."""

    def __missing__(self, key: str) -> str:
        return "?"


def sentence_of(code: Code, subject: str, lane: str, values: Mapping[str, object]) -> str:
    """Return an alert in words, MAX_SENTENCE characters at most. Foreign values stay values."""
    whole = _Values({**values, "subject": subject, "lane": lane})
    return text_of((code.alert or "{subject}").format_map(whole), MAX_SENTENCE)


def raised(
    held: dict[Key, Alert], code: Code, subject: str, lane: str, values: Mapping[str, object],
    now_s: float,
) -> tuple[Alert, list[Key]]:  # fmt: skip
    """Return the alert as it is now held, and the keys that must go for it."""
    subject = text_of(subject, MAX_SUBJECT)
    kept = {name: text_of(str(value), MAX_VALUE) for name, value in values.items()}
    known = held.get((code.code, lane, subject))
    if known is not None:
        again = msgspec.structs.replace(known, values=kept, last_s=now_s, count=known.count + 1)
        return again, []
    alert = Alert(code.code, lane, subject, code.severity, kept, now_s, now_s)
    return alert, _evicted(held.values(), alert)


def _evicted(held: Iterable[Alert], new: Alert) -> list[Key]:
    same = sorted((one for one in held if one.severity == new.severity), key=lambda one: one.last_s)
    mine = [one for one in same if one.lane == new.lane]
    if new.lane and len(mine) >= LANE_SHARE:
        return [mine[0].key]
    if len(same) < MOST:
        return []
    by_lane: dict[str, list[Alert]] = {}
    for one in same:
        by_lane.setdefault(one.lane, []).append(one)
    return [max(by_lane.values(), key=len)[0].key]


def by_severity(held: Iterable[Alert]) -> list[Alert]:
    """Return alerts with the most urgent first, among equals the newest first."""
    return sorted(held, key=lambda one: (one.severity, -one.last_s))
