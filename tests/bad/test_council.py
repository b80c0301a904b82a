"""What a stolen sibling and its server say, with every bad value in every field.

Pages and records go through real `Siblings` and `Roles`, answers through the real adapter and the
library's own parsing, rosters to a server's settings. No lane ends, the next good page is read, no
freeze is lifted, nobody holds a role by a word, and a lease later somebody does.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from allegro.adapters.council import LocalCouncil
from allegro.adapters.nats.council import _WANTED, NatsCouncil
from allegro.adapters.nats.server import (
    ServerFiles,
)
from allegro.adapters.nats.settings import Serving, render
from allegro.adapters.sqlite.archive import open_archive
from allegro.core.authority.freeze import MAX_ACTIVE, Freeze, contains, is_sound
from allegro.core.authority.gate import LaneTrust
from allegro.core.authority.lease import MAX_EPOCH, MAX_LEASE_S, Record
from allegro.core.authority.roster import check_form, is_address, members_of
from allegro.core.authority.tokens import Roster
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.base.events import Event, encode_event
from allegro.core.base.sequence import Kept
from allegro.core.base.untrusted import Unreadable, read_json
from allegro.core.forge.marks import MAX_WATCH, Mark
from allegro.core.protocol.messages import MAX_HOUSE_FRAME, LogIn, Reply
from allegro.core.protocol.pages import MAX_VALUE, Page, page_bytes
from allegro.house.endpoint import MARKS_OF_ONE_LANE, _fitting
from allegro.lane.fleet.build import answers
from allegro.lane.fleet.council_server import plan_of
from allegro.link.frames import encode
from tests.core.authority.test_roster import THREE
from tests.core.builders import TRUST
from tests.duties.small_fleet import LEASE_S, NAMES, Fleet, opened

from . import values as bad
from .council_server import KINDS, Server

PAGE = Page(
    "c", 1.0, ("forge",), (Freeze("f1", 5.0, "chat", "stop"),), {"acme/web": Mark(5, 5.0)}, True,
    "polled", "1.0",
)  # fmt: skip
RECORD = Record("a", "a1", 1, "b", 10_000, LEASE_S)
ANSWERS: dict[str, Any] = {
    "bucket": {"type": "x", "config": {**_WANTED, "name": "KV_allegro"}},
    "made": {"type": "x", "config": {"name": "KV_allegro"}},
    "found": {"type": "x", "message": {"subject": "s", "seq": 7, "data": "", "time": "2026-01-01T00:00:00Z"}},
    "stored": {"stream": "KV_allegro", "seq": 8},
}  # fmt: skip
ERROR = {"type": "x", "error": {"code": 404, "err_code": 10059, "description": "not found"}}
COVERS = (
    *(f"page.{name}" for name in Page.__struct_fields__),
    *(f"record.{name}" for name in Record.__struct_fields__),
    *(f"freeze.{name}" for name in Freeze.__struct_fields__),
    *(f"mark.{name}" for name in Mark.__struct_fields__),
    *(f"answer.{kind}" for kind in ANSWERS),
)
HEADERS = (
    b"NATS/1.0\r\n\r\n", b"NATS/1.0", b"NATS/1.0\r\n", b"", b"\r\n\r\n", b"X", b"NATS/1.0 503\r\n\r\n",
    b"NATS/1.0 abc\r\n\r\n", b"NATS/1.0 \xff\xfe\r\n\r\n", b"NATS/1.0\r\n\xff: \xfe\r\n\r\n",
    b"NATS/1.0 404 \xff\r\n\r\n", b"NATS/1.0\r\nStatus: 503\r\n\r\n", b"NATS/1.0\r\n: \r\n\r\n",
    b"NATS/1.0 99999999999999999999\r\n\r\n", b"NATS/1.0\r\nA" + b"B" * 5_000 + b"\r\n\r\n",
)  # fmt: skip


def document(value: object) -> Any:
    return json.loads(msgspec.json.encode(value))


def cut_keys(document_: Any, *outer: str) -> set[str]:
    return {".".join((*outer, key)) for key in document_}


def test_every_field_of_a_page_a_record_and_what_is_in_them_has_its_cases() -> None:
    page = document(PAGE)
    tried = cut_keys(page, "page") | cut_keys(document(RECORD), "record")
    tried |= cut_keys(page["freezes"][0], "freeze") | cut_keys(page["marks"]["acme/web"], "mark")
    tried |= cut_keys(ANSWERS, "answer")
    assert tried == set(COVERS)
    assert set(ANSWERS) == {*KINDS.values(), "stored"}


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with opened(tmp_path) as made:
        yield made


async def read_all(fleet: Fleet, cases: list[tuple[str, bytes]]) -> list[str]:
    """Let lane a read each page of a thief; return the cases after which the next was not read."""
    a, b, unread = fleet.lanes["a"], fleet.lanes["b"], []
    for number, (name, raw) in enumerate(cases):
        fleet.registers.write("page.c", raw)
        good = Page("b", 1.0, ("forge",), marks={"acme/web": Mark(number, 1.0)})
        await b.council.publish(good)
        await a.siblings.step()
        if a.state.sibling_marks.get("b") != good.marks or await a.told("council.page_aside"):
            unread.append(name)
    return unread


async def test_no_page_of_a_thief_ends_a_lane_or_lifts_a_freeze(fleet: Fleet) -> None:
    a = fleet.lanes["a"]
    a.state.freeze(Freeze("mine", 1.0, "house", "stop"))
    cases = bad.sample(bad.bent_json(document(PAGE)), 400, seed=1)
    assert await read_all(fleet, cases) == []
    assert contains(a.state.freezes, "mine")
    assert all(is_sound(freeze) for freeze in a.state.freezes.active)
    assert len(a.state.freezes.active) <= 66
    assert encode(Reply(1, a.siblings.describe()))
    assert len(page_bytes(a.siblings._page(), MAX_VALUE)) <= MAX_VALUE
    assert set(a.state.sibling_marks["c"]) <= {"acme/web"}
    assert a.siblings.has_quorum()


class Unguarded(LocalCouncil):
    """A council without its guard, for the generator to find."""

    async def page(self, lane: str) -> tuple[int, Page | None]:
        revision, raw = self._registers.values.get("page." + lane, (0, b"{}"))
        return revision, msgspec.json.decode(raw, type=Page)


async def test_a_reader_of_pages_without_its_guard_is_found(fleet: Fleet) -> None:
    fleet.lanes["a"].council._council = Unguarded(fleet.registers, "a", alone=False)
    cases = bad.sample(bad.bent_json(document(PAGE)), 20, seed=2)
    assert await read_all(fleet, cases) != []


async def test_whatever_a_register_holds_nobody_holds_by_it_and_later_somebody_does(
    fleet: Fleet,
) -> None:
    for name, raw in bad.sample(bad.bent_json(document(RECORD)), 300, seed=3):
        fleet.registers.write("role.forge", raw)
        for lane in NAMES:
            await fleet.lanes[lane].roles.step("forge")
        assert len(fleet.holders()) <= 1, name
        fleet.clock.advance(0.5)
    await fleet.live(MAX_LEASE_S + 2 * LEASE_S)
    assert len(fleet.holders()) == 1
    for one in fleet.lanes.values():
        assert one.roles._epochs.highest("forge") < MAX_EPOCH / 2


@pytest.mark.parametrize("kind", sorted(ANSWERS))
async def test_whatever_a_server_answers_is_a_value_or_an_edge_error(kind: str) -> None:
    server = Server({name: msgspec.json.encode(one) for name, one in ANSWERS.items()})
    if kind == "made":
        server.answers["bucket"] = msgspec.json.encode(ERROR)
    council = NatsCouncil(await server.start(), timeout_s=2.0)
    good, began_s = server.answers[kind], time.monotonic()
    try:
        bent = bad.sample(bad.bent_json(ANSWERS[kind]), 150, seed=4)
        refusals = bad.sample(bad.bent_json(ERROR), 60, seed=5)
        for name, raw in (*bent, *refusals):
            server.answers[kind] = raw[:60_000]
            if kind in {"bucket", "made"}:
                await council.close()
            await is_odd(council, name)
        server.answers[kind] = good
        assert (await council.read("forge")).revision == 7
        assert await council.write("forge", RECORD, 7) == 8
        assert kind in server.asked
        assert time.monotonic() - began_s < 30
    finally:
        await council.close()
        await server.stop()


async def is_odd(council: NatsCouncil, case: str) -> None:
    """Call each call of the port: each ends in a sound value or in an EdgeError of one line."""
    told: list[str] = []
    for call in (council.read("forge"), council.page("b"), council.write("forge", RECORD, 3)):
        try:
            said: Any = await call
        except EdgeError as error:
            told.append(str(error))
            continue
        revision = said.revision if hasattr(said, "revision") else said
        revision = revision[0] if isinstance(revision, tuple) else revision
        assert revision is None or (type(revision) is int and 0 <= revision < 2**63), case
    assert all(len(text.splitlines()) == 1 for text in told), case


async def test_no_header_of_a_server_makes_a_lane_deaf() -> None:
    server = Server({name: msgspec.json.encode(one) for name, one in ANSWERS.items()})
    council = NatsCouncil(await server.start(), timeout_s=0.3)
    try:
        for header in HEADERS:
            server.headers = header
            await is_odd(council, repr(header[:40]))
            server.headers, began_s = None, time.monotonic()
            slot = await council.read("forge")
            assert slot.revision == 7, header
            assert time.monotonic() - began_s < 2.0
    finally:
        await council.close()
        await server.stop()


async def test_what_is_stored_is_read_whatever_its_base64_is() -> None:
    server = Server({name: msgspec.json.encode(one) for name, one in ANSWERS.items()})
    council = NatsCouncil(await server.start(), timeout_s=1.0)
    try:
        for name, raw in bad.sample(bad.bent_json(document(RECORD)), 60, seed=6):
            found = msgspec.json.decode(msgspec.json.encode(ANSWERS["found"]))
            found["message"]["data"] = base64.b64encode(raw[:40_000]).decode()
            server.answers["found"] = msgspec.json.encode(found)
            await is_odd(council, name)
    finally:
        await council.close()
        await server.stop()


def test_no_roster_however_it_was_signed_ends_up_in_a_servers_settings_unchecked() -> None:
    me = THREE.members[1]
    trust = msgspec.structs.replace(TRUST, lane=me.lane)
    for name, raw in bad.bent_json(document(THREE)):
        roster = read_json(raw, Roster)
        if isinstance(roster, Unreadable) or check_form(roster) is not None:
            continue
        held = LaneTrust(trust, roster=roster)
        assert all(is_address(member.address) for member in members_of(held)), name
        plan = plan_of(held)
        assert plan is not None, name
        serving = Serving(
            fleet="f", number=plan.number, listen="127.0.0.1:1", public="U", disk_mb=16
        )
        text = render(ServerFiles(Path("council")), plan.me, plan.others, serving)
        assert json.loads(text)["cluster"]["routes"], name


async def test_looking_at_any_address_is_a_yes_or_a_no() -> None:
    for text in (
        *(row.value for row in bad.TEXTS),
        "127.0.0.1:99999",
        "...:1",
        "\ud800:1",
        "[:::]:1",
    ):
        if len(text) < 1_000:
            assert await answers(text + ":0") in {True, False}


async def test_marks_of_one_lane_leave_room_for_those_of_all_others(tmp_path: Path) -> None:
    archive = open_archive(tmp_path / "archive.db", quota_bytes=10**9)
    try:
        await mark(archive, "honest", {"acme/web": 500})
        many = {f"acme/{n}" + "x" * (n % 40): n for n in range(3_000)}
        await mark(archive, "thief", many | {"y" * (MAX_WATCH + 1): 9, "acme/web": 400})
        both = await archive.marks(["honest", "thief"], MARKS_OF_ONE_LANE)
        assert both["acme/web"] == Mark(500, 1.0)
        assert len(both) <= MARKS_OF_ONE_LANE + 1
        assert all(len(watch) <= MAX_WATCH for watch in both)
        assert await archive.marks(["honest"], MARKS_OF_ONE_LANE) == {"acme/web": Mark(500, 1.0)}
    finally:
        await archive.close()


def test_a_log_in_fits_a_frame_whatever_the_archive_holds() -> None:
    freezes = tuple(Freeze(f"f{n}", 1.0, "x" * 64, "y" * 300) for n in range(MAX_ACTIVE))
    marks = tuple((f"acme/{n}" + "z" * 190, n, 1.0) for n in range(130_000))
    whole = LogIn("t", ("c",), freezes, ("thaw",) * 50, (), marks, 5.0)
    fitting = _fitting(whole)
    assert len(encode(whole)) > MAX_HOUSE_FRAME >= len(encode(fitting))
    assert (fitting.freezes, fitting.thaws, fitting.certificates) == (freezes, whole.thaws, ("c",))
    share = msgspec.structs.replace(whole, marks=marks[: MARKS_OF_ONE_LANE * 20])
    assert _fitting(share) == share


async def mark(archive: Any, lane: str, marks: dict[str, int]) -> None:
    kept = [
        Kept(
            encode_event(
                Event(f"{lane}{number}", "forge.mark", f"lane:{lane}", "2030-01-01T00:00:00Z",
                      data={"watch": watch, "forge_s": at_s, "wall_s": 1.0})
            )
        )
        for number, (watch, at_s) in enumerate(marks.items())
    ]  # fmt: skip
    taken = await archive.take(lane, "j" + lane, 1, kept, 10_000.0)
    assert not isinstance(taken, Refusal)
