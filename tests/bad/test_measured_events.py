"""Every event that gives figures, bent by the whole table: the fold lives and believes nothing odd."""

from __future__ import annotations

import json
import math
import random

import pytest

from allegro.core.measures.samples import FOLDED, step
from allegro.core.measures.state import State
from allegro.core.stores import Archived as Stored
from allegro.house.measures.fold import archived_event

from . import values as bad
from .event_samples import Sample, encoded, samples

NOW_S = 1_900_000_000
SAMPLES = {
    **samples("d", 1, "s", 5, NOW_S),
    "link.up": Sample({"lane": "a", "since_s": 1.0, "behind": 3}),
    "link.down": Sample({"lane": "a", "since_s": 2.0}),
    "link.caught_up": Sample({"lane": "a", "took_s": 2.0, "entries": 3}),
    "fleet.probed": Sample({"linked": ["a"], "silent": ["b"]}),
    "request.settled": Sample({
        "request": "r", "kind": "comment", "state": "done", "lane": "a", "created_s": 1.0,
        "decided_s": 2.0, "settled_s": 3.0,
    }),
    "triage.done": Sample({"took_s": 1.0}),
    "journal.gap": Sample({"reason": "full", "class": 5, "count": 3, "first": 1, "last": 3}),
    "lane.beat": Sample({"done": "x", "done_s": 1.0, "cycles": 1, "hears": ["b"], "house_s": 1.0}),
}  # fmt: skip
COVERED = [name for name in SAMPLES if name.startswith(FOLDED)]


@pytest.mark.parametrize("type_", COVERED)
@pytest.mark.parametrize("lane", ["thief", "house"])
def test_no_bent_event_ends_the_fold_or_gives_a_sample_that_is_no_number(
    type_: str, lane: str
) -> None:
    dice = random.Random(type_)
    event = encoded("x", type_, SAMPLES[type_])
    bent = [json.dumps(event).replace('"data": ' + json.dumps(event["data"]), '"data": X')]
    cases = [
        bent[0].encode().replace(b'"data": X', b'"data": ' + data)
        for _, data in bad.bent_json(SAMPLES[type_].data)
    ]
    cases += [json.dumps(one).encode() for _, one in bad.bent_values(event)]
    state = State()
    for body in dice.sample(cases, min(len(cases), 300)):
        seen = archived_event(Stored(1, lane, float(NOW_S), body))
        if seen is None:
            continue
        after = step(state, seen)
        state = after.state
        assert all(math.isfinite(one.value) and one.value >= 0 for one in after.samples)
        assert all(abs(one.at_s) < 2**53 for one in after.samples)


def test_every_type_that_is_folded_is_bent_here() -> None:
    missing = [prefix for prefix in FOLDED if not any(n.startswith(prefix) for n in COVERED)]
    assert missing == []
