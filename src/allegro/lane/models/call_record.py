"""What is written of one attempt of a model call: that it is made, and what came of it, once."""

from __future__ import annotations

from typing import TypedDict

import structlog

from allegro.core.base.errors import EdgeError
from allegro.core.models.answers import Answer
from allegro.core.models.ladder import cost_usd
from allegro.core.models.usage import Seen, TokenCounts, counted
from allegro.core.protocol.payloads.sessions import ModelCall, ModelResult
from allegro.lane.models.grants import Attempt, Grant, Proxy

_log = structlog.get_logger()


class _CallFacts(TypedDict):
    """What stands in both events of one call."""

    call: int
    provider: str
    asked: str
    used: str
    rung: int
    source: str


class CallRecord:
    """Counts an attempt against its grant and the day's cap, and journals it.

    `size` is the request in bytes.
    """

    def __init__(self, proxy: Proxy, grant: Grant, attempt: Attempt, *, size: int) -> None:
        self._proxy = proxy
        self._grant = grant
        self._rung = attempt.rung
        self._manner = attempt.manner
        self._rung_number = attempt.tried + 1
        self._number = grant.calls
        self._size = size
        self._began_s = proxy.clock.boot_s()
        self._is_done = False
        self._may_cost = False
        self._first_s: float | None = None

    async def begin(self) -> None:
        """Write down that a call is about to be made. Raises EdgeError: then it is not made."""
        await self._proxy.record(self._grant.holder, ModelCall(**self._facts()))

    def note_cost(self, *, may_cost: bool) -> None:
        """Note whether the provider may have done work for it."""
        self._may_cost = may_cost

    def first_word(self) -> None:
        """Note that its first word came now."""
        self._first_s = self._proxy.clock.boot_s()

    async def done(self, result: str, answer: Answer, reset_s: float | None = None) -> None:
        """Write down what came of the call and what it cost, once."""
        if self._is_done:
            return
        self._is_done = True
        proxy, grant = self._proxy, self._grant
        counts, is_reported = self._counted(answer)
        tokens = counts.input + counts.output
        cost = cost_usd(self._rung, counts)
        cost = 0.0 if self._rung.local or not tokens else cost
        grant.spend = grant.spend.plus(tokens, cost)
        grant.measured = grant.measured and (is_reported or not tokens)
        proxy.spent(tokens, cost)
        now_s = proxy.clock.boot_s()
        first_s = None if self._first_s is None else self._first_s - self._began_s
        payload = ModelResult(
            **self._facts(),
            result=result,
            tokens_in=counts.input,
            tokens_out=counts.output,
            tokens="told" if is_reported else "estimated",
            cost_usd="unknown" if cost is None else round(cost, 8),
            latency_ms=round((now_s - self._began_s) * 1000, 3),
            first_ms=None if first_s is None else round(first_s * 1000, 3),
            tokens_cached=counts.cached,
            reset_s=reset_s,
        )
        try:
            await proxy.record(grant.holder, payload)
        except EdgeError as error:
            _log.error("model.unrecorded", error=str(error))

    def _counted(self, answer: Answer) -> tuple[TokenCounts, bool]:
        if not self._may_cost:
            return TokenCounts(0, 0), False
        no_word = not answer.has_words and not answer.is_whole
        is_free = self._rung.local and not no_word and not answer.is_cut_off
        return counted(
            Seen(
                answer.counts,
                answer.is_counted_late,
                answer.is_whole,
                self._size,
                answer.text_bytes,
                0 if is_free else self._manner.bound,
            )
        )

    def _facts(self) -> _CallFacts:
        return {
            "call": self._number,
            "provider": self._rung.provider,
            "asked": self._grant.model,
            "used": self._rung.upstream or self._rung.model,
            "rung": self._rung_number,
            "source": "measured",
        }
