"""Whatever a lane answers to a query: the house lives, the next good answer counts, nothing false."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from allegro.adapters.sqlite.archive import open_archive
from allegro.core.authority.freeze import Freeze, FreezeSet
from allegro.core.protocol.queries import ANSWERS, QUERIES
from allegro.core.requests.lifecycle import State, Step
from allegro.core.requests.requests import Request
from allegro.core.settings import RequestSettings
from allegro.core.stores import SessionRecord
from allegro.house.agent.progress import Progress
from allegro.house.documents.comments import Comments
from allegro.house.documents.decisions import Decisions
from allegro.house.documents.mirror import Mirror
from allegro.house.lanes import Lanes
from allegro.house.requests.newest_state import ItemPorts
from allegro.testing.virtual import SeededDice, VirtualClock
from tests.bad.api_house import GOOD, ApiHouse, KnownLanes, TellingLane, api_house
from tests.bad.values import MISSING, RAW_MSGPACK, VALUES, bent_values, sample
from tests.duties.house import House, until

SOURCE = Path(__file__).parents[2] / "src" / "allegro" / "house"
PLACE = {"repository": {"id": 7, "name": "home/garden", "private": True}, "forge": "f.example.org"}
CLOSE = {
    **PLACE, "state": "open", "title": "Roses", "body": "please", "newest_comment": None,
    "newest_comment_sha256": None, "newest_comment_body": None,
}  # fmt: skip
SEEN = {
    "finding": "Present", "number": 44, "url": "https://forge.example.org/x", "commit": "a" * 40,
    "content": "k", "others": [1], "reason": "r",
}  # fmt: skip
PROPOSE: dict[str, Any] = {"repository": "home/garden", "issue": 3, "body": "w"}
CHANGE = {
    **PROPOSE, "kind": "propose_change", "branch": "b", "title": "t", "files": {"a.txt": "aG8="},
}  # fmt: skip
COVERS: dict[str, tuple[str, str, dict[str, Any] | None]] = {
    "pin_repository": ("POST", "/v1/requests", {**PROPOSE, "kind": "comment"}),
    "pin_change": ("POST", "/v1/requests", CHANGE),
    "pin_pull": (
        "POST", "/v1/requests", {**PROPOSE, "kind": "create_pr", "branch": "b", "title": "t"}
    ),
    "pin_close": ("POST", "/v1/requests", {**PROPOSE, "kind": "close_issue"}),
    "issue_details": ("POST", "/v1/sessions", {"prompt": "p", "issue": "home/garden#1"}),
    "status": ("GET", "/v1/status", None),
    "doctor": ("GET", "/v1/fleet/health/a", None),
    "offer": ("GET", "/v1/fleet/offer/a", None),
    "fleet": ("GET", "/v1/fleet", None),
    "look_at": ("GET", "/v1/fleet/health/a", None),
    "run_duty": ("POST", "/v1/duties/run", {"duty": "sweep"}),
    "model_begin": ("GET", "/v1/models/a/v1/models", None),
    "model_next": ("GET", "/v1/models/a/v1/models", None),
}  # fmt: skip
"""Query → the call that makes the house send it."""
BY_A_DUTY = {"look", "listing", "sessions", "tallies", "triage_label"}
"""Queries that a duty sends: below, where sessions and polls are followed, at each new link."""
UNREAD = {"rest", "deny", "stop_session", "revoke_loan", "inform"}
"""Acts whose answer is compared with `True`, or not looked at."""


def bent(good: Any) -> Iterator[tuple[str, Any]]:
    """Yield an answer with every field bent, and everything that can stand in its place."""
    yield from bent_values(good) if isinstance(good, dict | list) else ()
    yield from ((f"whole: {row.name}", row.value) for row in VALUES if row.value is not MISSING)
    for row in RAW_MSGPACK:
        try:
            whole = msgspec.msgpack.decode(row.value)
        except (msgspec.DecodeError, ValueError, RecursionError):
            continue  # no frame holds it
        yield f"whole: {row.name}", whole
        if isinstance(good, dict):
            for field in good:
                yield f"{field}: {row.name}", {**good, field: whole}


def good_of(method: str) -> Any:
    return {"pin_repository": PLACE, "pin_close": CLOSE}.get(method, GOOD.get(method))


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiHouse]:
    async with api_house(tmp_path) as made:
        other = TellingLane()
        made.house.lanes["b"] = other
        made.lane.world |= {"pin_repository": PLACE, "pin_close": CLOSE}
        other.world = made.lane.world
        yield made


def test_each_query_that_the_house_sends_has_cases() -> None:
    text = "".join(path.read_text("utf-8") for path in SOURCE.rglob("*.py"))
    sent = {
        name
        for name, query in QUERIES.items()
        if re.search(rf"QueryName\.{name.upper()}\b|\b{query.__name__}\(", text)
    }
    assert sent == set(COVERS) | BY_A_DUTY | UNREAD
    assert set(ANSWERS) == set(COVERS) | BY_A_DUTY | UNREAD


@pytest.mark.parametrize("method", sorted(COVERS))
async def test_a_bent_answer_is_told_and_the_next_good_one_counts(
    api: ApiHouse, method: str
) -> None:
    verb, path, body = COVERS[method]
    sent = {} if body is None else {"data": msgspec.json.encode(body)}
    lanes = [cast(TellingLane, lane) for lane in api.house.lanes.values()]
    found = []
    for name, value in sample(bent(good_of(method)), 260, seed=1):
        if (method, name) in {("model_next", "done: false"), ("run_duty", "is_running: true")}:
            continue  # an answer that goes on is no bent one: its reader hangs up
        api.lane.world[method] = value
        found += await api.faults([(name, verb, path, sent)])
    if method == "model_next":  # a piece that cannot be read breaks the answer off, visibly
        found = [fault for fault in found if "ClientPayloadError" not in fault]
    assert found == []
    assert any(method in lane.asked_for for lane in lanes), "the query was never sent"

    api.lane.world[method] = good_of(method)
    status, _ = await api.send(verb, path, **sent)
    assert status < 300


def test_a_reader_without_its_guard_is_found() -> None:
    """The generator itself: a planted reader that trusts its lane must not pass."""
    failed = []
    for name, world in bent(PLACE):
        try:
            place = world["repository"]
            assert place["id"] + 1 < 2**53
            assert world["forge"].lower()
        except (TypeError, KeyError, AttributeError, IndexError, AssertionError):
            failed.append(name)
    assert len(failed) > 50


@pytest.mark.parametrize("method", ["status", "doctor"])
async def test_a_lane_blinds_nobody_to_another_lane(api: ApiHouse, method: str) -> None:
    api.house.frozen = FreezeSet((Freeze("f1", 1.0, "a person", "stop"),))
    for name, value in sample(bent(GOOD[method]), 120, seed=2):
        api.lane.world = {**api.lane.world, method: value}
        status, raw = await api.send("GET", "/v1/status")
        answer = msgspec.json.decode(raw)
        assert (status, answer["frozen"]) == (200, True), name
        assert answer["lanes"][1]["detail"]["done"] == "polled", name
        for lane in answer["lanes"]:
            sessions = (lane["detail"] or {}).get("sessions")
            assert sessions is None or all(one["runs_s"] >= 0 for one in sessions["running"]), name


async def test_a_freeze_that_only_a_lane_holds_stands_apart(api: ApiHouse) -> None:
    api.house.frozen = FreezeSet((Freeze("f1", 1.0, "a person", "stop"),))
    status = {**GOOD["status"], "freezes": ["f1", "f2", "no id\n", "x" * 200]}
    api.lane.world = {**api.lane.world, "status": status}
    _, raw = await api.send("GET", "/v1/status")
    answer = msgspec.json.decode(raw)
    assert [freeze["id"] for freeze in answer["freezes"]] == ["f1"]
    assert answer["lane_freezes"] == {"a": ["f2"]}


# --- duties ---------------------------------------------------------------------------------


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path, VirtualClock())
    await made.start()
    yield made
    await made.ledger.close()


@pytest.mark.parametrize("answer", [None, 5, {"healthy": True}, {"repository": {}, "forge": 1}])
async def test_an_answer_that_nobody_can_read_leaves_the_question_to_the_next_lane(
    house: House, tmp_path: Path, answer: object
) -> None:
    archive = open_archive(tmp_path / "archive.db", quota_bytes=10**8)
    lanes, thief = KnownLanes(house, archive), house.link_first("thief")
    thief.world = {**thief.world, "pin_repository": answer}
    good = house.lane.world["pin_repository"] = good_of("pin_repository")
    for _ in range(3):
        assert await Lanes.ask(lanes, "pin_repository", {}) == good
    assert len(thief.asked) == 1, "it is asked last for a while"
    house.lane.world["pin_repository"] = answer
    assert await Lanes.ask(lanes, "pin_repository", {}) == answer
    await archive.close()


def comments_of(house: House) -> Comments:
    return Comments(house.requests, house.ask, lambda: None)


def homes_of(house: House, home: str) -> Mirror:
    return Mirror(
        house.requests, Decisions(house.ledger, house.clock, SeededDice(3), 600.0),
        RequestSettings(home=home), comments_of(house),
        ItemPorts(house.ledger, house.clock, house.set_aside),
    )  # fmt: skip


async def in_doubt(house: House, number: int) -> Request:
    """Return a request whose order brought no word; nothing is ordered again while frozen."""
    house.frozen = FreezeSet()
    request = await house.comment(f"comment {number}")
    await house.step()
    house.frozen = FreezeSet((Freeze("f1", 1.0, "a person", "stop"),))
    await house.requests.take_step(request, Step.SILENCE)
    return request


def is_sound(seen: object) -> bool:
    """Say whether an answer says, in a form that can be kept, that the effect is there."""
    if not isinstance(seen, dict) or seen.get("finding") != "Present":
        return False
    number, url, commit = seen.get("number"), seen.get("url", ""), seen.get("commit", "")
    return (
        type(number) is int and 0 < number < 2**53 and isinstance(url, str) and len(url) <= 300
        and isinstance(commit, str) and re.fullmatch("([0-9a-f]{40}|[0-9a-f]{64})?", commit) is not None
        and isinstance(seen.get("reason", ""), str)
    )  # fmt: skip


async def test_only_a_sound_sight_of_an_effect_settles_its_request(house: House) -> None:
    for number, (name, seen) in enumerate(sample(bent(SEEN), 160, seed=5)):
        request = await in_doubt(house, number)
        house.lane.world["look"] = seen
        await house.step()
        now = house.now(request)
        if is_sound(seen):
            assert (now.state, now.artifact) == (State.DONE, seen["number"]), name
            assert now.url in {
                "",
                "https://forge.example.org/home/garden/issues/3#issuecomment-44",
            } or (
                now.url.startswith("https://forge.example.org/home/garden/issues/3#issuecomment-")
            ), name
            continue
        conflict = isinstance(seen, dict) and seen.get("finding") == "Conflict"
        assert now.state is (State.CONFLICT if conflict else State.UNKNOWN), name
        assert (now.artifact, now.url) == (0, ""), name
    last = await in_doubt(house, -1)
    house.lane.world["look"] = SEEN
    await house.step()
    assert house.now(last).state is State.DONE


async def test_homes_on_the_forge_go_on_after_an_answer_that_cannot_be_read(house: House) -> None:
    mirror = homes_of(house, "home/garden#1")
    task = asyncio.create_task(mirror.run())
    house.lane.world["pin_close"] = CLOSE
    for name, value in sample(bent(PLACE), 150, seed=3):
        house.lane.world["pin_repository"] = value
        await house.propose(kind="close_issue", issue=3)
        await until(lambda: mirror.waiting == 0)
        assert not task.done(), name
    house.lane.world["pin_repository"] = PLACE
    good = await house.propose(kind="close_issue", issue=3)
    await until(lambda: house.requests.newest_mirror(good.id) is not None)
    task.cancel()


@pytest.mark.parametrize(
    "context", ["home/garden#²", "home/garden#" + "9" * 5000, "home/garden#" + "9" * 23, "#", "a#1"]
)
async def test_a_number_in_a_programs_context_ends_nothing(house: House, context: str) -> None:
    house.lane.world["pin_change"] = GOOD["pin_change"]
    changed = {"kind": "propose_change", "branch": "b", "title": "t", "files": {"a.txt": "aG8="}}
    await house.propose(**changed, context=context)
    await house.restart()  # a ledger that holds such a context already
    mirror = homes_of(house, "home/garden#²")
    task = asyncio.create_task(mirror.run())
    good = await house.propose(kind="close_issue", issue=3)
    await until(lambda: task.done() or house.requests.newest_mirror(good.id) is not None)
    assert not task.done()
    task.cancel()


async def test_a_session_whose_issue_cannot_be_read_ends_no_progress(house: House) -> None:
    class Records:
        def on_change(self, listener: Any) -> None:
            self.tell = listener

    records = Records()
    progress = Progress(
        records, house.requests, comments_of(house),  # type: ignore[arg-type]
        ItemPorts(house.ledger, house.clock, house.set_aside), house.ledger,
    )  # fmt: skip
    task = asyncio.create_task(progress.run())
    for number, issue in enumerate(("a#²", "a/b#" + "9" * 5000, "#", "x", "a/b#0")):
        records.tell(
            SessionRecord(id=f"s{number}", lane="a", began_s=1.0, issue=issue, state="running")
        )
    records.tell(
        SessionRecord(id="good", lane="a", began_s=1.0, issue="home/garden#1", state="running")
    )
    await until(lambda: task.done() or house.requests.newest_mirror("good") is not None)
    assert not task.done()
    task.cancel()


async def test_a_stale_request_is_told_where_the_world_cannot_be_pinned(house: House) -> None:
    for name, value in sample(bent(CLOSE), 120, seed=4):
        house.lane.world["pin_close"] = CLOSE
        request = await house.approved_close()
        await house.requests.take_step(request, Step.STALE, "moved")
        house.lane.world["pin_close"] = value
        told = await house.requests.renew(house.now(request))
        assert told.startswith(("asked again", "not asked again")), name
