"""The event envelope (CloudEvents 1.0) and what each kind may cost when room runs out."""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from allegro.core.base.canonical import keyed_hex
from allegro.core.base.untrusted import UNREADABLE


class Shed(enum.IntEnum):
    """When a journal overflows, higher values go first; RESERVED never goes (H3)."""

    RESERVED = 0
    KEPT = 1
    SNAPSHOT = 2
    METRIC = 3
    TOOL_CONTENT = 4
    TEXT_DELTA = 5


SHED_ORDER = (Shed.TEXT_DELTA, Shed.TOOL_CONTENT, Shed.METRIC, Shed.SNAPSHOT)


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """A CloudEvents 1.0 envelope with one extension, `sealed`.

    `data` is clear and holds no words of people or models: ids, numbers, commits, states.
    `sealed` is the HPKE form of a JSON object with the words, readable at the house only (H7).
    `time` is RFC 3339 in UTC.
    """

    id: str
    type: str
    source: str
    time: str
    specversion: str = "1.0"
    subject: str = ""
    data: dict[str, Any] = {}
    sealed: bytes = b""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)


def encode_event(event: Event) -> bytes:
    """Return the stored form of an event. `specversion` is always written."""
    raw = _encoder.encode(event)
    return b'{"specversion":"1.0",' + raw[1:]


def decode_event(raw: bytes) -> Event:
    """Read the stored form. Raises ValueError when it is none."""
    try:
        event = _decoder.decode(raw)
    except UNREADABLE as error:
        raise ValueError(f"not an event: {error}") from error
    if event.specversion != "1.0" or not event.id or not event.type:
        raise ValueError("not an event: id, type and specversion 1.0 are required")
    return event


def content_id(
    secret: bytes, subject: str, content_hash: str, updated_s: int = 0, returns: int = 0
) -> str:
    """Return the id every lane computes alike for one version of one forge object.

    A content that comes back later is another version; within one second of the forge's clock
    `returns` tells them apart.
    """
    return keyed_hex(secret, "event", subject, content_hash, str(updated_s), str(returns))[:40]
