"""What the house answers about alerts: what holds, how useful each code was, what is held back."""

from __future__ import annotations

import msgspec

from allegro.core.health.alert_state import Maintenance
from allegro.core.protocol.answers.house import ShownAlert


class CodePrecision(msgspec.Struct, frozen=True):
    """Of the alarms of one code: how many were sent, of those judged, of those useful."""

    code: str
    useful: int = 0
    judged: int = 0
    sent: int = 0


class AlertsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answers `GET /v1/alerts`. `counts` is by urgency, `channels` are the names of the ways out."""

    schema: str = "allegro.alerts/1"
    alerts: tuple[ShownAlert, ...] = ()
    counts: dict[str, int] = {}
    precision: tuple[CodePrecision, ...] = ()
    maintenance: tuple[Maintenance, ...] = ()
    channels: tuple[str, ...] = ()


class AlertActAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answers `POST /v1/alerts/ID/ACT`: to how many alerts it was done."""

    schema: str = "allegro.alert_act/1"
    alerts: int = 0


class MaintenanceAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answers `POST /v1/maintenance` and `POST /v1/maintenance/ID/end`. `until_s` (Unix s) is unset once it is over."""

    schema: str = "allegro.maintenance/1"
    id: str
    until_s: float | msgspec.UnsetType = msgspec.UNSET
