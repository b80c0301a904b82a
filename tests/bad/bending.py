"""A forge whose answers can be bent: a raw proxy before the simulator, and a lane's desk before it.

Everything between is the product's own: desk, gate, executor, adapter, journal. Time between looks
costs nothing: the lane's clock goes on whenever it sleeps.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import yarl

from allegro.adapters.clock import SystemDice
from allegro.adapters.crypto.signatures import verify
from allegro.adapters.gitea.http import GiteaHttp
from allegro.adapters.gitea.reader import GiteaReader
from allegro.adapters.gitea.writer import GiteaWriter
from allegro.adapters.sqlite.journal import SqliteJournal, open_journal
from allegro.core.authority.actions.families import action_bytes, action_digest
from allegro.core.authority.actions.family import Action
from allegro.core.authority.actions.forge import (
    CloseIssue,
    CommentOnIssue,
    CreatePullRequest,
    FileChange,
    ProposeChange,
    RepositoryRef,
    UpdateStatus,
    git_blob_id,
)
from allegro.core.authority.freeze import FreezeSet
from allegro.core.authority.gate import LaneTrust
from allegro.core.authority.tokens import Approval, Order, issue_token
from allegro.core.base.canonical import sha256_hex
from allegro.core.base.events import Event, decode_event
from allegro.core.base.sequence import Kept
from allegro.core.ports import ForgeReader, ForgeWriter
from allegro.core.protocol.messages import (
    Challenge,
    ChallengeWanted,
    GiveOrder,
    OrderAnswer,
    Serves,
)
from allegro.core.settings import ForgeSettings
from allegro.lane.context.recorder import Author, Recorder
from allegro.lane.context.state import KeptState, LaneState
from allegro.lane.effects.executor import Executor, Rules
from allegro.lane.uplink.service import Desk
from allegro.testing.gitea import GiteaSimulator
from allegro.testing.virtual import PlainSealer
from tests.core.builders import HOUSE, LANE, SOVEREIGN, TRUST
from tests.duties.contexts import Carrying, context_of

Wrap = Callable[[ForgeReader, ForgeWriter], tuple[ForgeReader, ForgeWriter]]

FORGE = "forge.test"
TTL_S = 60
WRITE_S = 10.0
LOOKS_APART_S = 3.0
REPOSITORY = "boss/garden"
FILES: dict[str, Any] = {"src/old.txt": "old\n", "README.md": "hello\n"}
KINDS = ("comment", "status", "close", "change", "pull")


class Bend(NamedTuple):
    """What one answer becomes: None keeps that part. `cut` ends the connection instead."""

    name: str
    status: int | None = None
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    before_effect: bool = False
    cut: bool = False


class FastClock:
    """Real time, and whatever was slept on top of it, at once; never less than LOOKS_APART_S."""

    def __init__(self) -> None:
        self._slept_s = 0.0

    def now_s(self) -> float:
        return time.time() + self._slept_s

    def boot_s(self) -> float:
        return time.monotonic() + self._slept_s

    async def sleep(self, seconds: float) -> None:
        self._slept_s += max(seconds, LOOKS_APART_S)
        await asyncio.sleep(0)


class Taken(NamedTuple):
    """One answer as the forge gave it."""

    method: str
    path: str
    status: int
    body: bytes


@dataclass
class Proxy:
    """Passes requests on to a forge; the one whose turn `at` is gets its answer bent."""

    forge: str
    url: str = ""
    at: int = 0
    bend: Bend | None = None
    taken: list[Taken] = field(default_factory=list)
    _server: asyncio.Server | None = None
    _session: aiohttp.ClientSession | None = None

    def plan(self, at: int, bend: Bend | None) -> None:
        """Bend the `at`-th answer from now on, counted from 0; None bends none."""
        self.taken.clear()
        self.at, self.bend = at, bend

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(auto_decompress=False)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        assert self._server is not None
        assert self._session is not None
        self._server.close()
        await self._session.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while (head := await reader.readuntil(b"\r\n\r\n")) and await self._one(
                head, reader, writer
            ):
                pass
        writer.close()

    async def _one(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        line, *rest = head.decode("latin-1").split("\r\n")
        method, path, _ = line.split(" ")
        headers = dict(row.split(": ", 1) for row in rest if row)
        body = await reader.readexactly(int(headers.get("Content-Length", "0")))
        number = len(self.taken)
        bend = self.bend if number == self.at else None
        if bend is not None and bend.before_effect:
            answer = Taken(method, path, bend.status or 503, bend.body or b"")
            told: list[tuple[str, str]] = []
        else:
            answer, told = await self._pass_on(method, path, headers, body)
        self.taken.append(answer)
        if bend is not None and bend.cut:
            writer.transport.abort()
            return False
        writer.write(_answer(answer, told, bend))
        await writer.drain()
        return True

    async def _pass_on(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[Taken, list[tuple[str, str]]]:
        assert self._session is not None
        kept: dict[str, str] = {
            name: headers[name] for name in ("Authorization", "Content-Type") if name in headers
        }
        async with self._session.request(
            method, yarl.URL(self.forge + path, encoded=True), data=body or None, headers=kept,
            allow_redirects=False,
        ) as response:  # fmt: skip
            told = [
                (name, value)
                for name, value in response.headers.items()
                if name in {"X-Total-Count", "Link", "Date", "Content-Type"}
            ]
            return Taken(method, path, response.status, await response.read()), told


def _answer(answer: Taken, told: list[tuple[str, str]], bend: Bend | None) -> bytes:
    status, body, headers = answer.status, answer.body, dict(told)
    if bend is not None:
        status = answer.status if bend.status is None else bend.status
        body = answer.body if bend.body is None else bend.body
        headers |= dict(bend.headers)
    if status in {204, 304}:
        body = b""
    lines = [f"HTTP/1.1 {status} X"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogatepass") + body


class Site:
    """One lane before one simulated forge, through the bending proxy."""

    def __init__(self, simulator: GiteaSimulator, proxy: Proxy, journal: SqliteJournal) -> None:
        self.world = simulator.world
        self.proxy = proxy
        self.journal = journal
        self.bots = frozenset(self.world.the_user(name).id for name in ("bot", "change-bot"))
        self.daily = self.world.token("bot")
        self.change = self.world.token("change-bot")
        self.repo = self.world.the_repo(REPOSITORY)
        self.clock = FastClock()
        self._numbers = itertools.count(1)
        self._dice = SystemDice()
        self._https: list[GiteaHttp] = []
        self.desk = self.new_desk()

    def new_desk(
        self,
        wrap: Wrap = lambda reader, writer: (reader, writer),
    ) -> Desk:
        """Return a desk with an adapter that has learnt nothing; `wrap` may stand before it."""
        http = GiteaHttp(
            self.proxy.url, lambda: self.daily, timeout_s=WRITE_S, boot_s=self.clock.boot_s
        )
        self._https.append(http)
        plain = GiteaReader(http)
        reader, writer = wrap(plain, GiteaWriter(http, plain, self.clock.now_s))
        state = LaneState(
            clock=self.clock,
            journal=self.journal,
            kept=KeptState(LaneTrust(TRUST), FreezeSet(), _kept, _kept),
            forge=FORGE,
            safe_mode=False,
        )
        state.heard_house(self.clock.now_s())
        recorder = Recorder(
            self.journal, PlainSealer(), self.clock, self._dice, by=Author("a", b"s" * 32)
        )
        rules = Rules(bots=self.bots, write_s=WRITE_S)
        executor = Executor((reader, writer), recorder, self.clock, state.situation, rules)
        ctx = context_of(state, recorder, self.clock, ForgeSettings(), dice=self._dice)
        self.desk = Desk(
            ctx, (LANE.sign, verify), {"forge": Carrying(executor)}, lambda name: None,
            Serves(True, 0, False),
        )  # fmt: skip
        return self.desk

    async def close(self) -> None:
        for http in self._https:
            await http.close()

    # actions

    def action(self, kind: str) -> Action:
        """Make a new action with a target of its own."""
        where: dict[str, Any] = {
            "id": self._dice.token(16).hex(), "forge": FORGE,
            "repository": RepositoryRef(self.repo.id, REPOSITORY),
        }  # fmt: skip
        if kind in {"comment", "status", "close"}:
            issue = self.world.open_issue(REPOSITORY, "boss", "a title", "a body")
            where["issue"] = issue.number
        match kind:
            case "comment":
                return CommentOnIssue(**where, body="Done.")
            case "status":
                return UpdateStatus(**where, status="review")
            case "close":
                return CloseIssue(
                    **where, title="a title", body_sha256=sha256_hex(b"a body"),
                    newest_comment=None, newest_comment_sha256=None,
                )  # fmt: skip
            case "change":
                return self._change(where)
            case _:
                return self._pull(where)

    def _change(self, where: dict[str, Any]) -> ProposeChange:
        before = git_blob_id(b"old\n", like="0" * 40)
        return ProposeChange(
            **where, base="main", base_commit=self.tip("main"), branch="fix", title="Mend it",
            body="because", allow_ci_paths=False,
            files=(FileChange("src/old.txt", "update", "100644", before, "bmV3Cg=="),),
        )  # fmt: skip

    def _pull(self, where: dict[str, Any]) -> CreatePullRequest:
        head = f"work{next(self._numbers)}"
        base = self.tip("main")
        commit = self.world.commit(REPOSITORY, head, {"new.txt": head}, "boss", "work")
        return CreatePullRequest(
            **where, base="main", base_commit=base, head=head, head_commit=commit, title="Take it",
            body="because", ci_paths=(),
        )  # fmt: skip

    def tip(self, branch: str) -> str:
        found = self.world.git(self.repo).branch(branch)
        assert found is not None
        return found

    # orders

    async def order(self, action: Action) -> Event:
        """Give a new order to the desk, as a house does; return how it told that it ended."""
        raw, after = action_bytes(action), self.journal.head.seq
        number, digest = next(self._numbers), action_digest(raw)
        wanted = await self.desk.answer(ChallengeWanted(number))
        assert isinstance(wanted, Challenge)
        now_s = int(self.clock.now_s())
        order = Order(
            aud=TRUST.fleet, lane=TRUST.lane, challenge=wanted.challenge, number=number,
            digest=digest, seat=1, ttl_s=TTL_S,
        )  # fmt: skip
        approval = Approval(aud=TRUST.fleet, digest=digest, exp=now_s + 600, iat=now_s, seat=1)
        branch = ""
        if isinstance(action, ProposeChange):
            branch = f"{action.branch}-{digest[:12]}"
        elif isinstance(action, CreatePullRequest):
            branch = action.head
        answer = await self.desk.answer(
            GiveOrder(
                id=number, order=issue_token(order, "house:1", HOUSE.sign), action=raw,
                approval=issue_token(approval, "sovereign:1", SOVEREIGN.sign), branch=branch,
                marker=digest[:32], change_token=self.change,
            )
        )  # fmt: skip
        assert isinstance(answer, OrderAnswer)
        assert not answer.reason, answer
        await asyncio.wait_for(self.desk.dispatch.settle(), 200.0)
        return (await self.events(after))[-1]

    async def events(self, after_seq: int) -> list[Event]:
        entries = await self.journal.read(after_seq, 50_000_000)
        return [decode_event(entry.body) for entry in entries if isinstance(entry, Kept)]

    # what is true on the forge

    def effects(self, action: Action) -> int:
        """Count how often an action's effect stands on the forge."""
        digest = action_digest(action_bytes(action))
        match action:
            case ProposeChange() | CreatePullRequest():
                return sum(
                    digest[:32] in issue.body
                    for issue in self.repo.issues.values()
                    if issue.pull is not None
                )
            case CommentOnIssue():
                rows = self.repo.issues[action.issue].timeline
                return sum(digest[:32] in row.body for row in rows)
            case CloseIssue():
                return int(self.repo.issues[action.issue].closed)
            case UpdateStatus():
                names = [
                    self.world.labels[id_].name for id_ in self.repo.issues[action.issue].labels
                ]
                return names.count(f"status/{action.status}")
            case _:
                raise AssertionError(action)


@contextlib.asynccontextmanager
async def bending_site(folder: Path) -> AsyncIterator[Site]:
    """Run a simulated forge with a protected repository, the proxy before it, and a journal."""
    simulator = GiteaSimulator(folder / "forge", version="1.27.0")
    world = simulator.world
    world.add_user("boss", admin=True)
    for login in ("bot", "change-bot"):
        world.add_user(login)
    world.add_repo("boss", "garden", files=FILES)
    for login in ("bot", "change-bot"):
        world.add_collaborator(REPOSITORY, login, "write")
    world.protect(REPOSITORY, "main", merge_users=["boss"])
    for status in ("pending", "review"):
        world.add_label(REPOSITORY, f"status/{status}", exclusive=True)
    proxy = Proxy(await simulator.start())
    await proxy.start()
    journal = await open_journal(
        folder / "journal.db", cap_bytes=500_000_000, reserved_share=0.1, new_id="j",
        now_s=time.time, gap_event=_no_gap,
    )  # fmt: skip
    site = Site(simulator, proxy, journal)
    try:
        yield site
    finally:
        await site.close()
        await journal.close()
        await proxy.stop()
        await simulator.stop()


def document(taken: Taken) -> Any:
    """Return the JSON of an answer, None where it has none."""
    return json.loads(taken.body) if taken.body else None


def _kept(value: object) -> None:
    del value


def _no_gap(reason: str, shed: int, count: int, first: int, last: int) -> Event:
    raise AssertionError(f"the journal shed something: {reason} {shed} {count} {first} {last}")
