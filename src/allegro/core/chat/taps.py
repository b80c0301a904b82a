"""Buttons: what one carries in 64 bytes, and what a press of it means. A press causes no effect.

A button names the digest of what was shown above it. Pressed after that has changed, it says so
instead of answering for something its presser never saw.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from allegro.core.base.errors import Unholdable
from allegro.core.chat.received import Tap

MAX_DATA_BYTES = 64
SHOWN = 16
"""Characters of a digest that a button carries: 64 bits of its hexadecimal form."""

Verb = Literal["approve", "reject", "answer", "ack", "snooze", "useful", "noise"]
VERBS: tuple[Verb, ...] = ("approve", "reject", "answer", "ack", "snooze", "useful", "noise")

_SUBJECT = re.compile(r"[A-Za-z0-9._:-]{1,32}")
_DIGEST = re.compile(r"[0-9a-f]{16,128}")
_DATA = re.compile(r"([a-z]{1,8})~([0-9]?)~([A-Za-z0-9._:-]{1,32})~([0-9a-f]{16})")


class Press(msgspec.Struct, frozen=True):
    """A well-formed button. `option` is 1 to 9 for `answer`, 0 for the other verbs."""

    verb: Verb
    option: int
    subject: str
    shown: str


class Noted(msgspec.Struct, frozen=True):
    """The press stands: it is written down as a note of its sender. `words` is the answer."""

    press: Press
    words: str


class Void(msgspec.Struct, frozen=True):
    """The press means nothing, with the words for who pressed."""

    reason: Literal["malformed", "unknown", "changed"]
    words: str


def request_subject(request_id: str) -> str:
    """Return the subject of a button about a request; it is bound to the request's digest."""
    return f"r:{request_id[:30]}"


def question_subject(decision_id: str) -> str:
    """Return the subject of a button about a question with options, bound to its digest."""
    return f"q:{decision_id[:30]}"


def button_data(verb: Verb, subject: str, digest: str, option: int = 0) -> str:
    """Return what a button carries. Raises Unholdable for a subject or digest that does not fit.

    `subject`: 1 to 32 of A-Z a-z 0-9 . _ : -; `digest`: hexadecimal, 16 characters at least.
    """
    if not _SUBJECT.fullmatch(subject) or not _DIGEST.fullmatch(digest):
        raise Unholdable(f"a button cannot carry the subject {subject!r} or its digest")
    if not 0 <= option <= 9 or (verb == "answer") != bool(option):
        raise Unholdable(f"a button cannot carry option {option} of {verb}")
    return f"{verb}~{option or ''}~{subject}~{digest[:SHOWN]}"


def read_press(data: str) -> Press | None:
    """Read what a button carried; None for anything that `button_data` does not write."""
    match = _DATA.fullmatch(data)
    if match is None or match[1] not in VERBS:
        return None
    verb: Verb = next(one for one in VERBS if one == match[1])
    option = int(match[2] or 0)
    if (verb == "answer") != bool(option):
        return None
    return Press(verb, option, match[3], match[4])


def judge_tap(tap: Tap, digest_now: str | None) -> Noted | Void:
    """Decide what a press means, given the digest its subject has now (None: it is not there).

    The caller reads the press first, to know the subject. No press approves: the answer says so.
    """
    press = read_press(tap.data)
    if press is None:
        return Void("malformed", "This button is not one of ours.")
    if digest_now is None:
        return Void("unknown", "This is over, or not known here.")
    if digest_now[:SHOWN] != press.shown:
        return Void("changed", "This has changed since it was shown. Nothing was noted.")
    return Noted(press, _WORDS[press.verb].replace("{option}", str(press.option)))


_WORDS: dict[Verb, str] = {
    "approve": "Noted; needs your signature.",
    "reject": "Noted; your rejection at home ends it.",
    "answer": "Answer {option} noted.",
    "ack": "Acknowledged.",
    "snooze": "Snoozed.",
    "useful": "Noted as useful.",
    "noise": "Noted as noise.",
}
