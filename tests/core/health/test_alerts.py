"""Alerts are kept by urgency: nothing urgent is pushed out by what is less so, nor by one lane."""

from __future__ import annotations

from allegro.core.health.alerts import LANE_SHARE, MOST, URGENCIES, Alert, Key, by_urgency, raised


def hold(held: dict[Key, Alert], urgency: str, lane: str, sentence: str, now_s: float) -> None:
    alert, gone = raised(held, urgency, lane, sentence, now_s)
    for key in gone:
        del held[key]
    held[alert.key] = alert


def test_a_flood_of_less_urgent_alerts_hides_no_critical_one() -> None:
    held: dict[Key, Alert] = {}
    hold(held, "critical", "a", "made under our name", 1.0)
    for n in range(5_000):
        hold(held, URGENCIES[1 + n % 3], f"lane {n % 9}", f"failing {n}", 2.0 + n)
    assert by_urgency(held.values())[0].sentence == "made under our name"
    assert all(
        sum(one.urgency == urgency for one in held.values()) <= MOST for urgency in URGENCIES
    )


def test_a_lane_pushes_out_its_own_alerts_only() -> None:
    held: dict[Key, Alert] = {}
    for n in range(10):
        hold(held, "high", "honest", f"told {n}", float(n))
    for n in range(5_000):
        hold(held, "high", "thief", f"told {n}", 100.0 + n)
    lanes = [one.lane for one in held.values()]
    assert lanes.count("honest") == 10
    assert lanes.count("thief") == LANE_SHARE


def test_where_all_lanes_are_full_the_one_with_most_gives_way() -> None:
    held: dict[Key, Alert] = {}
    for n in range(MOST - 3 * LANE_SHARE):
        hold(held, "high", "quiet", f"told {n}", float(n))
    for lane in ("b", "c", "d"):
        for n in range(LANE_SHARE):
            hold(held, "high", lane, f"told {n}", 100.0 + n)
    hold(held, "high", "", "the house's own", 1_000.0)
    hold(held, "high", "late", "told", 1_001.0)
    assert {one.lane for one in held.values()} == {"quiet", "b", "c", "d", "", "late"}
    assert len(held) == MOST


def test_a_repeat_is_counted_and_keeps_its_first_time() -> None:
    held: dict[Key, Alert] = {}
    for at_s in (1.0, 5.0, 9.0):
        hold(held, "high", "a", "told", at_s)
    assert list(held.values()) == [Alert("high", "a", "told", 1.0, 9.0, 3)]


def test_an_urgency_that_is_none_counts_as_the_highest() -> None:
    alert, _ = raised({}, "odd", "", "x", 1.0)
    assert alert.urgency == "critical"
