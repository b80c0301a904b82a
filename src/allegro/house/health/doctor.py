"""What the house shows of itself: status, and doctor's facts."""

from __future__ import annotations

import asyncio

import msgspec

from allegro import __version__
from allegro.core.authority.freeze import MAX_ACTIVE, sound_id
from allegro.core.base.errors import EdgeError
from allegro.core.base.untrusted import Unreadable, text_of
from allegro.core.health import codes
from allegro.core.health.facts import fact_page
from allegro.core.protocol.answers.house import (
    ArchiveCounts,
    DoctorAnswer,
    LinkedLane,
    ShownLane,
    StatusAnswer,
)
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

    async def status(self) -> StatusAnswer:
        """Return the house at a glance. Figures name their source; unknown is null."""
        now_s, freezes = self._clock.now_s(), self._freezes()
        requests = [r for r in self._ledger.requests.values() if not r.internal]
        waiting = [r.created_s for r in requests if r.state is State.PROPOSED]
        waiting += [one.document.created_s for one in await self._ledger.decisions(float("inf"))]
        lanes = await asyncio.gather(*map(self._shown, self._lanes.describe()))
        own = {freeze.id for freeze in freezes.freezes}
        foreign = {
            lane.name: tuple(id_ for id_ in _held_ids(lane.detail) if id_ not in own)
            for lane in lanes
        }
        return StatusAnswer(
            version=__version__,
            house=self._settings.house.name,
            acting=self._settings.house.acting,
            seat=self._fleet().seat,
            frozen=not freezes.is_thawed,
            freezes=freezes.active,
            lane_freezes={name: ids for name, ids in foreign.items() if ids},
            lanes=tuple(lanes),
            local_only_since_s=self._alone_since(),
            waiting_for_sovereign=len(waiting),
            oldest_waiting_s=max((now_s - at_s for at_s in waiting), default=None),
            open={state.value: sum(r.state is state for r in requests) for state in STAGES},
            blocked=self._blocked(),
            archive=ArchiveCounts(**await self._archive.counts()),
            alerts=listed(self._alerting.alerts),
            alert_counts=counts(self._alerting.alerts),
            channels=tuple(self._alerting.channels),
            suspended=self._suspended.described(),
        )

    async def _shown(self, lane: LinkedLane) -> ShownLane:
        detail = await self._lane_status(lane.name)
        return ShownLane(**msgspec.structs.asdict(lane), detail=detail)

    def warnings(self) -> tuple[str, ...]:
        """Return the codes that every answer names, whatever was asked."""
        return () if self._alerting.channels else (codes.NO_CHANNEL.code,)

    async def doctor(self) -> DoctorAnswer:
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
        return DoctorAnswer(ok=all(page.state != "bad" for page in pages), facts=tuple(pages))

    async def _lane_status(self, name: str) -> LaneStatus | None:
        for link_name, _, link in self._lanes.linked():
            if link_name == name:
                try:
                    status = read_status(await link.ask(QueryName.STATUS, {}, 3.0))
                except EdgeError as error:
                    return UnknownStatus(error=text_of(str(error)))
                if isinstance(status, Unreadable):
                    return UnknownStatus(error=f"its answer cannot be read: {status}")
                return status
        return None


def _held_ids(detail: LaneStatus | None) -> list[str]:
    """Return the freezes a lane says it holds, as far as the house could thaw them."""
    freezes = detail.freezes if detail is not None else ()
    return [id_ for id_ in freezes if sound_id(id_) == id_][:MAX_ACTIVE]
