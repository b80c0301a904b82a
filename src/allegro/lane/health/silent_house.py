"""What the house said last of itself, and what a lane may do with it while the house is silent.

Invariant: the word of the house hushes; it lets this lane do nothing. It never hushes a P0, whatever
it says was told. Where it was never heard there are no quiet hours, and its silence is no trouble:
a house of the release before says nothing.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable

import structlog

from allegro.core.base.errors import ConfigError, EdgeError, Refusal
from allegro.core.base.untrusted import text_of
from allegro.core.health.alert_state import AlertState, Rules, Told
from allegro.core.health.alerts import MAX_SUBJECT
from allegro.core.health.codes import Severity, code_of
from allegro.core.health.days import DayWindow, read_window
from allegro.core.health.delivery.notices import Kind
from allegro.core.health.expected import Expected, Mode, lane_speaks, silence
from allegro.core.health.facts import Fact
from allegro.core.ports import Clock
from allegro.core.protocol.statement import HouseStatement
from allegro.lane.context.state import LaneState
from allegro.lane.folder.alerts import HeardStatement

_log = structlog.get_logger()
LoadZone = Callable[[str], datetime.tzinfo]
"""Returns a zone by its IANA name. Raises ConfigError."""


class SilentHouse:
    """`kept` is what was heard before this start; `save` writes it down (raises EdgeError)."""

    def __init__(
        self,
        state: LaneState,
        clock: Clock,
        load_zone: LoadZone,
        kept: HeardStatement | None,
        save: Callable[[HeardStatement], None],
    ) -> None:
        self._state = state
        self._clock = clock
        self._load_zone = load_zone
        self._save = save
        self._began_boot_s = clock.boot_s()
        self._heard = kept
        state.house_word.on_statement(self.hear)
        if kept is not None:
            state.house_word.remember(kept.statement)
        self._zone = self._zone_of(kept)

    def hear(self, statement: HouseStatement) -> None:
        """Take a statement; a full disk keeps none from counting now."""
        self._heard = HeardStatement(statement, max(0.0, self._clock.now_s()))
        self._zone = self._zone_of(self._heard)
        try:
            kept = HeardStatement(statement.without_words(), self._heard.heard_s)
            self._save(kept)
        except EdgeError as error:
            _log.warning("statement.not_kept", error=str(error))

    def _zone_of(self, heard: HeardStatement | None) -> datetime.tzinfo:
        try:
            return self._load_zone(heard.statement.zone if heard else "UTC")
        except ConfigError:
            return datetime.UTC

    def rules(self) -> Rules:
        """Return by which rules this lane tells: it speaks once the house was silent for a while."""
        statement = self._heard.statement if self._heard else None
        quiet = _window(statement.quiet if statement else "")
        heard_s = self._state.house_heard_s
        since_s = self._began_boot_s if heard_s is None else heard_s
        return Rules(self._zone, quiet, lane_speaks(since_s, self._clock.boot_s()))

    def facts(self) -> list[Fact]:
        """Return whether the house's silence is a trouble.

        Of several lanes the one that holds the forge role says so: one message, not three.
        """
        if self._heard is None or not self._is_speaker():
            return []
        statement, now_s = self._heard.statement, self._clock.now_s()
        hours = _window(statement.hours) or DayWindow(0, 0)
        expected = Expected(Mode(statement.expected), hours)
        return [silence(expected, self._heard_at_s(now_s), now_s, self._zone)]

    def _is_speaker(self) -> bool:
        roster = self._state.held.roster
        return roster is None or "forge" in self._state.held_roles()

    def _heard_at_s(self, now_s: float) -> float:
        """Return when the house was heard last, by our wall clock."""
        assert self._heard is not None
        heard_s = self._state.house_heard_s
        if heard_s is None:
            return self._heard.heard_s
        return now_s - (self._clock.boot_s() - heard_s)

    def reported(self, alerts: AlertState) -> list[Told]:
        """Return which alerts of this lane the house told: never one that is a P0."""
        if self._heard is None:
            return []
        urgent = {one.key for one in alerts.alerts if one.severity is Severity.P0}
        found = []
        for one in self._heard.statement.alerts:
            key = (one.code, "", text_of(one.subject, MAX_SUBJECT))
            if key not in urgent and code_of(one.code).severity is not Severity.P0:
                kind = Kind.RECOVERY if one.kind == "recovery" else Kind.ALARM
                found.append(Told(key, kind, one.notice, one.at_s))
        return found


def _window(text: str) -> DayWindow | None:
    window = read_window(text)
    return None if isinstance(window, Refusal) else window
