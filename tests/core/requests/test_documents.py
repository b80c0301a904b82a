from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from allegro.core.requests.documents import ReportDocument, Telemetry, document_faults
from tests.core.builders import document


def test_a_good_request_has_no_fault_and_does_nothing_by_default() -> None:
    assert document_faults(document()) == ()
    assert document().default == "do nothing"


@pytest.mark.parametrize(("changes", "word"), [
    ({"type": "order"}, "type must"), ({"urgency": "now"}, "urgency must"),
    ({"question": " \n"}, "question must"), ({"expires_s": 10.0}, "must expire"),
    ({"expires_s": math.nan}, "must expire"), ({"created_s": math.nan}, "must expire"),
])  # fmt: skip
def test_a_fault_is_told_in_a_sentence(changes: dict[str, Any], word: str) -> None:
    (fault,) = document_faults(document(**changes))
    assert word in fault


def test_all_faults_are_told_at_once() -> None:
    assert len(document_faults(document(type="", urgency="", question="", expires_s=0.0))) == 4


def test_a_report_may_say_that_a_figure_is_not_measurable_yet() -> None:
    report = ReportDocument("task", "complete", None, (), (), Telemetry(0, None, None), ())
    assert msgspec.json.decode(msgspec.json.encode(report), type=ReportDocument) == report
