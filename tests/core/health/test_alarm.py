"""From facts to notices: who is told what, when, how often, and when not."""

from __future__ import annotations

import datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allegro.core.health import codes
from allegro.core.health.alarm import owed
from allegro.core.health.alert_acts import Acknowledge, Maintain, Snooze
from allegro.core.health.alert_state import Maintenance, Rules, Told
from allegro.core.health.codes import CODES, Code, Severity
from allegro.core.health.codes.code import Way
from allegro.core.health.days import DayWindow
from allegro.core.health.delivery.notices import Kind
from tests.core.health.machine import BERLIN, NOON, Stage, key

P0, P1, P2, P3 = codes.STORES, codes.LANE_DISK, codes.ARCHIVE_GAPS, codes.SWAP
DAY_S = 86_400.0
TABLE = [
    one
    for one in CODES.values()
    if not one.clears and not one.is_shown_only and one is not codes.CHANNELS
]


@pytest.mark.parametrize("code", TABLE, ids=[one.code for one in TABLE])
def test_each_code_is_told_after_its_grace_and_within_its_time_and_so_is_its_end(
    code: Code,
) -> None:
    stage = Stage()
    stage.fact(code, "bad")
    first = [at_s - NOON for at_s, _ in stage.notices]
    stage.wait(DAY_S, 20.0)
    ((told_s, notice), *_) = stage.notices
    assert code.grace_s <= told_s - NOON <= max(code.escalation.within_s, 0.0)
    assert first == ([0.0] if code.severity is Severity.P0 else [])
    assert notice.kind is (Kind.DIGEST if code.severity is Severity.P3 else Kind.ALARM)
    assert (notice.severity, notice.keys) == (code.severity, (key(code),))
    stage.fact(code, "ok")
    ends = [one.kind for one in stage.wait(2 * 3600)]
    assert ends == ([] if code.severity is Severity.P3 else [Kind.RECOVERY])
    assert stage.wait(3 * DAY_S, 600.0) == []
    assert stage.state.alerts == ()


def test_what_is_well_within_its_grace_is_never_told() -> None:
    stage = Stage()
    stage.fact(P1, "bad")
    stage.wait(59)
    stage.fact(P1, "ok")
    assert stage.wait(DAY_S, 60.0) == []


def test_the_way_of_a_notice_is_that_of_its_severity() -> None:
    stage = Stage()
    for code in (P0, P1):
        stage.fact(code, "bad")
    stage.wait(60)
    assert [(one.severity, one.way) for _, one in stage.notices] == [
        (Severity.P0, Way.EVERY),
        (Severity.P1, Way.FIRST),
    ]
    assert stage.notices[1][1].by_s == NOON + 900


def test_a_p0_is_told_again_every_five_minutes_until_it_is_acknowledged() -> None:
    stage = Stage()
    stage.fact(P0, "bad")
    assert [one.kind for one in stage.wait(1800)] == [Kind.REMINDER] * 6
    stage.act(Acknowledge(key(P0)))
    assert stage.wait(12 * 3600) == []


def test_an_acknowledgement_of_a_trouble_that_lasts_ends_after_a_day() -> None:
    stage = Stage()
    stage.fact(P1, "bad")
    stage.wait(120)
    stage.act(Acknowledge(key(P1)))
    assert [one.kind for one in stage.wait(DAY_S + 60)] == [Kind.REMINDER]


def test_an_unknown_counts_one_severity_less_and_a_warning_is_p3() -> None:
    stage = Stage()
    stage.fact(P0, "unknown", "a")
    stage.fact(P1, "unknown", "b")
    stage.fact(P1, "warn", "c")
    assert [stage.alert(code, subject).severity.value for code, subject in
            ((P0, "a"), (P1, "b"), (P1, "c"))] == ["P1", "P2", "P3"]  # fmt: skip


def test_a_severity_that_rises_is_told_anew_and_never_falls_while_the_trouble_lasts() -> None:
    stage = Stage()
    stage.fact(P0, "unknown")
    stage.wait(60)
    stage.fact(P0, "bad")
    stage.fact(P0, "unknown")
    assert [one.severity.value for _, one in stage.notices] == ["P1", "P0"]
    assert stage.alert(P0).severity is Severity.P0


def test_nobody_reads_that_something_is_over_before_a_channel_proved_its_alarm() -> None:
    stage = Stage()
    stage.is_mute = True
    stage.fact(P1, "bad")
    stage.wait(120)
    stage.fact(P1, "ok")
    stage.wait(2 * DAY_S, 300.0)
    assert stage.kinds() == ["alarm"]
    stage.is_mute = False
    assert [one.kind for one in stage.wait(60)] == [Kind.RECOVERY]


def test_while_no_channel_works_one_alarm_waits_and_no_reminders_pile_up() -> None:
    stage = Stage()
    stage.is_mute = True
    stage.fact(P0, "bad")
    for _ in range(20):
        stage.fact(P0, "ok")
        stage.wait(120)
        stage.fact(P0, "bad")
        stage.wait(7200, 60.0)
    assert stage.kinds() == ["alarm"]


@pytest.mark.parametrize("code", [P0, P1, P2])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_500_flaps_in_an_hour_are_three_messages_at_most_and_one_at_least(
    code: Code, share: float
) -> None:
    stage = Stage()
    for _ in range(500):
        stage.fact(code, "bad")
        stage.now_s += 7.2 * share
        stage.fact(code, "ok")
        stage.now_s += 7.2 * (1 - share)
    stage.wait(DAY_S, 60.0)
    assert 2 <= len(stage.notices) <= 3
    assert stage.kinds()[0] == "alarm"
    assert stage.kinds()[-1] == "recovery"


def test_a_flapping_trouble_is_over_only_after_a_quarter_of_an_hour_of_calm() -> None:
    stage = Stage()
    for _ in range(20):
        stage.fact(P1, "bad")
        stage.now_s += 10
        stage.fact(P1, "ok")
        stage.now_s += 50
    assert stage.wait(840) == []
    assert [one.kind for one in stage.wait(60)] == [Kind.RECOVERY]


def test_the_cooldown_after_a_recovery_delays_the_next_alarm_and_does_not_swallow_it() -> None:
    stage = Stage()
    stage.fact(P1, "bad")
    stage.wait(60)
    stage.fact(P1, "ok")
    (recovery,) = stage.wait(60)
    stage.fact(P1, "bad")
    assert stage.wait(870) == []
    assert recovery.kind is Kind.RECOVERY
    assert [one.kind for one in stage.wait(60)] == [Kind.ALARM]


def quiet() -> Rules:
    return Rules(BERLIN, quiet=DayWindow(22 * 60, 7 * 60))


def at(text: str) -> float:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


def test_quiet_hours_hold_back_p2_and_p3_alone_and_their_end_tells_all_in_one() -> None:
    stage = Stage(quiet(), at("2026-06-01T23:00"))
    for code in (P0, P1, P3):
        stage.fact(code, "bad")
    stage.fact(P2, "bad", "still")
    stage.fact(P2, "bad", "over")
    stage.wait(3600)
    stage.fact(P2, "ok", "over")
    stage.wait(7 * 3600 - 60)
    assert {one.severity.value for _, one in stage.notices} == {"P0", "P1"}
    assert {one.subject for one in owed(stage.state)} == {"x", "still", "over"}
    (digest,) = (one for one in stage.wait(120) if one.kind is Kind.DIGEST)
    assert digest.severity is Severity.P2
    ended = {line.subject: bool(line.until_s) for line in digest.lines}
    assert ended == {"x": False, "still": False, "over": True}


def test_a_report_that_listed_what_is_owed_spares_the_digest() -> None:
    stage = Stage()
    stage.fact(P3, "bad")
    stage.wait(3600)
    stage.step(reported=[one.key for one in owed(stage.state)])
    assert stage.wait(3 * DAY_S, 300.0) == []
    stage.fact(P3, "ok")
    assert stage.wait(3 * DAY_S, 300.0) == []
    assert stage.state.alerts == ()


def test_a_snooze_has_an_end_and_what_still_holds_is_told_then() -> None:
    stage = Stage()
    stage.fact(P1, "bad")
    stage.act(Snooze(key(P1), NOON + 7200))
    assert stage.wait(7199) == []
    assert [one.kind for one in stage.wait(60)] == [Kind.ALARM]


@pytest.mark.parametrize(
    ("window", "is_held"),
    [
        (Maintenance("w", NOON, NOON + 3600), True),
        (Maintenance("w", NOON, NOON + 3600, code="lane"), True),
        (Maintenance("w", NOON, NOON + 3600, code="lan"), False),
        (Maintenance("w", NOON, NOON + 3600, lane="vps"), True),
        (Maintenance("w", NOON, NOON + 3600, lane="other"), False),
        (Maintenance("w", NOON, NOON + 3600, subject="other"), False),
        (Maintenance("w", NOON + 1800, NOON + 3600), False),
    ],
)
def test_a_maintenance_window_covers_what_it_names_while_it_is_open(
    window: Maintenance, is_held: bool
) -> None:
    stage = Stage()
    stage.act(Maintain(window))
    stage.fact(P1, "bad", lane="vps")
    assert bool(stage.wait(1200)) != is_held
    stage.wait(3600)
    assert stage.kinds()[0] == "alarm"
    assert stage.state.maintenance == ()


def test_a_p0_is_held_back_only_by_a_window_that_names_its_code() -> None:
    for code, is_held in (("", False), ("house", False), (P0.code, True)):
        stage = Stage()
        stage.act(Maintain(Maintenance("w", NOON, NOON + 3600, code=code)))
        assert bool(stage.fact(P0, "bad")) != is_held


def test_a_parents_trouble_hushes_its_children_and_counts_them() -> None:
    stage = Stage()
    stage.fact(codes.FORGE, "bad", "", "vps")
    for repository in ("a", "b"):
        stage.fact(codes.WATCH, "bad", repository, "vps")
    stage.wait(3600)
    ((_, alarm),) = stage.notices
    assert (alarm.keys, alarm.hushed) == ((key(codes.FORGE, "", "vps"),), 2)


def test_a_child_that_outlives_its_parents_trouble_has_a_grace_of_its_own_then() -> None:
    stage = Stage()
    stage.fact(codes.FORGE, "bad", "", "vps")
    stage.fact(codes.WATCH, "bad", "a", "vps")
    stage.wait(3600)
    stage.fact(codes.FORGE, "ok", "", "vps")
    well_s = stage.now_s
    stage.wait(300)
    (_, (over_s, recovery), (told_s, alarm)) = stage.notices
    assert (recovery.kind, recovery.lines[0].code) == (Kind.RECOVERY, "forge.reachable")
    assert (alarm.kind, alarm.lines[0].code) == (Kind.ALARM, "forge.watch")
    assert well_s < over_s < told_s
    assert told_s >= over_s + codes.WATCH.grace_s - 30


def test_the_trouble_of_one_lane_says_nothing_about_another() -> None:
    stage = Stage()
    stage.fact(codes.FORGE, "bad", "", "a")
    stage.fact(codes.WATCH, "bad", "repository", "b")
    stage.fact(codes.LANE_LINK, "bad", "a")
    stage.fact(codes.LANE_DOCTOR, "bad", "b")
    stage.wait(600)
    told = {notice.lines[0].code for _, notice in stage.notices}
    assert {"forge.watch", "lane.doctor"} <= told


def test_many_alerts_of_one_code_at_one_moment_are_one_notice() -> None:
    stage = Stage()
    for n in range(50):
        stage.fact(P1, "bad", f"lane {n}")
    (notice,) = stage.wait(60)
    assert (notice.count, len(notice.lines)) == (50, 20)


def test_an_occurrence_is_told_at_once_again_until_acknowledged_and_has_no_recovery() -> None:
    stage = Stage()
    (alarm,) = stage.raised(codes.WRITE_FOREIGN)
    assert alarm.kind is Kind.ALARM
    assert {one.kind for one in stage.wait(3 * DAY_S, 300.0)} == {Kind.REMINDER}
    stage.act(Acknowledge(key(codes.WRITE_FOREIGN)))
    assert stage.wait(3 * DAY_S, 300.0) == []
    assert [one.kind for one in stage.raised(codes.WRITE_FOREIGN)] == [Kind.ALARM]


def test_an_occurrence_that_is_no_p0_is_over_after_a_day() -> None:
    stage = Stage()
    stage.raised(codes.RECEIPT_SECOND)
    stage.wait(3 * DAY_S, 300.0)
    assert set(stage.kinds()) == {"alarm", "reminder"}
    assert stage.state.alerts == ()


def test_a_code_that_says_back_ends_what_it_clears_and_is_no_alarm_itself() -> None:
    stage = Stage()
    stage.raised(codes.LANE_SILENT, "vps")
    stage.raised(codes.LANE_BACK, "vps")
    assert [one.kind for one in stage.wait(120)] == [Kind.RECOVERY]
    stage.raised(codes.LANE_BACK, "other")
    assert stage.wait(DAY_S, 60.0) == []


def test_advice_calls_nobody_and_an_occurrence_of_its_code_does() -> None:
    stage = Stage()
    for code in (codes.TOKEN_REACH, codes.FROZEN):
        stage.fact(code, "bad")
    assert stage.wait(2 * DAY_S, 60.0) == []
    assert stage.state.alerts == ()
    assert [one.kind for one in stage.raised(codes.FROZEN, "telegram:77")] == [Kind.ALARM]
    stage.raised(codes.THAWED, "telegram:77")
    assert [one.kind for one in stage.wait(120)] == [Kind.RECOVERY]


def test_a_lane_that_froze_with_the_fleet_is_no_alarm_of_its_own() -> None:
    stage = Stage()
    assert [one.keys[0][0] for one in stage.raised(codes.FROZEN, "telegram:77")] == ["fleet.frozen"]
    assert stage.raised(codes.LANE_FROZE, "vps") == []
    assert stage.wait(300) == []
    stage.raised(codes.THAWED, "telegram:77")
    stage.raised(codes.LANE_THAWED, "vps")
    assert [one.kind for one in stage.wait(300)] == [Kind.RECOVERY]


def test_who_is_not_the_teller_makes_no_notice_and_tells_all_once_it_is() -> None:
    stage = Stage(Rules(BERLIN, is_teller=False))
    stage.fact(P0, "bad")
    stage.fact(P1, "bad")
    stage.wait(3600)
    assert stage.notices == []
    stage.rules = Rules(BERLIN)
    assert len(stage.wait(30)) == 2


def test_what_another_node_told_is_not_told_twice_and_its_end_is_told_here() -> None:
    stage = Stage(Rules(BERLIN, is_teller=False))
    stage.fact(P1, "bad")
    stage.wait(120)
    stage.told(Told(key(P1), Kind.ALARM, "vps-1", stage.now_s))
    stage.rules = Rules(BERLIN)
    assert stage.wait(3600) == []
    stage.fact(P1, "ok")
    assert [one.kind for one in stage.wait(120)] == [Kind.RECOVERY]


def test_what_the_outbox_gave_up_is_told_in_a_digest() -> None:
    stage = Stage()
    stage.is_mute = True
    stage.fact(P2, "bad")
    (alarm,) = stage.wait(300)
    (digest,) = stage.step(dropped=[alarm.id])
    assert (digest.kind, digest.keys) == (Kind.DIGEST, (key(P2),))


def test_the_trouble_of_all_channels_goes_by_none_and_hushes_that_of_each() -> None:
    stage = Stage()
    stage.fact(codes.CHANNELS, "bad", "")
    stage.fact(codes.CHANNEL, "bad", "telegram")
    assert stage.wait(3600) == []
    stage.fact(codes.CHANNELS, "ok", "")
    (notice,) = stage.wait(180)
    assert (notice.lines[0].code, notice.avoid) == ("channel.failing", "telegram")


@pytest.mark.parametrize("back_s", [60.0, 3600.0, 400 * DAY_S])
def test_a_wall_clock_put_back_delays_nothing(back_s: float) -> None:
    stage = Stage()
    stage.fact(P0, "bad")
    stage.wait(290, 10.0)
    stage.now_s -= back_s
    assert [one.kind for one in stage.wait(30, 10.0)] == [Kind.REMINDER]


def test_foreign_words_stay_lines_of_their_own_and_are_cut() -> None:
    stage = Stage()
    (notice,) = stage.fact(P0, "bad", "{lane.__class__}" + "x" * 1000)
    (line,) = notice.lines
    assert len(line.subject) == 300
    assert len(line.sentence) <= 500
    assert (line.title, line.code) == (P0.title, P0.code)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from([P0, P1, P2, P3, codes.FORGE, codes.WATCH, codes.LANES]),
        st.sampled_from(["bad", "warn", "unknown", "ok", "raise", "ack", "snooze", "mute", "hear"]),
        st.sampled_from(["a", "b"]),
        st.floats(1, 4000),
    ),
    max_size=25,
)


@given(events=EVENTS)
def test_however_things_come_the_state_is_whole_and_nobody_hears_an_end_first(
    events: list[tuple[Code, str, str, float]],
) -> None:
    stage = Stage(quiet())
    for code, what, subject, wait_s in events:
        if what in ("mute", "hear"):
            stage.is_mute = what == "mute"
        elif what == "raise":
            stage.raised(code, subject)
        elif what in ("ack", "snooze") and any(
            one.key == key(code, subject) for one in stage.state.alerts
        ):
            named = key(code, subject)
            snooze = Snooze(named, stage.now_s + 900)
            stage.act(Acknowledge(named) if what == "ack" else snooze)
        elif what in ("bad", "warn", "unknown", "ok"):
            stage.fact(code, what, subject)  # type: ignore[arg-type]
        stage.wait(wait_s, 300.0)
    told: set[object] = set()
    for _, notice in stage.notices:
        if notice.kind in (Kind.ALARM, Kind.DIGEST):
            told |= set(notice.keys)
        assert set(notice.keys) <= told
    ids = [notice.id for _, notice in stage.notices]
    assert len(ids) == len(set(ids))
    assert (
        msgspec.json.decode(msgspec.json.encode(stage.state), type=type(stage.state)) == stage.state
    )


@given(events=EVENTS)
def test_what_still_holds_at_the_end_was_told_or_waits_for_a_reason_that_ends(
    events: list[tuple[Code, str, str, float]],
) -> None:
    stage = Stage(quiet())
    bad: dict[object, Code] = {}
    for code, what, subject, wait_s in events:
        if what == "bad":
            stage.fact(code, "bad", subject)
            bad[key(code, subject)] = code
        elif what == "ok":
            stage.fact(code, "ok", subject)
            bad.pop(key(code, subject), None)
        stage.wait(wait_s, 300.0)
    stage.wait(3 * DAY_S, 900.0)
    told = {one for _, notice in stage.notices for one in notice.keys}
    hushed = {named for named, code in bad.items() if code is codes.WATCH and any(
        other is codes.FORGE for other in bad.values())}  # fmt: skip
    assert set(bad) - hushed <= told
