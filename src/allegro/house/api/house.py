"""The part of the house's API that is about the house itself: how it is, stop, thaw, keys, lanes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.base.untrusted import MAX_NAME, Unreadable, plain, read_json, text_of
from allegro.core.protocol.answers.house import BringAnswer, ReloadAnswer, StopAnswer, ThawAnswer
from allegro.core.protocol.asked import Question, Signed
from allegro.house.api.http import answer_json, decode_body, plain_in, refused
from allegro.house.health.doctor import Facts
from allegro.house.ports import Ask


class Hooks(msgspec.Struct, frozen=True):
    """What the API lets the app do: stop, thaw, reload after a key change, bring a signed thing.

    `stop` is given why and by whom; `bring` returns how many lanes took it.
    """

    stop: Callable[[str, str], Awaitable[StopAnswer]]
    thaw: Callable[[str], Awaitable[Refusal | None]]
    reload: Callable[[], Awaitable[ReloadAnswer]]
    bring: Callable[[str], Awaitable[int]]


class HouseApi:
    """Routes and nothing else."""

    def __init__(self, facts: Facts, hooks: Hooks, ask: Ask) -> None:
        self._facts = facts
        self._hooks = hooks
        self._ask_lanes = ask

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/status", self._status),
            web.get("/v1/doctor", self._doctor),
            web.post("/v1/stop", self._stop),
            web.post("/v1/thaw", self._thaw),
            web.post("/v1/bring", self._bring),
            web.post("/v1/reload", self._reload),
            web.post("/v1/ask", self._ask),
        ]

    async def _status(self, _: web.Request) -> web.Response:
        return answer_json(await self._facts.status())

    async def _doctor(self, _: web.Request) -> web.Response:
        return answer_json(await self._facts.doctor())

    async def _stop(self, request: web.Request) -> web.Response:
        """A stop is never refused for its words: what cannot be read is left out."""
        body = read_json(await request.read() or b"{}", object)
        words = body if isinstance(body, dict) else {}
        reason, by = text_of(words.get("reason")), text_of(words.get("by"), MAX_NAME)
        return answer_json(await self._hooks.stop(reason, by or "socket"))

    async def _thaw(self, request: web.Request) -> web.Response:
        signed = decode_body(await request.read(), Signed)
        refusal = await self._hooks.thaw(signed.token)
        return answer_json(ThawAnswer(thawed=True)) if refusal is None else refused(refusal)

    async def _bring(self, request: web.Request) -> web.Response:
        signed = decode_body(await request.read(), Signed)
        return answer_json(BringAnswer(await self._hooks.bring(signed.token)))

    async def _reload(self, _: web.Request) -> web.Response:
        return answer_json(await self._hooks.reload())

    async def _ask(self, request: web.Request) -> web.Response:
        """Hand a lane's answer on as it is: the program that asks reads it."""
        question = decode_body(await request.read(), Question)
        params = plain_in(question.params, "params")
        answer = plain(await self._ask_lanes(question.method, params))
        if isinstance(answer, Unreadable):
            why = f"the lane's answer to {question.method} cannot be read: {answer}"
            raise EdgeError(why, transient=False, kind="unreadable")
        return answer_json(answer)
