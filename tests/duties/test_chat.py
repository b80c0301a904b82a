"""What the owner says by chat is done once, at once where it is a stop, and strangers get nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from allegro.core.authority.tokens import Thaw, issue_token, sovereign_kid
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.channels import AnotherReader, ChannelError
from allegro.core.chat.answers import Waiting
from allegro.core.chat.received import Batch, Ignored, Tap
from allegro.core.chat.taps import Verb, button_data, question_subject, request_subject
from allegro.core.health import codes
from allegro.core.protocol.queries import Inform
from allegro.core.protocol.statement import QUESTION, HouseStatement, WaitingRequest
from allegro.lane.chat.links import Asked, Turn
from allegro.testing.channels import MemoryChat
from allegro.testing.virtual import VirtualClock
from tests.core.builders import SOVEREIGN, TRUST

from .chat_world import DIGEST, ROSA, STRANGER, ChatLane, Killed, waiting, words


async def lane_in(folder: Path, chat: MemoryChat | None = None, **changes: Any) -> ChatLane:
    lane = ChatLane(folder, chat or MemoryChat(), VirtualClock())
    for name, value in changes.items():
        setattr(lane, name, value)
    await lane.start()
    return lane


# --- commands -----------------------------------------------------------------------------------


async def test_a_stop_freezes_in_the_reading_that_brings_it_and_is_told_home(
    tmp_path: Path,
) -> None:
    lane = await lane_in(tmp_path)
    lane.chat.says(ROSA, "/stop smoke")
    await lane.reader.step()
    (freeze,) = lane.state.freezes.active
    assert (freeze.by, freeze.reason) == ("memory:77", "smoke")
    assert [event.data["id"] for event in await lane.told("freeze.added")] == [freeze.id]
    await lane.acts.step()
    assert words(lane.chat) == [
        f"Stop|Frozen. Nothing is written until you thaw at home: “{freeze.id}”"
    ]
    await lane.stop()


async def test_a_second_stop_is_the_same_open_freeze(tmp_path: Path) -> None:
    lane = await lane_in(tmp_path)
    for _ in range(2):
        lane.chat.says(ROSA, "/stop")
        await lane.step()
    (freeze,) = lane.state.freezes.active
    assert words(lane.chat)[1] == f"Stop|Frozen already, by you: “{freeze.id}”"
    assert len(await lane.told("freeze.added")) == 1
    await lane.stop()


async def test_a_thaw_can_mute_a_sender_and_let_him_be_heard_again(tmp_path: Path) -> None:
    lane = await lane_in(tmp_path)
    for mutes, hears, frozen in ((("memory:77",), (), 0), ((), ("memory:77",), 1)):
        claims = Thaw(aud=TRUST.fleet, freezes=(), exp=2_000_000, mutes=mutes, hears=hears)
        token = issue_token(claims, sovereign_kid(TRUST.sovereign_number), SOVEREIGN.sign)
        await lane.trust.bring(token)
        lane.chat.says(ROSA, "/stop")
        await lane.step()
        assert len(lane.state.freezes.active) == frozen
    assert "switched off since the last thaw" in words(lane.chat)[0]
    await lane.stop()


async def test_status_says_what_is_known_and_what_is_not(tmp_path: Path) -> None:
    lane = await lane_in(tmp_path, linked=False)
    lane.chat.says(ROSA, "/status")
    await lane.step()
    (answer,) = words(lane.chat)
    assert answer == (
        "Status|Not frozen.\nWaiting for you: unknown\nAlerts: unknown\n"
        "House: not heard since this lane began\nThis lane: “a”, roles: none"
    )
    lane.state.heard_house(lane.clock.now_s())
    lane.clock.advance(7_200)
    lane.asked = Asked((waiting(),), 7_200.0)
    lane.chat.says(ROSA, "/status")
    await lane.step()
    assert "Waiting for you: 1" in words(lane.chat)[1]
    assert "House: silent for 2 h" in words(lane.chat)[1]
    await lane.stop()


@pytest.mark.parametrize("content", [False, True])
async def test_requests_show_titles_only_where_that_is_configured(
    tmp_path: Path, content: bool
) -> None:
    lane = await lane_in(tmp_path, content=content, asked=Asked((waiting(),), 0.0))
    lane.chat.says(ROSA, "/requests")
    await lane.step()
    (answer,) = words(lane.chat)
    assert "“r:1” comment, now, 1 min old" in answer
    assert ("a title" in answer) is content
    await lane.stop()


async def test_requests_of_a_silent_house_say_so_and_unknown_is_not_nothing(
    tmp_path: Path,
) -> None:
    lane = await lane_in(tmp_path)
    for asked, expected in (
        (None, "Unknown: the house has not said"), (Asked((), 0.0), "Nothing waits for you."),
        (Asked((), 120.0), "Nothing waits for you (as of 2 min ago; the house is silent)."),
    ):  # fmt: skip
        lane.asked = asked
        lane.chat.says(ROSA, "/requests")
        await lane.step()
        assert expected in words(lane.chat)[-1]
    await lane.stop()


async def test_anything_else_is_answered_with_the_list(tmp_path: Path) -> None:
    lane = await lane_in(tmp_path)
    for text in ("/help", "/approve"):
        lane.chat.says(ROSA, text)
        await lane.step()
    listed, unknown = words(lane.chat)
    assert listed.startswith("Help|/status - ")
    assert unknown.startswith("Help|No such command.")
    assert set(lane.chat.commands) == {"status", "requests", "stop", "help"}
    await lane.stop()


async def test_an_answer_that_the_service_refuses_keeps_nobody_waiting(tmp_path: Path) -> None:
    lane = await lane_in(tmp_path)
    lane.chat.errors = [ChannelError("no", transient=False, sent=False, kind="forbidden")]
    lane.chat.says(ROSA, "/status")
    lane.chat.says(ROSA, "/help")
    await lane.step()
    assert [one.partition("|")[0] for one in words(lane.chat)] == ["Help"]
    assert lane.box.inbox.waiting == ()
    await lane.stop()


async def test_an_answer_waits_while_the_service_is_away_and_is_given_once(tmp_path: Path) -> None:
    lane = await lane_in(tmp_path)
    away = ChannelError("away", transient=True, sent=False, kind="unreachable")
    lane.chat.errors = [away, away]
    lane.chat.says(ROSA, "/status")
    await lane.step()
    assert await lane.acts.step() is not None
    assert await lane.acts.step() is None
    assert len(words(lane.chat)) == 1
    await lane.stop()


async def test_an_answer_that_may_have_arrived_is_not_given_again(tmp_path: Path) -> None:
    lane = await lane_in(tmp_path)
    lane.chat.errors = [ChannelError("cut", transient=True, sent=True, kind="unreachable")]
    lane.chat.says(ROSA, "/status")
    await lane.step()
    assert await lane.acts.step() is None
    assert words(lane.chat) == []
    await lane.stop()


# --- who is not on the list ---------------------------------------------------------------------


async def test_strangers_and_wrong_senders_are_counted_and_never_answered(tmp_path: Path) -> None:
    lane = await lane_in(tmp_path)
    for number in range(3):
        lane.chat.says(STRANGER, f"/stop {number}")
    lane.chat.presses(STRANGER, 5, button_data("ack", "n:1", DIGEST))
    lane.chat.arrives(Ignored("edited", STRANGER))
    for _ in range(3):
        await lane.step()
    assert lane.state.freezes.active == ()
    assert (lane.chat.sent, lane.chat.answered) == ({}, {})
    (event,) = await lane.told("chat.")
    assert event.data == {"channel": "memory", "updates": 5, "senders": 1}
    assert not event.sealed
    assert await lane.chat.waiting() == 0
    await lane.stop()


async def test_strangers_are_told_home_at_most_each_ten_minutes(tmp_path: Path) -> None:
    lane = await lane_in(tmp_path)
    for _ in range(20):
        lane.chat.says(STRANGER, "/stop")
        await lane.step()
        lane.clock.advance(60)
    events = await lane.told("chat.strangers")
    assert len(events) == 2
    assert sum(event.data["updates"] for event in events) >= 11
    await lane.stop()


# --- buttons ------------------------------------------------------------------------------------


async def test_a_tap_on_approve_is_a_note_and_says_so(tmp_path: Path) -> None:
    lane = await lane_in(tmp_path, digests={"r:1": DIGEST})
    lane.chat.presses(ROSA, 5, button_data("approve", "r:1", DIGEST))
    await lane.step()
    assert list(lane.chat.answered.values()) == ["Noted; needs your signature."]
    (event,) = await lane.told("")
    assert event.type == "chat.noted"
    assert event.data == {
        "by": "memory:77", "verb": "approve", "subject": "r:1", "shown": DIGEST[:16],
    }  # fmt: skip
    await lane.stop()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (button_data("approve", "r:1", "cd" * 32), "This has changed since it was shown."),
        ("approve~~r:1~", "This button is not one of ours."),
    ],
)
async def test_a_tap_on_what_has_changed_notes_nothing(
    tmp_path: Path, data: str, expected: str
) -> None:
    lane = await lane_in(tmp_path, digests={"r:1": DIGEST})
    lane.chat.presses(ROSA, 5, data)
    await lane.step()
    (answer,) = lane.chat.answered.values()
    assert answer.startswith(expected)
    assert await lane.told("chat.") == []
    await lane.stop()


async def test_a_tap_on_an_alert_that_this_lane_told_acts_here(tmp_path: Path) -> None:
    lane = await lane_in(tmp_path)
    lane.notices.digests = {"a-1": DIGEST}
    for refusal, data in (
        (None, button_data("ack", "a-1", DIGEST)),
        (Refusal("unknown", "no such alert; it may be over"), button_data("noise", "a-1", DIGEST)),
        (None, button_data("ack", "a-1", "cd" * 32)),
    ):
        lane.notices.refusal = refusal
        lane.chat.presses(ROSA, 5, data)
        await lane.step()
    assert lane.notices.pressed == [("ack", "a-1"), ("noise", "a-1")]
    assert list(lane.chat.answered.values()) == [
        "Acknowledged.", "Not done: no such alert; it may be over.",
        "This has changed since it was shown. Nothing was noted.",
    ]  # fmt: skip
    assert await lane.told("chat.") == []
    await lane.stop()


@pytest.mark.parametrize("linked", [True, False])
async def test_a_tap_on_an_alert_of_the_house_is_passed_on_and_says_no_more(
    tmp_path: Path, linked: bool
) -> None:
    lane = await lane_in(tmp_path, linked=linked)
    lane.chat.presses(ROSA, 5, button_data("ack", "house-12", DIGEST))
    await lane.step()
    (event,) = await lane.told("chat.noted")
    assert (event.data["verb"], event.data["subject"]) == ("ack", "house-12")
    expected = "Passed on to your house." if linked else "Kept for your house, which is silent now."
    assert list(lane.chat.answered.values()) == [expected]
    await lane.stop()


@pytest.mark.parametrize(
    ("verb", "option", "words"),
    [("approve", 0, "Passed on to your house. It needs your signature."),
     ("answer", 2, "Passed on to your house.")],
)  # fmt: skip
async def test_a_tap_on_what_this_lane_does_not_know_yet_is_left_to_the_house(
    tmp_path: Path, verb: Verb, option: int, words: str
) -> None:
    lane = await lane_in(tmp_path)
    lane.chat.presses(ROSA, 5, button_data(verb, "r:new", DIGEST, option))
    await lane.step()
    assert list(lane.chat.answered.values()) == [words]
    (event,) = await lane.told("chat.noted")
    assert event.data["shown"] == DIGEST[:16]
    await lane.stop()


async def test_what_the_house_said_is_what_waits_and_what_buttons_are_bound_to(
    tmp_path: Path,
) -> None:
    lane = await lane_in(tmp_path)
    told = lane.from_house
    assert told.asked() is None
    now_s = lane.clock.now_s()
    one = WaitingRequest("17f8c783aabbccddeeff", DIGEST[:32], "comment", "high", now_s - 60)
    statement = HouseStatement(at_s=now_s, requests=(one,), waiting=50)
    assert await lane.state.house_word.hear(Inform(statement=statement).params())
    asked = told.asked()
    assert asked is not None
    assert (asked.count, asked.silent_s) == (50, 0.0)
    assert asked.waiting[0] == Waiting("17f8c783aa", "comment", "high", 60.0)
    assert told.digest_of(request_subject(one.id)) == DIGEST[:32]
    assert told.digest_of("r:other") is None
    asks = WaitingRequest("q1", DIGEST[:32], QUESTION, "high", now_s)
    both = msgspec.structs.replace(statement, requests=(one, asks))
    assert await lane.state.house_word.hear(Inform(statement=both).params())
    assert told.digest_of(question_subject("q1")) == DIGEST[:32]
    assert told.digest_of(request_subject("q1")) is None
    assert await lane.state.house_word.hear(Inform(statement=statement).params())
    kept = msgspec.structs.replace(statement, requests=(msgspec.structs.replace(one, title="a"),))
    bare = kept.without_words().requests
    assert bare == (one,), "no title lies on a lane's disk"
    lane.linked = False
    lane.state.heard_house(now_s)
    lane.clock.advance(120)
    again = told.asked()
    assert again is not None
    assert again.silent_s == 120.0
    await lane.stop()


# --- another reader, deafness, disks ------------------------------------------------------------


class Deafened(MemoryChat):
    """Readings go wrong while `error` is set; while `mute`, they succeed and bring nothing."""

    error: ChannelError | None = None
    mute = False

    async def receive(self, confirm: int | None = None) -> Batch:
        if self.error is not None:
            raise self.error
        return Batch() if self.mute else await super().receive(confirm)


async def test_a_conflict_is_tried_again_each_second_for_ever_and_drops_nothing(
    tmp_path: Path,
) -> None:
    chat = Deafened()
    lane = await lane_in(tmp_path, chat)
    chat.error = AnotherReader("terminated by other getUpdates request")
    chat.says(ROSA, "/stop")
    for _ in range(200):
        pause_s = await lane.step()
        assert 0 < pause_s <= 1.0
        lane.clock.advance(pause_s)
    chat.error = None
    await lane.reader.step()
    assert len(lane.state.freezes.active) == 1
    await lane.stop()


@pytest.mark.parametrize("mute", [False, True])
async def test_a_reader_that_went_deaf_says_so_within_a_minute_and_a_half(
    tmp_path: Path, mute: bool
) -> None:
    chat = Deafened()
    lane = await lane_in(tmp_path, chat)
    await lane.step()
    assert [fact.state for fact in lane.reader.facts()] == ["ok"]
    chat.mute, chat.error = mute, None if mute else AnotherReader("conflict")
    chat.says(ROSA, "/stop")
    for _ in range(95):
        await lane.step()
        lane.clock.advance(1)
    (fact,) = lane.reader.facts()
    assert (fact.code, fact.state, fact.subject) == (codes.CHAT_DEAF, "bad", "memory")
    (event,) = await lane.told("chat.deaf")
    assert event.data["channel"] == "memory"
    chat.mute, chat.error = False, None
    await lane.step()
    assert [fact.state for fact in lane.reader.facts()] == ["ok"]
    await lane.stop()


async def test_a_quiet_chat_is_not_deaf(tmp_path: Path) -> None:
    lane = await lane_in(tmp_path)
    for _ in range(600):
        await lane.step()
        lane.clock.advance(5)
    assert [fact.state for fact in lane.reader.facts()] == ["ok"]
    await lane.stop()


async def test_a_disk_that_refuses_stops_neither_a_stop_nor_its_answer(tmp_path: Path) -> None:
    lane = await lane_in(tmp_path)
    good = lane.save

    def refuse(_: object) -> None:
        raise EdgeError("no space", transient=True, kind="disk_full")

    lane.save = refuse
    lane.chat.says(ROSA, "/stop")
    for _ in range(3):
        await lane.step()
    assert len(lane.state.freezes.active) == 1
    assert len(words(lane.chat)) == 1
    assert await lane.chat.waiting() == 1, "it is not confirmed: it comes again after a restart"
    assert [fact.code for fact in lane.reader.facts() if fact.state == "bad"] == [
        codes.CHAT_UNSAVED
    ]
    lane.save = good
    for _ in range(3):
        await lane.step()
    assert await lane.chat.waiting() == 0
    assert len(words(lane.chat)) == 1
    await lane.stop()


async def test_strangers_keep_nobody_waiting_while_the_disk_refuses(tmp_path: Path) -> None:
    lane = await lane_in(tmp_path)

    def refuse(_: object) -> None:
        raise EdgeError("no space", transient=True, kind="disk_full")

    lane.save = refuse
    for _ in range(5):
        lane.chat.says(STRANGER, "/stop")
    lane.chat.says(ROSA, "/help")
    for _ in range(3):
        await lane.step()
    assert await lane.chat.waiting() == 1
    await lane.stop()


# --- whose turn it is ---------------------------------------------------------------------------


async def test_a_lane_reads_only_while_it_is_its_turn(tmp_path: Path) -> None:
    lane = await lane_in(tmp_path, turn=Turn(False))
    lane.chat.says(ROSA, "/stop")
    await lane.step()
    assert lane.state.freezes.active == ()
    assert lane.reader.facts() == []
    lane.turn = Turn(True, 1, 1)
    await lane.step()
    assert len(lane.state.freezes.active) == 1
    await lane.stop()


async def test_a_role_lost_while_a_poll_was_held_stops_and_leaves_the_rest_to_the_next(
    tmp_path: Path,
) -> None:
    chat, clock = MemoryChat(), VirtualClock()
    before, after = (ChatLane(tmp_path, chat, clock, name) for name in "ab")
    await before.start()
    await after.start()
    receive = chat.receive

    async def lose_meanwhile(confirm: int | None = None) -> Batch:
        batch = await receive(confirm)
        before.turn = Turn(False)
        return batch

    chat.receive = lose_meanwhile  # type: ignore[method-assign]
    chat.says(ROSA, "/stop")
    chat.says(ROSA, "/status")
    await before.step()
    chat.receive = receive  # type: ignore[method-assign]
    assert len(before.state.freezes.active) == 1
    assert words(chat) == []
    after.turn = Turn(True, 2, 2)
    await after.step()
    assert [one.partition("|")[0] for one in words(chat)] == ["Stop", "Status"]
    assert after.state.freezes.active == before.state.freezes.active
    await before.stop()
    await after.stop()


# --- kill -9 at each point ----------------------------------------------------------------------


def say_all(chat: MemoryChat) -> None:
    chat.says(ROSA, "/stop smoke")
    chat.says(ROSA, "/status")
    chat.arrives(Tap("tap-1", ROSA, 5, button_data("approve", "r:1", DIGEST)))


async def play(lane: ChatLane, steps: int = 4) -> bool:
    """Step until all is done; return False where the program was killed on the way."""
    try:
        for _ in range(steps):
            await lane.step()
    except Killed:
        return False
    return True


async def killed_at(folder: Path, at: int | None) -> tuple[ChatLane, bool]:
    lane = await lane_in(folder, digests={"r:1": DIGEST})
    lane.points.at = at
    say_all(lane.chat)
    return lane, await play(lane)


async def points_of(folder: Path) -> list[str]:
    folder.mkdir()
    lane, _ = await killed_at(folder, None)
    await lane.stop()
    return lane.points.passed


async def test_killed_anywhere_nothing_is_lost_or_acted_on_twice(tmp_path: Path) -> None:
    points = await points_of(tmp_path / "whole")
    assert len(points) > 20
    for at, point in enumerate(points):
        folder = tmp_path / str(at)
        folder.mkdir()
        lane, alive = await killed_at(folder, at)
        await lane.stop()
        lane.points.at = None
        if not alive:
            await lane.start()
            assert await play(lane)
            await lane.stop()
        _judge(point, lane.chat, [lane])


async def test_killed_anywhere_while_another_lane_takes_over(tmp_path: Path) -> None:
    points = await points_of(tmp_path / "whole")
    told = points.index("after confirm")
    for at, point in enumerate(points):
        folder = tmp_path / str(at)
        folder.mkdir()
        lane, alive = await killed_at(folder, at)
        await lane.stop()
        lane.points.at = None
        heir = ChatLane(folder, lane.chat, lane.clock, "b")
        heir.digests, heir.turn = lane.digests, Turn(True, 2, 2)
        await heir.start()
        assert await play(heir)
        heir.turn, lane.turn = Turn(False), Turn(False)
        if not alive:  # it comes back, and gets the role back
            await lane.start()
            assert await play(lane)
            lane.turn = Turn(True, 3, 3)
            assert await play(lane)
            await lane.stop()
        await heir.stop()
        _judge(point, lane.chat, [lane, heir], left_alone=at in {told, told + 1})


def _judge(
    point: str, chat: MemoryChat, lanes: list[ChatLane], *, left_alone: bool = False
) -> None:
    """One freeze, one note, one answer each; a kill around an answer may give it twice."""
    freezes = {one.id for lane in lanes for one in lane.state.freezes.freezes}
    assert len(freezes) == 1, point
    told = [event for lane in lanes for event in lane.events]
    assert len({event.data["id"] for event in told if event.type == "freeze.added"}) <= 1, point
    assert len({event.id for event in told if event.type == "chat.noted"}) == 1, point
    titles = [one.partition("|")[0] for one in words(chat)]
    assert chat.answered.keys() == {"tap-1"}, point
    if left_alone:  # the one moment that a take-over cannot tell from another lane's reading
        assert set(titles) <= {"Stop", "Status"}, point
        return
    assert set(titles) == {"Stop", "Status"}, point
    assert len(titles) <= 3, (point, titles)
