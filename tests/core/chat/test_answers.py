"""Answers hold no words from outside unless that is configured, and nothing hidden ever."""

from __future__ import annotations

import unicodedata

import pytest

from allegro.core.chat.answers import (
    LaneState,
    Standing,
    Waiting,
    age,
    requests_answer,
    status_answer,
)
from allegro.core.chat.texts import Foreign, cut_units, html, plain_text, shown, units
from tests.bad.values import TEXTS, Bad


def waiting(**changes: object) -> Waiting:
    fields = {
        "reference": "r1", "kind": "pull request", "urgency": "now", "age_s": 7_200.0,
        "title": "secret title", "target": "org/secret",
    }  # fmt: skip
    return Waiting(**(fields | changes))  # type: ignore[arg-type]  # fields of any type for a test


def test_titles_and_names_go_out_only_where_that_is_configured() -> None:
    assert "secret" not in plain_text(requests_answer((waiting(),), content=False))
    assert "“org/secret” “secret title”" in plain_text(requests_answer((waiting(),), content=True))


def test_a_request_shows_reference_kind_urgency_and_age() -> None:
    words = plain_text(requests_answer((waiting(),), content=False))
    assert words == "1 request waiting, oldest first:\n“r1” pull request, now, 2 h old"


def test_the_oldest_come_first_and_the_rest_is_counted() -> None:
    many = tuple(waiting(reference=f"r{n}", age_s=float(n)) for n in range(12))
    lines = plain_text(requests_answer(many, content=False)).splitlines()
    assert lines[1].startswith("“r11”")
    assert lines[-1] == "and 2 more"


def test_what_is_not_known_is_never_shown_as_well() -> None:
    words = plain_text(status_answer(Standing(None, None, None)))
    assert "taken as frozen" in words
    assert words.count("unknown") == 3
    assert "Not frozen" in plain_text(status_answer(Standing(0, 0, 0)))


@pytest.mark.parametrize("row", TEXTS, ids=lambda row: row.name)
def test_foreign_words_hide_nothing_and_start_no_line(row: Bad) -> None:
    lane = LaneState(row.value, "ok", 3.0)
    before, after = (plain_text(status_answer(Standing(0, 0, 0, lanes))) for lanes in ((), (lane,)))
    assert after.count("\n") == before.count("\n") + 1
    assert not any(
        unicodedata.category(char) in {"Cc", "Cf", "Cs"} for char in shown(Foreign(row.value))
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (7_199, "1 h"), (90_000, "1 d"),
     (-1, "unknown"), (float("nan"), "unknown"), (float("inf"), "unknown")],
)  # fmt: skip
def test_an_age_is_shown_in_its_largest_unit(seconds: float, words: str) -> None:
    assert age(seconds) == words


def test_lengths_are_counted_as_utf_16_and_no_character_is_halved() -> None:
    assert units("a\U0001f600") == 3
    assert cut_units("a\U0001f600b", 2) == "a"
    assert cut_units("a\U0001f600b", 3) == "a\U0001f600"
    assert cut_units("ab", 2) == "ab"


def test_the_three_characters_of_html_are_escaped() -> None:
    assert html("<b>&amp;") == "&lt;b&gt;&amp;amp;"
