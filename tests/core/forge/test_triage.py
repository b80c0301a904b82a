from __future__ import annotations

from typing import Any

import pytest

from allegro.core.forge.issues import Issue, Repository
from allegro.core.forge.triage import TriageLabels, TriageRule, triage
from tests.core.builders import BOT, BOTS, issue

RULE = TriageRule(since_s=400, bots=BOTS)


def test_a_new_issue_gets_the_seen_label_and_a_first_status() -> None:
    assert triage(issue(), RULE) == TriageLabels("triage/seen", "pending")


def test_a_status_given_by_a_person_is_left_alone() -> None:
    assert triage(issue(labels=("status/blocked",)), RULE) == TriageLabels("triage/seen", None)


@pytest.mark.parametrize("changes", [
    {"labels": ("triage/seen",)}, {"state": "closed"}, {"is_pull_request": True}, {"is_locked": True},
    {"author_id": BOT}, {"created_s": 399}, {"repository": Repository(7, "home/garden", archived=True)},
])  # fmt: skip
def test_what_is_not_new_open_and_a_person_s_is_left_alone(changes: dict[str, Any]) -> None:
    assert triage(issue(**changes), RULE) is None


def test_looking_a_second_time_adds_nothing() -> None:
    first = triage(issue(), RULE)
    assert first is not None
    again: Issue = issue(labels=(first.label, f"status/{first.status}"))
    assert triage(again, RULE) is None


def test_an_issue_of_the_very_second_the_watch_began_is_marked() -> None:
    assert triage(issue(created_s=400), RULE) is not None
