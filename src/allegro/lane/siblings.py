"""What this lane tells the other lanes, and what it hears of them (freezes, marks, silence)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import structlog

from allegro import __version__
from allegro.core.council import (
    FRESH_PAGES,
    MAX_FREEZES,
    Page,
    Sighting,
    is_fresh,
    sibling,
    sighted,
)
from allegro.core.errors import EdgeError
from allegro.core.freeze import FreezeSet, contains
from allegro.core.lease import Sibling
from allegro.core.ports import Clock, Council
from allegro.lane.recorder import Recorder
from allegro.lane.state import LaneState

_log = structlog.get_logger()
PAGE_S = 2.0
SILENT_S = 45.0
ASLEEP_S = 20.0
MAX_HELD = 200
MAX_REST_S = 86_400.0


class Siblings:
    """`names` says who the other lanes are; `ready` which roles this lane could do now."""

    def __init__(
        self, council: Council, state: LaneState, recorder: Recorder, clock: Clock, *,
        lane: str, names: Callable[[], Sequence[str]], ready: Callable[[], tuple[str, ...]],
        is_linked: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._council = council
        self._state = state
        self._recorder = recorder
        self._clock = clock
        self._lane = lane
        self.names = names
        self._ready = ready
        self._is_linked = is_linked
        self._seen: dict[str, Sighting] = {}
        self._resting: dict[tuple[str, str], float] = {}
        self._silent: dict[str, float] = {}
        self._began_s = self._looked_s = clock.boot_s()
        self._awake_s = self._began_s
        self._agreed_s = float("-inf")

    async def run(self) -> None:
        """Share and read until cancelled."""
        while True:
            try:
                await self.step()
            except EdgeError as error:
                _log.info("siblings.unheard", error=str(error))
            await self._note_silence()
            await self._clock.sleep(PAGE_S)

    async def step(self) -> None:
        """Write the own page and read the others'. Raises EdgeError."""
        names = self.names()
        if not names:
            return
        await self._council.publish(self._page())
        self._agreed_s = self._clock.boot_s()
        for name in names:
            revision, page = await self._council.page(name)
            if page is not None and page.lane != name:
                page = None
            self._seen[name] = sighted(
                self._seen.get(name), revision, page, boot_s=self._clock.boot_s(), page_s=PAGE_S
            )
            if page is not None:
                self._state.sibling_marks[name] = page.marks
                await self._take_freezes(page)

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

    def is_resting(self, lane: str, role: str) -> bool:
        return self._clock.boot_s() < self._resting.get((lane, role), float("-inf"))

    def of_role(self, role: str) -> tuple[Sibling, ...]:
        """Return the other lanes as the lease machine sees them."""
        boot_s = self._clock.boot_s()
        return tuple(
            Sibling(name)
            if self.is_resting(name, role) or not self._is_heard(name)
            else sibling(name, self._seen.get(name), role, boot_s=boot_s)
            for name in self.names()
        )

    def has_quorum(self) -> bool:
        """Whether the council stored something just now: a leader left alone only answers."""
        return self._clock.boot_s() - self._agreed_s <= FRESH_PAGES * PAGE_S

    def unheard_s(self) -> float:
        """Return for how long (s) the council has stored nothing of ours; 0 for a lane alone."""
        if not self.names():
            return 0.0
        return self._clock.boot_s() - max(self._agreed_s, self._began_s)

    def describe(self) -> list[dict[str, object]]:
        """Return what is known of each other lane, in plain values; ages in seconds."""
        boot_s = self._clock.boot_s()
        told = []
        for name in self.names():
            sighting = self._seen.get(name)
            page = sighting.page if sighting is not None else None
            told.append(
                {
                    "lane": name, "heard": self._is_heard(name),
                    "age_s": None if sighting is None else round(boot_s - sighting.changed_s, 1),
                    "ready": list(page.ready) if page else [], "done": page.done if page else "",
                    "house_linked": bool(page and page.house_linked),
                    "version": page.version if page else "",
                }
            )  # fmt: skip
        return told

    def _is_heard(self, name: str) -> bool:
        sighting = self._seen.get(name)
        return sighting is not None and is_fresh(
            sighting, boot_s=self._clock.boot_s(), page_s=PAGE_S
        )

    def _page(self) -> Page:
        state = self._state
        ready = tuple(role for role in self._ready() if not self.is_resting(self._lane, role))
        return Page(
            lane=self._lane, at_s=self._clock.now_s(), ready=ready,
            freezes=state.freezes.active[-MAX_FREEZES:], marks=dict(state.home_marks),
            house_linked=self._is_linked(), done=state.done.what[:200], version=__version__,
        )  # fmt: skip

    async def _take_freezes(self, page: Page) -> None:
        """Take freezes over by union, and tell them home: the house may hear of them here first."""
        held = self._state.freezes
        new = tuple(freeze for freeze in page.freezes if not contains(held, freeze.id))
        if not new or len(held.active) >= MAX_HELD:
            return  # frozen is frozen: a lane cannot make the set endless
        self._state.merge_freezes(FreezeSet(new, known=False))
        for freeze in new:
            _log.warning("freeze.added", id=freeze.id, by=freeze.by, lane=page.lane)
            await self._recorder.tell("freeze.added", data={"id": freeze.id}, words=freeze)

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
            type_ = "beat.missing" if silent else "beat.back"
            silent_s = boot_s - (since_s if silent else self._silent[name])
            data = {"lane": name, "silent_s": round(silent_s, 1)}
            try:
                await self._recorder.tell(type_, data=data)
            except EdgeError as error:
                _log.warning("beat.untold", lane=name, error=str(error))
                continue
            if silent:
                self._silent[name] = since_s
            else:
                del self._silent[name]
