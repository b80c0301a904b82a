"""One thing that a person may have to know about a part of the fleet, as `doctor` shows it."""

from __future__ import annotations

import msgspec


class Fact(msgspec.Struct, frozen=True):
    """One line of `doctor`. `verdict` is ok, warn or bad; `mend` says what to do."""

    what: str
    verdict: str
    told: str
    source: str
    age_s: float = 0.0
    mend: str = ""
