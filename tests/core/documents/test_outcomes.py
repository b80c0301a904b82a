from __future__ import annotations

from typing import Any

import pytest

from allegro.core.authority.actions.families import action_bytes, action_digest
from allegro.core.documents.outcomes import artifact_of, report_of
from allegro.core.requests.documents import REPORT_STATUSES
from allegro.core.requests.lifecycle import FINAL, State
from allegro.core.requests.requests import NOT_AGAIN, Line, Request
from tests.core.builders import change, document

PAGE = "https://forge.example.org/home/garden/pulls/44"


def request(**changes: Any) -> Request:
    raw = action_bytes(change())
    values: dict[str, Any] = {
        "id": "r1", "kind": "propose_change", "digest": action_digest(raw), "action": raw,
        "document": document(question="Oil the door?"), "state": State.DONE, "created_s": 10.0,
        "target": "forge.example.org/7", "repository": "home/garden", "artifact": 44, "url": PAGE,
        "decided_s": 20.0, "settled_s": 32.0, "history": (Line(21.0, "order", "order 1 to a"),),
    }  # fmt: skip
    return Request(**{**values, **changes})


@pytest.mark.parametrize("state", State)
def test_each_state_has_a_status_of_the_document(state: State) -> None:
    report = report_of(request(state=state))
    assert report.status in REPORT_STATUSES
    assert (report.status == "complete") == (state is State.DONE)
    assert (report.telemetry.success_rate is None) == (state not in FINAL)
    assert (report.artifacts != ()) == (state is State.DONE)


def test_a_done_change_names_its_pull_request_and_what_is_left_to_do() -> None:
    report = report_of(request())
    assert report.task == "Oil the door?"
    (made,) = report.artifacts
    assert (made.name, made.link) == ("pull request 44", PAGE)
    assert (report.duration_s, report.telemetry.executions) == (12.0, 1)
    assert report.next_steps == ("review and merge it yourself",)


@pytest.mark.parametrize(("superseded_by", "step"), [
    ("r2", "decide again: r2"), ("", "propose it anew: the world moved"),
    (NOT_AGAIN, "propose it anew: the world moved"),
])  # fmt: skip
def test_a_stale_one_says_what_is_to_be_decided_now(superseded_by: str, step: str) -> None:
    report = report_of(request(state=State.STALE, superseded_by=superseded_by))
    assert report.next_steps == (step,)


@pytest.mark.parametrize("url", [
    "https://evil.example/home/garden/pulls/44", "https://forge.example.org.evil.example/x/y",
    "https://forge.example.org/other/garden/pulls/44", "", "forge.example.org/home/garden/pulls/44",
])  # fmt: skip
def test_a_lanes_word_leads_to_no_other_place(url: str) -> None:
    assert artifact_of(request(url=url)).link == ""


def test_a_request_that_was_never_decided_has_no_duration() -> None:
    assert report_of(request(state=State.EXPIRED, decided_s=0.0)).duration_s is None
    assert report_of(request(state=State.PROPOSED, settled_s=0.0)).duration_s is None
