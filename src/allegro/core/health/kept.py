"""All that calling a person must remember over a restart, as one value, and the port of its store."""

from __future__ import annotations

from typing import Protocol

import msgspec

from allegro.core.base.untrusted import Unreadable
from allegro.core.health.alert_state import AlertState
from allegro.core.health.delivery.outbox import Outbox
from allegro.core.health.freshness import Board


class KeptAlerts(msgspec.Struct, frozen=True):
    """The alerts, the messages about them, and the facts with their deadlines."""

    alerts: AlertState
    outbox: Outbox = Outbox()
    board: Board = Board()


class AlertStore(Protocol):
    """Where one program keeps it. `save` writes it whole, in one transaction.

    `load` returns None where nothing was kept, Unreadable where it is damaged. Both raise EdgeError.
    """

    async def load(self) -> KeptAlerts | Unreadable | None: ...
    async def save(self, kept: KeptAlerts) -> None: ...
