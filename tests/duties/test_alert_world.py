"""Alerts through dead channels, kills, flaps and thirty nights of sleep, in virtual time."""

from __future__ import annotations

import pytest

from allegro.core.health.expected import Expected
from tests.duties import alert_world
from tests.duties.alert_world import NOTEBOOK, OFFICE, SERVER, Receipt, World, Wrong, check, play

SEEDS = 10  # `make trials` plays 200


def test_nothing_is_lost_and_nothing_doubled_but_by_a_kill_before_the_note() -> None:
    worlds = [play(seed) for seed in range(SEEDS)]
    kills = sum((world.kills for world in worlds), start=worlds[0].kills - worlds[0].kills)
    assert set(kills) == set(alert_world.KILLS), "each kill point was played"
    assert {until_s - from_s for one in worlds for from_s, until_s in one.dead.values()} >= {
        0.0,
        172_800.0,
    }


@pytest.fixture(scope="module")
def world() -> World:
    return play(3)


@pytest.mark.parametrize(
    "kind", ["lost alarm", "lost end", "doubled", "end first", "flood", "wrong outage"]
)
def test_the_checker_sees_what_is_wrong(world: World, kind: str) -> None:
    told = world.phone
    soon = [one for one in told if "soon-1" in one.names]
    spoiled = {
        "lost alarm": [one for one in told if one not in soon or one.kind != "alarm"],
        "lost end": [one for one in told if one not in soon or one.kind != "recovery"],
        "doubled": [*told, told[0], told[0]],
        "end first": [Receipt(1.0, "mail", "e", "recovery", ("soon-1",), 0.0), *told],
        "flood": [*told, *(Receipt(9e9, "mail", f"f{n}", "alarm", ("flaps",), 0.0)
                           for n in range(3))],
        "wrong outage": [*told, Receipt(9e9, "mail", "o", "alarm", (), 7.0)],
    }  # fmt: skip
    world.phone = spoiled[kind]
    try:
        with pytest.raises(Wrong):
            check(world)
    finally:
        world.phone = told


@pytest.mark.parametrize("expected", [NOTEBOOK, OFFICE], ids=["notebook", "office"])
def test_a_house_that_sleeps_thirty_nights_alarms_nobody_about_itself(
    expected: Expected,
) -> None:
    night = alert_world.thirty_nights(expected)
    assert (night.about_house, night.unknown) == (0, 0)
    assert night.about_trouble == 2, "a real trouble of one night is told, and its end"


def test_a_house_that_should_never_sleep_is_told_about_each_night() -> None:
    assert alert_world.thirty_nights(SERVER).about_house >= 30
