"""A notice is stored before it is sent, proven by a channel, doubled at most once by a kill."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allegro.core.health import codes
from allegro.core.health.alerts import Key
from allegro.core.health.codes import Severity
from allegro.core.health.codes.code import Way
from allegro.core.health.delivery.channel_facts import channel_facts, is_deaf
from allegro.core.health.delivery.notices import Kind, Notice
from allegro.core.health.delivery.outbox import (
    MAX_ENTRIES,
    Failure,
    Outbox,
    Sending,
    configured,
    gone_taken,
    resumed,
    with_notice,
)
from allegro.core.health.delivery.sending import STRANDED_S, begun, failed, noted, sendings

GONE = Failure("no answer")
REFUSED = Failure("token", is_permanent=True)
LATER = 10_000.0


def notice(
    name: str,
    *,
    way: Way = Way.FIRST,
    severity: Severity = Severity.P1,
    kind: Kind = Kind.ALARM,
    keys: tuple[Key, ...] = (),
    avoid: str = "",
) -> Notice:
    keys = keys or (("code", "", name),)
    return Notice(name, kind, severity, way, keys, (), 0.0, LATER, 0, avoid)


class Post:
    """An outbox on a disk, with channels that work unless they are named in `down`."""

    def __init__(self, *channels: str) -> None:
        self.outbox = configured(Outbox(), channels)
        self.now_s = 0.0
        self.down: dict[str, Failure] = {}
        self.arrived: list[tuple[str, str]] = []
        self.since: list[float] = []

    def put(self, *notices: Notice) -> None:
        for one in notices:
            self.outbox = with_notice(self.outbox, one)

    def restart(self) -> None:
        stored = msgspec.json.encode(self.outbox)
        self.outbox = resumed(msgspec.json.decode(stored, type=Outbox))

    def send(self, *, kill: str = "") -> None:
        """Do what is due; `kill` "before" or "after" the sending ends the program there."""
        for sending in sendings(self.outbox, self.now_s):
            self.outbox = begun(self.outbox, sending)
            if kill == "before":
                return self.restart()
            failure = self.down.get(sending.channel)
            if failure is None:
                self.arrived.append((sending.notice.id, sending.channel))
                self.since.append(sending.down_since_s)
            if kill == "after":
                return self.restart()
            if failure is None:
                self.outbox = noted(self.outbox, sending, "7", self.now_s)
            else:
                self.outbox = failed(self.outbox, sending, failure, self.now_s, lambda: 1.0)
        return None

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.now_s += 1.0
            self.send()


def test_a_notice_goes_by_the_first_channel_and_by_no_other() -> None:
    post = Post("telegram", "mail")
    post.put(notice("a"))
    post.wait(100)
    assert post.arrived == [("a", "telegram")]
    assert [(one.channel, one.message) for one in post.outbox.sent] == [("telegram", "7")]
    assert post.outbox.entries == ()


def test_a_notice_of_every_channel_goes_by_each_once() -> None:
    post = Post("telegram", "mail")
    post.put(notice("a", way=Way.EVERY))
    post.wait(100)
    assert post.arrived == [("a", "telegram"), ("a", "mail")]


@pytest.mark.parametrize("outage_s", [1, 600, 2 * 86_400])
def test_what_could_not_be_sent_arrives_within_two_minutes_of_the_channels_return(
    outage_s: int,
) -> None:
    post = Post("telegram")
    post.down["telegram"] = GONE
    post.put(notice("a"), notice("b"))
    post.wait(outage_s)
    assert post.arrived == []
    post.restart()
    post.down = {}
    post.wait(120)
    assert sorted(post.arrived) == [("a", "telegram"), ("b", "telegram")]
    assert post.since == [1.0, 0.0], "the first message says since when the channel was down"


def test_a_channel_that_fails_lets_the_next_one_carry_the_notice() -> None:
    post = Post("telegram", "mail")
    post.down["telegram"] = GONE
    post.put(notice("a"))
    post.wait(10)
    assert post.arrived == [("a", "mail")]


def test_a_late_notice_tries_every_channel() -> None:
    post = Post("telegram", "mail")
    post.down = {"telegram": GONE, "mail": GONE}
    post.put(notice("a"))
    post.wait(5)
    post.now_s = LATER + 1
    assert {one.channel for one in sendings(post.outbox, post.now_s)} == {"telegram", "mail"}


@pytest.mark.parametrize("kill", ["before", "after"])
def test_a_kill_around_a_sending_loses_nothing_and_doubles_at_most_once(kill: str) -> None:
    post = Post("telegram")
    post.put(notice("a"))
    post.send(kill=kill)
    (sending,) = sendings(post.outbox, post.now_s)
    assert sending.is_repeat
    post.wait(10)
    assert post.arrived.count(("a", "telegram")) == (2 if kill == "after" else 1)


def test_one_sending_at_a_time_is_under_way_on_a_channel() -> None:
    post = Post("telegram")
    post.put(notice("a"), notice("b"))
    (sending,) = sendings(post.outbox, 1.0)
    assert sendings(begun(post.outbox, sending), 1.0) == []


def test_the_more_urgent_goes_first_then_the_older() -> None:
    post = Post("telegram")
    post.put(notice("a", severity=Severity.P2), notice("b"), notice("c"))
    post.put(notice("d", severity=Severity.P0, way=Way.EVERY))
    post.wait(10)
    assert [name for name, _ in post.arrived] == ["d", "b", "c", "a"]


def test_a_permanent_error_ends_the_attempt_and_is_a_fact_to_be_told_by_another_channel() -> None:
    post = Post("telegram", "mail")
    post.down["telegram"] = REFUSED
    post.put(notice("a"))
    post.wait(3)
    assert post.arrived == [("a", "mail")]
    bad = [one for one in channel_facts(post.outbox, post.now_s) if one.state == "bad"]
    assert [(one.code, one.subject) for one in bad] == [(codes.CHANNEL, "telegram")]
    assert "token" in bad[0].detail
    post.put(notice("b", avoid="telegram"))
    post.down = {}
    post.wait(100)
    assert post.arrived[-1] == ("b", "mail")


def test_a_notice_about_a_channel_goes_by_another_also_while_that_channel_seems_well() -> None:
    post = Post("telegram", "mail")
    post.put(notice("a", avoid="telegram"), notice("b", way=Way.EVERY, avoid="telegram"))
    post.wait(1)
    assert ("a", "mail") in post.arrived
    assert post.arrived[0] == ("a", "mail")


def test_what_is_on_its_way_by_one_channel_waits_for_its_answer_before_another_is_tried() -> None:
    post = Post("telegram", "mail")
    post.down = {"telegram": GONE, "mail": GONE}
    post.put(notice("a"))
    post.wait(5)
    post.now_s += 60
    sending = sendings(post.outbox, post.now_s)[0]
    assert sendings(begun(post.outbox, sending), post.now_s) == []


def test_a_notice_about_the_only_channel_goes_by_it_all_the_same() -> None:
    post = Post("telegram")
    post.put(notice("a", avoid="telegram"))
    post.wait(3)
    assert post.arrived == [("a", "telegram")]


def test_where_all_attempts_have_ended_they_begin_anew_each_hour_or_when_configured() -> None:
    post = Post("telegram")
    post.down["telegram"] = REFUSED
    post.put(notice("a"))
    post.wait(200)
    post.down = {}
    post.wait(100)
    assert post.arrived == []
    post.now_s += STRANDED_S
    post.wait(2)
    assert post.arrived == [("a", "telegram")]
    post.down["telegram"] = REFUSED
    post.put(notice("b"))
    post.wait(70)
    post.down = {}
    post.outbox = configured(post.outbox, ["telegram"])
    post.wait(70)
    assert post.arrived[-1] == ("b", "telegram")


def test_a_notice_that_is_refused_for_itself_does_not_block_its_channel() -> None:
    post = Post("telegram", "mail")
    post.put(notice("a"))
    (sending,) = sendings(post.outbox, 1.0)
    refused = Failure("too long", is_permanent=True, is_of_notice=True)
    post.outbox = failed(begun(post.outbox, sending), sending, refused, 1.0, lambda: 1.0)
    post.put(notice("b"))
    post.wait(3)
    assert sorted(post.arrived) == [("a", "mail"), ("b", "telegram")]


def test_one_notice_that_always_fails_lets_the_others_through() -> None:
    post = Post("telegram")
    post.put(notice("bad", severity=Severity.P0, way=Way.EVERY), notice("b"), notice("c"))
    for _ in range(600):
        post.now_s += 1.0
        for sending in sendings(post.outbox, post.now_s):
            if sending.notice.id == "bad":
                post.outbox = failed(post.outbox, sending, GONE, post.now_s, lambda: 1.0)
            else:
                post.outbox = noted(post.outbox, sending, "", post.now_s)
    assert {one.notice for one in post.outbox.sent} == {"b", "c"}


def test_a_channel_that_asks_to_be_left_alone_is_left_alone() -> None:
    post = Post("telegram")
    post.down["telegram"] = Failure("429", retry_after_s=300.0)
    post.put(notice("a"))
    post.wait(1)
    post.down = {}
    post.wait(299)
    assert post.arrived == []
    post.wait(2)
    assert post.arrived == [("a", "telegram")]


def test_a_wait_that_a_clock_put_back_makes_endless_is_not_believed() -> None:
    post = Post("telegram")
    post.now_s = 1e9
    post.down["telegram"] = GONE
    post.put(notice("a"))
    post.send()
    post.now_s, post.down = 10.0, {}
    post.wait(2)
    assert post.arrived == [("a", "telegram")]


def test_a_newer_notice_of_the_same_alert_replaces_one_that_waits() -> None:
    post = Post("telegram", "mail")
    post.down["mail"] = GONE
    same = (("code", "", "x"),)
    for n in range(50):
        kind = Kind.REMINDER if n else Kind.ALARM
        post.put(notice(f"n{n}", way=Way.EVERY, keys=same, kind=kind))
        post.wait(300)
    assert [name for name, _ in post.arrived] == [f"n{n}" for n in range(50)]
    assert len(post.outbox.entries) == 1
    post.down = {}
    post.wait(120)
    assert [name for name, channel in post.arrived if channel == "mail"] == ["n49"]


def test_a_recovery_goes_only_where_its_alarm_arrived() -> None:
    post = Post("telegram", "mail")
    post.down["mail"] = GONE
    same = (("code", "", "x"),)
    post.put(notice("alarm", way=Way.EVERY, keys=same))
    post.wait(300)
    post.put(notice("over", way=Way.EVERY, keys=same, kind=Kind.RECOVERY))
    post.down = {}
    post.wait(120)
    assert post.arrived == [("alarm", "telegram"), ("over", "telegram")]


def test_the_same_notice_put_twice_is_sent_once() -> None:
    post = Post("telegram")
    post.put(notice("a"), notice("a"))
    post.wait(5)
    post.put(notice("a"))
    post.wait(5)
    assert post.arrived == [("a", "telegram")]


def test_for_room_the_least_severe_goes_and_is_said_to_be_gone() -> None:
    post = Post("telegram")
    post.put(notice("p0", severity=Severity.P0))
    post.put(*(notice(f"p2 {n}", severity=Severity.P2) for n in range(MAX_ENTRIES)))
    assert len(post.outbox.entries) == MAX_ENTRIES
    ids = {one.notice.id for one in post.outbox.entries}
    assert "p0" in ids
    gone, post.outbox = gone_taken(post.outbox)
    assert (gone, gone_taken(post.outbox)[0]) == (("p2 0",), ())
    fact = next(one for one in channel_facts(post.outbox, 1.0) if one.code is codes.OUTBOX)
    assert (fact.state, fact.detail) == ("bad", "1 of P2")
    post.put(notice("told", keys=((codes.OUTBOX.code, "", ""),), severity=Severity.P0))
    post.wait(3)
    fact = next(one for one in channel_facts(post.outbox, 1.0) if one.code is codes.OUTBOX)
    assert fact.state == "ok"


def test_without_a_channel_notices_wait_and_the_fact_says_so() -> None:
    post = Post()
    post.put(notice("a"))
    post.wait(5)
    facts = {one.code.code: one.state for one in channel_facts(post.outbox, 1.0)}
    assert facts[codes.NO_CHANNEL.code] == "warn"
    assert facts[codes.CHANNELS.code] == "ok"
    assert not is_deaf(post.outbox, 1e6)
    post.outbox = configured(post.outbox, ["telegram"])
    post.wait(5)
    assert post.arrived == [("a", "telegram")]


def test_with_every_channel_down_for_a_minute_the_dead_man_call_stops() -> None:
    post = Post("telegram", "mail")
    post.down = {"telegram": GONE, "mail": GONE}
    post.put(notice("a"))
    post.wait(30)
    assert not is_deaf(post.outbox, post.now_s)
    post.wait(60)
    assert is_deaf(post.outbox, post.now_s)
    bad = {one.code for one in channel_facts(post.outbox, post.now_s) if one.state == "bad"}
    assert bad == {codes.CHANNEL, codes.CHANNELS}
    post.down = {}
    post.wait(120)
    assert not is_deaf(post.outbox, post.now_s)


def test_a_channel_taken_out_of_the_configuration_holds_nothing_up() -> None:
    post = Post("telegram", "mail")
    post.down["mail"] = GONE
    post.put(notice("a", way=Way.EVERY))
    post.wait(5)
    post.outbox = configured(post.outbox, ["telegram"])
    assert post.outbox.entries == ()


@given(
    acts=st.lists(
        st.sampled_from(["put", "urgent", "down", "up", "restart", "send", "before", "after"]),
        max_size=60,
    )
)
def test_whatever_happens_everything_put_arrives_and_each_kill_doubles_once_at_most(
    acts: list[str],
) -> None:
    post = Post("telegram", "mail")
    names: list[str] = []
    kills = 0
    for act in acts:
        post.now_s += 7.0
        if act in ("put", "urgent"):
            names.append(f"n{len(names)}")
            post.put(notice(names[-1], way=Way.EVERY if act == "urgent" else Way.FIRST))
        elif act == "down":
            post.down = {"telegram": GONE} if len(names) % 2 else {"telegram": GONE, "mail": GONE}
        elif act == "up":
            post.down = {}
        elif act == "restart":
            post.restart()
        else:
            kills += act == "after"
            post.send(kill="" if act == "send" else act)
    post.down = {}
    post.wait(400)
    assert {name for name, _ in post.arrived} == set(names)
    assert len(post.arrived) - len(set(post.arrived)) <= kills
    assert post.outbox.entries == ()


def test_an_answer_about_a_notice_that_is_gone_changes_the_channel_alone() -> None:
    post = Post("telegram")
    stray = Sending(notice("stray"), "telegram")
    after = failed(post.outbox, stray, GONE, 1.0, lambda: 1.0)
    assert after.routes[0].since_s == 1.0
    assert noted(after, stray, "", 2.0).routes[0].since_s == 0.0
