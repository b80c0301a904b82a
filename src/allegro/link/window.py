"""How many bytes of bulk may be on the way, so that what is urgent never waits long behind them.

Pure. The receiver tells how much has arrived (`Got`); the sender knows when each frame left. While
frames arrive soon the window grows, once they are late it shrinks to what the line carried: on a
slow line a fraction of a second of bulk is on the way, on a fast one as much as it takes.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

from allegro.core.protocol.messages import BATCH_BYTES, PIECE_BYTES

FLOOR_BYTES = 4 * 1024
START_BYTES = 32 * 1024
CEILING_BYTES = 8 * 1024 * 1024
REPORT_BYTES = 2 * 1024
"""A receiver tells how much arrived at least once in so many bytes."""
LATE_S = 0.3
"""How much longer than the soonest one a frame may take before the window shrinks."""
BEST_S = 5.0
"""For so long, and at most twice as long, the best rate is remembered: a busy machine makes
frames late too, and a smaller window would not help it."""


class _Frame(NamedTuple):
    end: int
    sent_s: float
    window_was_full: bool


class _Rates:
    """The best bytes a second that arrived, over steps of a second, of the last BEST_S or two."""

    def __init__(self) -> None:
        self._step_s = -math.inf
        self._bytes = 0
        self._period_s = -math.inf
        self._now = 0.0
        self._before = 0.0

    @property
    def best(self) -> float:
        return max(self._now, self._before)

    def arrived(self, count: int, now_s: float) -> None:
        self._bytes += count
        took_s = now_s - self._step_s
        if took_s < 1.0:
            return
        if now_s - self._period_s >= BEST_S:
            self._period_s, self._before, self._now = now_s, self._now, 0.0
        self._now = max(self._now, self._bytes / took_s)
        self._step_s, self._bytes = now_s, 0


class Window:
    """The bulk of one direction of one connection. Times are seconds of any steady clock."""

    def __init__(self) -> None:
        self.size = START_BYTES
        self._sent = 0
        self._received = 0
        self._frames: deque[_Frame] = deque()
        self._soonest_s = math.inf
        self._shrunk_s = -math.inf
        self._rates = _Rates()

    @property
    def in_flight(self) -> int:
        """The bytes that left and are not known to have arrived."""
        return self._sent - self._received

    @property
    def piece_bytes(self) -> int:
        """How long a piece should be now."""
        return max(FLOOR_BYTES // 2, min(PIECE_BYTES, self.size // 8))

    @property
    def batch_bytes(self) -> int:
        """How long a batch should be now."""
        return max(FLOOR_BYTES // 2, min(BATCH_BYTES, self.size // 2))

    def has_room(self, count: int) -> bool:
        """Say whether a frame of `count` bytes may leave now. One alone always may."""
        return self.in_flight <= REPORT_BYTES or self.in_flight + count <= self.size

    def sent(self, count: int, now_s: float) -> None:
        """Note that a frame of `count` bytes leaves."""
        self._sent += count
        self._frames.append(_Frame(self._sent, now_s, 2 * self.in_flight >= self.size))

    def received(self, total: int, now_s: float) -> None:
        """Note that `total` bytes have arrived since the beginning. What cannot be is ignored."""
        if not self._received < total <= self._sent:
            return
        gained, self._received = total - self._received, total
        self._rates.arrived(gained, now_s)
        frame: _Frame | None = None
        while self._frames and self._frames[0].end <= total:
            frame = self._frames.popleft()
        if frame is not None:
            self._judge(frame, gained, now_s)

    def _judge(self, frame: _Frame, gained: int, now_s: float) -> None:
        took_s = now_s - frame.sent_s
        self._soonest_s = min(self._soonest_s, took_s)
        late_s = took_s - self._soonest_s
        if late_s > LATE_S:
            if frame.sent_s >= self._shrunk_s:  # frames of before the last time say nothing new
                share = (self._soonest_s + LATE_S / 2) / took_s
                least = min(self.size, max(FLOOR_BYTES, int(self._rates.best * LATE_S)))
                self.size = max(least, int(self.size * max(0.25, min(0.9, share))))
                self._shrunk_s = now_s
        elif frame.window_was_full and self._shrunk_s == -math.inf:
            self.size = min(CEILING_BYTES, self.size + gained)  # not yet known what it carries
        elif late_s < LATE_S / 2 and frame.window_was_full:
            gained = int(gained * (1 - late_s / (LATE_S / 2)))
            self.size = min(CEILING_BYTES, self.size + gained)
