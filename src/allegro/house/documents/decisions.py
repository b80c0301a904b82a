"""The questions of this house: asked, answered once, ended in time; each step durable before it is told.

An answer causes nothing. It is kept, shown, and read by who asked.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable

import structlog

from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.base.untrusted import is_text
from allegro.core.ports import Clock, Dice
from allegro.core.requests.decisions import (
    Answer,
    Asking,
    Decision,
    NewDecision,
    against_answer,
    answered,
    decision_of,
    expired,
    noted,
    withdrawn,
)
from allegro.core.requests.index import program_of
from allegro.core.requests.requests import MAX_ASKED_BY, Line
from allegro.core.stores import DecisionStore
from allegro.house.requests.asking import asker, asking

_log = structlog.get_logger()
MOST_OPEN = 500
REMEMBERED_S = 14 * 86_400.0
IDLE_S = 30.0
REFUSED = "refused"
MOST_REFUSED = 20
LEAST_PREFIX = 4
"""So much of an id names a question that left memory."""


class Decisions:
    """All questions, in memory and in the ledger. Listeners are given every new version.

    A question waits `lasts_s` seconds for an answer where who asks names no time.
    """

    def __init__(self, store: DecisionStore, clock: Clock, dice: Dice, lasts_s: float) -> None:
        self._store = store
        self._clock = clock
        self._dice = dice
        self._lasts_s = lasts_s
        self._held: dict[str, Decision] = {}
        self._listeners: list[Callable[[Decision], None]] = []
        self._waiting: dict[str, list[asyncio.Event]] = {}
        self._changing = asyncio.Lock()
        self._grew = asyncio.Event()

    async def resume(self) -> None:
        """Take up the questions of before. Raises EdgeError of the store."""
        since_s = self._clock.now_s() - REMEMBERED_S
        found = {one.id: one for one in await self._store.decisions(since_s)}
        self._held = {**found, **self._held}

    def on_change(self, listener: Callable[[Decision], None]) -> None:
        self._listeners.append(listener)

    def all(self) -> list[Decision]:
        """Return the questions in memory, oldest first."""
        return list(self._held.values())

    def open(self) -> list[Decision]:
        """Return the questions that wait for an answer, oldest first."""
        return [one for one in self._held.values() if one.is_open]

    def find_exact(self, id_: str) -> Decision | None:
        return self._held.get(id_)

    def find(self, prefix: str) -> Decision | Refusal:
        """Return the question whose id or digest begins like this and no other."""
        if prefix in self._held:
            return self._held[prefix]
        found = [
            one
            for one in self._held.values()
            if one.id.startswith(prefix) or one.digest.startswith(prefix)
        ]
        return _only(found, prefix)

    async def look_up(self, prefix: str) -> Decision | Refusal:
        """Return a question, also one that ended so long ago that it left memory."""
        found = self.find(prefix)
        is_gone = isinstance(found, Refusal) and found.reason == "not_found"
        if is_gone and len(prefix) >= LEAST_PREFIX and is_text(prefix):
            return _only(await self._store.stored_decisions(prefix), prefix)
        return found

    async def ask(self, new: NewDecision) -> Decision:
        """Keep a question. Asked twice with one key by one program, it is one question.

        Raises EdgeError, not transient, with a sentence where it cannot be asked as it is.
        """
        now_s, by = self._clock.now_s(), asker(new.asked_by)
        made = Asking(self._dice.token(10).hex(), now_s, self._lasts_s, by, asking(new))
        async with self._changing:
            before = self._asked_before(by, new.key, made.asked)
            if before is not None:
                return before
            if len(self.open()) >= MOST_OPEN:
                why = f"{MOST_OPEN} questions wait for an answer already"
                raise EdgeError(why, transient=False, kind="too_many")
            decision = decision_of(new, made)
            if isinstance(decision, Refusal):
                raise EdgeError(decision.detail, transient=False, kind=decision.reason)
            await self._keep(decision)
        return decision

    async def answered(
        self, prefix: str, option: int, by: str, digest: str = ""
    ) -> Decision | Refusal:
        """Take an answer; only the first one within the question's time counts.

        `by` says by which way and who, as in `terminal` or `telegram 12:34`. `digest` is that of
        what was shown to them (its first 16 characters at least), "" where nothing was. A refusal
        is a sentence for who answered: `not_found`, `ambiguous`, `answered`, `expired`,
        `withdrawn`, `changed_content`, `no_such_option`. Raises EdgeError of the store.
        """
        async with self._changing:
            decision = self.find(prefix)
            if isinstance(decision, Refusal):
                return decision
            now_s = self._clock.now_s()
            refusal = against_answer(decision, option, digest, now_s)
            if refusal is not None:
                await self._note_refused(decision, f"{refusal.reason}: {option} by {by}", now_s)
                return refusal
            decision = answered(decision, Answer(option, by, now_s))
            await self._keep(decision)
        return decision

    async def _note_refused(self, decision: Decision, words: str, now_s: float) -> None:
        """Note an answer that did not count; only so many, whoever sends how many."""
        before = [line.detail for line in decision.history if line.what == REFUSED]
        if len(before) < MOST_REFUSED and words[:MAX_ASKED_BY] not in before:
            await self._keep(noted(decision, Line(now_s, REFUSED, words)))

    async def shown(self, prefix: str) -> Decision | Refusal:
        """Note that a person was shown a question."""
        async with self._changing:
            decision = self.find(prefix)
            if isinstance(decision, Refusal) or not decision.is_open:
                return decision
            decision = noted(decision, Line(self._clock.now_s(), "shown"))
            await self._keep(decision)
        return decision

    async def withdraw(self, prefix: str) -> Decision | Refusal:
        """Take back a question that nobody has answered."""
        async with self._changing:
            decision = self.find(prefix)
            if isinstance(decision, Refusal):
                return decision
            changed = withdrawn(decision, self._clock.now_s())
            if isinstance(changed, Decision):
                await self._keep(changed)
        return changed

    async def wait(self, prefix: str, timeout_s: float) -> Decision | Refusal:
        """Return a question once it ended, or as it stands after `timeout_s`."""
        decision = await self.look_up(prefix)
        if isinstance(decision, Refusal) or not decision.is_open:
            return decision
        event = asyncio.Event()
        self._waiting.setdefault(decision.id, []).append(event)
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), timeout_s)
        finally:
            self._waiting[decision.id].remove(event)
        return self._held.get(decision.id, decision)

    async def run(self) -> None:
        """End questions whose time is over, until cancelled. Raises EdgeError of the store."""
        while True:
            self._grew.clear()
            pause_s = await self.end_expired()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._grew.wait(), pause_s)

    async def end_expired(self) -> float:
        """End what expired, forget what ended long ago; return the seconds until the next look."""
        async with self._changing:
            now_s = self._clock.now_s()
            for decision in self.open():
                ended = expired(decision, now_s)
                if ended is not None:
                    await self._keep(ended)
            for decision in self.all():
                if not decision.is_open and decision.settled_s < now_s - REMEMBERED_S:
                    del self._held[decision.id]
        next_s = min((one.document.expires_s for one in self.open()), default=now_s + IDLE_S)
        return min(IDLE_S, max(0.05, next_s - now_s))

    def _asked_before(self, by: str, key: str, asked: str) -> Decision | None:
        """Return the question that this program asked with this key. Raises EdgeError `key_reused`."""
        mine = program_of(by)
        same = (d for d in self._held.values() if d.key == key and program_of(d.asked_by) == mine)
        found = next(same, None) if key else None
        if found is not None and found.asked != asked:
            why = f"key {key!r} was used before, for another question: {found.id}"
            raise EdgeError(why, transient=False, kind="key_reused")
        return found

    async def _keep(self, decision: Decision) -> None:
        await self._store.save_decision(decision)
        self._held[decision.id] = decision
        self._grew.set()
        _log.info("decision.changed", id=decision.id, state=decision.state.value)
        for listener in self._listeners:
            listener(decision)
        if not decision.is_open:
            for event in self._waiting.get(decision.id, ()):
                event.set()


def _only(found: Iterable[Decision], prefix: str) -> Decision | Refusal:
    listed = list(found)
    if len(listed) == 1 and prefix:
        return listed[0]
    if not listed or not prefix:
        return Refusal("not_found", f"no question begins with {prefix[:80]!r}")
    return Refusal("ambiguous", f"{len(listed)} questions begin with {prefix[:80]!r}")
