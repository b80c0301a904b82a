"""What a person does with alerts: nothing is for ever, and each alarm is judged once."""

from __future__ import annotations

import pytest

from allegro.core.base.errors import Refusal
from allegro.core.health import codes
from allegro.core.health.alert_acts import (
    MAX_WINDOWS,
    Acknowledge,
    Act,
    EndMaintenance,
    Judge,
    Maintain,
    Snooze,
    acted,
)
from allegro.core.health.alert_state import AlertState, Maintenance, Score, keys_of
from tests.core.health.machine import NOON, Stage, key

INF, NAN = float("inf"), float("nan")


def firing(subjects: int = 1) -> Stage:
    stage = Stage()
    for n in range(subjects):
        stage.fact(codes.STORES, "bad", f"x{n}" if n else "x")
    return stage


@pytest.mark.parametrize(
    "act",
    [
        Acknowledge(("no.such", "", "x")),
        Snooze(("no.such", "", "x"), NOON + 60),
        *(Snooze(key(codes.STORES), until_s) for until_s in (NOON, 0.0, INF, NAN, NOON + 1e6)),
        *(
            Maintain(Maintenance("w", NOON, until_s))
            for until_s in (NOON, 0.0, INF, NAN, NOON + 31 * 86_400)
        ),
        Maintain(Maintenance("w", NOON + 60, NOON + 60)),
        Maintain(Maintenance("w", NAN, NOON + 60)),
        EndMaintenance("w"),
        Judge("house-99", "noise"),
        Judge("house-1", "noise", code="host.swap"),
    ],
)
def test_an_act_on_nothing_and_an_act_without_an_end_are_refused(act: Act) -> None:
    assert isinstance(acted(firing().state, act, NOON), Refusal)


def test_a_maintenance_window_can_be_replaced_and_ended() -> None:
    stage = firing()
    stage.act(Maintain(Maintenance("w", NOON, NOON + 60)))
    stage.act(Maintain(Maintenance("w", NOON, NOON + 120)))
    assert [one.until_s for one in stage.state.maintenance] == [NOON + 120]
    stage.act(EndMaintenance("w"))
    assert stage.state.maintenance == ()


def test_maintenance_windows_are_limited_in_number() -> None:
    stage = firing()
    for n in range(MAX_WINDOWS):
        stage.act(Maintain(Maintenance(f"w{n}", NOON, NOON + 60)))
    assert isinstance(
        acted(stage.state, Maintain(Maintenance("one more", NOON, NOON + 60)), NOON), Refusal
    )


def score(state: AlertState) -> Score:
    return state.scores[codes.STORES.code]


def test_precision_is_useful_of_judged_of_sent_for_each_code() -> None:
    stage = firing(3)
    assert score(stage.state) == Score(useful=0, judged=0, sent=3)
    stage.act(Judge("house-1", "useful"))
    stage.act(Judge("house-2", "noise"))
    assert score(stage.state) == Score(useful=1, judged=2, sent=3)


def test_a_changed_mind_replaces_a_verdict_and_a_repeated_tap_changes_nothing() -> None:
    stage = firing()
    for verdict, useful in (("useful", 1), ("useful", 1), ("noise", 0), ("useful", 1)):
        stage.act(Judge("house-1", verdict))  # type: ignore[arg-type]
        assert score(stage.state) == Score(useful=useful, judged=1, sent=1)


def test_a_reminder_and_a_recovery_are_not_counted_as_alarms() -> None:
    stage = firing()
    stage.wait(900)
    stage.fact(codes.STORES, "ok")
    stage.wait(120)
    assert stage.kinds() == ["alarm", "reminder", "reminder", "reminder", "recovery"]
    assert score(stage.state).sent == 1


def test_a_verdict_is_taken_after_the_trouble_is_over() -> None:
    stage = firing()
    stage.wait(60)
    stage.fact(codes.STORES, "ok")
    stage.wait(2 * 86_400.0, 600.0)
    assert stage.state.alerts == ()
    stage.act(Judge("house-1", "noise"))
    assert score(stage.state) == Score(useful=0, judged=1, sent=1)


def test_a_notice_leads_to_its_alerts() -> None:
    assert keys_of(firing().state, "house-1") == (key(codes.STORES),)
    assert keys_of(firing().state, "") == ()
