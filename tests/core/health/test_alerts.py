"""Alerts are kept by urgency: nothing urgent is pushed out by what is less so, nor by one lane."""

from __future__ import annotations

from allegro.core.health import codes
from allegro.core.health.alerts import (
    LANE_SHARE,
    MOST,
    Alert,
    Key,
    by_severity,
    raised,
    sentence_of,
)
from allegro.core.health.codes import Code, Severity

LESS = (codes.WATCH, codes.UNREAD, codes.PEER_BACK)


def hold(held: dict[Key, Alert], code: Code, lane: str, subject: str, now_s: float) -> None:
    alert, gone = raised(held, code, subject, lane, {}, now_s)
    for key in gone:
        del held[key]
    held[alert.key] = alert


def test_a_flood_of_less_urgent_alerts_hides_no_critical_one() -> None:
    held: dict[Key, Alert] = {}
    hold(held, codes.WRITE_FOREIGN, "a", "made under our name", 1.0)
    for n in range(5_000):
        hold(held, LESS[n % 3], f"lane {n % 9}", f"failing {n}", 2.0 + n)
    assert by_severity(held.values())[0].subject == "made under our name"
    assert all(
        sum(one.severity is severity for one in held.values()) <= MOST for severity in Severity
    )


def test_a_lane_pushes_out_its_own_alerts_only() -> None:
    held: dict[Key, Alert] = {}
    for n in range(10):
        hold(held, codes.WATCH, "honest", f"told {n}", float(n))
    for n in range(5_000):
        hold(held, codes.WATCH, "thief", f"told {n}", 100.0 + n)
    lanes = [one.lane for one in held.values()]
    assert lanes.count("honest") == 10
    assert lanes.count("thief") == LANE_SHARE


def test_where_all_lanes_are_full_the_one_with_most_gives_way() -> None:
    held: dict[Key, Alert] = {}
    for n in range(MOST - 3 * LANE_SHARE):
        hold(held, codes.WATCH, "quiet", f"told {n}", float(n))
    for lane in ("b", "c", "d"):
        for n in range(LANE_SHARE):
            hold(held, codes.WATCH, lane, f"told {n}", 100.0 + n)
    hold(held, codes.WATCH, "", "the house's own", 1_000.0)
    hold(held, codes.WATCH, "late", "told", 1_001.0)
    assert {one.lane for one in held.values()} == {"quiet", "b", "c", "d", "", "late"}
    assert len(held) == MOST


def test_a_repeat_is_counted_keeps_its_first_time_and_its_newest_values() -> None:
    held: dict[Key, Alert] = {}
    for at_s in (1.0, 5.0, 9.0):
        alert, _ = raised(held, codes.LANE_SILENT, "a", "", {"since": at_s}, at_s)
        held[alert.key] = alert
    (alert,) = held.values()
    assert (alert.first_s, alert.last_s, alert.count) == (1.0, 9.0, 3)
    assert alert.sentence == "lane a is silent since 9.0"


def test_the_severity_of_an_alert_is_that_of_its_code() -> None:
    alert, _ = raised({}, codes.WRITE_FOREIGN, "x", "", {}, 1.0)
    assert alert.severity is Severity.P0


def test_a_foreign_value_with_braces_stays_a_value() -> None:
    sentence = sentence_of(codes.FROZEN, "{reason}", "", {"reason": "{lane.__class__}"})
    assert sentence == "frozen by {reason}: {lane.__class__}"


def test_a_code_that_is_not_known_shows_its_subject() -> None:
    alert = Alert("from.a.newer", "a", "what it was", Severity.P1, {}, 1.0, 1.0)
    assert alert.sentence == "what it was"
