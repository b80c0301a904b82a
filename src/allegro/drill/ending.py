"""Ends what a drill started, whoever ends the drill, and however often they say so."""

from __future__ import annotations

import contextlib
import signal
from types import FrameType

ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_once() -> None:
    """Let the first of these signals be a KeyboardInterrupt, and every later one be nothing."""
    for number in ENDS:
        if signal.getsignal(number) is signal.SIG_IGN:
            continue  # nohup, or a shell's background
        with contextlib.suppress(ValueError):  # not in the main thread: somebody else decides
            signal.signal(number, _begin_to_end)


def _begin_to_end(number: int, frame: FrameType | None) -> None:
    del number, frame
    for one in ENDS:
        signal.signal(one, signal.SIG_IGN)
    raise KeyboardInterrupt
