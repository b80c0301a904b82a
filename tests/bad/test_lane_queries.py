"""Whatever a house asks: the lane answers each question in words, and the next good one counts."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from allegro.core.base.errors import EdgeError
from allegro.core.protocol.answers.forge import Listing
from allegro.lane.effects.effect_reader import Looking
from allegro.lane.effects.queries import Queries
from allegro.testing.virtual import FakeForge, VirtualClock
from tests.bad.values import bent_values, sample

PLACE = {"repository": "home/garden"}
COVERS: dict[str, dict[str, Any]] = {
    "issue_details": {**PLACE, "number": 1},
    "pin_repository": {**PLACE, "number": 1},
    "pin_change": {**PLACE, "paths": ["a.txt", "b/c.txt"], "base": "main", "deleted": ["a.txt"]},
    "pin_pull": {**PLACE, "base": "main", "head": "work"},
    "pin_close": {**PLACE, "number": 1},
    "look": {"action": b"{}", "branch": "b", "marker": "m"},
    "listing": {"repository": 1},
}
"""Query → good parameters."""


def made() -> Queries:
    forge = FakeForge(VirtualClock())
    forge.open_issue(forge.make_repository("home/garden"))
    bots = frozenset({2})
    return Queries(forge, Looking(forge, bots), bots, "f", lambda id_: Listing((id_,), ()))


def test_each_query_that_a_lane_answers_has_cases() -> None:
    assert set(COVERS) == set(made().methods)


@pytest.mark.parametrize("method", sorted(COVERS))
async def test_bent_parameters_are_answered_in_words_and_the_next_good_ones_count(
    method: str,
) -> None:
    queries = made()
    whole = [("deep", {**COVERS[method], key: _deep(900)}) for key in COVERS[method]]
    infinite = [("inf", {**COVERS[method], key: float("inf")}) for key in COVERS[method]]
    for _, params in (*sample(bent_values(COVERS[method]), 200, seed=3), *whole, *infinite):
        if not isinstance(params, dict):
            continue  # no frame of a question holds it
        with contextlib.suppress(EdgeError):
            await queries.answer(method, params)
    assert await queries.answer("listing", COVERS["listing"]) == Listing((1,), ())


def _deep(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value
