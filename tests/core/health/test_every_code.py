"""Every code of the table reaches a person by the way of its severity, and so does its end."""

from __future__ import annotations

import pytest

from allegro.core.health.codes import CODES, Code, Severity
from allegro.core.health.codes.code import Way
from allegro.core.health.delivery.notices import Kind
from allegro.core.health.holding import UNTELLABLE
from allegro.core.health.intake import severity_of

from .machine import Stage

TELLABLE = [one for one in CODES.values() if not one.clears and one.code not in UNTELLABLE]
STATED = [one for one in TELLABLE if not one.is_shown_only]
ENDING = [one for one in CODES.values() if one.clears]


@pytest.mark.parametrize("code", STATED, ids=lambda one: one.code)
def test_a_trouble_of_each_code_is_told_in_time_and_so_is_its_end(code: Code) -> None:
    stage, began_s = Stage(), Stage().now_s
    stage.fact(code, "bad")
    stage.wait(code.escalation.within_s + 60, 60)
    told_s, alarm = stage.notices[0]
    assert alarm.kind is (Kind.DIGEST if code.escalation.way is Way.REPORT else Kind.ALARM)
    assert alarm.way is (Way.EVERY if code.severity is Severity.P0 else Way.FIRST)
    assert told_s - began_s <= code.escalation.within_s + 60
    (line,) = alarm.lines
    assert (line.code, line.severity, line.fix != "") == (code.code, code.severity, True)
    stage.fact(code, "ok")
    stage.wait(200, 30)
    ends = [one for _, one in stage.notices if one.kind is Kind.RECOVERY]
    assert len(ends) == (0 if code.escalation.way is Way.REPORT else 1)


@pytest.mark.parametrize("code", STATED, ids=lambda one: one.code)
def test_each_code_that_is_unknown_is_told_too_and_later(code: Code) -> None:
    stage = Stage()
    stage.fact(code, "unknown")
    stage.wait(90_000, 900)
    _, told = stage.notices[0]
    assert told.severity is severity_of(code, "unknown")
    assert told.severity >= code.severity


@pytest.mark.parametrize("code", [one for one in TELLABLE if one.alert], ids=lambda one: one.code)
def test_what_is_raised_once_needs_no_grace(code: Code) -> None:
    stage = Stage()
    told = stage.raised(code)
    if code.escalation.way is Way.REPORT:
        assert told == []
    else:
        assert [one.keys for one in told] == [((code.code, "", "x"),)]


@pytest.mark.parametrize("code", ENDING, ids=lambda one: one.code)
def test_a_code_that_ends_others_is_no_alarm_and_ends_them(code: Code) -> None:
    stage = Stage()
    for name in code.clears:
        stage.raised(CODES[name])
    stage.wait(60, 30)
    stage.raised(code)
    stage.wait(120, 30)
    assert all(one.course.well_s for one in stage.state.alerts)
    assert code.code not in {one.code for one in stage.state.alerts}
