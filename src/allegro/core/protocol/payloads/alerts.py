"""Events about calling a person."""

from __future__ import annotations

from allegro.core.protocol.event_types import EventType
from allegro.core.protocol.payloads.base import Payload


class AlertTold(Payload, frozen=True, kw_only=True):
    """A channel took a message about alerts: its id, what it said, of which codes and lanes.

    A lane seals the keys (code, lane, subject) of the alerts, for a subject may be a name.
    """

    type_ = EventType.ALERT_TOLD
    notice: str
    kind: str
    severity: str
    channel: str
    codes: tuple[str, ...] = ()
    lanes: tuple[str, ...] = ()
