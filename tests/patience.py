"""How long tests wait and how slow they let a machine be: limits are for hangs, not for speed.

`ALLEGRO_PATIENCE` multiplies every limit: 4 in `make test`, which has to pass on a busy machine; 1
in `make trials` and the benchmarks, where deadlines are what is measured.
"""

from __future__ import annotations

import os

PATIENCE = float(os.environ.get("ALLEGRO_PATIENCE", "1"))


def patient(limit_s: float) -> float:
    """Return a limit in seconds as this run has it."""
    return limit_s * PATIENCE
