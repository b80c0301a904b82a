from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allegro.core.authority.actions.forge import MAX_BODY_BYTES
from allegro.core.documents.block import Block, read_block
from allegro.core.documents.report_text import report_text
from allegro.core.documents.subject import Subject
from allegro.core.effects.render import rendered_body
from allegro.core.requests.documents import Artifact, ReportDocument, Telemetry
from tests.core.builders import mirror_action

from .foreign import FOREIGN, kinds, plain_words

ABOUT = Subject(
    id="r1", type="approval", urgency="low", since_s=10.0, digest="d" * 64, expires_s=60.0
)
PAGE = "https://forge.example.org/home/garden/pulls/44"
WHOLE = """\
## ✅ Allegro Report

**Task:** `Oil the door`

**Status:** complete

**Duration:** 12.0 s

**Results:**

- `merged`

**Artifacts:**

- [pull request 44](https://forge.example.org/home/garden/pulls/./44)

**Telemetry:**

- Executions: 1
- Success rate: 100%
- Avg latency: 12.0 s

**Next Steps:**

- `review and merge it yourself`

```allegro
{"digest":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","document":"report","expires_s":60,"id":"r1","v":1}
```"""


def report(**changes: Any) -> ReportDocument:
    values: dict[str, Any] = {
        "task": "Oil the door", "status": "complete", "duration_s": 12.0, "results": ("merged",),
        "artifacts": (Artifact("pull request 44", PAGE),), "telemetry": Telemetry(1, 1.0, 12.0),
        "next_steps": ("review and merge it yourself",),
    }  # fmt: skip
    return ReportDocument(**{**values, **changes})


def test_a_report_has_the_operators_form() -> None:
    text = report_text(report(), ABOUT, private=True)
    assert text == WHOLE
    assert read_block(text) == Block(document="report", id="r1", digest="d" * 64, expires_s=60)


@pytest.mark.parametrize("status", ["complete", "in-progress", "blocked", "failed"])
def test_the_four_statuses_are_shown_and_no_other(status: str) -> None:
    assert f"**Status:** {status}\n" in report_text(report(status=status), ABOUT, private=True)
    assert "**Status:** unknown\n" in report_text(report(status="@x"), ABOUT, private=True)


@pytest.mark.parametrize("value", [None, math.nan, -1.0])
def test_a_figure_that_is_none_is_said_to_be_not_measurable_yet(value: float | None) -> None:
    text = report_text(
        report(duration_s=value, telemetry=Telemetry(0, value, value)), ABOUT, private=True
    )
    assert text.count("not measurable yet") == 3
    assert "Success rate: not" in report_text(
        report(telemetry=Telemetry(0, 1.5, None)), ABOUT, private=True
    )


def test_what_is_empty_is_shown_as_empty() -> None:
    text = report_text(report(results=(), artifacts=(), next_steps=()), ABOUT, private=True)
    for label in ("Results", "Artifacts", "Next Steps"):
        assert f"**{label}:**\n\n–\n" in text


def test_a_public_repository_is_shown_id_type_urgency_and_age_and_nothing_else() -> None:
    text = report_text(report(), ABOUT, private=False)
    assert text == report_text(report(task="else", status="failed"), ABOUT, private=False)
    assert "Oil" not in text
    assert "complete" not in text
    assert "d" * 64 not in text
    for line in ("`r1`", "approval", "low", "since 1970-01-01T00:00:10.000Z"):
        assert line in text


@given(st.data())
def test_foreign_words_change_no_shape_and_forge_no_block(data: st.DataObject) -> None:
    words = [f"x{data.draw(FOREIGN)}" for _ in range(4)]
    hostile = report(
        task=words[0], results=(words[1],), artifacts=(Artifact(words[2], words[3]),),
        next_steps=(words[3],),
    )  # fmt: skip
    same = report(task="x", results=("x",), artifacts=(Artifact("x", "x"),), next_steps=("x",))
    text = report_text(hostile, ABOUT, private=True)
    sent = rendered_body(mirror_action(body=text), "ab" * 16)
    assert kinds(text) == kinds(report_text(same, ABOUT, private=True))
    assert plain_words(text) == plain_words(report_text(same, ABOUT, private=True))
    assert sent.startswith(text)
    assert read_block(sent) == Block(document="report", id="r1", digest="d" * 64, expires_s=60)


@pytest.mark.parametrize("char", ["x", "`", "@a", "\x1b", "\U000e0001", "🔄", "\n"])
def test_a_report_of_the_longest_words_still_fits_a_comment(char: str) -> None:
    long = char * 5_000
    full = report(
        task=long, results=(long,) * 50, artifacts=(Artifact(long, PAGE),) * 50,
        next_steps=(long,) * 50,
    )  # fmt: skip
    assert len(report_text(full, ABOUT, private=True).encode()) <= MAX_BODY_BYTES
