"""Which questions of an agent may be approved: those that show all that would run."""

from __future__ import annotations

from typing import Any

import pytest

from allegro.adapters.hermes.asking import MAX_COMMAND, OpenCalls, unmasked
from allegro.adapters.hermes.wire import event_of, plain
from allegro.core.sessions import Asked, TextDelta, ToolBegan, ToolEnded

EVIL = "rm -rf /tmp/a; X_TOKEN=$(touch /tmp/evil)"
SHOWN = "rm -rf /tmp/a; X_TOKEN=***"


def calls(*args: Any) -> OpenCalls:
    told = OpenCalls()
    for number, one in enumerate(args):
        told.hear(ToolBegan("terminal", f"c{number}", {"args": one}))
    return told


def shown_whole(told: OpenCalls, question: Asked, *, is_complete: bool = True) -> Asked:
    return told.whole(question, is_complete=is_complete)


def asked(command: str, description: str = "delete") -> Asked:
    return Asked(command, description, ("rm",))


def test_what_is_shown_as_it_is_may_be_approved() -> None:
    assert shown_whole(calls({"command": "rm -rf a"}), asked("rm -rf a")) == asked("rm -rf a")


@pytest.mark.parametrize(
    ("shown", "whole"),
    [
        (SHOWN, EVIL),
        ("a -----BEGIN; [REDACTED PRIVATE KEY]; b", "a -----BEGIN; touch x; b"),
        ("curl -H 'x: sk-123...wxyz' h", "curl -H 'x: sk-1234567890`evil`wxyz' h"),
        ("echo «redacted:ghp_…»", "echo ghp_aaaa"),
    ],
)
def test_a_hidden_part_is_shown(shown: str, whole: str) -> None:
    assert shown_whole(calls({"command": whole}), asked(shown)) == asked(whole)


def test_a_script_is_shown_as_the_agent_asks_about_it() -> None:
    told = calls({"code": "API_KEY='x'\nprint(1)"})
    shown = "execute_code <<'PY'\nAPI_KEY=***\nprint(1)\nPY"
    assert (
        shown_whole(told, asked(shown)).command == "execute_code <<'PY'\nAPI_KEY='x'\nprint(1)\nPY"
    )


@pytest.mark.parametrize(
    "told",
    [
        calls(), calls({"command": "another"}), calls('{"command": "cut [cut]'), calls(None),
        calls({"command": EVIL}, {"command": EVIL + " two"}),
        calls({"command": 5}), calls({"code": EVIL}),
    ],
)  # fmt: skip
def test_what_would_run_is_not_known_without_one_call_that_fits(told: OpenCalls) -> None:
    assert shown_whole(told, asked(SHOWN)).refused


@pytest.mark.parametrize("decoy", [
    {"command": SHOWN}, {"command": "rm -rf /tmp/a; X_TOKEN=plain"}, {"command": "ls"}, None,
    "arguments that were cut [cut]", {"path": "a file"},
])  # fmt: skip
def test_a_masked_command_beside_another_call_may_be_either(decoy: Any) -> None:
    assert shown_whole(calls(decoy, {"command": EVIL}), asked(SHOWN)).refused
    assert shown_whole(calls({"command": EVIL}, decoy), asked(SHOWN)).refused


def test_a_masked_command_is_not_known_while_a_word_of_the_plugin_is_missing() -> None:
    told = calls({"command": "rm -rf /tmp/a; X_TOKEN=plain"})  # and its end may be what is missing
    assert shown_whole(told, asked(SHOWN), is_complete=False).refused
    assert shown_whole(told, asked("rm -rf /tmp/a; X_TOKEN=plain"), is_complete=False).refused == ""


def test_a_call_that_ended_is_no_answer_to_a_question() -> None:
    told = calls({"command": EVIL})
    told.hear(ToolEnded("terminal", "c0", True, 1.0, {}))
    assert shown_whole(told, asked(SHOWN)).refused


@pytest.mark.parametrize("field", ["command", "description"])
def test_what_is_too_long_to_be_shown_is_denied(field: str) -> None:
    long = "x" * (MAX_COMMAND + 1)
    told = asked(long) if field == "command" else asked("rm", long)
    no = shown_whole(calls({"command": told.command}), told)
    assert "longer" in no.refused
    assert max(len(no.command), len(no.description)) == MAX_COMMAND
    just = asked("x" * MAX_COMMAND)
    assert shown_whole(calls({"command": just.command}), just) == just


def test_many_masks_take_no_time() -> None:
    shown = "a***" * 5_000 + "b"
    assert shown_whole(calls({"command": "a" * 100_000}), asked(shown)).refused


@pytest.mark.parametrize("shown", [SHOWN, "curl abc...xyz", "[REDACTED]", "«redacted:x»"])
def test_of_an_agent_that_tells_no_arguments_nothing_that_seems_hidden_is_approved(
    shown: str,
) -> None:
    assert unmasked(asked(shown)).refused
    assert not unmasked(asked("rm -rf a")).refused


def test_half_a_character_spoils_nothing() -> None:
    frame = plain(rb'{"event": "message.delta", "delta": "roses \ud83d", "n": {"a": ["\ude00"]}}')
    event = event_of(frame)
    assert isinstance(event, TextDelta)
    assert event.text.startswith("roses ")
    event.text.encode()


@pytest.mark.parametrize("raw", [b"", b"[]", b'"\\ud83d"', b"{", b"nothing"])
def test_what_is_no_object_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (json's own and ours)
        plain(raw)
