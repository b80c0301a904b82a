"""A stolen lane beside an honest one, on real programs: house, honest lane and the shipped forge.

The thief has every key of its lane and speaks the link in this process. One world serves many
trials; at its end the thief fills its quota and the house is started again.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from allegro.client.errors import BridgeError
from allegro.core.authority.tokens import b64url
from allegro.core.base.errors import UserError
from allegro.core.base.sequence import GENESIS, Kept, Position
from allegro.core.health import codes
from allegro.core.protocol.messages import (
    BATCH_BYTES,
    BATCH_ENTRIES,
    Ack,
    Batch,
    Challenge,
    FromHouse,
    FromLane,
    GiveOrder,
    Greet,
    Hello,
    LaneBeat,
    LogIn,
    OrderAnswer,
    Query,
    Reply,
    Welcome,
)
from allegro.link.frames import encode
from allegro.link.handshake import greet
from allegro.scratch.processes import free_port, override
from allegro.sovereign import ceremony
from tests.bad import values as bad
from tests.bad.event_samples import ISSUE, Sample, encoded, samples
from tests.patience import patient

from .fake_lane import STATUS, FakeLane
from .fleet_fixture import BOT, BOTS, CODE_BOT, FINAL, PERSON, REPOSITORY, Theatre, open_theatre

HONEST, THIEF = "allegro", "ezra"
FORGED = "FORGED"
"""Stands in every text of the thief's, at the start of a line as well."""
LIE = f"no\n{FORGED}\x1b[2K\n  receipt   7 {FORGED}"
QUOTA_BYTES = 20_000_000
ARCHIVE_BYTES = 2 * QUOTA_BYTES + 16_000_000
"""The quota of both lanes, and as much again as indexes and the journal of the database take."""
LEDGER_BYTES = 30_000_000
READ_S = 2.0
POLL_S = 2.5
"""So long the honest lane takes at most until it has seen a write: its poll and its sweep."""
ACKED_S = 8.0
MOVES = ("bent", "victims", "flood", "listings", "clashes", "answers", "garbage", "freezes", "role")
FOREIGN = ("comment", "label", "close", "issue", "pull")
HELD_S = 0.8


class Measured(msgspec.Struct):
    """What one trial showed: times in seconds, faults in words. Times below 0 were not measured."""

    seed: int
    plot: tuple[str, ...] = ()
    archived_s: float = -1.0
    frozen_s: float = -1.0
    read_s: float = -1.0
    faults: list[str] = []


class StolenLane(FakeLane):
    """Keeps one journal and one connection. `answers` takes what the house asks of its forge."""

    def __init__(self, theatre: Theatre, folder: Path, port: int) -> None:
        super().__init__(theatre, folder, port)
        self._socket: web.WebSocketResponse | None = None
        self._seq = 0
        self.acked = 0
        self.roles: dict[str, int] = {}
        self._beating: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await super().start()
        self._beating = asyncio.create_task(self._beat())

    async def stop(self) -> None:
        if self._beating is not None:
            self._beating.cancel()
        await super().stop()

    async def _beat(self) -> None:
        while True:
            await self.beat()
            await asyncio.sleep(1.0)

    async def beat(self) -> None:
        """Say that this lane lives, and which roles it holds."""
        await self.say(LaneBeat(self.acked, "polled", self.roles))

    async def _talk(self, socket: web.WebSocketResponse) -> None:
        hello = await self._hear(socket)
        assert isinstance(hello, Hello)
        greeting = greet(
            hello, self._trust, counter_challenge=b64url(bytes(32)), version=LIE[:60],
            sign=self._key.sign,
        )  # fmt: skip
        assert isinstance(greeting, Greet)
        await socket.send_bytes(encode(greeting))
        login = await self._hear(socket)
        assert isinstance(login, LogIn)
        held = [one for one in login.cursors if one.journal == "stolen"]
        after = held[0] if held else Position("stolen", 0, GENESIS)
        self._seq = self.acked = after.seq
        await socket.send_bytes(encode(Welcome(after, after.seq, self.freezes)))
        self._socket = socket
        self.sent.set()
        while True:
            message = await self._hear(socket)
            if isinstance(message, Ack):
                self.acked = message.position.seq
            answer = self._answer(message)
            if answer is not None:
                await socket.send_bytes(answer)

    async def say(self, *messages: FromLane | bytes) -> None:
        """Send what is no part of the journal; nothing where the house has hung up."""
        for message in messages:
            if self._socket is not None:
                raw = message if isinstance(message, bytes) else encode(message)
                with contextlib.suppress(ConnectionError, RuntimeError):
                    await self._socket.send_bytes(raw)

    async def linked(self) -> None:
        """Wait until the house has dialled this lane, and nothing is left of an older link."""
        async with asyncio.timeout(patient(15)):
            while self._socket is None or self._socket.closed:
                await asyncio.sleep(0.05)

    async def tell(self, bodies: Sequence[bytes]) -> None:
        """Journal these and bring them home; give up where the house does not take them."""
        await self.linked()
        at = 0
        while at < len(bodies):
            some, size = list[Kept](), 0
            while at < len(bodies) and len(some) < BATCH_ENTRIES and size < BATCH_BYTES // 2:
                some.append(Kept(bodies[at][: BATCH_BYTES // 2]))
                size += len(some[-1].body)
                at += 1
            first = self._seq + 1
            self._seq += len(some)
            await self.say(Batch("stolen", first, tuple(some), self._seq))
        wanted = self._seq
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patient(ACKED_S)):
                while self.acked < wanted and self._seq >= wanted:
                    await asyncio.sleep(0.01)

    def _answer(self, message: FromHouse) -> bytes | None:
        if isinstance(message, GiveOrder):
            self.orders.append(message)
            return encode(OrderAnswer(message.id, "", ""))
        return super()._answer(message)


class World:
    """House, honest lane and thief; trials are played in it one after the other."""

    def __init__(self, theatre: Theatre, lane: StolenLane) -> None:
        self.theatre, self.lane = theatre, lane
        self.bots: list[int] = []
        self.count = 0
        self.done: list[str] = []
        self.waiting: list[str] = []

    async def begin(self) -> None:
        """Let the thief's lane be honest once, then propose what nobody will approve."""
        theatre = self.theatre
        self.bots = [(await theatre.api("GET", f"/users/{bot}"))["id"] for bot in BOTS]
        audit = {"specversion": "1.0", "id": "audit", "type": "audit.done", "source": "lane:ezra",
                 "time": "2030-01-01T00:00:00Z", "subject": "", "data": {"bots": self.bots}}  # fmt: skip
        await self.lane.tell([json.dumps(audit).encode()])
        await theatre.api(
            "POST", f"/repos/{REPOSITORY}/labels", {"name": "bug", "color": "#ff0000"}
        )
        for name, text in (("ours", "a\n"), ("later", "b\n")):
            asked = await theatre.ask_change(name, {"README.md": text})
            self.waiting.append(asked["id"])
        asked = await theatre.ask("close_issue", issue=1)
        self.waiting.append(asked["id"])
        first = await theatre.ask("comment", issue=1, body="the first word")
        await theatre.settled(first["id"])
        self.done.append(first["id"])

    async def finale(self) -> list[str]:
        """Fill the thief's quota, start the house again; return what does not hold then."""
        theatre, lane = self.theatre, self.lane
        blob = json.dumps({"specversion": "1.0", "id": "", "type": "x", "source": "x",
                           "time": "2030-01-01T00:00:00Z", "subject": "", "data": {"b": "b" * 60_000}})  # fmt: skip
        for n in range(400):
            before = lane.acked
            bodies = [blob.replace('"id": ""', f'"id": "b{n}-{m}"').encode() for m in range(20)]
            with contextlib.suppress(TimeoutError):
                await lane.tell(bodies)
            if lane.acked < before + 20:
                break
        else:
            return ["the thief's quota has no end"]
        faults = self.disk()
        before_end = await self.states()
        await theatre.restart_house()
        await theatre.until(theatre.stage.status, "the house starts again on what it kept")
        if (after := await self.states()) != before_end:
            faults.append(f"after a restart the requests are {after}, before {before_end}")
        await thawed(theatre)
        last = await theatre.ask("comment", issue=1, body="the last word")
        settled = await theatre.settled(last["id"])
        if settled["state"] != "done":
            faults.append(f"with the thief's quota full an honest order ended {settled['state']}")
        return faults

    async def states(self) -> dict[str, str]:
        shown = [await self.theatre.request(id_) for id_ in (*self.waiting, *self.done)]
        return {one["id"]: one["state"] for one in shown}

    def disk(self) -> list[str]:
        folder = self.theatre.house_files.folder
        faults = []
        for name, most in (("archive", ARCHIVE_BYTES), ("ledger", LEDGER_BYTES)):
            size = sum(file.stat().st_size for file in folder.glob(f"{name}.db*"))
            faults += [f"{name}.db grew to {size} bytes"] if size > most else []
        return faults


class Robbery:
    """One trial. Requests whose order the thief was given are its to lie about; no others are."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.theatre, self.lane = world, world.theatre, world.lane
        self.dice = random.Random(seed)
        plot = tuple(self.dice.sample(MOVES, 3))
        self.found = Measured(seed, (*plot, self.dice.choice(FOREIGN)))
        self._victims: list[dict[str, Any]] = []
        self._moves = {
            "bent": self._bent, "victims": self._about_victims, "flood": self._flood,
            "listings": self._listings, "clashes": self._clashes, "answers": self._answers,
            "garbage": self._garbage, "freezes": self._freezes, "role": self._role,
        }  # fmt: skip

    async def play(self) -> Measured:
        theatre, faults = self.theatre, self.found.faults
        before = {id_: await self._explained(id_) for id_ in self.world.waiting}
        held = await self._hold()
        waiting = [
            await theatre.request(id_) for id_ in (*self.world.waiting, *self.world.done[-1:])
        ]
        self._victims = [*waiting, held]
        first, second, last = self.found.plot[:3]
        await self._moves[first]()
        await self._moves[second]()
        flooding = asyncio.create_task(self._moves[last]())
        issue = await self._honest_issue()
        await self._foreign_write(issue)
        await flooding
        await self._release()
        faults += await false_words(theatre, self.world.waiting, before)
        await thawed(theatre)
        await self._held_is_done(held)
        await self._honest_order()
        faults += self.world.disk()
        if not (theatre.stage.house.is_running and theatre.stage.lane.is_running):
            faults.append("a program ended")
        return self.found

    async def _hold(self) -> dict[str, Any]:
        """Order a comment from the honest lane whose write takes its time."""
        theatre = self.theatre
        rule = {
            "kind": "slow",
            "method": "POST",
            "path": "/comments$",
            "seconds": HELD_S,
            "count": 1,
        }
        await theatre.stage.faults(clear=True, add=[rule])
        self.world.count += 1
        asked = await theatre.ask("comment", issue=1, body=f"held {self.world.count}")

        async def is_ordered() -> Any:
            await lift_freezes(theatre)  # what the thief said before may still freeze
            request = await theatre.request(asked["id"])
            return request if request["order_number"] else None

        return dict(await theatre.until(is_ordered, "the order is out"))

    # --- what the thief does ------------------------------------------------------------------

    def _id(self) -> str:
        self.world.count += 1
        return f"thief {self.world.count}"

    def _samples(self, victim: dict[str, Any]) -> dict[str, Sample]:
        """Return good events of every type about a request, in which every text is a lie."""
        place = victim["target"].partition("#")[0]
        made = samples(
            victim["digest"], victim["order_number"] or 1, victim["id"], self.world.bots[0],
            int(time.time()),
        )  # fmt: skip
        return {
            type_: one._replace(
                subject=one.subject.replace(ISSUE.partition("#")[0], place),
                words=_lying(one.words), data={**one.data, "reason": LIE, "watch": LIE},
            )
            for type_, one in made.items()
        }  # fmt: skip

    def _event(self, type_: str, sample: Sample, id_: str = "") -> bytes:
        id_ = id_ or self._id()
        words = b"" if sample.words is None else self.lane.sealed(id_, sample.words)
        return json.dumps(encoded(id_, type_, sample, words)).encode()

    async def _bent(self) -> None:
        found = self._samples(self.dice.choice(self._victims))
        type_ = self.dice.choice(sorted(found))
        sample, seed = found[type_], self.dice.randrange(2**31)
        bodies = [
            json.dumps(encoded(self._id(), type_, sample._replace(data=data))).encode()
            for _, data in bad.sample(bad.bent_values(sample.data), 40, seed)
        ]
        for _, words in bad.sample(bad.bent_json(sample.words), 20, seed):
            id_ = self._id()
            sealed = self.lane.sealed_bytes(id_, words)
            bodies.append(json.dumps(encoded(id_, type_, sample, sealed)).encode())
        await self.lane.tell(bodies)

    async def _about_victims(self) -> None:
        bodies = []
        for victim in self._victims:
            for type_, sample in self._samples(victim).items():
                for order in {victim["order_number"], 1, 2**40}:
                    data = {
                        **sample.data,
                        "order": order,
                        "artifact": self.dice.choice((7, 1, 2**31)),
                    }
                    bodies.append(self._event(type_, sample._replace(data=data)))
        self.dice.shuffle(bodies)
        await self.lane.tell(bodies)

    async def _flood(self) -> None:
        found = self._samples(self.dice.choice(self._victims))
        type_ = self.dice.choice(sorted(found))
        sample = found[type_]
        await self.lane.tell([
            self._event(type_, sample._replace(data={
                **sample.data, "number": 10**6 + n, "comment": n, "watch": f"w{n}", "reason": f"r{n}",
            }, words=None))
            for n in range(1_500)
        ])  # fmt: skip

    async def _listings(self) -> None:
        odd: list[Any] = [None, 5, [], {"issues": "x"}, {"issues": [{}], "comments": [2**70]}, LIE]
        choice = self.dice.choice(odd)
        self.lane.reply = lambda query: STATUS if query.method == "status" else choice
        sample = self._samples(self._victims[0])["forge.reconciled"]
        ids = [self._victims[0]["target"].partition("#")[0].rpartition("/")[2]]
        await self.lane.tell([
            self._event("forge.reconciled", sample._replace(data={"repository": n}))
            for n in (*map(int, ids), *range(1_000, 1_150))
        ])  # fmt: skip

    async def _clashes(self) -> None:
        """Tell under the ids of honest events, and under those that such a clash is kept by."""
        sample = self._samples(self._victims[-1])["action.receipt"]
        ids = [event["id"] for event in self.theatre.archived("forge.")[-20:]]
        ids += [event["id"] for event in self.theatre.archived("action.")[-20:]]
        await self.lane.tell([
            self._event("action.receipt", sample, f"{id_}{tail}")
            for id_ in ids
            for tail in ("", f"@{HONEST}", f"@{THIEF}")
        ])  # fmt: skip

    async def _answers(self) -> None:
        """Answer what was not asked, or asked of another lane."""
        for id_ in range(1, 200):
            await self.lane.say(
                OrderAnswer(id_, self.dice.choice(("", LIE)), LIE), Challenge(id_, "x"),
                Reply(id_, {"finding": "Present", "number": 7, "url": LIE}),
            )  # fmt: skip
        self.lane.reply = lambda query: {"healthy": LIE, "done": LIE, "freezes": [LIE, 5]}

    async def _garbage(self) -> None:
        for _ in range(3):
            await self.lane.say(self.dice.choice((b"", b"\xc1", bytes(3_000), b"\x81" * 100)))
            await asyncio.sleep(0.1)
        await self.lane.linked()

    async def _freezes(self) -> None:
        sample = Sample({}, None, "")
        await self.lane.tell([
            self._event("freeze.added", sample._replace(
                words={"id": f"{self._id()} {LIE}", "at_s": 5.0, "by": LIE, "reason": LIE}
            ))
            for _ in range(60)
        ])  # fmt: skip

    async def _role(self) -> None:
        """Claim the forge's role, take an order, and tell that it is done, or nothing."""
        lane = self.lane
        busy = Reply(0, None, error="busy", transient=True)

        def reply(query: Query) -> Any:
            return (
                STATUS
                if query.method == "status"
                else encode(msgspec.structs.replace(busy, id=query.id))
            )

        lane.reply = reply
        lane.roles = {"forge": 2**40}
        await lane.beat()
        with contextlib.suppress(BridgeError, UserError):
            asked = await self.theatre.ask("comment", issue=1, body=f"taken {self._id()}")
            await asyncio.sleep(0.3)
            taken = await self.theatre.request(asked["id"])
            if self.dice.random() < 0.5 and THIEF in given_to(taken):
                sample = self._samples(taken)["action.receipt"]
                await lane.tell([self._event("action.receipt", sample)])

    async def _release(self) -> None:
        """Serve like an honest lane again, so that what comes next is the house's to tell."""
        await self.lane.linked()
        self.lane.reply = lambda query: STATUS
        self.lane.roles = {}
        await self.lane.beat()

    # --- what must hold -----------------------------------------------------------------------

    async def _honest_issue(self) -> int:
        """Open an issue as a person; the honest lane's word of it must be home in time."""
        began_s = time.monotonic()
        number = await self.theatre.open_issue(f"honest {self.found.seed}")
        query = "SELECT 1 FROM event WHERE lane = ? AND type = 'forge.snapshot.issue' AND CAST(stored AS TEXT) LIKE ?"
        with contextlib.closing(self.theatre.archive()) as archive:
            while not archive.execute(query, (HONEST, f'%#{number}"%')).fetchone():
                if time.monotonic() - began_s > patient(20):
                    self.found.faults.append(f"issue {number} never came home")
                    return number
                await asyncio.sleep(0.02)
        self.found.archived_s = time.monotonic() - began_s
        if self.found.archived_s > patient(READ_S + POLL_S):
            self.found.faults.append(f"an issue was home after {self.found.archived_s:.1f} s")
        return number

    async def _foreign_write(self, issue: int) -> None:
        """Write with a bot's token what nobody ordered, covered as well as a thief can."""
        kind = self.found.plot[-1]
        for victim in self._victims:  # one receipt too many for every comment that may come
            sample = self._samples(victim)["action.receipt"]
            await self.lane.tell([
                self._event("action.receipt", sample._replace(data={**sample.data, "artifact": n}))
                for n in range(1, 60)
            ])  # fmt: skip
        named = await self._write(kind, issue)
        began_s = time.monotonic()

        async def is_frozen() -> bool:
            frozen = (await self.theatre.stage.status())["freezes"]
            return any(named in freeze["reason"] for freeze in frozen)

        try:
            await self.theatre.until(is_frozen, f"{named} freezes")
        except UserError as error:
            self.found.faults.append(f"no freeze: {str(error)[:300]}")
            return
        self.found.frozen_s = time.monotonic() - began_s
        if self.found.frozen_s > patient(READ_S + POLL_S):
            self.found.faults.append(f"{named} froze after {self.found.frozen_s:.1f} s")

    async def _write(self, kind: str, issue: int) -> str:
        """Return how the freeze must name it."""
        theatre, place = self.theatre, self._victims[0]["target"].partition("#")[0]
        daily, code = theatre.tokens[BOT]["daily"], theatre.tokens[CODE_BOT]["change"]
        path = f"/repos/{REPOSITORY}/issues"
        match kind:
            case "comment":
                made = await theatre.api("POST", f"{path}/{issue}/comments", {"body": LIE}, daily)
                return f"comment {made['id']} on {place}#{issue} "
            case "label":
                await theatre.api("POST", f"{path}/{issue}/labels", {"labels": ["bug"]}, daily)
                return f"label on {place}#{issue} "
            case "close":
                await theatre.api("PATCH", f"{path}/{issue}", {"state": "closed"}, daily)
                return f"on {place}#{issue} was"
            case "issue":
                made = await theatre.api("POST", path, {"title": "not ordered"}, daily)
                return f"issue {made['number']} on {place}#{made['number']} "
            case _:
                head = f"head{issue}"
                await theatre.act(
                    "commit", repo=REPOSITORY, branch=head, files={f"{head}.txt": "x"}, user=PERSON
                )
                body = {"title": "not ordered", "head": head, "base": "main"}
                made = await theatre.api("POST", f"/repos/{REPOSITORY}/pulls", body, code)
                return f"pull_request {made['number']} on {place} "

    async def _held_is_done(self, held: dict[str, Any]) -> None:
        """The held comment must end by its own effect, and by nothing else on its way."""
        settled = await self._settled(held["id"])
        self.found.faults += await untrue(self.theatre, settled)
        self.world.done.append(held["id"])

    async def _honest_order(self) -> None:
        """One more order for the honest lane: how long after its effect is it known as done?"""
        theatre = self.theatre
        self.world.count += 1
        body = f"fresh {self.world.count}."
        asked = await theatre.ask("comment", issue=1, body=body)
        settled = await self._settled(asked["id"])
        self.found.faults += await untrue(theatre, settled)
        self.world.done.append(asked["id"])
        if settled["state"] != "done" or given_to(settled) != {HONEST}:
            return
        written = [call["at_s"] for call in await theatre.stage.forge_log()
                   if call["effect"] and call["method"] == "POST" and body in str(call["json"])]  # fmt: skip
        known = next(one["at_s"] for one in settled["history"] if one["what"] == "receipt")
        self.found.read_s = known - written[-1]
        if self.found.read_s > patient(READ_S):
            self.found.faults.append(
                f"a receipt was read {self.found.read_s:.1f} s after its effect"
            )

    async def _settled(self, id_: str) -> dict[str, Any]:
        """Wait until a request is final; what the thief said before may freeze meanwhile."""

        async def final() -> Any:
            request = await self.theatre.request(id_)
            if request["state"] in FINAL:
                return request
            await lift_freezes(self.theatre)
            return None

        return dict(await self.theatre.until(final, f"request {id_} is settled", 60))

    async def _explained(self, id_: str) -> str:
        return await self.theatre.stage.command("explain", id_)


def _lying(words: Any) -> Any:
    if isinstance(words, dict):
        return {key: LIE if isinstance(value, str) else value for key, value in words.items()}
    return LIE if isinstance(words, str) else words


ENDS = frozenset({"fail", "conflict", "stale", "reject", "withdraw", "expire"})


def given_to(request: dict[str, Any]) -> set[str]:
    """Return the lanes that were ordered to do a request."""
    orders = [one["detail"] for one in request["history"] if one["what"] == "order"]
    return {detail.rpartition(" to ")[2] for detail in orders}


async def untrue(theatre: Theatre, request: dict[str, Any]) -> list[str]:
    """Return what is not so about a comment that ended and that the thief was never ordered."""
    id_, history = request["id"], request["history"]
    if THIEF in given_to(request):
        return []
    faults = [f"{id_}: {one}" for one in history if one["what"] in ENDS or FORGED in one["detail"]]
    words = [one["body"].partition("\n\n<!--")[0] for one in await theatre.api(
        "GET", f"/repos/{REPOSITORY}/issues/1/comments") if one["id"] == request["artifact"]]  # fmt: skip
    body = json.loads(base64.b64decode(request["action"]))["body"]
    if request["state"] != "done" or words != [body]:
        faults.append(f"{id_} is {request['state']} by {request['artifact']}: {words}, not {body}")
    explained = await theatre.stage.command("explain", id_)
    if FORGED in explained or f"\n  receipt   {request['artifact']}" not in explained:
        faults.append(f"explain {id_}: {explained}")
    return faults


async def false_words(theatre: Theatre, waiting: list[str], before: dict[str, str]) -> list[str]:
    """Return what `explain` and `status` say that is not so."""
    faults = []
    for id_ in waiting:
        if (now := await theatre.stage.command("explain", id_)) != before[id_]:
            faults.append(f"explain changed: {before[id_]} became {now}")
    status = await theatre.stage.status()
    lanes = {one["name"]: one for one in status["lanes"]}
    if not lanes[HONEST]["linked"] or not (lanes[HONEST]["detail"] or {}).get("healthy"):
        faults.append(f"the honest lane is shown as {lanes[HONEST]}")
    if FORGED in json.dumps(lanes[HONEST]):
        faults.append(f"the thief's words stand under the honest lane: {lanes[HONEST]}")
    own = {alert["code"] for alert in status["alerts"]} & {
        codes.SET_ASIDE.code,
        codes.TASK_FAILED.code,
    }
    faults += [f"alert {code}: {status['alerts']}" for code in own]
    return faults


async def lift_freezes(theatre: Theatre) -> int:
    """Lift the freezes that the house holds now; return how many those were."""
    held = [freeze["id"] for freeze in (await theatre.stage.status())["freezes"]]
    for token in ceremony.thaw(theatre.fleet, theatre.sovereign, held, time.time()):
        await theatre.stage.client.post("thaw", {"token": token})
    return len(held)


async def thawed(theatre: Theatre) -> None:
    """Lift every freeze that the house holds, until none came for a while."""
    quiet = 0

    async def is_quiet() -> bool:
        nonlocal quiet
        quiet = 0 if await lift_freezes(theatre) else quiet + 1
        return quiet > 5

    await theatre.until(is_quiet, "the fleet is thawed", 30)


@contextlib.asynccontextmanager
async def open_world(folder: Path) -> AsyncIterator[World]:
    """Yield a house with an honest lane and a thief's, both linked; end every process afterwards."""
    house = {"archive.quota_gb": QUOTA_BYTES / 1e9}
    async with open_theatre(folder, start=False, house=house) as theatre:
        lane = await _paired(theatre)
        await lane.start()
        try:
            await theatre.start()
            world = World(theatre, lane)
            await world.begin()
            yield world
        finally:
            await lane.stop()


async def _paired(theatre: Theatre) -> StolenLane:
    """Pair one more lane, as its owner did before it was stolen."""
    stage, port = theatre.stage, free_port()
    config, folder = stage.folder / "thief.toml", stage.folder / "thief"
    await stage.command(
        "init", "lane", "--config", str(config), "--name", THIEF, "--state-dir", str(folder),
        "--forge", theatre.url, "--token-file", str(stage.folder / "daily.token"), "--watch",
        REPOSITORY, "--bot", BOT, "--bot", CODE_BOT, "--listen", f"127.0.0.1:{port}",
    )  # fmt: skip
    override(config, {"link.tls": "none", "link.public_url": f"ws://127.0.0.1:{port}"})
    offer = json.loads(await stage.command("pair", "--config", str(config), "--json"))
    answer = json.loads(
        await stage.command("pair", "--config", str(stage.house_config), offer["line"], "--json")
    )
    await stage.command("pair", "--config", str(config), answer["line"], "--json")
    return StolenLane(theatre, folder, port)
