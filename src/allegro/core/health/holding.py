"""Why an alert that fires is not told now: each reason names its own end.

A parent's trouble explains it (until the parent is well), it was snoozed (until then), a
maintenance window covers it (until its end), or nobody could be reached by it at all. Quiet hours
and the cooldown, which depend on what was told before, stand in `alarm`.

Invariant: a P0 is held back by its parent, by a snooze of its own, or by a window that names its
code whole; never by a window that names a lane, a subject or a group of codes. A parent explains a
child only where both are of one lane, or the parent is of none: that lane A is cut off says nothing
about lane B.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from allegro.core.health.alert_state import AlertState, Rules
from allegro.core.health.alerts import Alert
from allegro.core.health.codes import Severity, code_of
from allegro.core.health.intake import FLAPS

FLAP_S = 3600.0
UNTELLABLE = frozenset({"channel.all_failing"})


class Scene(msgspec.Struct, frozen=True):
    """What is the same for all alerts of one step."""

    state: AlertState
    rules: Rules
    now_s: float
    is_quiet: bool
    troubles: Mapping[str, list[Alert]]
    is_digest_due: bool = False


def is_flapping(alert: Alert, now_s: float) -> bool:
    """Whether the trouble began so often within an hour that it counts as one."""
    return sum(now_s - at_s <= FLAP_S for at_s in alert.course.turns) >= FLAPS


def is_hushed(alert: Alert, scene: Scene) -> bool:
    """Whether a parent's trouble explains it."""
    return next(parents(alert, scene), None) is not None


def parents(alert: Alert, scene: Scene) -> Iterator[Alert]:
    """Yield the alerts that explain this one, nearest first."""
    code = code_of(alert.code)
    while code.depends_on:
        code = code_of(code.depends_on)
        for parent in scene.troubles.get(code.code, ()):
            place = _place(parent)
            if not place or place == _place(alert):
                yield parent


def _place(alert: Alert) -> str:
    """Return of which lane an alert is: whose word it is, or the lane that it is about."""
    return alert.lane or (alert.subject if alert.code.startswith("lane.") else "")


def is_held(alert: Alert, scene: Scene) -> bool:
    """Whether a person wished to hear nothing of it now, or its parent explains it."""
    if scene.now_s < alert.course.snoozed_until_s or alert.code in UNTELLABLE:
        return True
    return _is_maintained(alert, scene) or is_hushed(alert, scene)


def _is_maintained(alert: Alert, scene: Scene) -> bool:
    for one in scene.state.maintenance:
        names_code = one.code == alert.code
        covers = not one.code or names_code or alert.code.startswith(one.code + ".")
        covers = covers and one.lane in ("", _place(alert)) and one.subject in ("", alert.subject)
        is_open = one.from_s <= scene.now_s < one.until_s
        if is_open and covers and (names_code or alert.severity is not Severity.P0):
            return True
    return False
