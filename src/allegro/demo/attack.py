"""Six bad things, tried by a thief who has even the house key; each must be refused.

The thief logs in to the lane as the house. What he has not is the sovereign key.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import sqlite3
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from allegro.adapters.clock import SystemClock
from allegro.adapters.crypto.signatures import SigningKey, load_signing_key, verify
from allegro.core.authority.actions.families import (
    action_bytes,
    action_digest,
    parse_action,
)
from allegro.core.authority.actions.family import Action
from allegro.core.authority.actions.forge import ProposeChange
from allegro.core.authority.tokens import (
    Approval,
    Login,
    Order,
    b64url,
    fingerprint,
    issue_token,
    sovereign_kid,
)
from allegro.core.base.canonical import canonical
from allegro.core.base.errors import UserError
from allegro.core.base.sequence import Position
from allegro.core.protocol.answers.requests import RequestAnswer
from allegro.core.protocol.messages import (
    MAX_LANE_FRAME,
    PROTOCOL,
    Challenge,
    ChallengeWanted,
    FromHouse,
    FromLane,
    GiveOrder,
    Greet,
    Hello,
    LogIn,
    OrderAnswer,
    Welcome,
)
from allegro.house.files import Fleet, HouseFiles, KnownLane, load_fleet
from allegro.link.frames import decode_from_lane, encode
from allegro.link.handshake import check_greeting
from allegro.scratch.processes import Stage


class Attempt(msgspec.Struct, frozen=True):
    """One bad thing and what came of it: the reason it must be refused for, and the one it was."""

    case: str
    expected: str
    reason: str

    @property
    def ok(self) -> bool:
        return self.reason == self.expected


class Thief:
    """Holds the house key and the fleet file, and talks to the lane in the house's place."""

    def __init__(
        self,
        fleet: Fleet,
        house_key: SigningKey,
        lane: KnownLane,
        now_s: float,
        cursors: tuple[Position, ...],
    ) -> None:
        self._cursors = cursors
        self._fleet = fleet
        self._key = house_key
        self._lane = lane
        self._now_s = now_s
        self._number = 1_000_000

    async def try_all(self, done: RequestAnswer, sovereign: SigningKey) -> list[Attempt]:
        """Log in and try. `done` is a finished request; `sovereign` signs what Timmy would sign."""
        url = self._lane.url.rstrip("/") + "/link"
        tls: Any = aiohttp.Fingerprint(self._lane.pin) if self._lane.pin else True
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, ssl=tls, max_msg_size=MAX_LANE_FRAME, compress=0) as socket,
        ):
            await self._log_in(socket)
            action = parse_action(done.action)
            assert isinstance(action, ProposeChange)
            return await self._tries(socket, action, sovereign)

    async def _tries(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        action: ProposeChange,
        sovereign: SigningKey,
    ) -> list[Attempt]:
        other = msgspec.structs.replace(action, id=secrets.token_hex(10), title="Something else")
        approved = self._approval(other, sovereign)
        return [
            Attempt(
                "forged approval",
                "bad_signature",
                await self._order(socket, other, self._approval(other, SigningKey.make())),
            ),
            Attempt(
                "expired approval",
                "approval_expired",
                await self._order(socket, other, self._approval(other, sovereign, lives_s=-60)),
            ),
            Attempt(
                "replayed order", "unknown_challenge", await self._replay(socket, other, approved)
            ),
            Attempt(
                "changed after approval",
                "changed_content",
                await self._order(
                    socket, msgspec.structs.replace(other, body="and a back door"), approved
                ),
            ),
            Attempt("close without approval", "no_approval", await self._close(socket, action)),
            Attempt(
                "push to the default branch",
                "bad_branch",
                await self._order(socket, other, approved, branch=action.base),
            ),
        ]

    async def _order(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        action: Action,
        approval: str | None,
        *,
        branch: str = "",
        challenge: str = "",
    ) -> str:
        """Order an action and return the lane's reason, empty when it took the order."""
        raw = action_bytes(action)
        return await self._order_bytes(socket, raw, approval, branch=branch, challenge=challenge)

    async def _order_bytes(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        raw: bytes,
        approval: str | None,
        *,
        branch: str = "",
        challenge: str = "",
    ) -> str:
        self._number += 1
        challenge = challenge or await self._challenge(socket)
        order = Order(
            aud=self._fleet.id,
            lane=fingerprint(self._lane.key),
            challenge=challenge,
            number=self._number,
            digest=action_digest(raw),
            seat=self._fleet.seat,
            ttl_s=20,
        )
        token = issue_token(order, f"house:{self._fleet.house_number}", self._key.sign)
        given = GiveOrder(
            id=self._number,
            order=token,
            action=raw,
            approval=approval,
            branch=branch,
            marker="0" * 32,
            change_token="x",  # noqa: S106
        )
        answer = await self._say(socket, given, OrderAnswer)
        assert isinstance(answer, OrderAnswer)
        return answer.reason

    async def _replay(
        self, socket: aiohttp.ClientWebSocketResponse, action: Action, approval: str
    ) -> str:
        """Send a refused order's challenge again: it was used up by the first."""
        challenge = await self._challenge(socket)
        await self._order(socket, action, None, challenge=challenge)
        return await self._order(socket, action, approval, challenge=challenge)

    async def _close(self, socket: aiohttp.ClientWebSocketResponse, like: ProposeChange) -> str:
        raw = canonical(
            {
                "kind": "close_issue",
                "id": secrets.token_hex(10),
                "forge": like.forge,
                "repository": msgspec.to_builtins(like.repository),
                "issue": 1,
                "title": "x",
                "body_sha256": "0" * 64,
                "newest_comment": None,
                "newest_comment_sha256": None,
            }
        )
        return await self._order_bytes(socket, raw, None)

    async def _challenge(self, socket: aiohttp.ClientWebSocketResponse) -> str:
        answer = await self._say(socket, ChallengeWanted(self._number), Challenge)
        assert isinstance(answer, Challenge)
        return answer.challenge

    def _approval(self, action: Action, key: SigningKey, *, lives_s: int = 3600) -> str:
        claims = Approval(
            aud=self._fleet.id,
            digest=action_digest(action_bytes(action)),
            exp=int(self._now_s) + lives_s,
            iat=int(self._now_s) - 3600,
            seat=self._fleet.seat,
        )
        return issue_token(claims, sovereign_kid(self._fleet.sovereign_number), key.sign)

    async def _log_in(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        hello = Hello(PROTOCOL, b64url(secrets.token_bytes(32)))
        greeting = await self._say(socket, hello, Greet)
        assert isinstance(greeting, Greet)
        fleet = self._fleet
        counter = check_greeting(
            greeting,
            challenge=hello.challenge,
            fleet=fleet.id,
            lane_key=self._lane.key,
            verify=verify,
        )
        claims = Login(
            aud=fleet.id,
            lane=fingerprint(self._lane.key),
            challenge=str(counter),
            seat=fleet.seat,
            key_number=fleet.sovereign_number,
        )
        token = issue_token(claims, f"house:{fleet.house_number}", self._key.sign)
        certificates = (fleet.certificate, fleet.seat_token)
        login = LogIn(token, certificates, (), (), self._cursors, (), self._now_s)
        await self._say(socket, login, Welcome)

    async def _say(
        self, socket: aiohttp.ClientWebSocketResponse, message: FromHouse, expect: type[Any]
    ) -> FromLane:
        await socket.send_bytes(encode(message))
        for _ in range(2_000):
            answer = decode_from_lane(await socket.receive_bytes(timeout=10))
            if type(answer) is expect:
                return answer
            if type(answer).__name__ == "Refused":
                raise UserError(f"the lane refused the thief's log-in: {answer}")
        raise UserError("the lane does not answer")


async def attack(stage: Stage, done: RequestAnswer) -> list[Attempt]:
    """Try all six while the house stands still; its keys and its fleet file are the thief's."""
    files = HouseFiles(stage.folder / "house")
    fleet = load_fleet(files)
    os.kill(stage.house.pid, signal.SIGSTOP)
    try:
        key, cursors = load_signing_key(files.house), _cursors(files.archive)
        thief = Thief(fleet, key, fleet.lanes[0], SystemClock().now_s(), cursors)
        sovereign = load_signing_key(files.sovereign, lambda: b"correct horse battery staple")
        return await thief.try_all(done, sovereign)
    finally:
        os.kill(stage.house.pid, signal.SIGCONT)


def _cursors(archive: Path) -> tuple[Position, ...]:
    with contextlib.closing(sqlite3.connect(f"file:{archive}?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT journal, seq, chain FROM cursor").fetchall()
    return tuple(Position(journal, seq, bytes(chain)) for journal, seq, chain in rows)
