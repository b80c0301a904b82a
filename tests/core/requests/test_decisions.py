from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allegro.core.base.errors import Refusal
from allegro.core.base.untrusted import Unreadable, read_json, read_msgpack
from allegro.core.protocol.answers.decisions import DecisionAnswer, decision_answer
from allegro.core.requests.decisions import (
    MAX_LINES,
    Answer,
    Asking,
    Decision,
    DecisionState,
    NewDecision,
    NewOption,
    against_answer,
    answered,
    decision_digest,
    decision_faults,
    decision_of,
    expired,
    label_of,
    noted,
    withdrawn,
)
from allegro.core.requests.requests import Line

NOW_S = 1_000.0


def new(**changes: Any) -> NewDecision:
    values: dict[str, Any] = {
        "question": "Which day?", "recommend": 2, "expires_in_s": 60.0,
        "options": (NewOption("Monday", ("dry",), ("early",)), NewOption("Tuesday")),
    }  # fmt: skip
    return NewDecision(**{**values, **changes})


def decision(**changes: Any) -> Decision:
    made = decision_of(new(**changes), Asking("d1", NOW_S, 600.0, "garden.py (pid 1)", "a" * 64))
    assert isinstance(made, Decision), made
    return made


def why(found: Refusal | None) -> str:
    assert found is not None
    return found.reason


def test_a_question_becomes_a_request_document_that_does_nothing_by_default() -> None:
    made = decision()
    document = made.document
    assert (document.type, document.default, document.recommendation) == (
        "decision", "do nothing", "Tuesday",
    )  # fmt: skip
    assert (document.created_s, document.expires_s) == (NOW_S, NOW_S + 60.0)
    assert [one.label for one in document.options] == ["Monday", "Tuesday"]
    assert (made.id, made.is_open, made.answer) == ("d1", True, None)
    assert decision(expires_in_s=None).document.expires_s == NOW_S + 600.0
    assert decision(recommend=0).document.recommendation == "none"


def test_no_field_of_a_question_names_an_action() -> None:
    names = {field.name for field in msgspec.structs.fields(Decision)}
    assert not names & {"action", "order_number", "approval", "target", "lane"}


@pytest.mark.parametrize(("changes", "word"), [
    ({"question": " \n"}, "question must"), ({"options": ()}, "options must be 2 to 6"),
    ({"options": (NewOption("a"),)}, "options must be 2 to 6"),
    ({"options": tuple(NewOption(str(n)) for n in range(7))}, "options must be 2 to 6"),
    ({"options": (NewOption("a"), NewOption(" "))}, "must not be empty"),
    ({"options": (NewOption("Yes"), NewOption(" yes "))}, "the same"),
    ({"recommend": 3}, "recommendation"), ({"recommend": -1}, "recommendation"),
    ({"recommend": 10**30}, "recommendation"), ({"expires_in_s": 0.0}, "expire within"),
    ({"expires_in_s": math.nan}, "expire within"), ({"expires_in_s": math.inf}, "expire within"),
    ({"expires_in_s": -5.0}, "expire within"), ({"urgency": "now"}, "urgency"),
])  # fmt: skip
def test_what_cannot_be_asked_is_refused_with_a_sentence(
    changes: dict[str, Any], word: str
) -> None:
    assert word in "; ".join(decision_faults(new(**changes)))
    made = decision_of(new(**changes), Asking("d1", NOW_S, 600.0, "", ""))
    assert isinstance(made, Refusal)
    assert word in made.detail


def test_the_digest_names_all_that_is_asked() -> None:
    same = {decision().digest, decision().digest}
    others = {
        decision(**changes).digest
        for changes in (
            {"question": "Which week?"}, {"options": (NewOption("Monday"), NewOption("Tuesday"))},
            {"recommend": 1}, {"context": "a/b#1"}, {"urgency": "high"}, {"expires_in_s": 61.0},
        )
    }  # fmt: skip
    assert len(same) == 1
    assert len(others | same) == 7
    assert decision().digest == decision_digest(decision().document)


def test_an_answer_in_time_ends_a_question() -> None:
    made = decision()
    for digest in ("", made.digest, made.digest[:16]):
        assert against_answer(made, 2, digest, NOW_S + 59.9) is None
    after = answered(made, Answer(2, "terminal", NOW_S + 5.0))
    assert (after.state, label_of(after), after.settled_s) == (
        DecisionState.ANSWERED, "Tuesday", NOW_S + 5.0,
    )  # fmt: skip
    assert after.history[-1] == Line(NOW_S + 5.0, "answered", "2 by terminal")


def test_of_two_answers_the_first_counts_and_the_second_hears_of_it() -> None:
    after = answered(decision(), Answer(2, "telegram 5:6", NOW_S + 5.0))
    refusal = against_answer(after, 1, "", NOW_S + 6.0)
    assert why(refusal) == "answered"
    for word in ("2, Tuesday", "telegram 5:6", "the first answer counts"):
        assert word in str(refusal)


@pytest.mark.parametrize("option", [0, -1, 3, 7, 10**30])
def test_an_option_that_there_is_not_is_refused(option: int) -> None:
    assert why(against_answer(decision(), option, "", NOW_S)) == "no_such_option"


@pytest.mark.parametrize("digest", ["f" * 16, "a", "x" * 64, "\udcff", "f" * 65, " "])
def test_an_answer_to_what_was_shown_otherwise_is_refused(digest: str) -> None:
    assert why(against_answer(decision(), 1, digest, NOW_S)) == "changed_content"


@pytest.mark.parametrize("now_s", [NOW_S + 60.0, NOW_S + 1e9, math.nan, math.inf])
def test_only_a_time_before_the_end_counts(now_s: float) -> None:
    assert why(against_answer(decision(), 1, "", now_s)) == "expired"


def test_nothing_is_done_when_nobody_answers() -> None:
    made = decision()
    assert expired(made, NOW_S + 59.0) is None
    after = expired(made, NOW_S + 60.0)
    assert after is not None
    assert (after.state, after.answer) == (DecisionState.EXPIRED, None)
    assert why(against_answer(after, 1, "", NOW_S)) == "expired"
    assert expired(after, NOW_S + 99.0) is None


def test_who_asked_can_take_an_open_question_back() -> None:
    after = withdrawn(decision(), NOW_S + 1.0)
    assert isinstance(after, Decision)
    assert why(against_answer(after, 1, "", NOW_S + 2.0)) == "withdrawn"
    again = withdrawn(after, NOW_S + 2.0)
    assert isinstance(again, Refusal)


def test_a_history_keeps_its_first_line_and_the_newest() -> None:
    made = decision()
    for number in range(200):
        made = noted(made, Line(NOW_S + number, "refused", "x" * 5_000))
    assert len(made.history) == MAX_LINES
    assert made.history[0].what == "asked"
    assert made.history[-1].at_s == NOW_S + 199
    assert len(msgspec.msgpack.encode(made)) < 20_000


@given(st.text(max_size=50), st.integers(-3, 9), st.floats(), st.text(max_size=20))
def test_an_answer_never_raises_and_never_changes_what_was_answered(
    by: str, option: int, at_s: float, digest: str
) -> None:
    first = answered(decision(), Answer(1, "terminal", NOW_S + 1.0))
    assert against_answer(first, option, digest, at_s) is not None
    if against_answer(decision(), option, digest, at_s) is None:
        made = answered(decision(), Answer(option, by, at_s))
        assert made.answer is not None
        assert made.answer.option in {1, 2}


def test_a_question_is_read_back_as_it_was_stored_and_shown() -> None:
    after = answered(decision(), Answer(2, "terminal", NOW_S + 5.0))
    assert read_msgpack(msgspec.msgpack.encode(after), Decision) == after
    view = decision_answer(after)
    assert read_json(msgspec.json.encode(view), DecisionAnswer) == view
    assert view.answer is not None
    assert (view.owner, view.answer.label, view.default) == (None, "Tuesday", "do nothing")
    assert decision_answer(decision()).owner == "sovereign"
    assert isinstance(read_json(b'{"kind": "decision"}', DecisionAnswer), Unreadable)
