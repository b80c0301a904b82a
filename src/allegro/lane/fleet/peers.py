"""What this lane tells the other lanes, and what it hears of them (freezes, marks, silence)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import structlog

from allegro import __version__
from allegro.core.authority.freeze import MAX_ACTIVE, FreezeSet, contains
from allegro.core.authority.lease import Sibling
from allegro.core.base.errors import EdgeError
from allegro.core.base.untrusted import UNREADABLE, text_of
from allegro.core.forge.marks import of_watches
from allegro.core.ports import Council
from allegro.core.protocol.answers.fleet import Peer
from allegro.core.protocol.pages import (
    FRESH_PAGES,
    MAX_FREEZES,
    Page,
    Sighting,
    is_fresh,
    sibling,
    sighted,
)
from allegro.core.protocol.payloads.fleet import BeatBack, BeatMissing, CouncilPageAside
from allegro.core.protocol.payloads.lane import FreezeAdded
from allegro.lane.context import Context

_log = structlog.get_logger()
PAGE_S = 2.0
SILENT_S = 45.0
ASLEEP_S = 20.0
ASIDE_S = 300.0
MAX_REST_S = 86_400.0
MAX_UNTAKEN_S = 3600.0
BUGS = (*UNREADABLE, LookupError, ArithmeticError, AssertionError)
"""What a bug in the handling of one page may raise: it sets that page aside and nothing else."""


class Untaken(msgspec.Struct, frozen=True):
    """How often in a row a lane did not take a role it was offered, and until when it rests."""

    times: int = 0
    until_s: float = float("-inf")


class Siblings:
    """`names` says who the other lanes are; `ready` which roles this lane could do now."""

    def __init__(
        self,
        ctx: Context,
        council: Council,
        names: Callable[[], Sequence[str]],
        ready: Callable[[], tuple[str, ...]],
        is_linked: Callable[[], bool],
    ) -> None:
        self._council = council
        self._state = ctx.state
        self._recorder = ctx.recorder
        self._clock = clock = ctx.ports.clock
        self._lane = ctx.settings.lane.name
        self.names = names
        self._ready = ready
        self._is_linked = is_linked
        self._seen: dict[str, Sighting] = {}
        self._resting: dict[tuple[str, str], float] = {}
        self._untaken: dict[tuple[str, str], Untaken] = {}
        self._aside: dict[str, float] = {}
        self._frozen_by: dict[str, set[str]] = {}
        self._silent: dict[str, float] = {}
        self._began_s = self._looked_s = clock.boot_s()
        self._awake_s = self._began_s
        self._agreed_s = float("-inf")

    async def run(self) -> None:
        """Share and read until cancelled."""
        while True:
            await self.step()
            await self._note_silence()
            await self._clock.sleep(PAGE_S)

    async def step(self) -> None:
        """Write the own page and read the others'. What fails of it stops nothing else of it."""
        names = self.names()
        if not names:
            return
        try:
            await self._council.publish(self._page())
            self._agreed_s = self._clock.boot_s()
        except EdgeError as error:
            _log.info("siblings.untold", error=str(error))
        for name in names:
            if self._clock.boot_s() < self._aside.get(name, float("-inf")):
                continue
            try:
                await self._read(name)
            except EdgeError as error:
                _log.info("siblings.unheard", lane=name, error=str(error))
            except BUGS as error:
                await self._set_aside(name, error)

    async def _read(self, name: str) -> None:
        revision, page = await self._council.page(name)
        if name not in self.names():
            return  # it was revoked meanwhile: nothing it wrote counts
        if page is not None and page.lane != name:
            page = None
        self._seen[name] = sighted(
            self._seen.get(name), revision, page, boot_s=self._clock.boot_s(), page_s=PAGE_S
        )
        if page is not None:
            self._state.peer_named_marks(name, of_watches(page.marks, self._state.watches))
            await self._take_freezes(page)

    async def _set_aside(self, name: str, error: BaseException) -> None:
        """Read nothing of a lane for a while: its page met a bug of ours. Told once each time."""
        self._aside[name] = self._clock.boot_s() + ASIDE_S
        self._seen.pop(name, None)
        reason = f"{type(error).__name__}: {error}"[:200]
        _log.error("siblings.set_aside", lane=name, error=reason)
        try:
            await self._recorder.tell(CouncilPageAside(lane=name), words=reason)
        except EdgeError as failure:
            _log.warning("siblings.untold", lane=name, error=str(failure))

    def rest(self, lane: str, role: str, seconds: float) -> None:
        """Take a lane (perhaps this one) for not ready for a role, for so long at most a day."""
        until_s = self._clock.boot_s() + min(max(seconds, 0.0), MAX_REST_S)
        self._resting[lane, role] = until_s

    def doubt(self, name: str) -> None:
        """Begin anew to count how long a lane is well: a role went from it to another.

        Its last page may look well for a moment longer than it is.
        """
        sighting = self._seen.get(name)
        if sighting is not None:
            self._seen[name] = msgspec.structs.replace(sighting, ready_since_s={})

    def left_untaken(self, lane: str, role: str, rest_s: float) -> None:
        """Offer a lane this role no more for `rest_s`, each time twice as long, up to an hour."""
        times = self._untaken.get((lane, role), Untaken()).times + 1
        rest_s = min(rest_s * 2.0 ** min(times - 1, 16), MAX_UNTAKEN_S)
        self._untaken[lane, role] = Untaken(times, self._clock.boot_s() + rest_s)
        _log.warning("role.untaken", role=role, lane=lane, rest_s=round(rest_s))

    def took(self, lane: str, role: str) -> None:
        """Forget that a lane left this role untaken: now it took it."""
        self._untaken.pop((lane, role), None)

    def is_resting(self, lane: str, role: str) -> bool:
        return self._clock.boot_s() < self._resting.get((lane, role), float("-inf"))

    def of_role(self, role: str) -> tuple[Sibling, ...]:
        """Return the other lanes as the lease machine sees them."""
        boot_s = self._clock.boot_s()
        return tuple(
            Sibling(name)
            if not self._may_be_offered(name, role)
            else sibling(name, self._seen.get(name), role, boot_s=boot_s)
            for name in self.names()
        )

    def _may_be_offered(self, name: str, role: str) -> bool:
        untaken = self._untaken.get((name, role), Untaken())
        return (
            self._is_heard(name)
            and not self.is_resting(name, role)
            and self._clock.boot_s() >= untaken.until_s
        )

    def has_quorum(self) -> bool:
        """Whether the council stored something just now: a leader left alone only answers."""
        return self._clock.boot_s() - self._agreed_s <= FRESH_PAGES * PAGE_S

    def unheard_s(self) -> float:
        """Return for how long (s) the council has stored nothing of ours; 0 for a lane alone."""
        if not self.names():
            return 0.0
        return self._clock.boot_s() - max(self._agreed_s, self._began_s)

    def heard(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the other lanes that are heard now, and those that are not."""
        names = self.names()
        heard = tuple(name for name in names if self._is_heard(name))
        return heard, tuple(name for name in names if name not in heard)

    def describe(self) -> tuple[Peer, ...]:
        """Return what is known of each other lane."""
        return tuple(map(self._described, self.names()))

    def _described(self, name: str) -> Peer:
        sighting = self._seen.get(name)
        page = sighting.page if sighting is not None else None
        age_s = None if sighting is None else self._clock.boot_s() - sighting.changed_s
        return Peer(
            lane=name,
            heard=self._is_heard(name),
            age_s=None if age_s is None else max(0.0, round(age_s, 1)),
            ready=page.ready if page else (),
            done=page.done if page else "",
            house_linked=bool(page and page.house_linked),
            version=page.version if page else "",
        )

    def _is_heard(self, name: str) -> bool:
        sighting = self._seen.get(name)
        return sighting is not None and is_fresh(
            sighting, boot_s=self._clock.boot_s(), page_s=PAGE_S
        )

    def _page(self) -> Page:
        state = self._state
        ready = tuple(role for role in self._ready() if not self.is_resting(self._lane, role))
        return Page(
            lane=self._lane,
            at_s=self._clock.now_s(),
            ready=ready,
            freezes=state.freezes.active[-MAX_FREEZES:],
            marks=of_watches(state.home_marks, state.watches),
            house_linked=self._is_linked(),
            done=text_of(state.done.what, 200),
            version=__version__,
        )

    async def _take_freezes(self, page: Page) -> None:
        """Take freezes over by union, and tell them home: the house may hear of them here first.

        One lane adds `MAX_FREEZES` at most to those that are active, all together `MAX_ACTIVE`:
        frozen is frozen, and no lane makes the set endless.
        """
        held = self._state.freezes
        active = {freeze.id for freeze in held.active}
        its = self._frozen_by[page.lane] = self._frozen_by.get(page.lane, set()) & active
        room = min(MAX_FREEZES - len(its), MAX_ACTIVE - len(active))
        new = tuple(freeze for freeze in page.freezes if not contains(held, freeze.id))
        new = new[: max(0, room)]
        if not new:
            return
        its |= {freeze.id for freeze in new}
        try:
            self._state.merge_freezes(FreezeSet(new, known=False))
        finally:  # a disk that refuses stops neither the freeze nor its telling
            for freeze in new:
                _log.warning("freeze.added", id=freeze.id, by=freeze.by, lane=page.lane)
                await self._recorder.tell(FreezeAdded(id=freeze.id), words=freeze)

    async def _note_silence(self) -> None:
        """Tell once of a lane that is not heard any more, and once when it is back."""
        boot_s = self._clock.boot_s()
        if boot_s - self._looked_s > ASLEEP_S:  # we slept: nobody else was silent
            self._awake_s = boot_s
        self._looked_s = boot_s
        for name in self.names():
            sighting = self._seen.get(name)
            since_s = self._began_s if sighting is None else sighting.changed_s
            silent = boot_s - max(since_s, self._awake_s) > SILENT_S
            if silent == (name in self._silent):
                continue
            silent_s = round(boot_s - (since_s if silent else self._silent[name]), 1)
            kind = BeatMissing if silent else BeatBack
            try:
                await self._recorder.tell(kind(lane=name, silent_s=silent_s))
            except EdgeError as error:
                _log.warning("beat.untold", lane=name, error=str(error))
                continue
            if silent:
                self._silent[name] = since_s
            else:
                del self._silent[name]
