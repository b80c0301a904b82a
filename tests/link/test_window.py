"""The window on simulated lines: time is an argument, a line is a rate and a delay."""

from __future__ import annotations

import random

import pytest

from allegro.link.window import CEILING_BYTES, FLOOR_BYTES, REPORT_BYTES, Window


class Road:
    """A line of `bytes_s`, `delay_s` each way, with a queue of any length."""

    def __init__(self, window: Window, bytes_s: float, delay_s: float) -> None:
        self.window = window
        self.bytes_s = bytes_s
        self.delay_s = delay_s
        self.now_s = 0.0
        self._free_s = 0.0
        self._arriving: list[tuple[float, int]] = []
        self.total = 0
        self.waits_s: list[float] = []

    def run(self, seconds: float) -> float:
        """Send as much as the window allows; return bytes a second that arrived."""
        before, until_s = self.total, self.now_s + seconds
        while self.now_s < until_s:
            while self.window.has_room(count := self.window.piece_bytes):
                self._free_s = max(self._free_s, self.now_s) + count / self.bytes_s
                self.total += count
                self._arriving.append((self._free_s + 2 * self.delay_s, self.total))
                self.window.sent(count, self.now_s)
                self.waits_s.append(self._free_s - self.now_s)
            self.now_s, got = self._arriving.pop(0)
            self.window.received(got, self.now_s)
        return (self.total - before) / seconds


@pytest.mark.parametrize("bytes_s", [5_000, 40_000, 125_000, 1_000_000, 10_000_000])
@pytest.mark.parametrize("delay_s", [0.0005, 0.02, 0.1, 0.3])
def test_a_line_is_filled_and_nothing_urgent_waits_long(bytes_s: float, delay_s: float) -> None:
    road = Road(Window(), bytes_s, delay_s)
    road.run(10)
    road.waits_s.clear()
    assert road.run(20) >= 0.9 * bytes_s
    waits = sorted(road.waits_s)
    assert waits[int(len(waits) * 0.95)] <= max(0.5, 2.6 * FLOOR_BYTES / bytes_s)


def test_a_line_that_gets_slow_is_noticed() -> None:
    road = Road(Window(), 1_000_000, 0.01)
    road.run(5)
    road.bytes_s = 40_000
    road.run(75)
    road.waits_s.clear()
    road.run(20)
    assert max(road.waits_s) < 1.0


def test_a_busy_machine_is_not_taken_for_a_slow_line() -> None:
    window, dice = Window(), random.Random(1)
    now_s, total = 0.0, 0
    road = Road(window, 10_000_000, 0.0005)
    road.run(5)
    now_s, total, before = road.now_s, road.total, window.size
    for _ in range(300):  # frames arrive when the other program gets its turn
        while window.has_room(window.piece_bytes):
            total += window.piece_bytes
            window.sent(window.piece_bytes, now_s)
        now_s += dice.uniform(0.05, 0.6)
        window.received(total, now_s)
    assert window.size > before / 4


def test_a_window_stays_between_its_bounds() -> None:
    road = Road(Window(), 1e9, 0.3)
    road.run(20)
    assert road.window.size == CEILING_BYTES
    slow = Road(Window(), 100, 0.3)
    slow.run(300)
    assert slow.window.size >= FLOOR_BYTES


def test_a_window_that_is_not_used_does_not_grow() -> None:
    window = Window()
    size = window.size
    for n in range(1_000):
        window.sent(500, n * 0.01)
        window.received((n + 1) * 500, n * 0.01 + 0.001)
    assert window.size == size


@pytest.mark.parametrize("total", [-1, 0, 1_001, 2**53])
def test_receipts_of_what_was_never_sent_count_for_nothing(total: int) -> None:
    window = Window()
    window.sent(1_000, 0.0)
    window.received(total, 0.1)
    assert window.in_flight == 1_000


def test_one_frame_alone_may_always_leave() -> None:
    window = Window()
    window.sent(REPORT_BYTES, 0.0)  # so little may never be reported
    assert window.has_room(10**9)
