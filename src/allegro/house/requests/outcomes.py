"""What a lane reports of an order moves its request: begun, done, failed, void, in doubt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from allegro.core.authority.actions.forge import ProposeChange
from allegro.core.base.errors import Refusal
from allegro.core.base.untrusted import text_of
from allegro.core.effects.receipts import address_of, content_of, receipts_of
from allegro.core.effects.render import one_line
from allegro.core.health import codes
from allegro.core.health.alerts import RaiseAlert
from allegro.core.protocol.event_types import EventType
from allegro.core.protocol.payloads.actions import Act, ActionIntent, ActionReceipt, ActionVoid
from allegro.core.requests.lifecycle import State, Step
from allegro.core.requests.ordering import was_ordered
from allegro.core.requests.requests import Request
from allegro.core.requests.work import Work
from allegro.house.archive.events import ArchivedEvent
from allegro.house.ports import Ports
from allegro.house.requests.book import NO_CLEAR_ANSWER
from allegro.house.requests.requests import Requests

MAX_TEXT = 1_000
MAX_WORDS_OF_ORDER = 30
"""So many intents and doubts of one order are written down; a lane may not write without end."""

STEPS: dict[str, Step] = {
    EventType.ACTION_INTENT: Step.INTENT,
    EventType.ACTION_RECEIPT: Step.RECEIPT,
    EventType.ACTION_FAILED: Step.FAIL,
    EventType.ACTION_CONFLICT: Step.CONFLICT,
    EventType.ACTION_STALE: Step.STALE,
    EventType.ACTION_VOID: Step.VOID,
    EventType.ACTION_UNKNOWN: Step.SILENCE,
}


class Outcomes:
    """Takes what lanes report of orders. `secret` is the fleet's, asked anew each time."""

    def __init__(
        self, ports: Ports, requests: Requests, alarm: RaiseAlert, secret: Callable[[], bytes]
    ) -> None:
        self._clock = ports.clock
        self._open_words = ports.open_words
        self._requests = requests
        self._alarm = alarm
        self._secret = secret
        self._said: dict[tuple[str, int], int] = {}

    async def take(self, event: ArchivedEvent, act: Act) -> None:
        """Move the request that an act is about, where it was ordered from the lane that speaks.

        Raises EdgeError of the ledger.
        """
        request = self._requests.of_digest(act.digest)
        if request is None:
            return
        order = act.order or 0
        if not was_ordered(request, order, event.lane):
            return  # a lane speaks of its own orders only
        step = STEPS[act.type_]
        words = self._open_words(event.envelope)
        if isinstance(act, ActionReceipt):
            await self._take_receipt(event, act, request, words)
            return
        detail = text_of(words if isinstance(words, str) else _reason_of(act), MAX_TEXT)
        if order != request.order_number:  # says nothing about the newest order
            if step is Step.VOID and order in request.outstanding:
                await self._requests.void_earlier(request, order, detail)
            return
        if step in {Step.SILENCE, Step.INTENT} and not self._may_say_more(request):
            return
        if step is Step.SILENCE:  # the state waits out its time, the reason is kept
            await self._requests.note(request, NO_CLEAR_ANSWER, detail)
            return
        if isinstance(act, ActionIntent):
            about = "shadow mode, would write" if act.shadow else "about to write"
            detail = f"{about}: {text_of(act.step, 20)}"
        after_s = act.retry_after_s if isinstance(act, ActionVoid) else None
        retry_at_s = event.at_s + after_s if after_s else 0.0
        moved = await self._requests.take_step(request, step, detail, retry_at_s=retry_at_s)
        if not isinstance(moved, Refusal) and moved.state is State.CONFLICT:
            reason = one_line(moved.detail)
            self._alarm(codes.REQUEST_CONFLICT, named(moved), event.lane, reason=reason)

    def _may_say_more(self, request: Request) -> bool:
        key = (request.id, request.order_number)
        self._said[key] = self._said.get(key, 0) + 1
        if len(self._said) > 10_000:
            self._said.pop(next(iter(self._said)))
        return self._said.get(key, 0) <= MAX_WORDS_OF_ORDER

    async def _take_receipt(
        self, event: ArchivedEvent, receipt: ActionReceipt, request: Request, words: Any
    ) -> None:
        """Settle a request by its receipt: one artifact for each order, its content computed here.

        A receipt that settles nothing covers nothing. One that comes after the request ended is
        still the truth, but for an order that its lane called void.
        """
        artifact, order = receipt.artifact or 0, receipt.order or 0
        if (
            request.is_final
            and request.state is not State.DONE
            and order not in request.outstanding
        ):
            self._alarm_late(request, artifact, event.lane)
            return
        if request.artifact and artifact != request.artifact:
            both = {"artifact": artifact, "first": request.artifact}
            self._alarm(codes.RECEIPT_SECOND, named(request), event.lane, **both)
            return
        work, opened = self._requests.work(request), words if isinstance(words, dict) else {}
        commit, claimed = text_of(receipt.commit, 64), receipt.content
        branch, content, url = self._as_approved(work, artifact, text_of(opened.get("url")))
        moved = await self._requests.take_step(
            request,
            Step.RECEIPT,
            artifact=artifact,
            url=url,
            branch=branch,
            commit=commit,
            receipts=receipts_of(
                work,
                artifact,
                content,
                branch=branch,
                commit=commit,
                now_s=self._clock.now_s(),
            ),
        )
        if isinstance(moved, Refusal):
            if request.state is not State.DONE:
                self._alarm_late(request, artifact, event.lane)
            return
        await self._moot_renewed(moved, event.lane)
        if claimed and content and claimed != content:
            self._alarm(codes.RECEIPT_CONTENT, named(moved), event.lane)
        if receipt.others:
            others = one_line(list(receipt.others), 100)
            self._alarm(codes.WRITE_DOUBLED, named(moved), event.lane, others=others)

    def _alarm_late(self, request: Request, artifact: int, lane: str) -> None:
        state = request.state.value
        self._alarm(codes.RECEIPT_LATE, named(request), lane, state=state, artifact=artifact)

    async def _moot_renewed(self, done: Request, lane: str) -> None:
        """Take back what was asked in the place of a request that was done after all, and tell."""
        newer = await self._requests.withdraw_renewed(done)
        if newer is not None:
            state = newer.state.value
            self._alarm(codes.RENEWED_DONE, named(done), lane, newer=newer.id, state=state)

    def _as_approved(self, work: Work, artifact: int, said: str) -> tuple[str, str, str]:
        """Return branch, name of the words and address of an effect, from the approved bytes."""
        action = work.action
        if work.family.place(action) is None:
            return "", "", said
        branch = work.delivery.branch if isinstance(action, ProposeChange) else ""
        content = content_of(action, work.delivery.marker, self._secret())
        return branch, content, address_of(action, artifact, said)


def _reason_of(act: Act) -> str:
    """Return the short code a lane gives for how an order ended, empty where it gives none."""
    return getattr(act, "reason", "")


def named(request: Request) -> str:
    """Return a request as the subject of an alert."""
    return f"{request.kind} {request.id}"
