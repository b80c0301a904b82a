"""What every payload is: a frozen Struct that knows the name of its event."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from allegro.core.base.events import Event
from allegro.core.base.timestamps import rfc3339
from allegro.core.protocol.event_types import EventType


class Payload(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every event holds in clear. The docstring of each class is its line in the docs."""

    type_: ClassVar[EventType]

    def clear(self) -> dict[str, Any]:
        """Return the clear part of the event, as it is stored."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in fields.items()
        }


class OtherEvent(msgspec.Struct, frozen=True):
    """Stands for an event of a type that this release does not know."""

    type_: str


def own_event(payload: Payload, *, id_: str, now_s: float, subject: str = "") -> Event:
    """Return an event that the house itself writes at `now_s` (Unix seconds)."""
    return Event(
        id=id_, type=payload.type_.value, source="house", time=rfc3339(now_s), subject=subject,
        data=payload.clear(),
    )  # fmt: skip
