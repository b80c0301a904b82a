"""The lanes of this house: which are linked, which can do what, and how they are asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import structlog

from allegro.core.authority.freeze import Freeze, contains
from allegro.core.authority.tokens import fingerprint
from allegro.core.base.errors import EdgeError
from allegro.core.base.untrusted import Unreadable, read_value
from allegro.core.forge.triage import SEEN_LABEL
from allegro.core.health import codes
from allegro.core.protocol.answers.house import LinkedLane
from allegro.core.protocol.messages import (
    Bring,
    FromHouse,
    Stop,
)
from allegro.core.protocol.queries import ANSWERS, Params, QueryName
from allegro.house.endpoint import House, LaneEndpoint
from allegro.house.seen_label import SeenLabel
from allegro.link.dial import LaneLink
from allegro.runtime.duties import keep_running

_log = structlog.get_logger()
TELL_S = 0.8
AFTER_BUG_S = 5.0
MUTE_S = 60.0
"""So long a lane that gave no answer, or none that can be read, is asked after the others."""


class Lanes:
    """All lanes, each kept linked by its own task. `seen_label` is what house.toml names."""

    def __init__(self, house: House, seen_label: str = SEEN_LABEL) -> None:
        self._house = house
        self._seen_label = SeenLabel(seen_label, house.alert)
        self._ends: dict[str, tuple[LaneEndpoint, LaneLink, asyncio.Task[None]]] = {}
        self._mute: dict[str, float] = {}

    def refresh(self) -> None:
        """Dial lanes that were paired, drop those that were revoked or changed."""
        wanted = {lane.name: lane for lane in self._house.fleet().lanes if not lane.revoked}
        for name, (end, _, task) in list(self._ends.items()):
            if wanted.get(name) != end.lane:
                task.cancel()
                del self._ends[name]
        for name, lane in wanted.items():
            if name not in self._ends:
                end = LaneEndpoint(self._house, lane, partial(self._send_label, name))
                link = LaneLink(end, self._house.clock, self._house.dice)
                self._ends[name] = (end, link, self._begin(name, link))

    def _send_label(self, name: str) -> None:
        _, link, _ = self._ends[name]
        self._seen_label.tell(name, link.ask)

    def _begin(self, name: str, link: LaneLink) -> asyncio.Task[None]:
        """Keep a lane linked; a bug that it meets ends its own link, which begins again."""
        house, what = self._house, f"link {name}"

        def failed(sentence: str) -> None:
            house.alert(codes.TASK_FAILED, what, name, detail=sentence)

        running = keep_running(what, link.run, house.clock, lambda _: AFTER_BUG_S, failed)
        return asyncio.create_task(running, name=what)

    async def stop(self) -> None:
        tasks = [task for _, _, task in self._ends.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._seen_label.stop()

    def prod(self) -> None:
        """Dial at once: the machine woke up, or the network changed."""
        for _, link, _ in self._ends.values():
            link.prod()

    def linked(self) -> list[tuple[str, str, LaneLink]]:
        """Return (name, fingerprint, link) of the lanes that are linked now, in order."""
        return [
            (end.name, fingerprint(end.lane.key), link)
            for end, link, _ in self._ends.values()
            if link.is_up
        ]

    def _trusted(self) -> list[tuple[str, str, LaneLink]]:
        """Return the linked lanes with which work is not suspended."""
        return [one for one in self.linked() if not self._house.suspended(one[0])]

    def serving_forge(self) -> list[tuple[str, str, LaneLink]]:
        """Return the linked lanes that serve a forge, the one that holds the role first."""
        able = [one for one in self._trusted() if self._ends[one[0]][0].serves.forge]
        return self._holder_first(able, "forge")

    def serving_sessions(self, busy: Callable[[str], int]) -> list[tuple[str, str, LaneLink]]:
        """Return the linked lanes with room for a session; the house's own where no other is."""
        able = [(one, self._ends[one[0]][0].serves) for one in self._trusted()]
        able = [(one, serves) for one, serves in able if serves.sessions > 0]
        away = [(one, serves) for one, serves in able if not serves.local]
        free = [one for one, serves in away or able if busy(one[0]) < serves.sessions]
        return self._holder_first(free, "hermes")

    def serves(self, lane: str) -> list[str]:
        """Return the roles a linked lane can be given."""
        held = self._ends.get(lane)
        if held is None or not held[1].is_up:
            return []
        serves = held[0].serves
        return ["forge"] * serves.forge + ["hermes"] * (serves.sessions > 0)

    def members(self) -> frozenset[str]:
        """Return the names of the council's lanes whose keys are not revoked; none without one."""
        fleet = self._house.fleet()
        revoked = {fingerprint(lane.key) for lane in fleet.lanes if lane.revoked}
        members = fleet.roster.members if fleet.roster else ()
        return frozenset(member.name for member in members if member.lane not in revoked)

    def names(self) -> frozenset[str]:
        """Return the names of all lanes that were ever paired and not renamed."""
        return frozenset(lane.name for lane in self._house.fleet().lanes)

    def unknown_freezes(self, reported: Iterable[str]) -> tuple[str, ...]:
        """Return the ids of a lane's freezes that this house does not hold."""
        return tuple(id_ for id_ in reported if not contains(self._house.freezes(), id_))

    def roles_of(self, lane: str) -> dict[str, int]:
        """Return the roles a linked lane says it holds, with their epochs."""
        held = self._ends.get(lane)
        return dict(held[0].roles) if held is not None and held[1].is_up else {}

    def _holder_first(
        self, lanes: list[tuple[str, str, LaneLink]], role: str
    ) -> list[tuple[str, str, LaneLink]]:
        """Sort by what lanes say of a role: the highest epoch first, else as they were paired.

        Where there is a council, its lanes come before those outside of it.
        """
        roster = self._house.fleet().roster
        members = {member.name for member in roster.members} if roster else set()
        return sorted(
            lanes,
            key=lambda one: (one[0] not in members, -self._ends[one[0]][0].roles.get(role, 0)),
        )

    def is_home(self, lane: str) -> bool:
        """Whether this lane is linked and all it has told is archived."""
        held = self._ends.get(lane)
        return held is not None and held[1].is_up and held[0].is_home

    async def ask_lane(
        self, lane: str, method: str, params: Params, timeout_s: float | None = None
    ) -> Any:
        """Ask this very lane. Raises EdgeError; transient when it is not linked."""
        held = self._ends.get(lane)
        if held is None or not held[1].is_up:
            raise EdgeError(f"{lane} is not linked", transient=True, kind="not_linked")
        if timeout_s is None:
            return await held[1].ask(method, params)
        return await held[1].ask(method, params, timeout_s)

    async def ask(self, method: str, params: Params) -> Any:
        """Ask the linked lanes with a forge, best first, until one answers or says no.

        One that did not answer lately, or not readably, is asked last, whatever role it claims.
        Where no lane answers readably, an answer that nobody can read is returned. Raises
        EdgeError, transient where no lane could answer now.
        """
        boot_s, trouble = self._house.clock.boot_s(), None
        linked = sorted(self.serving_forge(), key=lambda one: self._mute_until(one[0]) > boot_s)
        unreadable: list[Any] = []
        for name, _, link in linked:
            try:
                answer = await link.ask(method, params)
            except EdgeError as error:
                if not error.transient:
                    raise
                trouble = error
            else:
                if _is_readable(method, answer):
                    return answer
                unreadable.append(answer)
            self._mute[name] = self._house.clock.boot_s() + MUTE_S
        if unreadable:
            return unreadable[0]
        raise trouble or EdgeError("no lane is linked", transient=True, kind="not_linked")

    def _mute_until(self, lane: str) -> float:
        return self._mute.get(lane, float("-inf"))

    async def tell_all(self, message: FromHouse) -> int:
        """Say something to every linked lane at once; return how many took it within TELL_S.

        A lane that does not read holds nobody else up.
        """
        linked = self.linked()
        outcomes = await asyncio.gather(
            *(asyncio.wait_for(link.say(message), TELL_S) for _, _, link in linked),
            return_exceptions=True,
        )
        for (name, _, _), outcome in zip(linked, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                _log.warning("link.not_told", lane=name, error=repr(outcome))
        return sum(outcome is None for outcome in outcomes)

    async def stop_all(self, freeze: Freeze) -> int:
        return await self.tell_all(Stop(freeze))

    async def bring_all(self, token: str) -> int:
        return await self.tell_all(Bring(token))

    def describe(self) -> list[LinkedLane]:
        """Return each lane as its link shows it."""
        return [
            LinkedLane(
                name=end.name,
                url=end.url,
                linked=link.is_up,
                trouble=link.trouble,
                since_s=link.since_s,
                down_s=link.down_s,
                behind=end.behind,
                caught_up_s=end.caught_up_s,
                version=end.version,
                head=end.head,
                home=end.home,
                done=end.done,
                heard_s=end.heard_s,
            )
            for end, link, _ in self._ends.values()
        ]


def _is_readable(method: str, answer: object) -> bool:
    """Say whether an answer is of its query's type."""
    return not isinstance(read_value(answer, ANSWERS[QueryName(method)]), Unreadable)
