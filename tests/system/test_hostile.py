"""A stolen lane and a stranger get nothing, and take nothing down (S10)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from allegro.adapters.crypto.signatures import SigningKey, load_signing_key
from allegro.client.errors import BridgeError
from allegro.core.authority.tokens import Login, Order, b64url, fingerprint, issue_token
from allegro.core.base.sequence import GENESIS, Position, ShedEntry
from allegro.core.protocol.messages import (
    PROTOCOL,
    Batch,
    GiveOrder,
    Greet,
    Hello,
    LaneBeat,
    LogIn,
    OrderAnswer,
    Query,
    Refused,
    Reply,
)
from allegro.link.frames import decode_from_lane, encode
from tests.patience import patient

from .exactly_once import approve, done, propose
from .fake_lane import FakeLane, event
from .fleet_fixture import Theatre, open_theatre
from .invariants import faults, look

pytestmark = pytest.mark.slow

TYPES = (
    "action.intent", "action.receipt", "action.failed", "action.conflict", "action.stale",
    "action.void", "action.unknown", "audit.done", "freeze.added", "forge.unreachable",
    "forge.mark", "forge.vanished", "forge.snapshot.issue", "forge.snapshot.comment",
    "forge.snapshot.pull", "forge.snapshot.repository",
)  # fmt: skip
FIELDS = (
    "number", "comment", "author_id", "closed_by", "created_s", "updated_s", "order", "digest",
    "artifact", "others", "bots", "content", "repository", "watch", "forge_s", "wall_s", "reason",
    "step", "commit", "is_pull", "backdated",
)  # fmt: skip
EVIL = "\x1b[2J\x1b]0;owned\x07\u202eevil\u2066"
VALUES: tuple[Any, ...] = (
    None, "x", EVIL, [], [1, [2]], {}, {"a": {}}, -1, 0, 2**31, 2**53, 2**63, 2**64, 2**200, 1e308,
    True, 0.5, "9" * 400,
)  # fmt: skip


@pytest.fixture
async def stolen(tmp_path: Path) -> AsyncIterator[tuple[Theatre, FakeLane]]:
    """A house whose only lane is in a thief's hands."""
    async with open_theatre(
        tmp_path / "play", start=False, house={"archive.quota_gb": 0.02}
    ) as theatre:
        lane = FakeLane(theatre)
        await lane.start()
        await theatre.stage.start_house()
        await asyncio.wait_for(lane.sent.wait(), patient(15))
        yield theatre, lane
        await lane.stop()


async def alive(theatre: Theatre) -> dict[str, Any]:
    assert theatre.stage.house.is_running, theatre.stage.house.tail(30)
    return await theatre.stage.status()


async def test_no_event_of_a_stolen_lane_ends_the_house(stolen: tuple[Theatre, FakeLane]) -> None:
    theatre, lane = stolen
    dice = random.Random(4)
    bodies = [
        event(f"e{n}-{field}-{v}", type_, {field: value, "digest": "d"},
              subject=dice.choice(("f/11#1", "f/11", "f/11/comment/5", "", EVIL)))
        for n, type_ in enumerate(TYPES) for field in FIELDS for v, value in enumerate(VALUES)
    ]  # fmt: skip
    for at in range(0, len(bodies), 1000):
        await lane.strike(lane.batch(*bodies[at : at + 1000]))
        await alive(theatre)
    odd = [
        b"", b"{}", b"null", b"[" * 10_000, b"\xff\xfe", b'{"id":1}', os.urandom(200),
        event("a", "action.receipt", []), event("b", "audit.done", "x"), event("c", "", {}),
        event("", "lane.beat", {}), event("d" * 5000, "lane.beat", {}),
        event("g", "lane.beat", {}, sealed="not base64!"), event("h", "lane.beat", {}, sealed="AA=="),
        event("i", "lane.beat", {"deep": eval("[" * 80 + "]" * 80)}),
        b'{"specversion":"1.0","id":"j","type":"lane.beat","source":"s","time":"t","data":{"a":"\xff"}}',
    ]  # fmt: skip
    await lane.strike(lane.batch(*odd))
    words: tuple[Any, ...] = (
        5,
        [],
        {},
        {"url": [], "branch": 7},
        EVIL,
        {"title": [EVIL], "number": {}},
        None,
    )
    sealed = [
        event(f"w{n}{type_}", type_, {"digest": "d"},
              sealed=base64.b64encode(lane.sealed(f"w{n}{type_}", word)).decode())
        for n, word in enumerate(words) for type_ in TYPES
    ]  # fmt: skip
    await lane.strike(lane.batch(*sealed))
    await alive(theatre)
    await theatre.restart_house()
    await asyncio.wait_for(lane.sent.wait(), patient(15))
    await theatre.until(lambda: alive(theatre), "the house starts again on what it kept")
    await _prints_nothing_raw(theatre)


async def _prints_nothing_raw(theatre: Theatre) -> None:
    for command in (["events", "--last", "1500"], ["status"], ["doctor"], ["requests", "--all"],
                    ["events", "--gaps"], ["events", "--json", "--last", "1500"]):  # fmt: skip
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "allegro", *command, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, stdin=asyncio.subprocess.DEVNULL,
            env={**os.environ, "ALLEGRO_SOCKET": str(theatre.stage.socket)},
        )  # fmt: skip
        out, _ = await child.communicate()
        assert b"\x1b" not in out, (command, out[:2000])
        assert b"\x07" not in out
        assert b"Traceback" not in out, (command, out[-3000:].decode())
        if "--json" not in command:
            assert "\u202e" not in out.decode()


async def test_no_message_of_a_stolen_lane_ends_the_house(
    stolen: tuple[Theatre, FakeLane],
) -> None:
    theatre, lane = stolen
    shed = ShedEntry(bytes(32), EVIL * 10, 4)
    strikes: list[tuple[Any, ...]] = [
        (b"garbage",), (b"\x81" * 100,), (os.urandom(3_000),), (b"\xc1",), (bytes(2_200_000),),
        (Batch("other", 1, (), 0),), (lane.batch(b"x", journal="another"),),
        (Batch("stolen9", 2**64 - 1, (), 0),), (LaneBeat(2**64 - 1, EVIL),), (LaneBeat(-5, ""),),
        (Reply(77, EVIL), OrderAnswer(9, "x", EVIL), Reply(1, {}, EVIL, transient=True)),
        (Refused("x", EVIL),), (encode(Hello(PROTOCOL, "x")),),
    ]  # fmt: skip
    for strike in strikes:
        await lane.strike(*strike, wait_s=0.15)
        await alive(theatre)
    for n in range(40):
        lane.frames = [encode(lane.batch(*[shed] * 50))]
        lane.after = Position("j" * n + "e", 0, GENESIS)
        await lane.drop()
    lane.after, lane.head = Position("far", 2**63, bytes(32)), 2**63
    await lane.strike(wait_s=0.3)
    lane.after, lane.head = None, 0
    await lane.strike(wait_s=0.3)
    house = await alive(theatre)
    assert house["open"] == {"proposed": 0, "approved": 0, "ordered": 0, "sent": 0, "unknown": 0}
    await _prints_nothing_raw(theatre)


async def test_no_answer_of_a_stolen_lane_ends_the_house(stolen: tuple[Theatre, FakeLane]) -> None:
    theatre, lane = stolen
    answers: tuple[Any, ...] = (
        None, 5, [], {}, "x", {"repository": 5}, {"repository": {"id": "a"}, "forge": []},
        {"forge": "f", "repository": {"id": 2**63, "name": EVIL, "private": 7}},
        {"forge": "f", "repository": {"id": 1, "name": "a/b", "private": False}, "files": 9},
    )  # fmt: skip
    for answer in answers:
        lane.reply = lambda query, value=answer: _unless_status(query, value)  # type: ignore[misc]
        for kind in ("comment", "propose_change", "create_pr", "close_issue", "update_status"):
            body = {
                "kind": kind, "repository": "acme/web", "issue": 1, "body": "b", "title": "t",
                "branch": "b", "status": "done", "files": {"x": "eA=="},
            }  # fmt: skip
            with contextlib.suppress(BridgeError):
                await theatre.stage.client.post("requests", body)
            assert theatre.stage.house.is_running
    lane.reply = lambda query: EVIL
    await alive(theatre)
    for path in ("doctor", "status"):
        await theatre.stage.client.get(path)
    await _prints_nothing_raw(theatre)


def _unless_status(query: Query, value: Any) -> Any:
    return {"healthy": True, "journal_waiting": 0} if query.method == "status" else value


async def test_a_stolen_lane_fills_no_disk_and_settles_nothing_it_was_not_ordered(
    stolen: tuple[Theatre, FakeLane],
) -> None:
    theatre, lane = stolen
    blob = "b" * 60_000
    for n in range(20):
        bodies = [event(f"f{n}-{m}", "x", {"b": blob}) for m in range(25)]
        await lane.strike(lane.batch(*bodies), wait_s=0.2)
    await theatre.stage.status()
    size = sum(file.stat().st_size for file in theatre.house_files.folder.glob("archive.db*"))
    assert size < 60_000_000  # a quota of 20 MB, a WAL and indexes beside it

    lane.reply = _pinned
    lane.frames = []
    asked = await theatre.ask_change("x", {"README.md": "new\n"})
    receipt = event(
        "r1", "action.receipt",
        {"digest": asked["digest"], "order": 0, "artifact": 3, "kind": "propose_change"},
        subject=asked["target"],
    )  # fmt: skip
    await lane.strike(lane.batch(receipt, receipt), wait_s=0.5)
    assert (await theatre.request(asked["id"]))["state"] == "proposed"
    shown = await _shown(theatre, asked["id"])
    assert "is NOT what is signed against" in shown
    assert lane.orders == []


def _pinned(query: Query) -> Any:
    """Lie about what stands at the base: content that does not have the id that is named."""
    if query.method != "pin_change":
        return {"healthy": True, "journal_waiting": 0}
    held = {"mode": "100644", "sha": "a" * 40, "content": base64.b64encode(b"lie\n").decode()}
    return {
        "forge": "f", "base": "main", "base_commit": "b" * 40, "files": {"README.md": held},
        "repository": {"id": 11, "name": "acme/web", "default_branch": "main", "private": False,
                       "archived": False},
    }  # fmt: skip


async def _shown(theatre: Theatre, id_: str) -> str:
    return await theatre.stage.command("show", id_)


# --- strangers at a real lane ----------------------------------------------------------------


async def test_strangers_at_the_lanes_door_change_nothing(theatre: Theatre) -> None:
    url = f"http://127.0.0.1:{theatre.stage.link_port}/link"
    slow = [await asyncio.open_connection("127.0.0.1", theatre.stage.link_port) for _ in range(150)]
    for _, writer in slow:
        writer.write(b"GET /link HTTP/1.1\r\nHost: x\r\nX-A: ")
    async with aiohttp.ClientSession() as session:
        for opening in (b"", b"garbage", os.urandom(5000), b"\x80", bytes(25_000_000)):
            async with session.ws_connect(url, max_msg_size=0) as socket:
                with contextlib.suppress(ConnectionError):  # cut off before all of it was sent
                    await socket.send_bytes(opening)
                    answer = await asyncio.wait_for(socket.receive(), patient(12))
                    assert answer.type is not aiohttp.WSMsgType.BINARY
        refused = [await _log_in(session, url, theatre, stranger=True)]
        refused.append(await _log_in(session, url, theatre, stranger=False, replay=True))
        assert refused == ["bad_signature", "wrong_challenge"]
    assert theatre.stage.lane.is_running
    want = await propose(theatre, "propose_change", "x")
    await approve(theatre, want)
    await done(theatre, want)
    assert faults([want], await look(theatre, [want])) == []
    for _, writer in slow:
        writer.close()


async def _log_in(
    session: aiohttp.ClientSession, url: str, theatre: Theatre, *, stranger: bool, replay: bool = False
) -> str:  # fmt: skip
    """Log in with a wrong key, or with an answer to another challenge; return the refusal."""
    fleet = theatre.fleet
    key = SigningKey.make() if stranger else load_signing_key(theatre.house_files.house)
    async with session.ws_connect(url) as socket:
        await socket.send_bytes(encode(Hello(PROTOCOL, b64url(bytes(32)))))
        greeting = decode_from_lane((await socket.receive()).data)
        assert isinstance(greeting, Greet)
        counter = b64url(b"x" * 32) if replay else _counter(greeting)
        claims = Login(
            aud=fleet.id, lane=fingerprint(fleet.lanes[0].key), challenge=counter, seat=fleet.seat,
            key_number=fleet.sovereign_number,
        )  # fmt: skip
        token = issue_token(claims, f"house:{fleet.house_number}", key.sign)
        certificates = (fleet.certificate, fleet.seat_token)
        await socket.send_bytes(encode(LogIn(token, certificates, (), (), (), (), 0.0)))
        answer = decode_from_lane((await socket.receive()).data)
        assert isinstance(answer, Refused)
        return answer.reason


def _counter(greeting: Greet) -> str:
    payload = greeting.token.split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(payload + "=="))["counter_challenge"])


async def test_an_order_cannot_be_replayed_after_a_restart(theatre: Theatre) -> None:
    """Its challenge died with the process that made it; another lane's key is another name."""
    want = await propose(theatre, "comment", "x")
    await done(theatre, want)
    request = await theatre.request(want.request)
    await theatre.stage.house.end()
    fleet, key = theatre.fleet, load_signing_key(theatre.house_files.house)
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{theatre.stage.link_port}/link"
        async with session.ws_connect(url, max_msg_size=0) as socket:
            await socket.send_bytes(encode(Hello(PROTOCOL, b64url(bytes(32)))))
            greeting = decode_from_lane((await socket.receive()).data)
            assert isinstance(greeting, Greet)
            claims = Login(
                aud=fleet.id, lane=fingerprint(fleet.lanes[0].key), challenge=_counter(greeting),
                seat=fleet.seat, key_number=fleet.sovereign_number,
            )  # fmt: skip
            token = issue_token(claims, f"house:{fleet.house_number}", key.sign)
            cursors = _cursors(theatre)
            login = LogIn(token, (fleet.certificate, fleet.seat_token), (), (), cursors, (), 0.0)
            await socket.send_bytes(encode(login))
            reasons = []
            for lane in (fingerprint(fleet.lanes[0].key), "another"):
                order = Order(
                    aud=fleet.id, lane=lane, challenge=b64url(bytes(32)), number=1,
                    digest=request["digest"], seat=fleet.seat, ttl_s=20,
                )  # fmt: skip
                signed = issue_token(order, f"house:{fleet.house_number}", key.sign)
                raw = base64.b64decode(request["action"])
                await socket.send_bytes(encode(GiveOrder(1, signed, raw, None, "", "0" * 32, None)))
                while not isinstance(
                    answer := decode_from_lane((await socket.receive()).data), OrderAnswer
                ):
                    pass
                reasons.append(answer.reason)
    assert reasons == ["unknown_challenge", "wrong_lane"]


def _cursors(theatre: Theatre) -> tuple[Position, ...]:
    rows = theatre.archive().execute("SELECT journal, seq, chain FROM cursor").fetchall()
    return tuple(Position(journal, seq, bytes(chain)) for journal, seq, chain in rows)
