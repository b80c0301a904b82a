"""Kills a program before each call that could change a disk, one run for each call.

The program is a function that runs in a forked child. A child ends at its n-th such call as a
power cut would end it: nothing behind that call happens, no `finally` runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from types import FrameType

CHANGING = frozenset({
    "execute", "executemany", "executescript", "backup", "commit", "close", "open", "fsync",
    "replace", "rename", "unlink", "mkdir", "write", "flush", "connect",
})  # fmt: skip
KILLED = 86
FAILED = 87


def killed_at_each_point(program: Callable[[], object]) -> Iterator[int]:
    """Run `program` again and again, killed one call later each time; yield the call's number.

    The last run is not killed and its number is yielded too. Raises AssertionError when the
    program fails by itself.
    """
    for point in range(1, 1_000):
        child = os.fork()
        if child == 0:
            _run(program, point)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        assert code in {0, KILLED}, f"run {point} ended with {code}"
        yield point
        if code == 0:
            return
    raise AssertionError("the program has too many points")


def _run(program: Callable[[], object], point: int) -> None:
    seen = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        del frame
        nonlocal seen
        if event == "c_call" and getattr(argument, "__name__", "") in CHANGING:
            seen += 1
            if seen == point:
                os._exit(KILLED)

    try:
        sys.setprofile(count)
        program()
        sys.setprofile(None)
    except BaseException:  # noqa: BLE001 (a child must never go on as a second pytest)
        os._exit(FAILED)
    os._exit(0)
