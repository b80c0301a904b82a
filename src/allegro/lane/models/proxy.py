"""The model proxy: the only provider an agent knows; meters, caps, falls back, records (H6, H9, H10).

Keys stay here. An agent, or a program of Timmy's, has a token that is good for one session or
loan, ends with it, and can be taken back at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import math
from collections.abc import Callable
from typing import Any

import structlog
from aiohttp import web

from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.base.untrusted import Unreadable, read_json
from allegro.core.models.dialect import LIMITS, Body, Manner
from allegro.core.models.ladder import (
    PROBED,
    Ladder,
    Spend,
    Trouble,
    cost_usd,
    ladder_words,
    within_caps,
)
from allegro.core.models.refusals import classify
from allegro.core.models.usage import TokenCounts, estimated_tokens
from allegro.core.ports import Clock, Providers
from allegro.core.protocol.payloads.sessions import ModelRefused
from allegro.core.settings import ModelSettings, Rung
from allegro.lane.models.call import Call
from allegro.lane.models.canary import canary_answer
from allegro.lane.models.grants import Attempt, Grant, Record

_log = structlog.get_logger()
MAX_BODY = 16 * 1024 * 1024
MAX_AT_ONCE = 4
MAX_MANNERS = 5
"""How often one rung is asked in all, when it refuses parameters of ours one after the other."""
# fmt: off
PASSED_ON = frozenset({
    "model", "messages", "stream", "max_tokens", "max_completion_tokens", "temperature", "top_p",
    "stop", "tools", "tool_choice", "parallel_tool_calls", "response_format", "seed",
    "presence_penalty", "frequency_penalty", "reasoning_effort", "reasoning",
})
# fmt: on
"""What goes on to a provider. `n` and lists of other models would pass by the caps."""


class ModelProxy:
    """`record` journals; `day_spend` and `spent` keep the day's sum across restarts."""

    def __init__(
        self,
        settings: ModelSettings,
        providers: Providers,
        clock: Clock,
        record: Record,
        day_spend: Callable[[], Spend],
        spent: Callable[[int, float | None], None],
    ) -> None:
        self._settings = settings
        self.providers = providers
        self.clock = clock
        self.record = record
        self._day_spend = day_spend
        self.spent = spent
        self.first_word_s = settings.first_word_s
        self.ladder = Ladder(settings)
        self._grants: dict[str, Grant] = {}
        self._reserved = Spend()

    def routes(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY)
        app.add_routes(
            [
                web.post("/v1/chat/completions", self._complete),
                web.get("/v1/models", self._models),
            ]
        )
        return app

    def grant(self, token: str, grant: Grant) -> None:
        """Let a token in. What it held before is taken back."""
        self.revoke(token)
        self._grants[token] = grant

    def revoke(self, token: str) -> Grant | None:
        """Take a token back and break off its calls; return what it had used."""
        grant = self._grants.pop(token, None)
        if grant is not None:
            grant.is_revoked = True
            for task in grant.tasks:
                task.cancel()
        return grant

    def revoke_holder(self, holder: str) -> bool:
        """Take back the token of a session or loan; False when it has none."""
        tokens = [token for token, grant in self._grants.items() if grant.holder == holder]
        for token in tokens:
            self.revoke(token)
        return bool(tokens)

    def revoke_all(self) -> int:
        """Take back every token, as a freeze does."""
        tokens = list(self._grants)
        for token in tokens:
            self.revoke(token)
        return len(tokens)

    def forget_old(self) -> None:
        """Drop loans whose time is over."""
        now_s = self.clock.boot_s()
        for token, grant in list(self._grants.items()):
            if not now_s < grant.until_boot_s:
                self.revoke(token)

    def find(self, authorization: str) -> Grant | None:
        """Return the grant of an Authorization header, None when there is none or it ran out."""
        shown = authorization.removeprefix("Bearer ").encode("utf-8", "surrogateescape")
        for token, grant in self._grants.items():
            if hmac.compare_digest(token.encode(), shown):
                return grant if self.clock.boot_s() < grant.until_boot_s else None
        return None

    async def _models(self, request: web.Request) -> web.Response:
        grant = self.find(request.headers.get("Authorization", ""))
        if grant is None:
            return _error(401, "invalid_api_key", "no such token")
        return web.json_response({"object": "list", "data": [{"id": grant.model}]})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        grant = self.find(request.headers.get("Authorization", ""))
        if grant is None:
            return _error(401, "invalid_api_key", "no such token")
        if len(grant.tasks) >= MAX_AT_ONCE:
            return _error(429, "too_many_calls", f"at most {MAX_AT_ONCE} calls at once")
        task = asyncio.current_task()
        assert task is not None
        grant.tasks.add(task)
        try:
            return await self._read(request, grant)
        finally:
            grant.tasks.discard(task)

    async def _read(self, request: web.Request, grant: Grant) -> web.StreamResponse:
        raw = await request.read()
        body = read_json(raw, Body)
        if isinstance(body, Unreadable):
            return _error(400, "bad_request", f"the body is not a JSON object: {body}")
        if grant.is_canary:
            return await canary_answer(request, body, grant.seen)
        return await self._answer(request, grant, body, len(raw))

    async def _answer(
        self, request: web.Request, grant: Grant, body: Body, size: int
    ) -> web.StreamResponse:
        named = body.get("model") or grant.model
        if named != grant.model and named not in self.ladder.models():
            return _error(404, "model_not_found", f"no model {named!r} here")
        # an agent's own side calls name its default: the model of its session answers them too
        body = {name: value for name, value in body.items() if name in PASSED_ON}
        if "stream" in body:
            body["stream"] = bool(body["stream"])
        asked = body.get(LIMITS[1], body.get(LIMITS[0]))
        most = self._bounded(asked)
        reserve = self._most(grant.model, estimated_tokens(size), most)
        refusal = self._over_a_cap(grant, reserve)
        if refusal is not None:
            return await self._refuse(grant, refusal)
        grant.reserved = grant.reserved.with_more(reserve)
        self._reserved = self._reserved.with_more(reserve)
        try:
            return await self._climb(request, grant, body, size, most)
        finally:
            grant.reserved = grant.reserved.without(reserve)
            self._reserved = self._reserved.without(reserve)

    def _over_a_cap(self, grant: Grant, more: Spend) -> Refusal | None:
        """Return why a call that may use `more`, beside all that is set aside, must not start."""
        session = grant.spend.with_more(grant.reserved)
        day = self._day_spend().with_more(self._reserved)
        return within_caps(day, session, more, self._settings, grant.own_tokens)

    async def _refuse(self, grant: Grant, refusal: Refusal) -> web.Response:
        with contextlib.suppress(EdgeError):
            await self.record(grant.holder, ModelRefused(reason=refusal.reason))
        return _error(402, refusal.reason, refusal.detail)

    def _most(self, model: str, tokens_in: int, tokens_out: int) -> Spend:
        """Return what a call may cost at most, on the dearest rung it could reach."""
        rungs = self.ladder.rungs(model, self.clock.boot_s())
        counts = TokenCounts(tokens_in, tokens_out)
        costs = [cost_usd(rung, counts) or 0.0 for rung in rungs]
        return Spend(max(costs, default=0.0), tokens_in + tokens_out)

    def _bounded(self, asked: Any) -> int:
        wanted = asked if isinstance(asked, int) and not isinstance(asked, bool) else None
        most = self._settings.max_tokens
        return most if wanted is None or wanted < 1 else min(wanted, most)

    async def _climb(
        self, request: web.Request, grant: Grant, body: Body, size: int, most: int
    ) -> web.StreamResponse:
        """Try the rungs in order; the first that begins to answer is used to its end.

        What a failed attempt may have cost is counted before the next one begins.
        """
        tried: list[tuple[Rung, Trouble]] = []
        refusal: web.Response | None = None
        for rung in self.ladder.rungs(grant.model, self.clock.boot_s()):
            if not await self._is_worth_it(rung):
                continue
            manner: Manner | None = Manner(self.ladder.dialect(rung), most)
            trouble = Trouble.PARAMETER
            for _ in range(MAX_MANNERS):
                if manner is None:
                    break
                over = self._over_a_cap(grant, Spend())
                if over is not None:
                    return await self._refuse(grant, over)
                grant.calls += 1
                call = Call(self, grant, Attempt(rung, manner, len(tried)), size=size)
                answer = await self._attempt(call, request, body)
                if answer is not None:
                    return answer
                manner, trouble = call.next_manner, call.trouble or trouble
                refusal = call.refusal or refusal
            tried.append((rung, trouble))
        return refusal or self._exhausted(grant.model, tried)

    async def _attempt(
        self, call: Call, request: web.Request, body: Body
    ) -> web.StreamResponse | None:
        try:
            await call.begin()
        except EdgeError as error:
            return _error(503, "no_record", f"no record, no call: {error}")
        try:
            return await call.carry(request, body)
        except asyncio.CancelledError:
            await call.left()
            raise
        except Exception:
            await call.broke()
            raise

    def _exhausted(self, model: str, tried: list[tuple[Rung, Trouble]]) -> web.Response:
        now_s = self.clock.boot_s()
        detail = ladder_words(self.ladder.passed_over(model, now_s) or tried)
        _log.warning("model.exhausted", model=model, tried=detail)
        response = _error(503, "no_provider", f"no provider answers for {model}: {detail}")
        wait_s = self.ladder.wait_s(model, now_s)
        if wait_s is not None:
            response.headers["Retry-After"] = str(max(1, math.ceil(wait_s)))
        return response

    async def _is_worth_it(self, rung: Rung) -> bool:
        """Probe a rung that refused for good reasons before it is used again."""
        if self.ladder.last_trouble(rung) not in PROBED:
            return True
        try:
            status, _ = await self.providers.probe(rung)
        except EdgeError:
            self.ladder.failed(rung, Trouble.UNREACHABLE, self.clock.boot_s())
            return False
        if status in {401, 403}:
            self.ladder.failed(rung, Trouble.DEAD_KEY, self.clock.boot_s())
            return False
        return True

    async def meaning_of(self, rung: Rung, status: int, text: str, wait_s: float | None) -> Trouble:
        """Say what a refusal means; where that is not clear from it alone, by a probe."""
        trouble = classify(status, text, rung.upstream or rung.model, wait_s)
        if status == 403 and trouble is Trouble.DEAD_KEY:
            with contextlib.suppress(EdgeError):
                probed, _ = await self.providers.probe(rung)
                if probed == 200:
                    return Trouble.UNKNOWN_MODEL
        return trouble


def _error(status: int, code: str, message: str) -> web.Response:
    body = {"error": {"message": message, "type": "allegro", "param": None, "code": code}}
    return web.json_response(body, status=status)
