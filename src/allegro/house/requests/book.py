"""The requests of the house: found, moved along, waited for; each step durable before it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from allegro.core.authority.actions.family import Action
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.effects.matching import Receipt
from allegro.core.ports import Clock
from allegro.core.requests.index import RequestIndex
from allegro.core.requests.lifecycle import State, Step
from allegro.core.requests.requests import (
    Line,
    Request,
    step,
    void_earlier,
    with_line,
)
from allegro.core.requests.work import Work
from allegro.core.stores import Ledger
from allegro.house.requests.works import Works

NO_CLEAR_ANSWER = "no clear answer"


class RequestBook:
    """All requests, in memory and in the ledger. Listeners are given every new version.

    `marker` is the fleet's key of markers and branch suffixes, asked anew each time.
    """

    def __init__(self, ledger: Ledger, clock: Clock, marker: Callable[[], bytes]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._listeners: list[Callable[[Request], None]] = []
        self._waiting: dict[str, list[asyncio.Event]] = {}
        self._changing = asyncio.Lock()
        self._index = RequestIndex(ledger.requests.values())
        self._works = Works(marker)

    def on_change(self, listener: Callable[[Request], None]) -> None:
        self._listeners.append(listener)

    def all(self) -> list[Request]:
        return list(self._ledger.requests.values())

    def work(self, request: Request) -> Work:
        """Return a request with its action, read once from when it was decided until it ends."""
        return self._works.of(request)

    def same(self, request: Request) -> list[Request]:
        """Return the other open requests about the same thing."""
        return self._held(self._index.same(request))

    def open_of(self, kind: str) -> list[Request]:
        """Return the open requests of a kind, oldest first."""
        return self._held(self._index.open_of(kind))

    def of_digest(self, digest: object) -> Request | None:
        """Return the request whose action has this digest, None when it is none in memory."""
        id_ = self._index.by_digest(digest) if isinstance(digest, str) else None
        return None if id_ is None else self.find_exact(id_)

    def newest_mirror(self, of: str) -> Request | None:
        """Return the newest mirror of the request or session of this id, open or not."""
        id_ = self._index.newest(f"mirror {of}")
        return None if id_ is None else self.find_exact(id_)

    def may_have_written(self, target: str) -> list[Request]:
        """Return the requests for this target of which an order may have come to something."""
        return self._held(self._index.may_have_written(target))

    def proposed(self) -> list[Request]:
        """Return what waits for its owner's decision, oldest first."""
        return self._held(self._index.proposed())

    def stale(self) -> list[Request]:
        """Return the stale requests that were not asked again yet, oldest first."""
        return self._held(self._index.stale())

    def forget(self, settled_before_s: float) -> int:
        """Drop requests settled before then from memory; they stay on disk. Return how many."""
        old = [r for r in self.all() if r.is_final and r.settled_s < settled_before_s]
        for request in old:
            self._index.drop(request)
        return self._ledger.forget(settled_before_s) if old else 0

    def _held(self, ids: list[str]) -> list[Request]:
        found = [self._ledger.requests.get(id_) for id_ in ids]
        return [request for request in found if request is not None]

    def find(self, prefix: str) -> Request | Refusal:
        """Return the request whose id or digest begins like this and no other."""
        exact = self._ledger.requests.get(prefix)
        if exact is not None:
            return exact
        found = [
            request
            for request in self._ledger.requests.values()
            if request.id.startswith(prefix) or request.digest.startswith(prefix)
        ]
        if len(found) == 1 and prefix:
            return found[0]
        if not found or not prefix:
            return Refusal("not_found", f"no request begins with {prefix[:80]!r}")
        return Refusal(
            "ambiguous", f"{len(found)} requests begin with {prefix[:80]!r}; give more of it"
        )

    async def look_up(self, prefix: str) -> Request | Refusal:
        """Return a request by id or digest, also one settled so long ago that it left memory."""
        found = self.find(prefix)
        if isinstance(found, Refusal) and found.reason == "not_found" and len(prefix) >= 4:
            stored = await self._ledger.stored(prefix)
            if len(stored) == 1:
                return stored[0]
        return found

    def find_exact(self, id_: str) -> Request | None:
        """Return the request of this very id, None when it is none in memory."""
        return self._ledger.requests.get(id_)

    async def take_step(
        self,
        request: Request,
        what: Step,
        detail: str = "",
        *,
        receipts: tuple[Receipt, ...] = (),
        **changes: Any,
    ) -> Request | Refusal:
        """Move a request along the table, durably. The newest version counts, not the given one."""
        return await self._change(
            request.id,
            lambda current: step(current, what, self._clock.now_s(), detail, **changes),
            receipts,
        )

    async def void_earlier(self, request: Request, order: int, detail: str) -> Request | Refusal:
        """Note that an order before the newest came to nothing, durably."""
        return await self._change(
            request.id, lambda current: void_earlier(current, order, self._clock.now_s(), detail)
        )

    async def note(self, request: Request, what: str, detail: str) -> Request | Refusal:
        """Add a line to a request's history; its state stays."""
        line = Line(self._clock.now_s(), what, detail)
        return await self._change(request.id, lambda current: with_line(current, line))

    async def _change(
        self,
        id_: str,
        make: Callable[[Request], Request | Refusal],
        receipts: tuple[Receipt, ...] = (),
    ) -> Request | Refusal:
        """Replace a request by what `make` gives, one change at a time: none is lost."""
        async with self._changing:
            current = self._ledger.requests.get(id_)
            if current is None:
                return Refusal("not_found", "settled long ago")
            changed = make(current)
            if isinstance(changed, Refusal):
                return changed
            await self._ledger.save(changed, receipts=receipts)
            self._index.put(changed)
        self._tell(changed)
        return changed

    async def _keep_new(self, request: Request, action: Action, supersedes: str) -> None:
        """Keep a new request, and what it takes the place of, in one commit. Raises EdgeError."""
        async with self._changing:
            kept = [request, *self._superseded(supersedes, request.id)]
            await self._ledger.save(*kept)
            for one in kept:
                self._index.put(one)
        self._works.keep(request, action)
        for one in kept:
            self._tell(one)

    def _superseded(self, id_: str, by: str) -> list[Request]:
        """Return the request that a new one takes the place of; none for an empty id.

        Raises EdgeError where it is stale no more: its receipt came after all.
        """
        if not id_:
            return []
        held = self._ledger.requests.get(id_)
        if held is None or held.state is not State.STALE or held.superseded_by:
            raise EdgeError("it is stale no more", transient=True)
        return [msgspec.structs.replace(held, superseded_by=by)]

    async def wait(self, prefix: str, timeout_s: float) -> Request | Refusal:
        """Return the request once it is final, or as it stands after `timeout_s`."""
        request = self.find(prefix)
        if isinstance(request, Refusal) or request.is_final:
            return request
        event = asyncio.Event()
        self._waiting.setdefault(request.id, []).append(event)
        try:
            await asyncio.wait_for(event.wait(), timeout_s)
        except TimeoutError:
            pass
        finally:
            self._waiting[request.id].remove(event)
        return self._ledger.requests[request.id]

    def _tell(self, request: Request) -> None:
        self._works.changed(request)
        for listener in self._listeners:
            listener(request)
        if request.is_final:
            for event in self._waiting.get(request.id, ()):
                event.set()
