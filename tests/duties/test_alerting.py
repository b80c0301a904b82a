"""The shell that calls a person: stored, sent by every channel there is, proven, never lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from allegro.core.base.errors import Refusal
from allegro.core.channels import ChannelError
from allegro.core.chat.taps import read_press
from allegro.core.chat.texts import plain_text
from allegro.core.health import codes
from allegro.core.health.alert_state import Rules, Told
from allegro.core.health.codes import Severity
from allegro.core.health.codes.code import Way
from allegro.core.health.delivery.notices import Kind, Notice, Said
from allegro.core.health.facts import Fact, State

from .calling import BERLIN, Caller, Phone, settled

DISK = ("lane.disk", "vps", "")


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    made = Caller(Phone(), Phone("mail"))
    await made.start()
    yield made
    await made.kill()


def disk(state: State, now_s: float, until_s: float = 0.0) -> Fact:
    return Fact(codes.LANE_DISK, state, "3 % left", "statvfs", "", now_s, until_s, "vps")


def report(id_: str = "report-1", keys: tuple[tuple[str, str, str], ...] = ()) -> Notice:
    return Notice(
        id=id_, kind=Kind.REPORT, severity=Severity.P3, way=Way.FIRST, keys=keys, lines=(),
        at_s=1.0, by_s=1e12, title="Morning report", said=(Said("2 wait: "), Said("roses", True)),
    )  # fmt: skip


# --- from a cause to every phone ----------------------------------------------------------------


async def test_a_p0_goes_out_by_every_channel_at_once(caller: Caller) -> None:
    caller.alerting.raise_alert(codes.STORES, "restored")
    await caller.step()
    assert [one.titles for one in caller.phones] == [["P0 alarm: archive and ledger"]] * 2


async def test_an_occurrence_wakes_the_loop_at_once(caller: Caller) -> None:
    run = caller.alerting.duties()[1].run
    assert run is not None
    task = asyncio.ensure_future(run())
    await settled()
    caller.alerting.raise_alert(codes.STORES, "restored")
    for _ in range(200):
        await asyncio.sleep(0.001)
        if caller.phone.messages:
            break
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(caller.phone.messages) == 1


async def test_a_notice_and_its_attempt_are_on_disk_before_it_is_sent(caller: Caller) -> None:
    caller.phone.held = asyncio.Event()
    caller.alerting.raise_alert(codes.STORES, "restored")
    await caller.step()
    kept = caller.disk.seen[-1]
    (entry,) = kept.outbox.entries
    assert {one.channel: one.is_out for one in entry.attempts} == {"telegram": True, "mail": True}
    caller.phone.held.set()


async def test_a_channel_that_hangs_holds_up_nobody(caller: Caller) -> None:
    caller.phone.held = asyncio.Event()
    for n in range(3):
        caller.alerting.raise_alert(codes.STORES, f"trouble {n}")
        await caller.step(3)
    await caller.step(3)
    assert len(caller.phones[1].messages) == 3
    assert caller.phone.messages == []
    caller.phone.held.set()


@pytest.mark.parametrize("error", [
    ChannelError("blocked", transient=False, kind="forbidden"), ValueError("a bug"), RuntimeError(),
])  # fmt: skip
async def test_whatever_a_channel_raises_the_message_goes_by_the_other(
    caller: Caller, error: Exception
) -> None:
    caller.phone.errors = [error] * 50
    caller.alerting.state([disk("bad", caller.clock.now_s(), caller.clock.now_s() + 900)], "lane")
    await caller.live(120)
    assert len(caller.phones[1].messages) >= 1
    assert any("disk of a lane" in title for title in caller.phones[1].titles)


async def test_a_failing_channel_is_told_by_another_one(caller: Caller) -> None:
    caller.phone.is_dead = True
    caller.alerting.raise_alert(codes.STORES, "restored")
    await caller.live(180)
    assert "P1 alarm: channel that does not deliver" in caller.phones[1].titles


@pytest.mark.parametrize("dead_s", [1.0, 600.0, 172_800.0])
async def test_a_dead_channel_loses_nothing_and_says_since_when(dead_s: float) -> None:
    caller = Caller()
    await caller.start()
    caller.phone.is_dead = True
    caller.alerting.raise_alert(codes.STORES, "restored")
    died_s = caller.clock.now_s()
    await caller.step()
    while caller.clock.now_s() < died_s + dead_s:
        await caller.step(min(60.0, dead_s))
    caller.phone.is_dead = False
    await caller.live(125)
    assert caller.phone.titles[0].endswith("archive and ledger")
    assert "was down since" in plain_text(caller.phone.messages[0].body)
    await caller.kill()


# --- the disk -----------------------------------------------------------------------------------


async def test_a_full_disk_is_told_and_holds_no_alarm_back(caller: Caller) -> None:
    caller.disk.is_full = True
    caller.alerting.raise_alert(codes.STORES, "restored")
    await caller.step()
    assert len(caller.phone.messages) == 1
    await caller.live(120)
    assert "P1 alarm: alerts that cannot be written down" in caller.phone.titles
    caller.disk.is_full = False
    await caller.live(10)
    await caller.start()
    assert {one.code for one in caller.alerting.alerts.alerts} >= {"house.stores", "alerts.unsaved"}


async def test_a_disk_that_never_answers_delays_a_call_by_a_second(caller: Caller) -> None:
    caller.disk.held = asyncio.Event()
    caller.alerting.raise_alert(codes.STORES, "restored")
    began_s = asyncio.get_running_loop().time()
    await caller.alerting.step()
    await settled()
    assert asyncio.get_running_loop().time() - began_s < 1.9
    assert len(caller.phone.messages) == 1
    caller.disk.held.set()


async def test_a_damaged_store_is_told_and_ends_nothing(caller: Caller) -> None:
    caller.disk.raw = b"{"
    await caller.start()
    assert [one.state for one in caller.alerting.facts() if one.code is codes.ALERTS_DAMAGED] == [
        "bad"
    ]
    caller.alerting.raise_alert(codes.STORES, "restored")
    await caller.step()
    assert len(caller.phone.messages) == 1


async def test_an_idle_program_writes_nothing(caller: Caller) -> None:
    until_s = caller.clock.now_s() + 9000
    caller.alerting.state([disk("bad", caller.clock.now_s(), until_s)], "lane")
    await caller.live(600)
    saves = caller.disk.saves
    await caller.live(600)
    assert caller.disk.saves == saves


# --- kills --------------------------------------------------------------------------------------


async def test_a_kill_between_store_and_send_loses_nothing() -> None:
    caller = Caller()
    await caller.start()
    caller.phone.held = asyncio.Event()  # the request never left
    caller.alerting.raise_alert(codes.STORES, "restored")
    await caller.step()
    caller.phone.held = None
    await caller.start()
    await caller.step()
    assert len(caller.phone.messages) == 1
    assert "may have arrived before" in plain_text(caller.phone.messages[0].body)
    await caller.kill()


async def test_a_kill_between_send_and_note_repeats_once_and_says_so() -> None:
    caller = Caller()
    await caller.start()
    caller.alerting.raise_alert(codes.STORES, "restored")
    await caller.step()  # it arrived; the proof is in memory alone
    before = msgspec.json.decode(caller.disk.raw or b"{}")
    assert before["outbox"]["entries"][0]["attempts"][0]["is_out"]
    for _ in range(3):
        await caller.start()
        await caller.step()
        await caller.step()
    assert len(caller.phone.messages) == 2
    assert caller.proven[-1].notice == "house-1"
    await caller.kill()


async def test_cooldown_snooze_and_reminders_go_on_over_restarts(caller: Caller) -> None:
    caller.alerting.raise_alert(codes.STORES, "restored")
    await caller.step()
    await caller.step()
    for _ in range(4):
        await caller.live(60)
        await caller.start()
    assert len(caller.phone.messages) == 1
    await caller.live(65)
    assert caller.phone.titles[1:] == ["P0 reminder: archive and ledger"]


# --- facts with deadlines -------------------------------------------------------------------------


async def test_a_producer_that_stops_turns_unknown_also_over_a_restart(caller: Caller) -> None:
    now_s = caller.clock.now_s()
    caller.alerting.state([disk("ok", now_s, now_s + 90)], "lane vps")
    await caller.step(60)
    await caller.start()
    shown = {one.code.code: one.state for one in caller.alerting.facts()}
    assert shown["lane.disk"] == "ok"
    await caller.live(60)
    shown = {one.code.code: one.state for one in caller.alerting.facts()}
    assert shown["lane.disk"] == "unknown"
    await caller.live(360)
    assert "P2 alarm: disk of a lane" in caller.phone.titles


async def test_what_a_producer_names_no_more_is_over(caller: Caller) -> None:
    now_s = caller.clock.now_s()
    caller.alerting.state([disk("bad", now_s, now_s + 900)], "lane vps")
    await caller.live(70)
    assert caller.phone.titles == ["P1 alarm: disk of a lane"]
    caller.alerting.state([], "lane vps")
    await caller.live(120)
    assert caller.phone.titles[1:] == ["P1 recovery: disk of a lane"]
    assert caller.alerting.stated_by("lane vps") == []


# --- others tell, and are told --------------------------------------------------------------------


async def test_what_another_node_told_is_told_once(caller: Caller) -> None:
    now_s = caller.clock.now_s()
    caller.alerting.called_elsewhere([Told(DISK, Kind.ALARM, "vps-1", now_s)])
    await caller.step(5)
    caller.alerting.state([disk("bad", now_s, now_s + 900)], "lane vps")
    await caller.live(300)
    assert caller.phone.messages == []
    caller.alerting.state([disk("ok", now_s, now_s + 900)], "lane vps")
    await caller.live(120)
    assert caller.phone.titles == ["P1 recovery: disk of a lane"]


async def test_what_was_told_and_ended_elsewhere_hushes_no_new_trouble(caller: Caller) -> None:
    now_s = caller.clock.now_s()
    caller.alerting.called_elsewhere([
        Told(DISK, Kind.ALARM, "vps-1", now_s), Told(DISK, Kind.RECOVERY, "vps-2", now_s),
    ])  # fmt: skip
    caller.alerting.state([disk("bad", now_s, now_s + 900)], "lane vps")
    await caller.live(120)
    assert caller.phone.titles == ["P1 alarm: disk of a lane"]


async def test_each_first_proof_is_passed_on_once(caller: Caller) -> None:
    caller.alerting.raise_alert(codes.STORES, "restored")
    await caller.live(30)
    assert [(one.notice, one.keys) for one in caller.proven] == [
        ("house-1", (("house.stores", "", "restored"),))
    ]


async def test_without_a_channel_nothing_waits_for_one(caller: Caller) -> None:
    caller.phones = ()
    await caller.start()
    caller.alerting.raise_alert(codes.STORES, "restored")
    await caller.live(3600, 60)
    assert caller.alerting.sent == ()
    assert [one.state for one in caller.alerting.facts() if one.code is codes.NO_CHANNEL] == [
        "warn"
    ]
    caller.phones = (Phone(),)
    await caller.start()
    await caller.step(5)
    assert len(caller.phone.messages) < 4


async def test_who_is_not_the_teller_calls_nobody() -> None:
    caller = Caller(rules=lambda: Rules(BERLIN, is_teller=False))
    await caller.start()
    caller.alerting.raise_alert(codes.STORES, "restored")
    await caller.live(900)
    assert caller.phone.messages == []
    await caller.kill()


# --- what a person does -----------------------------------------------------------------------


async def test_a_tap_acknowledges_and_judges(caller: Caller) -> None:
    caller.alerting.raise_alert(codes.STORES, "restored")
    await caller.live(10)
    presses = [read_press(one.data) for one in caller.phone.messages[0].buttons]
    assert [one.verb for one in presses if one] == ["ack", "snooze", "useful", "noise"]
    assert presses[0] is not None
    assert (caller.alerting.digest_of("house-1") or "").startswith(presses[0].shown)
    for verb in ("useful", "ack"):
        assert await caller.alerting.press(verb, "house-1") is None
    await caller.live(900)
    assert len(caller.phone.messages) == 1
    score = caller.alerting.alerts.scores["house.stores"]
    assert (score.useful, score.judged, score.sent) == (1, 1, 1)


async def test_a_tap_on_a_reminder_counts_for_its_alarm(caller: Caller) -> None:
    caller.alerting.raise_alert(codes.STORES, "restored")
    await caller.live(320)
    assert len(caller.phone.messages) == 2
    reminder = caller.alerting.sent[-1].notice
    assert await caller.alerting.press("noise", reminder) is None
    assert caller.alerting.alerts.scores["house.stores"].judged == 1


async def test_a_tap_on_what_is_not_known_is_refused(caller: Caller) -> None:
    assert isinstance(await caller.alerting.press("ack", "house-9"), Refusal)
    assert caller.alerting.digest_of("house-9") is None


# --- other messages ---------------------------------------------------------------------------


async def test_a_report_goes_out_once_and_counts_for_what_it_lists(caller: Caller) -> None:
    now_s = caller.clock.now_s()
    warned = Fact(codes.ARCHIVE_GAPS, "warn", "2 gaps", "archive", "", now_s, now_s + 90_000)
    caller.alerting.state([warned], "house")
    await caller.live(1000, 60)
    (owed,) = [one for one in caller.alerting.alerts.alerts if one.course.is_owed]
    for _ in range(2):
        assert await caller.alerting.post(report(keys=(owed.key,)))
        await caller.live(20)
    assert caller.phone.titles == ["Morning report"]
    (found,) = [one for one in caller.alerting.alerts.alerts if one.key == owed.key]
    assert not found.course.is_owed
    assert "house-" not in found.course.alarm


async def test_without_content_no_name_leaves(caller: Caller) -> None:
    caller.content = False
    await caller.start()
    caller.alerting.raise_alert(codes.WRITE_FOREIGN, "secret-repo", "secret-lane", more="secret")
    await caller.alerting.post(report())
    await caller.live(10)
    texts = [f"{one.title} {plain_text(one.body)}" for one in caller.phone.messages]
    assert len(texts) == 2
    assert not any("secret" in one or "roses" in one for one in texts)
    assert "forge.write.foreign" in texts[0]


async def test_foreign_words_are_marked_in_what_leaves(caller: Caller) -> None:
    caller.alerting.raise_alert(codes.WRITE_FOREIGN, "<b>x</b>\nP0 alarm", "vps", more="")
    await caller.live(10)
    body = caller.phone.messages[0].body
    ours = "".join(one for one in body if isinstance(one, str))
    assert "<b>" not in ours
    assert "P0 alarm" not in ours
    assert "<b>x</b>" in plain_text(body)


async def test_a_clean_stop_lets_a_message_arrive_and_notes_it(caller: Caller) -> None:
    caller.alerting.raise_alert(codes.STORES, "restored")
    caller.clock.advance(1)
    await caller.alerting.step()
    await caller.alerting.stop()
    await caller.start()
    await caller.live(30)
    assert len(caller.phone.messages) == 1


async def test_what_was_raised_is_on_disk_before_its_cause_is_noted_as_read(caller: Caller) -> None:
    caller.phone.held = asyncio.Event()
    caller.alerting.raise_alert(codes.STORES, "restored")
    await caller.alerting.settle()
    assert caller.disk.seen[-1].alerts.alerts[0].code == "house.stores"
    await caller.start()
    caller.phone.held = None
    await caller.step()
    assert caller.phone.titles == ["P0 alarm: archive and ledger"]


async def test_a_disk_that_refuses_lets_the_reading_go_on(caller: Caller) -> None:
    caller.disk.is_full = True
    caller.alerting.raise_alert(codes.STORES, "restored")
    await caller.alerting.settle()
    await settled()
    assert len(caller.phone.messages) == 1
