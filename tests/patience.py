"""How long tests wait and how slow they let a machine be: limits are for hangs, not for speed.

`ALLEGRO_PATIENCE` multiplies every limit: 4 in `make test`, which has to pass on a busy machine; 1
in `make trials` and the benchmarks, where deadlines are what is measured.
"""

from __future__ import annotations

import os
import time

WORK_S = 0.05
PATIENCE = float(os.environ.get("ALLEGRO_PATIENCE", "1"))


def patient(limit_s: float) -> float:
    """Return a limit in seconds as this run has it."""
    return limit_s * PATIENCE


def slowness() -> float:
    """Return how much longer than its own work something takes on this machine now, 1 if it is idle.

    A deadline that a program must keep is stretched by it: other programs are not its fault.
    """
    wall_s, work_s = time.perf_counter(), time.thread_time()
    while time.thread_time() - work_s < WORK_S:
        pass
    return max(1.0, (time.perf_counter() - wall_s) / WORK_S)
