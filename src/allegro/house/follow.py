"""Follows the archive: what lanes report moves requests; what polls show is matched (G13)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from allegro.core.errors import EdgeError, Refusal
from allegro.core.events import Event, decode_event, encode_event
from allegro.core.freeze import Freeze
from allegro.core.lifecycle import State, Step
from allegro.core.matching import (
    Altered,
    BotWrite,
    Doubled,
    Receipt,
    Unmatched,
    Waiting,
    judge,
)
from allegro.core.ordering import was_ordered
from allegro.core.ports import Clock, Dice
from allegro.core.requests import Request
from allegro.core.stores import Archive, Archived, Ledger
from allegro.core.timestamps import rfc3339
from allegro.core.untrusted import Unreadable, number_of, read_value
from allegro.house.looks import receipts_of
from allegro.house.requests import NO_CLEAR_ANSWER, Requests
from allegro.house.sessions import AskLane
from allegro.runtime.consumer import OnSetAside, Reader

_log = structlog.get_logger()
RECHECK_S = 5.0
IDLE_S = 60.0
MAX_COMPARED = 10_000
TROUBLE_S = 5.0
MAX_TEXT = 1_000
MAX_COUNTED_S = 30.0  # a longer pause between two looks was a sleeping machine

_FOLLOWED = (
    "action.", "forge.snapshot.", "audit.", "freeze.", "forge.reconciled", "forge.unreachable",
    "forge.recovered", "forge.unread", "watch.failing", "watch.replaced",
)  # fmt: skip
_STEPS = {
    "action.intent": Step.INTENT,
    "action.receipt": Step.RECEIPT,
    "action.failed": Step.FAIL,
    "action.conflict": Step.CONFLICT,
    "action.stale": Step.STALE,
    "action.void": Step.VOID,
    "action.unknown": Step.SILENCE,
}


class Follow:
    """Reads archived events in order, once each; the cursor is durable in the ledger.

    `open_words` opens what a lane sealed, `freeze` stops the fleet, `alert` tells a person.
    """

    def __init__(  # noqa: PLR0913 (each port is named)
        self, archive: Archive, ledger: Ledger, requests: Requests, clock: Clock,
        dice: Dice, *, began_s: float, open_words: Callable[[Event], Any],
        is_linked: Callable[[], bool], journals_home: Callable[[], bool], ask_lane: AskLane, freeze: Callable[[Freeze], Any],
        alert: Callable[[str, str], None], on_set_aside: OnSetAside,
    ) -> None:  # fmt: skip
        self._archive = archive
        self._ledger = ledger
        self._requests = requests
        self._clock = clock
        self._dice = dice
        self._began_s = began_s
        self._open_words = open_words
        self._is_linked = is_linked
        self._ask_lane = ask_lane
        self._journals_home = journals_home
        self._freeze = freeze
        self._alert = alert
        self._bots: frozenset[int] = frozenset()
        self._grew = asyncio.Event()
        self._waited_s: dict[str, float] = {}
        self._matched_s: float | None = None
        self._to_compare: dict[int, tuple[str, int]] = {}
        self._not_before_s: dict[str, float] = {}
        self._reader = Reader(
            "followed", archive, ledger, clock, _FOLLOWED, self._one, on_set_aside
        )

    def kick(self) -> None:
        self._grew.set()

    async def run(self) -> None:
        await self.resume()
        while True:
            self._grew.clear()
            pause_s = await self.step()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._grew.wait(), pause_s)

    async def resume(self) -> None:
        """Take up what the ledger keeps: whose writes are ours."""
        self._bots = frozenset(map(int, await self._ledger.strings("bots")))

    async def step(self) -> float:
        """Read on, match, renew and compare once; return the seconds to wait."""
        try:
            await self._reader.read_on()
            await self._match()
            await self._renew_stale()
            await self._compare()
            return RECHECK_S if await self._ledger.bot_writes() else IDLE_S
        except EdgeError as error:  # a disk that refuses: the cursor stands, nothing is lost
            _log.error("follow.blocked", error=str(error))
            return TROUBLE_S

    async def _compare(self) -> None:
        """After a reconcile: what the archive holds to exist and the lane does not has vanished.

        A lane whose disk went back does not know what it once told, so the house asks: that very
        lane, while it still polls. What another one knows is older. One that does not answer is
        left alone for a while: it must not hold up the word of the others.
        """
        for repository, (lane, row) in list(self._to_compare.items()):
            if self._clock.boot_s() < self._not_before_s.get(lane, float("-inf")):
                continue
            try:
                told = await self._ask_lane(lane, "listing", {"repository": repository})
                held = _subjects(told)
            except EdgeError as error:
                if error.transient:
                    self._not_before_s[lane] = self._clock.boot_s() + IDLE_S
                else:
                    _log.info("listing.refused", repository=repository, error=str(error))
                    self._to_compare.pop(repository)
                continue
            self._to_compare.pop(repository)
            living = await self._archive.living(repository, row)
            gone = [subject for subject in living if _tail(subject) not in held]
            events = [self._vanished(subject, repository) for subject in gone]
            if events:
                await self._archive.add(events, self._clock.now_s())

    def _vanished(self, subject: str, repository: int) -> bytes:
        data = {
            "repository": repository, "vanished": True, "updated_s": int(self._clock.now_s()),
        }  # fmt: skip
        return self._own("forge.vanished", data, subject)

    def _own(self, type_: str, data: dict[str, Any], subject: str = "") -> bytes:
        """Return an event of the house itself."""
        id_, time = self._dice.token(16).hex(), rfc3339(self._clock.now_s())
        return encode_event(
            Event(id=id_, type=type_, source="house", time=time, subject=subject, data=data)
        )

    async def _renew_stale(self) -> None:
        """Bring stale requests back, pinned to the world of now; one that cannot be is told."""
        if not self._is_linked():
            return
        for request in self._requests.stale():
            told = await self._requests.renew(request)
            if told:
                self._alert("medium", f"{request.kind} {request.id} is stale: {told}")

    async def _one(self, archived: Archived) -> None:
        try:
            event = decode_event(archived.stored)
        except ValueError as error:
            _log.warning("event.unreadable", row=archived.row, error=str(error))
            return
        if event.type in _STEPS:
            await self._act(archived, event)
        elif event.type == "forge.reconciled":
            repository = number_of(event.data.get("repository"))
            if repository in self._to_compare or len(self._to_compare) < MAX_COMPARED:
                self._to_compare[repository] = (archived.lane, archived.row)
        elif event.type == "audit.done":
            await self._learn_bots(event)
        elif event.type.startswith("forge.snapshot."):
            await self._note_bot_write(archived, event)
        elif event.type == "freeze.added":
            self._alert("high", f"lane {archived.lane} froze")
            await self._take_freeze(event)
        elif event.type == "watch.failing":
            self._alert(
                "high", f"lane {archived.lane} cannot read {_text(event.data.get('watch'))}"
            )
        elif event.type == "forge.unread":
            where = f"{_text(event.data.get('watch'))}#{number_of(event.data.get('number'))}"
            self._alert("medium", f"lane {archived.lane} cannot read {where}: open it in the "
                        "browser, and shorten or delete it")  # fmt: skip
        elif event.type == "watch.replaced":
            name = _text(event.data.get("watch"))
            self._alert("medium", f"{name} is another repository now; the old one is gone")
        elif event.type in {"forge.unreachable", "forge.recovered"}:
            self._alert("medium", f"lane {archived.lane}: {event.type}")

    async def _take_freeze(self, event: Event) -> None:
        """Freeze here too: a lane may hear of a stop where the house does not (S6)."""
        freeze = read_value(self._open_words(event), Freeze)
        if not isinstance(freeze, Unreadable):
            await self._freeze(freeze)

    async def _act(self, archived: Archived, event: Event) -> None:
        request = self._request_of(event)
        if request is None:
            return
        order = number_of(event.data.get("order"))
        if not was_ordered(request, order, archived.lane):
            return  # a lane speaks of its own orders only
        words = self._open_words(event)
        detail = _text(words if isinstance(words, str) else event.data.get("reason", ""))
        step = _STEPS[event.type]
        changes: dict[str, Any] = {}
        receipts: tuple[Receipt, ...] = ()
        if step is Step.RECEIPT:
            artifact = number_of(event.data.get("artifact"))
            told = words if isinstance(words, dict) else {}
            changes = {
                "artifact": artifact, "url": _text(told.get("url", "")),
                "branch": _text(told.get("branch", "")),
                "commit": _text(event.data.get("commit", "")),
            }  # fmt: skip
            receipts = receipts_of(request, artifact, str(event.data.get("content", "")))
        elif order != request.order_number:  # says nothing about the newest order
            if step is Step.VOID and order in request.outstanding:
                await self._requests.void_earlier(request, order, detail)
            return
        if step is Step.SILENCE:
            await self._note_silence(request, detail)
            return
        if step is Step.INTENT:
            about = "shadow mode, would write" if event.data.get("shadow") else "about to write"
            detail = f"{about}: {_text(event.data.get('step'))[:20]}"
        moved = await self._requests.take_step(request, step, detail, receipts=receipts, **changes)
        if isinstance(moved, Refusal):
            if receipts:
                await self._ledger.save(receipts=receipts)
            return
        self._after(archived, event, moved)

    def _after(self, archived: Archived, event: Event, moved: Request) -> None:
        if others := event.data.get("others"):
            told = f"{moved.kind} {moved.id} is there more than once: also {_text(others)}"
            self._alert("high", told)
        if moved.state is State.CONFLICT:
            self._alert("high", f"{moved.kind} {moved.id}: conflict: {moved.detail}")

    async def _note_silence(self, request: Request, detail: str) -> None:
        """The lane has no clear answer: the state waits out its time, the reason is kept."""
        await self._requests.note(request, NO_CLEAR_ANSWER, detail)

    def _request_of(self, event: Event) -> Request | None:
        return self._requests.of_digest(event.data.get("digest"))

    async def _learn_bots(self, event: Event) -> None:
        told = event.data.get("bots")
        bots = (
            frozenset(number_of(id_) for id_ in told if number_of(id_) > 0)
            if isinstance(told, list)
            else frozenset()
        )
        if not bots <= self._bots:
            self._bots |= bots
            await self._ledger.set_strings("bots", tuple(str(id_) for id_ in sorted(self._bots)))

    async def _note_bot_write(self, archived: Archived, event: Event) -> None:
        write = bot_write(event, archived.at_s, self._bots, self._began_s)
        if write is not None:
            await self._ledger.add_bot_write(write)

    async def _match(self) -> None:
        """Match what waits. Only time spent awake and linked counts towards the grace."""
        passed_s = self._linked_since_last_s()
        if not self._is_linked():
            return
        for write in await self._ledger.bot_writes():
            held_s = self._waited_s.get(write.event)
            waited_s = 0.0 if held_s is None else held_s + passed_s
            self._waited_s[write.event] = waited_s
            verdict = judge(
                write, await self._ledger.receipts_for(write.target),
                open_order=self._requests.is_order_out(write.target), journals_home=self._journals_home(),
                now_s=write.seen_s + waited_s,
            )  # fmt: skip
            if isinstance(verdict, Waiting):
                continue
            self._waited_s.pop(write.event, None)
            if isinstance(verdict, Altered):
                self._alert(
                    "high",
                    f"{write.kind} {write.artifact} on {write.target}: our words were changed",
                )
            if isinstance(verdict, Doubled):
                await self._note_doubled(write, verdict.of)
            if isinstance(verdict, Unmatched):
                told = f"{write.kind} {write.artifact} on {write.target} was made under our name by nobody here"
                self._alert("critical", told)
                await self._freeze(
                    Freeze(self._dice.token(8).hex(), self._clock.now_s(), "house", told)
                )
            await self._ledger.drop_bot_write(write.event)

    async def _note_doubled(self, write: BotWrite, of: Receipt) -> None:
        """Tell of a second copy of an effect of ours, and know it from now on (G10)."""
        data = {
            "kind": write.kind, "target": write.target, "artifact": write.artifact,
            "also": of.artifact,
        }  # fmt: skip
        await self._archive.add([self._own("effect.doubled", data)], self._clock.now_s())
        self._alert(
            "high",
            f"{write.kind} {write.artifact} on {write.target} is there more than once: also {of.artifact}",
        )
        copy = msgspec.structs.replace(of, artifact=write.artifact)
        await self._ledger.save(receipts=(copy,))

    def _linked_since_last_s(self) -> float:
        """Return the seconds since the last match, 0 where the link was down then or is now."""
        boot_s, last_s = self._clock.boot_s(), self._matched_s
        self._matched_s = boot_s if self._is_linked() else None
        if last_s is None or self._matched_s is None:
            return 0.0
        return min(boot_s - last_s, MAX_COUNTED_S)


def bot_write(event: Event, seen_s: float, bots: frozenset[int], began_s: float) -> BotWrite | None:
    """Return the write of one of our bots that a snapshot shows, None when it shows none.

    What was there before this fleet began is not looked at.
    """
    data = event.data
    number, at_s = number_of(data.get("number")), number_of(data.get("created_s"))
    repository = event.subject.split("#", 1)[0].split("/comment/", 1)[0]
    target = f"{repository}#{number}"
    ours = number_of(data.get("author_id")) in bots
    closed_by_us = (
        number_of(data.get("closed_by")) in bots and number_of(data.get("closed_s")) >= began_s - 60
    )
    match event.type:
        case "forge.snapshot.comment" if ours and at_s >= began_s - 60:
            content = _text(data.get("content", ""))
            return BotWrite(
                event.id, "comment", target, number_of(data.get("comment")), content, seen_s
            )
        case "forge.snapshot.pull" if ours and at_s >= began_s - 60:
            content = _text(data.get("content", ""))
            return BotWrite(event.id, "pull_request", repository, number, content, seen_s)
        case "forge.snapshot.issue" if closed_by_us and not data.get("is_pull"):
            return BotWrite(event.id, "close", target, number, "", seen_s)
        case "forge.snapshot.issue" if ours and not data.get("is_pull") and at_s >= began_s - 60:
            return BotWrite(event.id, "issue", target, number, "", seen_s)
        case _:
            return None


def _subjects(told: object) -> set[str]:
    """Return the ends of the subjects a lane lists."""
    listing = told if isinstance(told, dict) else {}
    issues, comments = listing.get("issues"), listing.get("comments")
    if not isinstance(issues, list) or not isinstance(comments, list):
        raise EdgeError("the lane's listing cannot be read", transient=True)
    return {f"#{number}" for number in issues} | {f"/comment/{id_}" for id_ in comments}


def _tail(subject: str) -> str:
    at = subject.find("#") if "#" in subject else subject.find("/comment/")
    return subject[at:]


def _text(value: object) -> str:
    """Return what a lane told in words, no longer than anybody reads."""
    return (value if isinstance(value, str) else str(value))[:MAX_TEXT]
