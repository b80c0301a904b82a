"""Buttons fit in 64 bytes, stand for what was shown, and approve nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from allegro.core.base.errors import Unholdable
from allegro.core.chat.received import Sender, Tap
from allegro.core.chat.taps import (
    MAX_DATA_BYTES,
    VERBS,
    Noted,
    Verb,
    Void,
    button_data,
    judge_tap,
    read_press,
)
from tests.bad.values import TEXTS

DIGEST, OTHER = "ab" * 32, "cd" * 32


def pressed(data: str) -> Tap:
    return Tap("9", Sender(77, 77), 5, data)


@given(
    verb=some.sampled_from(VERBS),
    subject=some.from_regex(r"\A[A-Za-z0-9._:-]{1,32}\Z"),
    option=some.integers(1, 9),
)
def test_every_button_fits_and_reads_back(verb: Verb, subject: str, option: int) -> None:
    option = option if verb == "answer" else 0
    data = button_data(verb, subject, DIGEST, option)
    press = read_press(data)
    assert len(data.encode()) <= MAX_DATA_BYTES
    assert press is not None
    assert (press.verb, press.subject, press.option) == (verb, subject, option)


def test_a_tap_on_approve_is_a_note_that_asks_for_the_signature() -> None:
    noted = judge_tap(pressed(button_data("approve", "r1", DIGEST)), DIGEST)
    assert isinstance(noted, Noted)
    assert noted.words == "Noted; needs your signature."


@pytest.mark.parametrize(
    ("now", "reason"), [(OTHER, "changed"), (None, "unknown"), ("", "changed")]
)
def test_a_button_stands_only_for_what_it_was_shown_with(now: str | None, reason: str) -> None:
    void = judge_tap(pressed(button_data("approve", "r1", DIGEST)), now)
    assert isinstance(void, Void)
    assert void.reason == reason


@pytest.mark.parametrize("row", TEXTS, ids=lambda row: row.name)
def test_a_button_that_is_not_ours_means_nothing(row: object) -> None:
    void = judge_tap(pressed(str(getattr(row, "value", row))), DIGEST)
    assert isinstance(void, Void)
    assert void.reason == "malformed"


@pytest.mark.parametrize(
    "data",
    [
        "approve~1~r1~" + "a" * 16, "answer~~r1~" + "a" * 16, "answer~0~r1~" + "a" * 16,
        "thaw~~r1~" + "a" * 16, "approve~~r1~" + "a" * 15, "approve~~r1~" + "A" * 16,
        "approve~~r1~" + "a" * 16 + "\n", "answer~٣~r1~" + "a" * 16,
    ],
)  # fmt: skip
def test_a_button_bent_a_little_means_nothing(data: str) -> None:
    assert read_press(data) is None


@pytest.mark.parametrize(
    ("subject", "digest", "option"),
    [
        ("", DIGEST, 0),
        ("x" * 33, DIGEST, 0),
        ("a~b", DIGEST, 0),
        ("r1", "ab", 0),
        ("r1", DIGEST, 1),
    ],
)
def test_a_button_that_cannot_be_written_is_refused(subject: str, digest: str, option: int) -> None:
    with pytest.raises(Unholdable):
        button_data("approve", subject, digest, option)
