"""What one row of the table of health codes holds, and how soon a person is told about it.

A code is one condition that can be wrong. Its severity decides the way to a person. The rules of
that way are in `alarm` and `delivery`; `runtime/alerting` runs them.

    P0  at once, on every channel, and again every 5 min until acknowledged
    P1  within 15 min, by the first channel that delivers; again every 4 h
    P2  within 1 h, by the first channel that delivers; again every day
    P3  within 24 h, in the report; never again for the same trouble

Three numbers say when. `grace_s`: the condition must hold so long before it is an alert at all.
`cooldown_s`: after a recovery was told, the same condition of the same subject is not told again
for so long. `escalation`: by when the message must have reached the person, counted from the
moment the condition began, how often it is repeated, and by which way. A row has numbers of its
own where its condition needs them, else those of its severity.

Invariant: grace is shorter than `within_s`, so that what is promised can be kept; a P0 has no
grace. What a row says changes no behaviour of the watched: a code only decides who is told when.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Severity(StrEnum):
    """How soon a person must know: P0 now, P1 in 15 min, P2 within the hour, P3 within a day."""

    P0 = "P0"
    P1 = "P1"
    P2 = "P2"
    P3 = "P3"


P0, P1, P2, P3 = Severity


class Way(StrEnum):
    """By which channels a message goes.

    `every`: each of them. `first`: the first that delivers, and all of them once the message is
    late. `report`: with others of its kind, in the daily report or a digest.
    """

    EVERY = "every"
    FIRST = "first"
    REPORT = "report"


class Escalation(msgspec.Struct, frozen=True):
    """By when a person must have been told, how often again until acknowledged, and how.

    `within_s` counts from the moment the condition began. `again_s` 0 means: never again.
    """

    within_s: float
    again_s: float
    way: Way


ESCALATIONS = {
    P0: Escalation(0.0, 300.0, Way.EVERY),
    P1: Escalation(900.0, 4 * 3600.0, Way.FIRST),
    P2: Escalation(3600.0, 86_400.0, Way.FIRST),
    P3: Escalation(86_400.0, 0.0, Way.REPORT),
}
GRACE_S = {P0: 0.0, P1: 60.0, P2: 300.0, P3: 900.0}
COOLDOWN_S = {P0: 300.0, P1: 900.0, P2: 3600.0, P3: 86_400.0}


class Code(msgspec.Struct, frozen=True):
    """One condition.

    `fix` is one sentence in which `{subject}` stands for what a fact is about. `runbook` is the
    anchor of a section of docs/runbook.md. `alert` is the sentence of an alert with its values in
    braces, besides `{subject}` and `{lane}`; it is empty for what only facts report. While the code
    named by `depends_on` is bad, this one says nothing new. An alert of this code ends those of
    the codes named by `clears`, of the same lane and subject, and is none of its own.
    `is_shown_only`: its facts stand in doctor and call nobody, for they are advice, or something
    else calls; an occurrence of it is an alert all the same.
    `own_grace_s`, `own_cooldown_s` and `own_escalation` stand in for those of the severity.
    """

    code: str
    title: str
    severity: Severity
    fix: str
    runbook: str
    alert: str = ""
    depends_on: str = ""
    clears: tuple[str, ...] = ()
    is_shown_only: bool = False
    own_grace_s: float | None = None
    own_cooldown_s: float | None = None
    own_escalation: Escalation | None = None

    @property
    def grace_s(self) -> float:
        return grace_of(self, self.severity)

    @property
    def cooldown_s(self) -> float:
        return cooldown_of(self, self.severity)

    @property
    def escalation(self) -> Escalation:
        return escalation_of(self, self.severity)


def grace_of(code: Code, severity: Severity) -> float:
    """Return how long a condition must hold (s). `severity` is that of the alert: see `alarm`."""
    if code.own_grace_s is None or severity is not code.severity:
        return GRACE_S[severity]
    return code.own_grace_s


def cooldown_of(code: Code, severity: Severity) -> float:
    """Return for how long after a recovery the same alert is not told again (s)."""
    if code.own_cooldown_s is None or severity is not code.severity:
        return COOLDOWN_S[severity]
    return code.own_cooldown_s


def escalation_of(code: Code, severity: Severity) -> Escalation:
    """Return by when, how often and how an alert of this severity is told."""
    if code.own_escalation is None or severity is not code.severity:
        return ESCALATIONS[severity]
    return code.own_escalation
