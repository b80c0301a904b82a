"""Which questions of an agent may be approved: those that show all that would run."""

from __future__ import annotations

from typing import Any

import pytest

from allegro.adapters.hermes.frames import event_of, read_object
from allegro.adapters.hermes.questions import MAX_COMMAND, OpenCalls, unmasked
from allegro.core.agent.sessions import Asked, TextDelta, ToolBegan, ToolEnded, question_digest
from allegro.core.base.untrusted import Unreadable

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
    frame = read_object(
        rb'{"event": "message.delta", "delta": "roses \ud83d", "n": {"a": ["\ude00"]}}'
    )
    assert not isinstance(frame, Unreadable)
    event = event_of(frame)
    assert isinstance(event, TextDelta)
    assert event.text.startswith("roses ")
    event.text.encode()


@pytest.mark.parametrize("raw", [b"", b"[]", b'"\\ud83d"', b"{", b"nothing", b"[" * 20_000])
def test_what_is_no_object_is_refused(raw: bytes) -> None:
    assert isinstance(read_object(raw), Unreadable)


def test_half_a_character_is_mended_and_a_whole_one_kept() -> None:
    raw = rb'{"a": "\\ud83d", "b": "\ud83d\ude00", "c": "\ud83d", "d": "\ude00\ud83d"}'
    found = {"a": "\\ud83d", "b": "\U0001f600", "c": "\ufffd", "d": "\ufffd\ufffd"}
    assert read_object(raw) == found


# --- files that steer the agent -----------------------------------------------------------------

STEERS = "<write to AGENTS.md>"
WRITE = {"path": "web/AGENTS.md", "content": "be kind\n+ and bold"}


def write(tool: str = "write_file", **args: Any) -> OpenCalls:
    found = OpenCalls()
    found.hear(ToolBegan(tool, "w1", {"args": args}))
    return found


def test_a_write_is_shown_with_its_path_and_every_line_of_its_content() -> None:
    question = shown_whole(write(**WRITE), asked(STEERS))
    assert question.command.splitlines() == [
        STEERS, 'write_file "web/AGENTS.md"', "+ be kind", "+ + and bold",
    ]  # fmt: skip
    assert question.refused == ""


def test_a_patch_is_shown_with_what_goes_and_what_comes_and_every_other_argument() -> None:
    call = write("patch", path="AGENTS.md", old_string="a\n+ b", new_string="c", replace_all=True)
    assert shown_whole(call, asked(STEERS)).command.splitlines() == [
        STEERS, 'patch "AGENTS.md"', '{"replace_all":true}', "- a", "- + b", "+ c",
    ]  # fmt: skip


def test_another_content_is_another_question() -> None:
    one = shown_whole(write(**WRITE), asked(STEERS))
    other = shown_whole(write(**{**WRITE, "content": "be rude"}), asked(STEERS))
    assert question_digest("s", "r", 1, one) != question_digest("s", "r", 1, other)


def test_a_write_of_which_not_all_is_known_is_denied() -> None:
    assert shown_whole(write(**WRITE), asked(STEERS), is_complete=False).refused
    beside = write(**WRITE)
    beside.hear(ToolBegan("write_file", "w2", {"args": {**WRITE, "content": "evil"}}))
    assert shown_whole(beside, asked(STEERS)).refused
    cut = OpenCalls()
    cut.hear(ToolBegan("write_file", "w1", {"args": '{"path": "AGENTS.md", "con [cut]'}))
    assert shown_whole(cut, asked(STEERS)).refused
    assert (
        "longer" in shown_whole(write(path="a", content="x" * MAX_COMMAND), asked(STEERS)).refused
    )


def test_a_command_that_looks_like_a_write_stands_for_no_write() -> None:
    decoy = calls({"command": STEERS})
    assert shown_whole(decoy, asked(STEERS)).refused == ""
    decoy.hear(ToolBegan("write_file", "w1", {"args": WRITE}))
    assert shown_whole(decoy, asked(STEERS)).refused
    assert shown_whole(calls({"command": STEERS}), asked(STEERS), is_complete=False).refused


def test_an_agent_that_tells_no_arguments_writes_no_file_that_steers() -> None:
    assert unmasked(asked(STEERS)).refused


@pytest.mark.parametrize("shown", ["", "  ", "\n"])
def test_a_question_that_shows_nothing_is_denied(shown: str) -> None:
    assert unmasked(asked(shown)).refused
    assert shown_whole(calls({"command": shown}), asked(shown)).refused
