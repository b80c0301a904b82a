"""A stage for the alert machine: conditions by name, virtual time, channels that always work."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from zoneinfo import ZoneInfo

import msgspec

from allegro.core.base.errors import Refusal
from allegro.core.health.alarm import step
from allegro.core.health.alert_acts import Act, acted
from allegro.core.health.alert_state import (
    AlertState,
    Delivery,
    Inputs,
    Occurrence,
    Rules,
    Told,
)
from allegro.core.health.alerts import Alert, Key
from allegro.core.health.codes import Code
from allegro.core.health.delivery.notices import Notice
from allegro.core.health.facts import Fact, State

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime.datetime(2026, 6, 1, 12, tzinfo=BERLIN).timestamp()


class Stage:
    """Steps the machine; each notice is proven at the next step unless `is_mute`."""

    def __init__(self, rules: Rules | None = None, now_s: float = NOON) -> None:
        self.rules = rules or Rules(BERLIN)
        self.state = AlertState("house")
        self.now_s = now_s
        self.is_mute = False
        self.notices: list[tuple[float, Notice]] = []
        self._unproven: list[str] = []

    def step(self, *, restart: bool = True, **inputs: Sequence[object]) -> list[Notice]:
        """Make one step now; the state goes through JSON before it, as over a restart."""
        if restart:
            stored = msgspec.json.encode(self.state)
            self.state = msgspec.json.decode(stored, type=AlertState)
        proofs: list[Delivery] = []
        if not self.is_mute:
            proofs = [Delivery(one, self.now_s) for one in self._unproven]
            self._unproven = []
        done = step(self.state, Inputs(deliveries=proofs, **inputs), self.rules, self.now_s)  # type: ignore[arg-type]
        self.state = done.state
        self.notices += [(self.now_s, one) for one in done.notices]
        self._unproven += [one.id for one in done.notices]
        return list(done.notices)

    def fact(self, code: Code, state: State, subject: str = "x", lane: str = "") -> list[Notice]:
        return self.step(facts=[Fact(code, state, f"is {state}", "test", subject, lane=lane)])

    def raised(self, code: Code, subject: str = "x", lane: str = "") -> list[Notice]:
        return self.step(occurrences=[Occurrence(code, subject, lane)])

    def told(self, told: Told) -> None:
        self.step(elsewhere=[told])

    def wait(self, seconds: float, tick_s: float = 30.0) -> list[Notice]:
        before, end_s = len(self.notices), self.now_s + seconds
        while self.now_s < end_s:
            self.now_s = min(end_s, self.now_s + tick_s)
            self.step(restart=False)
        return [one for _, one in self.notices[before:]]

    def act(self, act: Act) -> None:
        state = acted(self.state, act, self.now_s)
        assert not isinstance(state, Refusal)
        self.state = state

    def alert(self, code: Code, subject: str = "x", lane: str = "") -> Alert:
        (found,) = (one for one in self.state.alerts if one.key == (code.code, lane, subject))
        return found

    def kinds(self) -> list[str]:
        return [one.kind.value for _, one in self.notices]


def key(code: Code, subject: str = "x", lane: str = "") -> Key:
    return (code.code, lane, subject)
