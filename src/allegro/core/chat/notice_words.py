"""A notice as a chat shows it: title, body and buttons.

Invariant: without `content` nothing but ours leaves: reference, kind of trouble, urgency and age; no
subject, no name, no sentence. With it, whatever is not ours is a `Foreign` part.
"""

from __future__ import annotations

import datetime

import msgspec

from allegro.core.base.errors import Unholdable
from allegro.core.base.timestamps import span
from allegro.core.chat.taps import Verb, button_data
from allegro.core.chat.texts import Foreign, Part
from allegro.core.health.codes import Severity
from allegro.core.health.delivery.notices import Kind, Line, Notice, notice_digest
from allegro.core.health.delivery.outbox import Sending

MAX_SENTENCE = 300
HIDDEN = "…"
_BUTTONS: dict[Verb, str] = {
    "ack": "Acknowledge", "snooze": "Snooze 1 h", "useful": "Useful", "noise": "Noise",
}  # fmt: skip
_ASKS = (Kind.ALARM, Kind.REMINDER, Kind.DIGEST)


class NoticeWords(msgspec.Struct, frozen=True):
    """`buttons` are label and data; `quiet` asks for no sound."""

    title: str
    body: tuple[Part, ...]
    buttons: tuple[tuple[str, str], ...]
    quiet: bool


def notice_words(
    sending: Sending, now_s: float, zone: datetime.tzinfo, *, content: bool
) -> NoticeWords:
    """Return what a channel shows of a notice. `content`: titles and names may leave by it."""
    notice = sending.notice
    body: list[Part] = []
    if sending.down_since_s:
        body.append(f"This channel was down since {_time(sending.down_since_s, zone)}.\n")
    if sending.is_repeat:
        body.append("It may have arrived before: the program ended while it was sent.\n")
    if notice.kind is Kind.REPORT:
        body += _said(notice, content=content)
    else:
        for line in notice.lines:
            body += _line(line, now_s, content=content)
        body += _rest(notice)
    return NoticeWords(
        title=_title(notice),
        body=tuple(body),
        buttons=notice.buttons or _buttons(notice),
        quiet=notice.severity >= Severity.P2 or notice.kind in {Kind.RECOVERY, Kind.DIGEST},
    )


def _title(notice: Notice) -> str:
    if notice.kind is Kind.REPORT:
        return notice.title
    what = notice.lines[0].title if len(notice.lines) == 1 else f"{notice.count} alerts"
    if len({line.code for line in notice.lines}) == 1 and notice.count > 1:
        what = f"{notice.count} × {notice.lines[0].title}"
    return f"{notice.severity.value} {notice.kind.value}: {what}"


def _said(notice: Notice, *, content: bool) -> list[Part]:
    found: list[Part] = []
    for one in notice.said:
        if not one.is_foreign:
            found.append(one.words)
        else:
            found.append(Foreign(one.words, MAX_SENTENCE) if content else HIDDEN)
    return found


def _line(line: Line, now_s: float, *, content: bool) -> list[Part]:
    age = f"since {span(max(0.0, now_s - line.since_s))}"
    if line.until_s:
        age = f"over after {span(max(0.0, line.until_s - line.since_s))}"
    times = f", {line.times} times" if line.times > 1 else ""
    parts: list[Part] = [f"{line.severity.value} {line.code}, {age}{times}\n"]
    if not content:
        return parts
    parts.append(Foreign(line.sentence, MAX_SENTENCE))
    if line.lane:
        parts += [" on lane ", Foreign(line.lane, 64)]
    parts.append("\n")
    if line.fix and not line.until_s:
        parts += ["→ ", Foreign(line.fix, MAX_SENTENCE), "\n"]
    return parts


def _rest(notice: Notice) -> list[Part]:
    found: list[Part] = []
    if notice.count > len(notice.lines):
        found.append(f"and {notice.count - len(notice.lines)} more\n")
    if notice.hushed:
        others = "1 other waits" if notice.hushed == 1 else f"{notice.hushed} others wait"
        found.append(f"{others}: this one explains them\n")
    return [*found, f"{notice.id}: see `allegro alerts`"]


def _buttons(notice: Notice) -> tuple[tuple[str, str], ...]:
    if notice.kind not in _ASKS:
        return ()
    verbs: tuple[Verb, ...] = ("useful", "noise") if notice.kind is Kind.DIGEST else (*_BUTTONS,)
    digest = notice_digest(notice.id, notice.keys)
    try:
        return tuple((_BUTTONS[verb], button_data(verb, notice.id, digest)) for verb in verbs)
    except Unholdable:  # an id that fits no button: the command line is left
        return ()


def _time(at_s: float, zone: datetime.tzinfo) -> str:
    return datetime.datetime.fromtimestamp(at_s, zone).strftime("%d %b %H:%M")
