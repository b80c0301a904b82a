"""The house's side of sessions: no lane is believed unchecked, none begins twice, all end once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from allegro.adapters.sqlite.archive import SqliteArchive, open_archive
from allegro.core.agent.sessions import Asked, asked_notes, question_digest
from allegro.core.authority.actions.agent import AnswerOnce, RunSession
from allegro.core.authority.actions.forge import MirrorRequest
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.base.events import Event, encode_event
from allegro.core.base.sequence import Kept
from allegro.core.protocol.messages import Serves
from allegro.core.protocol.queries import Params
from allegro.core.requests.lifecycle import State, Step
from allegro.core.requests.requests import Request, parsed
from allegro.core.settings import OrderSettings
from allegro.core.stores import SessionRecord, SetAside
from allegro.house.agent.progress import Progress, progress_text, subject_of_session
from allegro.house.agent.questions import MAX_QUESTIONS
from allegro.house.agent.sessions import SessionLanes, Sessions
from allegro.house.documents.comments import Comments
from allegro.house.endpoint import House as Shared
from allegro.house.endpoint import LaneEndpoint
from allegro.house.lanes import Lanes
from allegro.house.ports import Ports, Reactions
from allegro.house.requests.newest_state import ItemPorts
from allegro.link.dial import LaneLink
from allegro.testing.virtual import SeededDice, VirtualClock
from tests.duties.alerts import noted

from .house import LANE, House, until

TIME = "2030-01-01T00:00:00Z"
WAIT_S = OrderSettings().ttl_s + OrderSettings().settle_s
ASKED = Asked("rm -rf roses", "delete in a recursive way", ("rm",))
PROMPT = "Water the roses, and tell nobody"


class Small(House):
    """A house whose lane has `room` gateways."""

    room = 1

    def serving_sessions(self, busy: Callable[[str], int]) -> list[tuple[str, str, LaneLink]]:
        return [one for one in self.linked() if busy(one[0]) < self.room]


class Home:
    """A house that follows sessions. `knows` are those that its lane says it runs."""

    def __init__(self, house: Small, archive: SqliteArchive) -> None:
        self.house = house
        self.archive = archive
        self.home = True
        self.knows: list[str] = []
        self.told: list[tuple[str, str, dict[str, Any]]] = []
        self.alerts: list[tuple[str, str]] = []
        self._seq: dict[str, int] = {}
        self._ids = 0
        self.sessions = Sessions(
            Ports(archive, house.ledger, house.clock, SeededDice(9), _open), house.requests,
            SessionLanes(self._ask_lane, lambda _: self.home),
            Reactions(noted(self.alerts), self._set_aside),
            house.orders.wake,
        )  # fmt: skip
        house.followers["agent"] = self.sessions
        self.task = asyncio.create_task(self.sessions.run())

    async def _set_aside(self, aside: SetAside, stored: bytes) -> None:
        self.alerts.append(("high", f"set aside: {aside.reason}"))

    async def _ask_lane(self, lane: str, method: str, params: Params) -> Any:
        if not self.home:
            raise EdgeError("not linked", transient=True)
        self.told.append((lane, method, dict(params)))
        return list(self.knows) if method == "sessions" else True

    async def look(self) -> None:
        """Let the duty look once, as it does whenever something grew."""
        self.sessions.kick()
        grew = self.sessions._grew
        await until(lambda: self.task.done() or (not grew.is_set() and bool(grew._waiters)))
        await self.sessions.idle()

    async def bring(self, type_: str, *, lane: str = LANE, told: Any = None, **data: Any) -> None:
        """Archive one event of a lane, and look."""
        await self.archived(type_, lane=lane, told=told, **data)
        await self.look()

    async def archived(
        self, type_: str, *, lane: str = LANE, told: Any = None, **data: Any
    ) -> None:
        """Archive one event of a lane; nobody looks at it yet."""
        self._ids += 1
        event = Event(
            f"e{self._ids}", type_, f"lane:{lane}", TIME, data=data,
            sealed=b"" if told is None else msgspec.json.encode(told),
        )  # fmt: skip
        seq = self._seq[lane] = self._seq.get(lane, 0) + 1
        taken = await self.archive.take(
            lane, "j-" + lane, seq, [Kept(encode_event(event))], self.house.clock.now_s()
        )
        assert not isinstance(taken, Refusal)

    async def ask_for(self, **changes: Any) -> Request:
        self.house.clock.advance(0.001)
        id_ = self.house.requests.new_id()
        return await self.sessions.begin(RunSession(id=id_, prompt=PROMPT, **changes), "test", "")

    async def running(self, **changes: Any) -> str:
        """Return a session that was ordered and runs."""
        request = await self.ask_for(**changes)
        await self.house.step()
        assert self.house.now(request).lane == LANE
        self.knows.append(request.id)
        await self.bring("session.accepted", session=request.id, model="m1", tools=["file"])
        await self.house.requests.take_step(request, Step.RECEIPT)
        await self.bring("session.started", session=request.id, run="run_1")
        return request.id

    async def question(self, session: str, number: int = 1, **changes: Any) -> None:
        data: dict[str, Any] = {
            "session": session, "number": number, "run": "run_1",
            "until_s": self.house.clock.now_s() + 590,
            "question": question_digest(session, "run_1", number, ASKED),
        }  # fmt: skip
        await self.bring("session.question", told=asked_notes(ASKED), **{**data, **changes})

    def answers(self) -> list[Request]:
        return [one for one in self.house.requests.all() if one.kind == "answer_once"]

    def record(self, session: str) -> SessionRecord:
        return self.sessions.records[session]


def _open(event: Event) -> Any:
    return msgspec.json.decode(event.sealed) if event.sealed else None


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    house = Small(tmp_path, VirtualClock())
    await house.start()
    archive = open_archive(tmp_path / "archive.db", quota_bytes=10**9)
    made = Home(house, archive)
    await made.look()
    yield made
    made.task.cancel()
    await asyncio.wait({made.task})
    await archive.close()
    await house.ledger.close()


# --- whom the house believes -------------------------------------------------------------------


async def test_a_session_is_followed_from_its_order_to_its_one_end(home: Home) -> None:
    id_ = await home.running()
    record = home.record(id_)
    assert (record.state, record.run, record.model, record.lane) == ("running", "run_1", "m1", LANE)
    await home.bring("model.result", session=id_, tokens_in=5, tokens_out=6, provider="p")
    ends: dict[str, Any] = {"session": id_, "state": "completed", "tokens": 11, "cost_usd": 0.5}
    await home.bring("session.end", told={"output": "done", "why": ""}, **ends)
    await home.bring("session.end", told={"output": "other", "why": ""}, **ends)
    record = home.record(id_)
    assert (record.end, record.output, record.tokens, record.cost_usd) == (
        "completed", "done", 11, 0.5,
    )  # fmt: skip
    assert (await home.house.ledger.sessions())[-1] == record


@pytest.mark.parametrize("type_", ["session.accepted", "session.started", "session.end"])
async def test_what_a_lane_tells_of_sessions_it_was_not_ordered_is_ignored(
    home: Home, type_: str
) -> None:
    id_ = await home.running()
    before = home.record(id_)
    comment = await home.house.comment()
    for session, lane in ((id_, "b"), ("s" * 20, LANE), (comment.id, LANE), ("", LANE)):
        await home.bring(type_, lane=lane, session=session, state="completed")
    await home.question(id_, lane="b")
    await home.question("s" * 20)
    assert home.sessions.records == {id_: before}
    assert home.answers() == []


async def test_an_end_that_is_none_of_ours_is_lost(home: Home) -> None:
    id_ = await home.running()
    await home.bring("session.end", session=id_, state="triumph", tokens=-5, cost_usd="free")
    record = home.record(id_)
    assert (record.end, record.tokens, record.cost_usd) == ("lost", 0, None)


# --- questions ---------------------------------------------------------------------------------


async def test_a_question_becomes_a_request_for_exactly_what_was_asked(home: Home) -> None:
    id_ = await home.running()
    await home.question(id_)
    (request,) = home.answers()
    action = parsed(request)
    assert isinstance(action, AnswerOnce)
    assert (action.lane, action.session, action.run, action.number) == (LANE, id_, "run_1", 1)
    assert action.question == question_digest(id_, "run_1", 1, ASKED)
    assert request.notes == asked_notes(ASKED)
    assert request.state is State.PROPOSED
    assert home.record(id_).state == "waiting"
    await home.question(id_)
    assert len(home.answers()) == 1


async def test_what_would_be_signed_is_computed_from_the_words_whatever_a_lane_says(
    home: Home,
) -> None:
    id_ = await home.running()
    real = question_digest(id_, "run_1", 1, Asked("rm -rf everything", "", ()))
    await home.question(id_, question=real)
    (request,) = home.answers()
    action = parsed(request)
    assert isinstance(action, AnswerOnce)
    assert action.question == question_digest(id_, "run_1", 1, ASKED)
    assert action.question != real


@pytest.mark.parametrize("changes", [{"told": "words"}, {"told": None}, {"number": 0}])
async def test_a_question_that_cannot_be_read_is_an_alert_and_no_request(
    home: Home, changes: dict[str, Any]
) -> None:
    id_ = await home.running()
    data: dict[str, Any] = {"session": id_, "number": 1, "run": "run_1", "told": {}}
    await home.bring("session.question", **{**data, **changes})
    assert home.answers() == []
    assert "cannot be read" in home.alerts[-1][1]


async def test_too_many_questions_are_refused_with_an_alert(home: Home) -> None:
    id_ = await home.running()
    record = msgspec.structs.replace(home.record(id_), asked=MAX_QUESTIONS)
    home.sessions.records[id_] = record
    await home.question(id_, 7)
    assert home.answers() == []
    assert len(home.alerts) == 1


@pytest.mark.parametrize("run", ["", "r" * 201, "a\nb"])
async def test_no_question_of_one_lane_keeps_the_house_from_the_sessions_of_others(
    home: Home, run: str
) -> None:
    home.house.room = 2
    bad, good = await home.running(), await home.running()
    await home.question(bad, run=run)
    await home.bring("session.end", session=good, state="completed")
    assert home.record(good).end == "completed"


async def test_a_rejected_question_is_told_to_its_lane_at_once(home: Home) -> None:
    id_ = await home.running()
    await home.question(id_)
    await home.house.requests.reject(home.answers()[0].id, "no")
    no = (LANE, "deny", {"session": id_, "number": 1})
    await until(lambda: no in home.told)


async def test_a_question_nobody_answers_expires_and_is_told_as_no(home: Home) -> None:
    id_ = await home.running()
    await home.question(id_)
    await home.house.live(600)
    assert home.answers()[0].state is State.EXPIRED
    no = (LANE, "deny", {"session": id_, "number": 1})
    await until(lambda: no in home.told)


async def test_the_end_of_a_session_withdraws_what_it_still_asked(home: Home) -> None:
    home.house.room = 2
    id_, other = await home.running(), await home.running()
    await home.question(id_)
    await home.question(id_, 2)
    await home.question(other)
    first, second, third = home.answers()
    await home.house.approve(second)
    await home.house.step()
    await home.bring("session.end", session=id_, state="stopped")
    assert [home.house.now(one).state for one in (first, second, third)] == [
        State.WITHDRAWN, State.FAILED, State.PROPOSED,
    ]  # fmt: skip


# --- lost, unknown, capacity -------------------------------------------------------------------


async def test_a_session_its_lane_does_not_know_any_more_is_lost_after_the_grace(
    home: Home,
) -> None:
    id_ = await home.running()
    await home.question(id_)
    home.house.clock.advance(300)
    await home.look()
    home.knows.clear()
    await home.look()
    home.house.clock.advance(19)
    await home.look()
    assert not home.record(id_).end
    home.house.clock.advance(2)
    await home.look()
    assert home.record(id_).end == "lost"
    assert home.answers()[0].state is State.WITHDRAWN


async def test_nothing_is_lost_while_its_lane_is_away_or_has_more_to_tell(home: Home) -> None:
    id_ = await home.running()
    home.knows.clear()
    await home.look()
    home.home = False
    for _ in range(10):
        home.house.clock.advance(60)
        await home.look()
    home.home = True
    await home.look()
    assert not home.record(id_).end


@pytest.mark.parametrize("where", ["home", "away", "running"])
async def test_a_session_whose_order_brought_no_word_is_never_ordered_again(
    home: Home, where: str
) -> None:
    request = await home.ask_for()
    home.house.lane.answers.append(EdgeError("the link broke", transient=True))
    home.home = where != "away"
    if where == "running":
        home.knows.append(request.id)
    await home.house.live(10 * WAIT_S)
    assert len(home.house.lane.orders) == 1
    state = home.house.now(request).state
    assert state is (State.FAILED if where == "home" else State.UNKNOWN)


async def test_telemetry_of_a_session_settles_its_order(home: Home) -> None:
    request = await home.ask_for()
    await home.house.step()
    home.home = False
    await home.bring("session.started", session=request.id, run="run_1")
    await home.house.live(2 * WAIT_S)
    assert home.house.now(request).state is State.DONE
    assert len(home.house.lane.orders) == 1


@pytest.mark.parametrize("followed", [True, False])
async def test_a_session_with_an_end_never_seems_unbegun_though_its_request_failed_first(
    home: Home, followed: bool
) -> None:
    request = await home.ask_for()
    await home.house.step()
    waits = asyncio.create_task(home.sessions.wait(request.id, 10))
    await (home.bring if followed else home.archived)("session.accepted", session=request.id)
    await home.archived("session.end", session=request.id, state="lost")
    failed = await home.house.requests.take_step(request, Step.FAIL, "may have begun")
    assert isinstance(failed, Request)
    assert failed.is_final
    found = home.sessions.find(request.id)
    assert isinstance(found, SessionRecord)
    assert found.state in {"accepted", "ordered"}
    told = await waits
    assert isinstance(told, SessionRecord)
    assert told.end == "lost"


@pytest.mark.parametrize("accepted", [True, False])
async def test_a_session_that_has_no_end_is_told_by_its_request_once_all_was_read(
    home: Home, accepted: bool
) -> None:
    request = await home.ask_for()
    await home.house.step()
    if accepted:
        await home.bring("session.accepted", session=request.id)
    await home.house.requests.take_step(request, Step.FAIL, "no such model")
    told = await home.sessions.wait(request.id, 10)
    assert isinstance(told, Request)
    assert (told.state, told.detail) == (State.FAILED, "no such model")


async def test_an_archive_that_cannot_be_read_makes_no_session_seem_unbegun(home: Home) -> None:
    request = await home.ask_for()
    await home.house.step()
    home.task.cancel()
    await asyncio.wait({home.task})
    await home.house.requests.take_step(request, Step.FAIL, "may have begun")
    told = await home.sessions.wait(request.id, 0)
    assert isinstance(told, SessionRecord)
    assert (told.state, told.end) == ("ordered", "")


async def test_no_more_sessions_are_ordered_than_a_lane_has_gateways(home: Home) -> None:
    id_ = await home.running()
    waits = await home.ask_for()
    await home.house.live(30)
    assert home.house.now(waits).state is State.APPROVED
    await home.bring("session.end", session=id_, state="completed")
    await home.house.live(30)
    assert home.house.now(waits).state is State.ORDERED


async def test_two_sessions_asked_for_at_once_are_not_both_ordered_from_one_gateway(
    home: Home,
) -> None:
    await home.ask_for()
    await home.ask_for()
    await home.house.step()
    assert len(home.house.lane.orders) == 1


async def test_a_session_that_was_void_after_it_was_accepted_is_followed_when_it_runs(
    home: Home,
) -> None:
    request = await home.ask_for()
    await home.house.step()
    await home.bring("session.accepted", session=request.id, model="m1", tools=[])
    await home.house.requests.take_step(request, Step.VOID, "its gateway had died")
    for _ in range(6):
        await home.house.live(10)
        await home.look()
    assert len(home.house.lane.orders) == 2
    home.knows.append(request.id)
    await home.bring("session.started", session=request.id, run="run_1")
    assert home.record(request.id).state == "running"


async def test_a_session_without_a_prompt_is_refused_in_words(home: Home) -> None:
    with pytest.raises(EdgeError):
        await home.sessions.begin(RunSession(id=home.house.requests.new_id(), prompt=""), "t", "")


async def test_no_number_of_a_lane_ends_the_house(home: Home) -> None:
    id_ = await home.running()
    home.sessions.records[id_] = msgspec.structs.replace(home.record(id_), tokens=2**64 - 2**53)
    most = 2**53 - 1
    await home.bring("model.result", session=id_, tokens_in=most, tokens_out=most)
    await home.bring("session.end", session=id_, state="completed")
    assert home.record(id_).end == "completed"


# --- which lane serves -------------------------------------------------------------------------


class Up:
    is_up = True


async def lanes(*names: str, **serves: Serves) -> Lanes:
    """Return the real register with these lanes linked."""
    made = Lanes(cast(Shared, _House()))
    nobody = asyncio.ensure_future(asyncio.sleep(0))
    await nobody
    for name in names:
        end = LaneEndpoint(cast(Shared, None), cast(Any, _Known(name)))
        end.serves = serves[name]
        made._ends[name] = (end, cast(LaneLink, Up()), cast(Any, nobody))
    return made


class _Roster(msgspec.Struct):
    members: tuple[Any, ...] = ()


class _House:
    """What the register asks of the house: who is in its council."""

    def __init__(self, *members: str) -> None:
        self._roster = _Roster(tuple(_Known(name) for name in members)) if members else None
        self.away: set[str] = set()
        self.alert = noted([])

    def fleet(self) -> Any:
        return _Paired(self._roster)

    def suspended(self, lane: str) -> bool:
        return lane in self.away


class _Paired(msgspec.Struct):
    roster: _Roster | None


class _Known(msgspec.Struct):
    name: str
    url: str = ""
    pin: str = ""
    key: bytes = b"k" * 32


async def test_lanes_of_the_council_are_asked_before_one_outside_of_it() -> None:
    serves = Serves(True, 0, local=False)
    made = await lanes("alone", "a", "b", alone=serves, a=serves, b=serves)
    for name, epoch in (("alone", 99), ("a", 3), ("b", 4)):
        made._ends[name][0].roles = {"forge": epoch}
    assert [one[0] for one in made.serving_forge()] == ["alone", "b", "a"]
    made._house = cast(Shared, _House("a", "b"))
    assert [one[0] for one in made.serving_forge()] == ["b", "a", "alone"]


async def test_a_suspended_lane_gets_no_orders_while_it_is_suspended() -> None:
    serves = Serves(True, 1, local=False)
    made = await lanes("a", "b", a=serves, b=serves)
    house = _House()
    house.away = {"a"}
    made._house = cast(Shared, house)
    assert [one[0] for one in made.serving_forge()] == ["b"]
    assert [one[0] for one in made.serving_sessions(lambda _: 0)] == ["b"]
    house.away = set()
    assert len(made.serving_forge()) == 2


async def test_the_local_lane_serves_only_where_no_other_is_linked() -> None:
    near, far = Serves(False, 1, local=True), Serves(True, 2, local=False)
    both = await lanes("near", "far", near=near, far=far)
    assert [one[0] for one in both.serving_sessions(lambda _: 0)] == ["far"]
    assert both.serving_sessions(lambda _: 2) == []
    alone = await lanes("near", "forge", near=near, forge=Serves(True, 0, local=False))
    assert [one[0] for one in alone.serving_sessions(lambda _: 0)] == ["near"]
    assert alone.serving_sessions(lambda _: 1) == []


# --- progress ----------------------------------------------------------------------------------


def progress(record: SessionRecord, *, private: bool = True) -> str:
    return progress_text(record, subject_of_session(record), private)


async def test_progress_shows_mechanical_facts_and_no_word_of_anybody() -> None:
    record = SessionRecord(
        id="s" * 20, lane=LANE, began_s=0.0, issue="home/garden#3", state="ended", end="failed",
        why="the model said no", output="I am the output", model="m1", provider="p", tokens=11,
        tools=2, duration_s=3.0, run="run_1", agent="hermes",
    )  # fmt: skip
    text = progress(record)
    assert "failed" in text
    for fact in ("model m1`", "11 tokens", "2 tool calls", "3.0 s"):
        assert fact in text
    for word in ("output", "said no", PROMPT, "run_1"):
        assert word not in text
    assert "no answer" in progress(msgspec.structs.replace(record, state="waiting", end=""))


async def test_no_lane_puts_words_into_a_progress_comment(home: Home) -> None:
    request = await home.ask_for(issue="home/garden#3")
    await home.house.step()
    await home.bring("session.accepted", session=request.id, model="m1`\n\n@everybody: look")
    assert "@everybody" not in progress(home.record(request.id))


def mirrored(home: Home, session: str) -> list[str]:
    actions = [parsed(one) for one in home.house.requests.all() if one.internal]
    return [a.body for a in actions if isinstance(a, MirrorRequest) and a.request == session]


@pytest.mark.parametrize(
    "trouble",
    [
        False,
        pytest.param(
            True,
        ),
    ],
)
async def test_the_comment_of_a_session_ends_with_its_end(home: Home, trouble: bool) -> None:
    house = home.house
    progress = Progress(
        home.sessions, house.requests, Comments(house.requests, house.ask, house.orders.wake),
        ItemPorts(house.ledger, house.clock, house.set_aside), house.ledger,
    )  # fmt: skip
    task = asyncio.create_task(progress.run())
    try:
        house.is_linked = True
        id_ = await home.running(issue="home/garden#3")
        await until(lambda: len(mirrored(home, id_)) == 2)
        house.is_linked = not trouble
        await home.question(id_)
        await home.bring("session.end", session=id_, state="completed")
        for _ in range(50):
            await asyncio.sleep(0)
        house.is_linked = True
        house.clock.advance(3)
        await until(lambda: len(mirrored(home, id_)) >= 3 + (not trouble))
        for _ in range(200):
            await asyncio.sleep(0.001)
            house.clock.advance(0.1)
        assert "completed" in mirrored(home, id_)[-1]
        assert PROMPT not in "".join(mirrored(home, id_))
    finally:
        task.cancel()


async def test_the_report_of_a_session_that_a_kill_kept_back_is_left_at_the_next_start(
    home: Home,
) -> None:
    house = home.house
    comments = Comments(house.requests, house.ask, house.orders.wake)
    items = ItemPorts(house.ledger, house.clock, house.set_aside)
    begun = Progress(home.sessions, house.requests, comments, items, house.ledger)
    task = asyncio.create_task(begun.run())
    id_ = await home.running(issue="home/garden#3")
    await until(lambda: len(mirrored(home, id_)) == 2)
    task.cancel()
    await home.bring("session.end", session=id_, state="completed", duration_s=2.0)
    assert "complete\n" not in mirrored(home, id_)[-1]
    for _ in range(2):  # begun again, and once more: it is left once
        house.clock.advance(1.0)
        again = Progress(home.sessions, house.requests, comments, items, house.ledger)
        task = asyncio.create_task(again.run())
        await until(lambda: "**Status:** complete\n" in mirrored(home, id_)[-1])
        for _ in range(100):
            await asyncio.sleep(0.001)
        task.cancel()
    assert len(mirrored(home, id_)) == 3
    assert mirrored(home, id_)[-1].startswith("## ✅ Allegro Report\n")


@pytest.mark.parametrize("started", [True, False])
async def test_a_session_of_a_lane_that_is_gone_for_good_is_lost_once_its_time_is_over(
    home: Home, started: bool
) -> None:
    request = await home.ask_for(limit_s=100)
    await home.house.step()
    await home.bring("session.accepted", session=request.id, limit_s=100)
    if started:
        await home.bring("session.started", session=request.id, run="r1")
    home.home = False
    await home.look()
    home.house.clock.advance(155)
    await home.look()
    assert home.record(request.id).end == ""
    home.house.clock.advance(10)
    await home.look()
    record = home.record(request.id)
    assert (record.end, record.why) == ("lost", "its lane is away, and its time is over")


async def test_the_time_of_a_session_counts_from_what_was_last_heard_of_it(home: Home) -> None:
    request = await home.ask_for(limit_s=100)
    await home.house.step()
    home.house.clock.advance(500)  # it waited for a gateway
    await home.bring("session.accepted", session=request.id, limit_s=100)
    await home.bring("session.started", session=request.id, run="run_1")
    home.home = False
    await home.look()
    home.house.clock.advance(80)
    await home.look()
    assert home.record(request.id).end == ""
    home.house.clock.advance(90)
    await home.look()
    assert home.record(request.id).end == "lost"


async def test_a_question_that_waits_stops_the_clock_of_its_session(home: Home) -> None:
    id_ = await home.running(limit_s=100)
    await home.bring("session.accepted", session=id_, limit_s=100)
    await home.question(id_)
    home.home = False
    await home.look()
    home.house.clock.advance(3000)
    await home.look()
    assert home.record(id_).end == ""
    home.house.clock.advance(1000)
    await home.look()
    assert home.record(id_).end == "lost"


async def test_a_house_that_just_started_waits_for_its_lanes(home: Home) -> None:
    id_ = await home.running(limit_s=100)
    await home.bring("session.accepted", session=id_, limit_s=100)
    home.house.clock.advance(1000)  # it was off
    home.home = False
    await home.look()
    home.house.clock.advance(50)
    await home.look()
    assert home.record(id_).end == ""
    home.home = True
    await home.bring("session.end", session=id_, state="completed", told={"output": "roses"})
    assert (home.record(id_).end, home.record(id_).output) == ("completed", "roses")


async def test_what_a_lane_says_of_a_session_counts_more_than_that_it_seemed_lost(
    home: Home,
) -> None:
    id_ = await home.running(limit_s=100)
    await home.bring("session.accepted", session=id_, limit_s=100)
    home.home = False
    await home.look()
    home.house.clock.advance(500)
    await home.look()
    assert home.record(id_).end == "lost"
    home.home = True
    await home.bring("session.answered", session=id_, choice="deny")
    assert (home.record(id_).end, home.record(id_).state) == ("", "running")
    await home.bring("session.end", session=id_, state="completed", told={"output": "roses"})
    assert (home.record(id_).end, home.record(id_).output) == ("completed", "roses")
    await home.bring("session.end", session=id_, state="failed", told={"output": "no"})
    assert home.record(id_).end == "completed"


async def test_a_question_that_cannot_be_shown_whole_is_an_alert_and_no_request(
    home: Home,
) -> None:
    id_ = await home.running()
    told = asked_notes(msgspec.structs.replace(ASKED, refused="it is too long"))
    data: dict[str, Any] = {"session": id_, "number": 1, "run": "run_1", "refused": True}
    await home.bring("session.question", told=told, **data)
    assert home.answers() == []
    assert "it is too long" in home.alerts[-1][1]
