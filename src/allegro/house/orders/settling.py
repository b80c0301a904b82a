"""Settles requests by what is on the forge, where no order may be given any more.

A lane settles only what it was ordered to do: what it sees counts where it holds an order that may
have come to something. What any other lane sees (also one with a higher epoch, and one that
refused the order) is a hint, until a poll of a lane that is no party to it shows the same effect.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from allegro.core.authority.actions.forge import CloseIssue, UpdateStatus
from allegro.core.base.errors import EdgeError
from allegro.core.base.untrusted import Unreadable, read_value
from allegro.core.effects.receipts import address_of, content_of, receipts_of
from allegro.core.ports import Clock
from allegro.core.protocol.answers.forge import Sighting
from allegro.core.protocol.queries import Look
from allegro.core.requests.lifecycle import Step
from allegro.core.requests.ordering import given_to, holders
from allegro.core.requests.requests import Request
from allegro.core.requests.work import Work
from allegro.house.files import Fleet
from allegro.house.orders.giving import Ahead, LinkedLane
from allegro.house.requests.requests import Requests

HINTED_S = 600.0
"""So long a hint, or an answer that cannot be read, waits for a poll that shows the effect."""
MOST_ASKED = 4


class ForgeLanes(Protocol):
    """The linked lanes that serve a forge, best first."""

    def serving_forge(self) -> list[LinkedLane]: ...


Polled = Callable[[Work, int, str], Awaitable[frozenset[str]]]
"""(work, artifact, name of its words) -> the lanes whose polls show exactly this effect."""


class Witnesses(msgspec.Struct, frozen=True):
    """Who can say what is on the forge: lanes that are asked to look, and polls of before."""

    lanes: ForgeLanes
    polled: Polled


class _Seen(msgspec.Struct, frozen=True):
    """What one lane answered."""

    lane: str
    found: Sighting | Unreadable


class Looks:
    """Asks lanes to look, and decides what their answers are worth."""

    def __init__(
        self,
        requests: Requests,
        witnesses: Witnesses,
        clock: Clock,
        fleet: Callable[[], Fleet],
        ahead: Ahead,
    ) -> None:
        self._requests = requests
        self._lanes, self._polled = witnesses.lanes, witnesses.polled
        self._clock = clock
        self._fleet = fleet
        self._ahead = ahead
        self._hinted: dict[str, float] = {}
        requests.on_change(self._changed)

    def _changed(self, request: Request) -> None:
        if request.is_final:
            self._hinted.pop(request.id, None)

    async def settle(self, work: Work, otherwise: Step | None, why: str) -> None:
        """Settle by what is on the forge; where nothing is there, take the step `otherwise`.

        Raises EdgeError, transient, while no lane that could look answers.
        """
        request = self._requests.find_exact(work.request.id) or work.request
        work = self._requests.work(request)
        held, hints = holders(request), []
        for seen in await self._ask(work, held):
            settled = await self._settled(work, seen, held, otherwise)
            if settled is not None:
                await self._take(work, settled, otherwise, why)
                return
            hints.append(_words(seen))
        if otherwise is None:
            return
        first_s = self._hinted.setdefault(request.id, self._clock.boot_s())
        if self._clock.boot_s() - first_s < HINTED_S:
            return
        detail = f"{why}; not believed, for no poll shows it: {'; '.join(hints)}: look at the forge"
        await self._requests.take_step(request, otherwise, detail)

    async def _ask(self, work: Work, held: list[str]) -> list[_Seen]:
        """Ask the lanes that hold an order first, then the others; a few at most."""
        linked = self._lanes.serving_forge()
        if not linked:
            raise EdgeError("no lane is linked to look", transient=True)
        linked = sorted(linked, key=lambda one: one[0] not in held)[:MOST_ASKED]
        request, delivery = work.request, msgspec.structs.asdict(work.delivery)
        seen: list[_Seen] = []
        trouble: EdgeError | None = None
        for name, _, link in linked:
            try:
                content = await self._ahead.send(link, request)
                action = request.action if content is None else b""
                query = Look(action=action, content=content or "", **delivery)
                answer = await link.ask(query.name, query.params())
            except EdgeError as error:
                trouble = error
                if not error.transient:
                    seen.append(_Seen(name, Unreadable(str(error)[:200])))
                continue
            found = read_value(answer, Sighting)
            seen.append(_Seen(name, found))
            if name in held and isinstance(found, Sighting):
                break
        if trouble is not None and not seen:
            raise trouble
        return seen

    async def _settled(
        self, work: Work, seen: _Seen, held: list[str], otherwise: Step | None
    ) -> Sighting | None:
        """Return what an answer settles, None where it is only a hint or cannot be read."""
        found = seen.found
        if isinstance(found, Unreadable) or (found.finding == "Present" and not found.is_present):
            return None
        given = set(given_to(work.request).values())
        if seen.lane in held or (found.finding == "Conflict" and seen.lane in given):
            return found
        if found.is_present:
            polled = await self._polled(work, found.number, self._content(work))
            return found if polled & given or polled - {seen.lane} else None
        is_there_doubt = bool(held) and otherwise is not Step.EXPIRE
        return None if found.finding == "Conflict" or is_there_doubt else found

    async def _take(self, work: Work, found: Sighting, otherwise: Step | None, why: str) -> None:
        request = work.request
        if found.is_present:
            action, branch = work.action, work.delivery.branch
            artifact = found.number
            if isinstance(action, CloseIssue | UpdateStatus):
                artifact = action.issue
            await self._requests.take_step(
                request,
                Step.RECEIPT,
                "found by looking",
                receipts=receipts_of(
                    work,
                    artifact,
                    self._content(work),
                    branch=branch,
                    commit=found.commit,
                    now_s=self._clock.now_s(),
                ),
                artifact=artifact,
                url=address_of(action, artifact, found.url),
                commit=found.commit,
                branch=branch,
            )
        elif found.finding == "Conflict":
            await self._requests.take_step(request, Step.CONFLICT, found.reason)
        elif otherwise is not None:
            await self._requests.take_step(request, otherwise, why)

    def _content(self, work: Work) -> str:
        return content_of(work.action, work.delivery.marker, self._fleet().secret)


def _words(seen: _Seen) -> str:
    if isinstance(seen.found, Unreadable):
        return f"the answer of lane {seen.lane} cannot be read: {seen.found}"
    reason = f" ({seen.found.reason[:200]})" if seen.found.reason else ""
    return f"lane {seen.lane} says {seen.found.finding}{reason}"
