"""How much of a large family of cases `make test` plays: the programs of `make trials` play all."""

from __future__ import annotations

import os
from collections.abc import Iterable

WHOLE = os.environ.get("ALLEGRO_MATRIX") == "1"


def portion(cases: Iterable[str], count: int) -> list[str]:
    """Return `count` names spread evenly over a family, in its order; all of them where
    `ALLEGRO_MATRIX` is 1.

    Always the same ones, so that a failure comes again; neighbours of a family are alike.
    """
    names = list(cases)
    if WHOLE or count >= len(names):
        return names
    return [names[place * len(names) // count] for place in range(count)]
