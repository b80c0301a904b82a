from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allegro.core.authority.actions.agent import (
    MAX_HISTORY,
    MAX_LEND_S,
    MAX_PROMPT_BYTES,
    MAX_SESSION_S,
    MAX_TOOLS,
    ROLES,
    Quote,
    SessionAction,
    Turn,
    session_faults,
)
from allegro.core.authority.actions.families import (
    action_bytes,
    action_faults,
    kind_of,
    parse_action,
)
from allegro.core.base.canonical import canonical
from tests.core.builders import EVERY_SESSION_ACTION, answer_once, lend_model, refused, run_session

HALF = "x" * (MAX_PROMPT_BYTES // 2)


@pytest.mark.parametrize("action", EVERY_SESSION_ACTION, ids=kind_of)
def test_a_good_act_around_a_session_has_no_fault(action: SessionAction) -> None:
    assert session_faults(action) == []


@pytest.mark.parametrize("action", [
    run_session(history=tuple(Turn(role, "words") for role in ROLES)),
    run_session(history=tuple(Turn("user", "") for _ in range(MAX_HISTORY))),
    run_session(quotes=tuple(Quote("s", "a", "") for _ in range(MAX_HISTORY))),
    run_session(prompt=HALF, instructions=HALF),
    run_session(model=""), run_session(model="openai/gpt-5:nano+x_1.2"), run_session(model="a" * 128),
    run_session(tools=()), run_session(tools=("file", "code_execution", "t" * 32, "a1")),
    run_session(tools=tuple(f"tool_{n}" for n in range(MAX_TOOLS))),
    run_session(issue=".../.garden.#1"), run_session(issue=".home/..garden#1"),
    run_session(issue="home/garden.x-y_z#1"), run_session(issue="home/garden#9999999999"),
    run_session(limit_s=1), run_session(limit_s=MAX_SESSION_S),
    answer_once(number=1), answer_once(lane="l" * 200, session="s" * 200, run="r" * 200),
    lend_model(lives_s=1, max_tokens=1), lend_model(lives_s=MAX_LEND_S, max_tokens=100_000_000),
])  # fmt: skip
def test_what_lies_exactly_within_the_bounds_has_no_fault(action: SessionAction) -> None:
    assert session_faults(action) == []
    assert parse_action(action_bytes(action)) == action


@pytest.mark.parametrize(("action", "word"), [
    (run_session(prompt=""), "prompt must not be empty"),
    (run_session(prompt=" \n\t"), "prompt must not be empty"),
    (run_session(prompt=HALF, instructions=HALF + "x"), "together must not exceed"),
    (run_session(prompt="x", history=(Turn("user", HALF * 2),)), "together must not exceed"),
    (run_session(prompt="x", quotes=(Quote("", "", HALF * 2),)), "together must not exceed"),
    (run_session(prompt="x", quotes=(Quote(HALF * 2, "", ""),)), "together must not exceed"),
    (run_session(prompt="x", quotes=(Quote("", HALF * 2, ""),)), "together must not exceed"),
    (run_session(prompt="é" * (MAX_PROMPT_BYTES // 2) + "x"), "together must not exceed"),
    (run_session(history=(Turn("user", ""),) * (MAX_HISTORY + 1)), "must not be longer than"),
    (run_session(quotes=(Quote("s", "a", ""),) * (MAX_HISTORY + 1)), "must not be longer than"),
    (run_session(history=(Turn("user", "a"), Turn("system", "obey"))), "role of a turn"),
    (run_session(history=(Turn("User", "a"),)), "role of a turn"),
    (run_session(history=(Turn("", "a"),)), "role of a turn"),
    (run_session(limit_s=0), "limit_s must"),
    (run_session(limit_s=-1), "limit_s must"),
    (run_session(limit_s=MAX_SESSION_S + 1), "limit_s must"),
    (answer_once(number=0), "number must"),
    (answer_once(number=-1), "number must"),
    (lend_model(lives_s=0), "lives_s must"),
    (lend_model(lives_s=MAX_LEND_S + 1), "lives_s must"),
    (lend_model(max_tokens=0), "max_tokens must"),
    (lend_model(max_tokens=100_000_001), "max_tokens must"),
    (lend_model(model=""), "not a model's name"),
])  # fmt: skip
def test_a_fault_of_an_act_around_a_session_is_told_in_a_sentence(
    action: SessionAction, word: str
) -> None:
    assert word in "; ".join(session_faults(action))
    assert refused(parse_action(action_bytes(action)), "malformed_action")


@pytest.mark.parametrize("model", [
    "-gpt", "/etc/passwd", "a b", "gpt\n", "gpt\x00", "gpt'", "é", "a" * 129, "../x", "gpt\u202e",
])  # fmt: skip
def test_a_models_name_is_plain_ascii_on_one_line(model: str) -> None:
    for action in (run_session(model=model), lend_model(model=model)):
        assert session_faults(action) == [f"not a model's name: {model!r}"]


@pytest.mark.parametrize("tool", [
    "", "Terminal", "1file", "_file", "file system", "file\n", "file-x", "t" * 33, "../file", "é",
])  # fmt: skip
def test_a_tools_name_is_a_plain_word(tool: str) -> None:
    assert session_faults(run_session(tools=("file", tool))) == [f"not a tool's name: {tool!r}"]


def test_every_bad_tool_is_named() -> None:
    assert session_faults(run_session(tools=("A", "file", "B"))) == ["not a tool's name: 'A', 'B'"]


@pytest.mark.parametrize("tool", ["file", "File"])
def test_a_session_names_no_more_tools_than_there_could_be(tool: str) -> None:
    action = run_session(tools=(tool,) * (MAX_TOOLS + 1))
    assert session_faults(action) == [f"tools must not be more than {MAX_TOOLS}"]


@pytest.mark.parametrize("issue", [
    "../garden#1", "./garden#1", "home/..#1", "home/.#1", "../..#1", "./.#1",
    "garden#1", "home/garden", "home/garden#0", "home/garden#01", "home/garden#-1", "home/garden#1\n",
    "home/garden/x#1", "home/gar den#1", "/garden#1", "home/#1", "home/garden#12345678901", "#1",
    "h" * 101 + "/garden#1", "home/" + "g" * 101 + "#1",
])  # fmt: skip
def test_an_issue_is_a_repository_and_a_number(issue: str) -> None:
    assert session_faults(run_session(issue=issue)) == ["issue must be like owner/name#12"]


@pytest.mark.parametrize("field", ["lane", "session", "run"])
@pytest.mark.parametrize("name", ["", "x" * 201, "a\nb", "a\u202eb", "a\x00"])
def test_an_answer_names_lane_session_and_run_in_characters_that_show(
    field: str, name: str
) -> None:
    changes: dict[str, Any] = {field: name}
    assert session_faults(answer_once(**changes)) == ["lane, session and run must be named"]


@pytest.mark.parametrize("question", [
    "", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n", " " + "a" * 63, "０" * 64,
])  # fmt: skip
def test_a_question_is_named_by_a_sha256_in_lower_case_hex(question: str) -> None:
    assert session_faults(answer_once(question=question)) == ["question must be a hex SHA-256"]


def test_all_faults_are_told_at_once_and_the_id_is_judged_with_them() -> None:
    session = run_session(
        id="X", prompt="", model=" ", tools=("",), issue="#", limit_s=0,
        history=(Turn("tool", ""),) * (MAX_HISTORY + 1),
    )  # fmt: skip
    assert len(action_faults(session)) == 8
    answer = answer_once(id="X", lane="", number=0, question="")
    assert len(action_faults(answer)) == 4
    assert len(action_faults(lend_model(id="X", model="", lives_s=0, max_tokens=0))) == 4


@given(
    st.lists(st.text(alphabet="aé漢😀", max_size=8), min_size=1, max_size=6),
    st.integers(-2, 2),
)
def test_the_limit_counts_bytes_of_every_text_wherever_it_stands(
    texts: list[str], beyond: int
) -> None:
    first, *rest = texts
    turns = tuple(Turn("user", text) for text in rest[::2])
    quotes = tuple(Quote(text, text, text) for text in rest[1::2])
    used = sum(len(text.encode()) for text in rest[::2])
    used += 3 * sum(len(text.encode()) for text in rest[1::2]) + len(first.encode())
    prompt = "x" * (MAX_PROMPT_BYTES - used + beyond)
    action = run_session(prompt=prompt, instructions=first, history=turns, quotes=quotes)
    assert bool(session_faults(action)) == (beyond > 0)


@given(st.text(max_size=40))
def test_no_name_with_a_line_end_or_hidden_character_passes(name: str) -> None:
    shows = name.isascii() and name.isprintable() and " " not in name
    if not session_faults(lend_model(model=name)):
        assert shows
    if not session_faults(run_session(tools=(name,))):
        assert shows
    if name and not session_faults(run_session(issue=name)):
        assert shows


DEFAULTED = {
    "run_session": (
        "history", "instructions", "issue", "limit_s", "model", "network", "quotes", "tools",
    ),
    "lend_model": ("lives_s", "max_tokens"),
}  # fmt: skip


@given(st.data())
def test_a_session_or_loan_with_any_field_left_out_is_refused_whatever_it_would_mean(
    data: st.DataObject,
) -> None:
    action = data.draw(
        st.sampled_from(EVERY_SESSION_ACTION).filter(lambda one: kind_of(one) in DEFAULTED)
    )
    left_out = data.draw(st.sets(st.sampled_from(DEFAULTED[kind_of(action)]), min_size=1))
    told = msgspec.json.decode(action_bytes(action), type=dict[str, Any])
    short = canonical({name: value for name, value in told.items() if name not in left_out})
    assert refused(parse_action(short), "not_canonical")


@pytest.mark.parametrize("change", [
    (b'"limit_s":600', b'"limit_s":"600"'), (b'"limit_s":600', b'"limit_s":600.5'),
    (b'"limit_s":600', b'"limit_s":true'), (b'"network":false', b'"network":1'),
    (b'"network":false', b'"network":null'), (b'"tools":null', b'"tools":"terminal"'),
    (b'"tools":null', b'"tools":[null]'), (b'"history":[]', b'"history":[{"role":"user"}]'),
    (b'"history":[]', b'"history":[{"name":"x","role":"user","text":"a"}]'),
    (b'"quotes":[]', b'"quotes":[{"author":"a","role":"system","source":"s","text":"t"}]'),
    (b'"quotes":[]', b'"quotes":{}'),
])  # fmt: skip
def test_a_session_of_other_types_or_with_more_fields_is_refused(
    change: tuple[bytes, bytes],
) -> None:
    raw = action_bytes(run_session(limit_s=600))
    assert change[0] in raw
    assert refused(parse_action(raw.replace(*change)), "malformed_action")
