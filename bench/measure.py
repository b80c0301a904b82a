"""What is read off clocks and off /proc, and the pace at which events are born."""

from __future__ import annotations

import asyncio
import math
import os
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Lag = dict[str, float]


def lag_ms(lags_ns: Sequence[int]) -> Lag:
    """Return p50, p95, p99 and max of lags, in milliseconds."""
    ordered = sorted(lags_ns)

    def at(share: float) -> float:
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)] / 1e6

    return {"p50": at(0.5), "p95": at(0.95), "p99": at(0.99), "max": ordered[-1] / 1e6}


def lag_of(lags: Sequence[float]) -> Lag:
    """Return the same of lags that are in milliseconds already; zeros where there are none."""
    return lag_ms([int(lag * 1e6) for lag in lags] or [0])


def median_of(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the median of each figure over several rounds."""
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


async def pace(rate: float, seconds: float, born: Callable[[int], None]) -> int:
    """Call `born(birth_ns)` in the event loop at a steady rate; return how many were born.

    A thread keeps the time, so that a busy loop makes events late instead of fewer: a birth is
    the moment the event was due, as for something that happens outside and does not wait.
    """
    loop = asyncio.get_running_loop()
    count = int(rate * seconds)

    def run() -> None:
        began_ns = time.monotonic_ns() + 2_000_000
        for n in range(count):
            due_ns = began_ns + int(n * 1e9 / rate)
            wait_s = (due_ns - time.monotonic_ns()) / 1e9
            if wait_s > 0:
                time.sleep(wait_s)
            loop.call_soon_threadsafe(born, due_ns)

    thread = threading.Thread(target=run, name="pace", daemon=True)
    thread.start()
    await asyncio.to_thread(thread.join)
    return count


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process in MB, file pages included. Linux only."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process so far, user and system. Linux only."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def switches(pid: int) -> dict[str, int]:
    """Return the voluntary context switches of each thread of a process, by thread id.

    The thread with the process's own id runs the event loop. Linux only.
    """
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                found[task.name] = int(line.split()[1])
    return found
