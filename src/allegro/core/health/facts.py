"""One fact about a part of the fleet: which condition, of what, how it is, who says so, and when."""

from __future__ import annotations

from typing import Literal

import msgspec

from allegro.core.health.codes import Code, Severity

State = Literal["ok", "warn", "bad", "unknown"]
ORDER: tuple[State, ...] = ("ok", "unknown", "warn", "bad")
"""From well to worst: the place in it is the number that the metrics show."""
WARNING_HEADER = "Allegro-Warning"
"""Of each answer of the house: the codes, with commas, that its reader must know of in any case."""


class Fact(msgspec.Struct, frozen=True):
    """How one condition is at `at_s` (Unix s), 0 for the moment at which the fact is asked for.

    `source` is where it was read: a request, a file, a part of the program. `subject` tells facts
    of one code apart, such as the repository; it is empty where there is one only. `until_s` is by
    when its producer speaks again (Unix s): after it the fact is unknown, see `freshness`; 0 for a
    fact of the moment. `lane` is whose word it is, empty for our own.
    """

    code: Code
    state: State
    detail: str
    source: str
    subject: str = ""
    at_s: float = 0.0
    until_s: float = 0.0
    lane: str = ""


class FactPage(msgspec.Struct, frozen=True):
    """A fact as `doctor` shows it and as a lane answers it. `lane` is whose fact it is.

    `what`, `verdict`, `told` and `mend` are the names of the release before, kept for one release.
    """

    code: str
    title: str
    severity: Severity
    subject: str
    state: State
    detail: str
    source: str
    at_s: float
    age_s: float
    fix: str
    runbook: str
    lane: str
    what: str
    verdict: str
    mend: str
    old_detail: str = msgspec.field(name="told")


def fact_page(fact: Fact, now_s: float) -> FactPage:
    """Return the whole page of a fact; what to do is left empty where all is well."""
    code, at_s = fact.code, fact.at_s or now_s
    fix = "" if fact.state == "ok" else code.fix.replace("{subject}", fact.subject)
    return FactPage(
        code=code.code,
        title=code.title,
        severity=code.severity,
        subject=fact.subject,
        state=fact.state,
        detail=fact.detail,
        source=fact.source,
        at_s=at_s,
        age_s=max(0.0, now_s - at_s),
        fix=fix,
        runbook=code.runbook,
        lane=fact.lane,
        what=f"{code.title} {fact.subject}".strip(),
        verdict=verdict_of(fact.state),
        mend=fix,
        old_detail=fact.detail,
    )


def verdict_of(state: State) -> str:
    """Return a state in the words of the release before, which knew no unknown."""
    return "warn" if state == "unknown" else state
