"""Where the facts of a report come from: each source is asked, and may refuse to speak."""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from allegro.core.authority.freeze import FreezeSet
from allegro.core.health.alerts import Alert
from allegro.core.measures.answers import Judged
from allegro.core.reports.facts import DeliveryLine, FactLine, LaneLine, Unknown


def _no_alerts() -> Unknown:
    return Unknown("alerts are not kept")


def _no_verdicts() -> None:
    return None


async def _no_doctor() -> Unknown:
    return Unknown("doctor was not asked")


async def _no_deliveries(_: datetime.date) -> Sequence[DeliveryLine]:
    return ()


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a report asks besides archive and ledger. One that raises EdgeError is unknown.

    `deliveries` is given the day of the report before; `drift` and `backup` are words of ours.
    """

    freezes: Callable[[], FreezeSet]
    lanes: Callable[[], Sequence[LaneLine]]
    alerts: Callable[[], Sequence[Alert] | Unknown] = _no_alerts
    judged: Callable[[], Judged | None] = _no_verdicts
    doctor: Callable[[], Awaitable[Sequence[FactLine] | Unknown]] = _no_doctor
    deliveries: Callable[[datetime.date], Awaitable[Sequence[DeliveryLine]]] = _no_deliveries
    drift: Callable[[], str] = lambda: "none configured"
    backup: Callable[[], str] = lambda: "none configured"
