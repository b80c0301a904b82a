"""What the house shows of itself: status, and doctor's facts, in plain values."""

from __future__ import annotations

import asyncio

import msgspec

from allegro import __version__
from allegro.core.authority.freeze import MAX_ACTIVE, sound_id
from allegro.core.base.errors import EdgeError
from allegro.core.base.untrusted import Unreadable, text_of
from allegro.core.health import codes
from allegro.core.health.facts import fact_page
from allegro.core.protocol.answers.lane import LaneStatus, UnknownStatus, read_status
from allegro.core.protocol.queries import QueryName
from allegro.core.requests.lifecycle import STAGES, State
from allegro.core.settings import HouseSettings
from allegro.house.archive.suspended import Suspended
from allegro.house.health.alerts import counts, listed
from allegro.house.health.lane_facts import of_lane
from allegro.house.health.own_facts import HouseNow
from allegro.house.health.producers import Producers
from allegro.house.lanes import Lanes
from allegro.house.ports import Ports


class Facts:
    """Collects what `allegro status` and `allegro doctor` show."""

    def __init__(
        self,
        settings: HouseSettings,
        ports: Ports,
        lanes: Lanes,
        now: HouseNow,
        suspended: Suspended,
        producers: Producers,
    ) -> None:
        self._settings = settings
        self._archive = ports.archive
        self._ledger = ports.ledger
        self._lanes = lanes
        self._clock = ports.clock
        self._fleet = now.fleet
        self._freezes = now.freezes
        self._alone_since = now.alone_since
        self._blocked = now.blocked
        self._suspended = suspended
        self._producers = producers
        self._alerting = producers.alerting

    async def status(self) -> dict[str, object]:
        """Return the house at a glance. Figures name their source; unknown is null."""
        now_s = self._clock.now_s()
        requests = [r for r in self._ledger.requests.values() if not r.internal]
        waiting = [r for r in requests if r.state is State.PROPOSED]
        lanes = self._lanes.describe()
        details = await asyncio.gather(*(self._lane_status(lane["name"]) for lane in lanes))
        for lane, detail in zip(lanes, details, strict=True):
            lane["detail"] = detail
        own = {freeze.id for freeze in self._freezes().freezes}
        return {
            "schema": "allegro.status/1",
            "version": __version__,
            "house": self._settings.house.name,
            "acting": self._settings.house.acting,
            "seat": self._fleet().seat,
            "frozen": not self._freezes().is_thawed,
            "freezes": [
                {"id": f.id, "by": f.by, "reason": f.reason, "at_s": f.at_s}
                for f in self._freezes().active
            ],
            "lane_freezes": {
                lane["name"]: extra
                for lane in lanes
                if (extra := [id_ for id_ in _held_ids(lane["detail"]) if id_ not in own])
            },
            "lanes": lanes,
            "local_only_since_s": self._alone_since(),
            "waiting_for_sovereign": len(waiting),
            "oldest_waiting_s": max((now_s - r.created_s for r in waiting), default=None),
            "open": {state.value: sum(r.state is state for r in requests) for state in STAGES},
            "blocked": self._blocked(),
            "archive": await self._archive.counts(),
            "alerts": listed(self._alerting.alerts),
            "alert_counts": counts(self._alerting.alerts),
            "channels": list(self._alerting.channels),
            "suspended": self._suspended.described(),
        }

    def warnings(self) -> tuple[str, ...]:
        """Return the codes that every answer names, whatever was asked."""
        return () if self._alerting.channels else (codes.NO_CHANNEL.code,)

    async def doctor(self) -> dict[str, object]:
        """Return doctor's facts of house and lanes; `ok` is false when one of them is bad.

        Every producer is asked anew; what does not answer in time is shown as it was stated, until
        its deadline, then as unknown.
        """
        answered = await self._producers.refresh()
        now_s = self._clock.now_s()
        facts = self._alerting.facts()
        pages = [fact_page(one, now_s) for one in facts if not one.lane]
        for lane in dict.fromkeys([*answered, *(one.lane for one in facts if one.lane)]):
            pages += answered.get(lane) or [
                of_lane(fact_page(one, now_s), lane) for one in facts if one.lane == lane
            ]
        return {
            "schema": "allegro.doctor/1",
            "ok": all(page.state != "bad" for page in pages),
            "facts": [msgspec.to_builtins(page) for page in pages],
        }

    async def _lane_status(self, name: str) -> LaneStatus | None:
        for link_name, _, link in self._lanes.linked():
            if link_name == name:
                try:
                    status = read_status(await link.ask(QueryName.STATUS, {}, 3.0))
                except EdgeError as error:
                    return UnknownStatus(error=text_of(str(error)))
                if isinstance(status, Unreadable):
                    return UnknownStatus(error=f"its status cannot be read: {status}")
                return status
        return None


def _held_ids(detail: LaneStatus | None) -> list[str]:
    """Return the freezes a lane says it holds, as far as the house could thaw them."""
    freezes = detail.freezes if detail is not None else ()
    return [id_ for id_ in freezes if sound_id(id_) == id_][:MAX_ACTIVE]
