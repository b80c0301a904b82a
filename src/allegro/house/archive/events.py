"""Events as they leave the archive: envelope and clear part are read here, once, into types."""

from __future__ import annotations

import msgspec

from allegro.core.base.events import Event, decode_event
from allegro.core.base.untrusted import Unreadable
from allegro.core.protocol.payloads.base import OtherEvent, Payload
from allegro.core.protocol.payloads.reading import read_payload
from allegro.core.stores import Archived


class ArchivedEvent(msgspec.Struct, frozen=True):
    """One event of a lane, or of the house itself (`lane` is `HOUSE`).

    `row` is its place in the archive, `at_s` when it was archived (Unix seconds). `payload` is its
    clear part; what is sealed is opened from `envelope` by `content.Words`.
    """

    row: int
    lane: str
    at_s: float
    envelope: Event
    payload: Payload | OtherEvent


def read_archived(archived: Archived) -> ArchivedEvent | Unreadable:
    """Return what was archived as types, Unreadable where the bytes are no event. Never raises."""
    try:
        event = decode_event(archived.stored)
    except ValueError as error:
        return Unreadable(str(error)[:200])
    return ArchivedEvent(archived.row, archived.lane, archived.at_s, event, read_payload(event))
