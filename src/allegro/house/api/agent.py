"""The part of the house's API that is about sessions and models."""

from __future__ import annotations

from aiohttp import web

from allegro.core.authority.actions.agent import LendModel, Quote, RunSession
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.protocol.answers.forge import Talk
from allegro.core.protocol.answers.sessions import RevokedAnswer, SessionsAnswer
from allegro.core.protocol.asked import NewLoan, NewSession
from allegro.core.protocol.queries import AskIssue
from allegro.core.requests.lifecycle import State
from allegro.house.agent.loans import Loans
from allegro.house.agent.sessions import Sessions
from allegro.house.api.http import (
    MAX_WAIT_S,
    answer_json,
    decode_body,
    number_in,
    refused,
    seconds_in,
)
from allegro.house.api.views import listed, session_view
from allegro.house.documents.comments import issue_named
from allegro.house.ports import Ask
from allegro.house.requests.asking import asker, asking
from allegro.house.requests.proposals import asked
from allegro.house.requests.requests import Requests

MAX_QUOTE = 20_000
MAX_QUOTES = 50
QUOTES_BYTES = 120_000
LEND_S = 60.0


class SessionApi:
    """Routes and nothing else."""

    def __init__(self, sessions: Sessions, loans: Loans, requests: Requests, ask: Ask) -> None:
        self._sessions = sessions
        self._loans = loans
        self._requests = requests
        self._ask = ask

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/sessions", self._list),
            web.post("/v1/sessions", self._begin),
            web.get("/v1/sessions/{id}", self._show),
            web.get("/v1/sessions/{id}/wait", self._wait),
            web.post("/v1/sessions/{id}/stop", self._stop),
            web.post("/v1/loans", self._lend),
            web.post("/v1/loans/{id}/revoke", self._revoke),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        limit = number_in(request, "limit", 50, most=500)
        open_ones = [
            one
            for one in self._requests.all()
            if one.kind == "run_session" and one.id not in self._sessions.records
            if not one.is_final or one.state is not State.DONE
        ]
        views = [listed(one) for one in self._sessions.records.values()]
        views += [listed(one) for one in open_ones]
        views = sorted(views, key=lambda one: one.began_s)[-limit:] if limit else []
        return answer_json(SessionsAnswer(sessions=tuple(views)))

    async def _begin(self, request: web.Request) -> web.Response:
        new = decode_body(await request.read(), NewSession)
        quotes = (*new.quotes, *(await self._issue_quotes(new.issue) if new.issue else ()))
        action = RunSession(
            id=self._requests.new_id(),
            prompt=new.prompt,
            instructions=new.instructions,
            history=new.history,
            quotes=quotes,
            model=new.model,
            tools=new.tools,
            network=new.network,
            issue=new.issue,
            limit_s=new.limit_s,
        )
        made = await self._sessions.begin(action, asker(new.asked_by), new.key, asking(new))
        return answer_json(session_view(made), 201)

    async def _issue_quotes(self, issue: str) -> tuple[Quote, ...]:
        """Read an issue and its comments through a lane: quoted data, each with its author."""
        named = issue_named(issue)
        if named is None:
            raise EdgeError("issue must be like owner/name#12", transient=False)
        talk = await asked(self._ask, AskIssue(repository=named[0], number=named[1]), Talk)
        first = Quote(issue, talk.author, f"{talk.title}\n\n{talk.body}"[:MAX_QUOTE])
        rest = [
            Quote(f"{issue} comment {one.id}", one.author, one.body[:MAX_QUOTE])
            for one in talk.comments
        ]
        return newest_quotes(first, rest)

    async def _show(self, request: web.Request) -> web.Response:
        found = self._sessions.find(request.match_info["id"])
        return refused(found) if isinstance(found, Refusal) else answer_json(session_view(found))

    async def _wait(self, request: web.Request) -> web.Response:
        timeout_s = seconds_in(request, "timeout_s", 30.0, most=MAX_WAIT_S)
        found = await self._sessions.wait(request.match_info["id"], timeout_s)
        return refused(found) if isinstance(found, Refusal) else answer_json(session_view(found))

    async def _stop(self, request: web.Request) -> web.Response:
        stopped = await self._sessions.stop(request.match_info["id"])
        return refused(stopped) if isinstance(stopped, Refusal) else answer_json(stopped)

    async def _lend(self, request: web.Request) -> web.Response:
        new = decode_body(await request.read(), NewLoan)
        action = LendModel(
            id=self._requests.new_id(),
            model=new.model,
            lives_s=new.lives_s,
            max_tokens=new.max_tokens,
        )
        made = await self._loans.lend(action, asker(new.asked_by))
        settled = await self._requests.wait(made.id, LEND_S)
        if isinstance(settled, Refusal):
            return refused(settled)
        if settled.state is not State.DONE:
            if not settled.is_final:
                await self._requests.withdraw(settled.id)
            why = f"no model was lent: {settled.detail or settled.state.value}"
            raise EdgeError(why, transient=not settled.is_final)
        return answer_json(await self._loans.loan_of(settled))

    async def _revoke(self, request: web.Request) -> web.Response:
        return answer_json(RevokedAnswer(await self._loans.revoke(request.match_info["id"])))


def newest_quotes(first: Quote, rest: list[Quote]) -> tuple[Quote, ...]:
    """Return an issue and its newest comments, as many as a prompt has room for; say what is not."""
    room, kept = QUOTES_BYTES - len(first.text.encode()), 0
    for one in reversed(rest[-(MAX_QUOTES - 2) :]):
        room -= len(one.text.encode())
        if room < 0:
            break
        kept += 1
    if kept == len(rest):
        return (first, *rest)
    note = f"{len(rest) - kept} older comments are left out: there is no room for them"
    return (first, Quote(first.source, "allegro", note), *rest[len(rest) - kept :])
