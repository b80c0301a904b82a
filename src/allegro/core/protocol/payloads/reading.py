"""From an event to its payload: the one place where the clear part of an event is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from allegro.core.base.events import Event
from allegro.core.base.untrusted import Unreadable, read_value
from allegro.core.protocol.payloads import (
    actions,
    alerts,
    chat,
    duties,
    fleet,
    house,
    lane,
    polls,
    sessions,
)
from allegro.core.protocol.payloads.base import OtherEvent, Payload

_MODULES = (actions, polls, lane, sessions, fleet, house, duties, chat, alerts)


def _named() -> Iterator[type[Payload]]:
    for module in _MODULES:
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Payload) and hasattr(value, "type_"):
                yield value


PAYLOADS: Mapping[str, type[Payload]] = {value.type_: value for value in _named()}
"""The payload of each event type, in the order of the documentation."""


def read_payload(event: Event) -> Payload | OtherEvent:
    """Return what an event holds in clear. Never raises, whatever the event holds.

    A lane counts as the open internet: a field that is missing or of another form is blank (0,
    empty, False or None), and hides no other field. So a reader grants by a positive test only.
    """
    known = PAYLOADS.get(event.type)
    if known is None:
        return OtherEvent(event.type)
    whole = read_value(event.data, known)
    return _field_by_field(event.data, known) if isinstance(whole, Unreadable) else whole


def _field_by_field(data: Mapping[str, object], known: type[Payload]) -> Payload:
    found = {}
    for field in msgspec.structs.fields(known):
        one = read_value(data.get(field.encode_name), field.type)
        if not isinstance(one, Unreadable):
            found[field.name] = one
        elif field.required:
            found[field.name] = _blank(field.type)
    return known(**found)


def _blank(type_: object) -> object:
    """Return the emptiest value of a field's type."""
    blanks: tuple[object, ...] = (None, "", 0, False, (), {})
    for value in blanks:
        found: object = read_value(value, type_)  # type: ignore[arg-type]
        if not isinstance(found, Unreadable):
            return found
    raise TypeError(f"no empty value of {type_}")
