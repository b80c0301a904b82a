"""What is said to a person about alerts: one notice for one alert, for many of a code, or a digest.

A notice is made by the alert machine, kept by the outbox, and turned into a channel's message by
whoever sends it. Its words are lines whose foreign parts (subject, sentence) stand apart from ours
(code, title, fix), so that a channel can mark them, or leave them out where content is not to leave
the house. A notice never changes: what is said anew is a new notice with an id of its own.

`by_s` is when it must have reached a person: after it the outbox tries every channel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import StrEnum

import msgspec

from allegro.core.health import codes
from allegro.core.health.alerts import Alert, Key
from allegro.core.health.codes import Severity, code_of
from allegro.core.health.codes.code import Way

SINGLE_UP_TO = 3
"""More alerts of one code at one moment are told in one notice."""

MAX_LINES = 20
"""The lines of one notice; `count` says of how many alerts it is."""


OF_CHANNELS = frozenset({codes.CHANNEL.code, codes.CHAT_DEAF.code})
"""Codes whose subject is a channel: what they tell goes by another one first."""


class Kind(StrEnum):
    """What a notice says about its alerts."""

    ALARM = "alarm"
    REMINDER = "reminder"
    RECOVERY = "recovery"
    DIGEST = "digest"
    REPORT = "report"


class Line(msgspec.Struct, frozen=True):
    """One alert in a notice. `since_s`: when it began; `until_s`: when it ended, 0 if it holds."""

    code: str
    title: str
    severity: Severity
    lane: str
    subject: str
    sentence: str
    fix: str
    since_s: float
    until_s: float = 0.0
    times: int = 1


class Said(msgspec.Struct, frozen=True):
    """Some words of a notice. Foreign ones are somebody else's: titles, names, text of a forge."""

    words: str
    is_foreign: bool = False


class Notice(msgspec.Struct, frozen=True):
    """`keys` are all alerts it is about, `lines` the first MAX_LINES of them in words.

    `hushed` counts the alerts that wait because this one explains them. `avoid` names a channel
    that should not carry it, because it is about that channel. `at_s` is when it was made. A report has a `title` and `said` instead of lines;
    its `keys` are the alerts that it lists. `buttons` are label and data (`chat.taps.button_data`).
    """

    id: str
    kind: Kind
    severity: Severity
    way: Way
    keys: tuple[Key, ...]
    lines: tuple[Line, ...]
    at_s: float
    by_s: float
    hushed: int = 0
    avoid: str = ""
    title: str = ""
    said: tuple[Said, ...] = ()
    buttons: tuple[tuple[str, str], ...] = ()

    @property
    def count(self) -> int:
        return len(self.keys)


def notice_digest(notice: str, keys: Sequence[Key]) -> str:
    """Return what a button below a notice is bound to: its id and the alerts that it is about."""
    named = "\n".join([notice, *(" ".join(key) for key in sorted(keys))])
    return hashlib.sha256(named.encode("utf-8", "replace")).hexdigest()


class Want(msgspec.Struct, frozen=True):
    """One alert that is to be told: what about it, and by when at the latest."""

    alert: Alert
    kind: Kind
    way: Way
    by_s: float
    hushed: int = 0


def grouped(wants: Sequence[Want]) -> list[list[Want]]:
    """Return the wants that share a notice: digests all, else many of one code and kind."""
    groups: dict[tuple[Kind, str], list[Want]] = {}
    for want in sorted(wants, key=lambda one: (one.alert.severity, one.alert.key)):
        code = "" if want.kind is Kind.DIGEST else want.alert.code
        groups.setdefault((want.kind, code), []).append(want)
    found: list[list[Want]] = []
    for (kind, _), group in groups.items():
        if kind is Kind.DIGEST or len(group) > SINGLE_UP_TO:
            found.append(group)
        else:
            found.extend([want] for want in group)
    return found


def notice_of(group: Sequence[Want], notice_id: str, now_s: float) -> Notice:
    """Return the notice for wants that share one."""
    first = group[0]
    severity = min(want.alert.severity for want in group)
    about_channel = first.alert.code in OF_CHANNELS and len(group) == 1
    return Notice(
        id=notice_id,
        kind=first.kind,
        severity=severity,
        way=min((want.way for want in group), key=list(Way).index),
        keys=tuple(want.alert.key for want in group),
        lines=tuple(_line(want.alert) for want in group[:MAX_LINES]),
        at_s=now_s,
        by_s=min(want.by_s for want in group),
        hushed=sum(want.hushed for want in group),
        avoid=first.alert.subject if about_channel else "",
    )


def _line(alert: Alert) -> Line:
    code = code_of(alert.code)
    return Line(
        code=alert.code,
        title=code.title,
        severity=alert.severity,
        lane=alert.lane,
        subject=alert.subject,
        sentence=alert.sentence,
        fix=code.fix.replace("{subject}", alert.subject),
        since_s=alert.course.begun_s,
        until_s=alert.course.well_s,
        times=alert.count,
    )
