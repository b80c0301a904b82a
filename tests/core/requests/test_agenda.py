"""What is due is looked at, each once; what waits for the same waits in one line."""

from __future__ import annotations

import random

from allegro.core.requests.agenda import Agenda, Timers


def taken(agenda: Agenda, now_s: float = 0.0, boot_s: float = 0.0) -> list[str]:
    found = []
    while (id_ := agenda.take(now_s, boot_s)) is not None:
        found.append(id_)
    return found


def test_what_woke_is_taken_once_in_order() -> None:
    agenda = Agenda()
    for id_ in ("b", "a", "b"):
        agenda.wake(id_)
    assert taken(agenda) == ["b", "a"]
    assert taken(agenda) == []


def test_a_time_on_each_clock_comes_when_it_is_reached() -> None:
    agenda = Agenda()
    agenda.at_wall("w", 100.0)
    agenda.at_boot("b", 5.0)
    assert taken(agenda, 99.9, 4.9) == []
    assert taken(agenda, 99.9, 5.0) == ["b"]
    assert taken(agenda, 100.0, 5.0) == ["w"]
    assert taken(agenda, 1e9, 1e9) == []


def test_the_newest_time_counts() -> None:
    agenda = Agenda()
    agenda.at_boot("x", 5.0)
    agenda.at_boot("x", 9.0)
    assert taken(agenda, boot_s=5.0) == []
    agenda.at_boot("x", 2.0)
    assert taken(agenda, boot_s=5.0) == ["x"]
    assert taken(agenda, boot_s=99.0) == []


def test_what_ended_is_forgotten_everywhere() -> None:
    agenda = Agenda()
    agenda.wake("x")
    agenda.at_boot("x", 1.0)
    agenda.at_wall("x", 1.0)
    agenda.queue("forge", "y")
    agenda.forget("x")
    agenda.forget("y")
    assert taken(agenda, 9.0, 9.0) == []
    assert agenda.heads() == []


def test_the_head_of_each_line_is_shown_the_one_that_waits_longest_first() -> None:
    agenda = Agenda()
    for line, id_ in (("b", "b1"), ("a", "a1"), ("b", "b2"), ("a", "a2")):
        agenda.queue(line, id_)
    assert agenda.heads() == ["b1", "a1"]
    agenda.leave("b1")
    assert agenda.heads() == ["a1", "b2"]
    agenda.queue("a", "a1")  # again: to the end of its line
    assert agenda.heads() == ["b2", "a2"]


def test_what_wakes_or_is_due_leaves_its_line() -> None:
    agenda = Agenda()
    agenda.queue("forge", "x")
    agenda.queue("forge", "y")
    agenda.at_wall("y", 1.0)
    agenda.wake("x")
    assert agenda.heads() == ["y"]
    assert taken(agenda, 1.0) == ["x", "y"]
    assert agenda.heads() == []


def test_the_pause_lasts_until_the_first_thing_is_due() -> None:
    agenda = Agenda()

    def pause_s() -> float:
        return agenda.pause_s(100.0, 10.0, idle_s=30.0, line_s=1.0)

    assert pause_s() == 30.0
    agenda.at_wall("w", 120.0)
    assert pause_s() == 20.0
    agenda.at_boot("b", 15.0)
    assert pause_s() == 5.0
    agenda.queue("forge", "q")
    assert pause_s() == 1.0
    agenda.at_boot("late", 3.0)
    assert pause_s() == 0.0
    agenda.wake("now")
    assert pause_s() == 0.0


def test_a_time_that_is_no_number_is_due_at_once() -> None:
    timers = Timers()
    timers.set("x", float("nan"))
    assert timers.pop_due(0.0) == "x"
    assert timers.next_s() is None
    assert timers.pop_due(1e12) is None


def test_dropped_times_do_not_come_and_leave_nothing_behind() -> None:
    timers = Timers()
    dice = random.Random(4)
    for number in range(1_000):
        timers.set(f"x{number % 50}", dice.uniform(0, 100))
    for number in range(49):
        timers.drop(f"x{number}")
    assert timers.pop_due(100.0) == "x49"
    assert timers.pop_due(100.0) is None
    assert timers.next_s() is None
