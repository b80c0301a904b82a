"""What is an end, an error, a word and a use, in answers that come whole and in streams cut anywhere."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allegro.core.base.untrusted import Unreadable
from allegro.core.models.answers import (
    BOM,
    Answer,
    Failure,
    as_events,
    failure_in,
    note,
    read_answer,
    words_bytes,
)
from allegro.core.models.stream import MAX_LINE, StreamReader
from allegro.core.models.usage import usage_of

GOOD_ENDS = ["stop", "length", "tool_calls", "function_call", "content_filter"]
OTHER_APIS = [
    "eos", "end_turn", "stop_sequence", "max_tokens", "tool_use", "STOP", "COMPLETE", "tool_call",
    "refusal", "model_length", "model_context_window_exceeded",
]  # fmt: skip
CUT_OFF = {"length", "max_tokens", "model_length", "model_context_window_exceeded"}
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def line(payload: Any) -> bytes:
    return b"data: " + msgspec.json.encode(payload) + b"\n\n"


def piece(text: str = "", finish: Any = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text, **delta}, "finish_reason": finish}]}


def whole(text: str | None = "ok", finish: Any = "stop", **message: Any) -> dict[str, Any]:
    payload = {"role": "assistant", "content": text, **message}
    return {"choices": [{"index": 0, "message": payload, "finish_reason": finish}]}


def read(*chunks: bytes) -> tuple[bytes, Answer]:
    """Return what of a stream is passed on, and what is known of it at its end."""
    reader = StreamReader()
    passed = b"".join(reader.feed(chunk) for chunk in chunks)
    reader.finish()
    return passed, reader.answer


DONE = b"data: [DONE]\n\n"
ROLE = line(piece(role="assistant"))
WORD, STOP = line(piece("hello")), line(piece(finish="stop"))
COUNTED = line({"choices": [], "usage": USAGE})

# --- the table of failures ----------------------------------------------------------------------

FAILURES: list[tuple[str, dict[str, Any], int]] = [
    ("error object", {"error": {"message": "no", "code": 503}}, 503),
    ("error object with choices", {"error": {"code": 502}, "choices": []}, 502),
    ("error in words", {"error": "no"}, 500),
    ("error of a number", {"error": 7}, 500),
    ("error list", {"error": ["no"]}, 500),
    ("error of true", {"error": True}, 500),
    ("code as word", {"error": {"code": "429"}}, 429),
    ("code by name", {"error": {"code": "rate_limit_exceeded"}}, 429),
    ("type by name", {"error": {"code": None, "type": "overloaded_error"}}, 529),
    ("status by name", {"error": {"status": "RESOURCE_EXHAUSTED"}}, 429),
    ("code out of range", {"error": {"code": 200}}, 500),
    ("code of true", {"error": {"code": True}}, 500),
    ("http_code", {"error": {"http_code": 401}}, 401),
    ("invalid request", {"error": {"type": "invalid_request_error"}}, 400),
    ("object error", {"object": "error", "message": "no", "code": 400}, 400),
    ("type error", {"type": "error", "error": {"type": "api_error"}}, 500),
    ("type error alone", {"type": "error", "code": 404}, 404),
    ("detail in words", {"detail": "Not allowed"}, 500),
    ("detail as list", {"detail": [{"loc": ["body"], "msg": "Extra inputs"}]}, 500),
    ("errors", {"errors": [{"message": "no"}]}, 500),
    ("message alone", {"message": "Internal error"}, 500),
    ("msg with a code", {"code": 1210, "msg": "no"}, 500),
    ("base_resp", {"base_resp": {"status_code": 1008, "status_msg": "no"}, "choices": None}, 500),
    ("error in a choice", {"choices": [{"error": {"code": 502}, "delta": {"content": ""}}]}, 502),
]


@pytest.mark.parametrize(("payload", "status"), [row[1:] for row in FAILURES],
                         ids=[row[0] for row in FAILURES])  # fmt: skip
def test_each_spelling_of_an_error_is_a_refusal_whole_and_in_a_stream(
    payload: dict[str, Any], status: int
) -> None:
    found = failure_in(payload)
    assert found is not None
    assert (found.status, found.is_refusal) == (status, True)
    assert isinstance(msgspec.json.decode(found.text)["error"], object)
    _, answer = read_answer(msgspec.json.encode(payload))
    assert answer.failure == found
    for before in (b"", b": keep-alive\n\n", ROLE, WORD):
        passed, answer = read(before, line(payload), DONE)
        assert answer.failure == found
        assert not answer.is_whole
        assert passed == before


@pytest.mark.parametrize("reason", [
    "network_error", "error", "insufficient_system_resource", "malformed_function_call", "x", 5, True,
    ["stop"], {"stop": 1},
])  # fmt: skip
def test_an_end_that_is_none_of_the_known_ones_is_a_failure(reason: Any) -> None:
    failed = failure_in(piece(finish=reason))
    assert failed == Failure(500, f"finish_reason {reason}", is_refusal=False)
    _, answer = read(WORD, line(piece(finish=reason)), DONE)
    assert not answer.is_whole
    _, answer = read_answer(msgspec.json.encode(whole(finish=reason)))
    assert answer.failure == failed


@pytest.mark.parametrize("payload", [
    {}, {"error": None}, {"error": {}}, {"error": ""}, {"error": False}, {"type": "ping"},
    {"detail": None}, {"object": "chat.completion.chunk", "choices": []}, {"choices": 5},
    {"choices": [None, 5, "x", []]}, {"base_resp": {"status_code": 0}}, {"base_resp": 5},
    {"usage": USAGE, "message": "x"}, {"object": "chat.completion", "message": "x"},
    piece("x"), piece(finish=""), piece(finish=None), piece(finish="stop"), {"choices": [{}]},
    {"choices": [{"error": None, "delta": {}}]}, {"id": "x", "message": ""},
])  # fmt: skip
def test_what_is_no_error_is_none(payload: dict[str, Any]) -> None:
    assert failure_in(payload) is None


def test_an_object_after_the_word_error_is_one_whatever_is_in_it() -> None:
    assert failure_in({"a": 1}, in_error=True) is not None
    assert failure_in({"a": 1}) is None
    _, answer = read(b'event: message\ndata: {"a": 1}\n\n')
    assert answer.failure is None


def test_an_error_that_json_cannot_hold_is_kept_in_words() -> None:
    found = failure_in({"error": {"code": 500, "n": "\ud800x"}})
    assert found is not None
    assert "x'}" in found.text


def test_the_words_of_an_error_are_cut() -> None:
    found = failure_in({"error": {"message": "x" * 100_000}})
    assert found is not None
    assert len(found.text) == 16_000


# --- streams -----------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [*GOOD_ENDS, *OTHER_APIS])
def test_each_known_end_is_an_end(reason: str) -> None:
    passed, answer = read(WORD, line(piece(finish=reason)))
    assert answer.is_whole
    assert answer.end == reason.lower()
    assert answer.is_cut_off is (reason in CUT_OFF)
    assert passed == WORD + line(piece(finish=reason))


def test_a_choice_on_a_line_of_its_own_is_no_error() -> None:
    raw = msgspec.json.encode(whole("hi")).replace(b"[{", b"[\n{").replace(b"}]", b"}\n]")
    assert b"\n{" in raw
    assert read(raw)[1].failure is None
    assert read_answer(raw)[1].is_whole


@pytest.mark.parametrize("reason", ["null", "None", ""])
def test_a_word_for_no_end_yet_is_neither_an_end_nor_a_failure(reason: str) -> None:
    going_on = line(piece("hello", finish=reason))
    passed, answer = read(going_on, STOP)
    assert (answer.failure, answer.end, passed) == (None, "stop", going_on + STOP)
    assert not read(going_on)[1].is_whole


@pytest.mark.parametrize(("chunks", "is_whole"), [
    ((WORD, STOP, DONE), True), ((WORD, STOP), True), ((WORD, DONE), True), ((STOP, DONE), True),
    ((WORD,), False), ((DONE,), False), ((ROLE, DONE), False), ((), False), ((b"",), False),
    ((WORD, COUNTED), False), ((b": x\n\n", DONE), False), ((COUNTED, DONE), False),
    ((b"<html>it works</html>",), False), ((WORD[:-9],), False), ((WORD, b"data: [DON"), False),
    ((WORD, b"data: [DONE]"), True), ((WORD, b"data:[DONE]"), True), ((WORD, b"data: [DONE]\r"), True),
    ((WORD, b"event: done\ndata: [DONE]\n\n"), True), ((WORD, b" data: [DONE] \n"), True),
    ((WORD, b"event: [DONE]\n\n"), False), ((b"data: 5\n\n", DONE), False),
    ((b'data: "hello"\n\n', DONE), False), ((b"data: []\n\n", DONE), False),
    ((msgspec.json.encode(whole()) + b"\n",), False), ((msgspec.json.encode([whole()]) + b"\n", DONE), False),
    ((b"data: \xff\xfe\n\n", DONE), False),
])  # fmt: skip
def test_a_stream_is_whole_by_its_finish_reason_or_by_done_after_some_words(
    chunks: tuple[bytes, ...], is_whole: bool
) -> None:
    assert read(*chunks)[1].is_whole is is_whole


@pytest.mark.parametrize(("raw", "settled"), [
    (b"", False), (b": keep-alive\n\n", False), (ROLE, False), (COUNTED, False),
    (line(piece(content=None)), False), (line({"choices": [{"delta": {"tool_calls": []}}]}), False),
    (WORD, True), (STOP, True), (DONE, True), (line({"error": "x"}), True),
    (line(piece(tool_calls=[{"index": 0, "function": {"name": "terminal"}}])), True),
    (line(piece(reasoning_content="hm")), True), (line(piece(refusal="no")), True),
    (line({"choices": [{"text": "x"}]}), True), (line({"choices": [{"message": {"content": "x"}}]}), True),
])  # fmt: skip
def test_a_stream_is_settled_by_its_first_word_its_end_or_its_failure(
    raw: bytes, settled: bool
) -> None:
    reader = StreamReader()
    reader.feed(raw)
    assert reader.answer.is_settled is settled


@pytest.mark.parametrize("raw", [
    b'error: {"code":500,"message":"no slot"}\n\n', b"error: no slot\n\n", b"error:\n\n",
    b'event: error\ndata: {"message":"no slot"}\n\n', b'event: error\ndata: {"a":1}\n\n',
    b"event: error\ndata: no slot\n\n", b'event:error\ndata:"no slot"\n\n', b"event: error\ndata: [1]\n\n",
    b'{"error":{"message":"no slot"}}\n', b'[{"error":{"message":"no slot"}}]\n',
    b'data: [{"error":{"message":"no slot"}}]\n\n', b'data: {"error":\ndata: "no slot"}\n\n',
    b'event: error\r\ndata: {"message":"no slot"}\r\n\r\n', b'data: {"error": "\\ud800"}\n\n',
    b'data: {"error": NaN, "detail": "x"}\n\n',
])  # fmt: skip
def test_a_stream_tells_of_an_error_in_many_ways(raw: bytes) -> None:
    for before in (b"", WORD):
        passed, answer = read(before, raw, STOP, DONE)
        assert answer.failure is not None
        assert answer.failure.is_refusal
        assert passed == before


def test_the_name_of_an_event_ends_with_it() -> None:
    _, answer = read(b"event: error\n\n", WORD, STOP)
    assert answer.is_whole


def test_an_event_on_several_lines_is_read_as_one() -> None:
    _, answer = read(b'data: {"choices": [{"delta":\ndata: {"content": "hello"}}]}\n\n', DONE)
    assert (answer.text_bytes, answer.has_words, answer.is_whole) == (5, True, True)


def test_what_comes_after_done_is_not_passed_on() -> None:
    passed, answer = read(WORD + DONE + WORD, WORD, line({"error": "late"}))
    assert passed == WORD + DONE
    assert answer.is_whole
    assert answer.text_bytes == 5


def test_the_blank_line_after_done_is_passed_on_as_it_came() -> None:
    raw = b"data: [DONE]\r\n\r\n"
    assert read(WORD, raw)[0] == WORD + raw
    assert read(WORD + raw + b" x")[0] == WORD + raw
    assert read(WORD + raw + b"X")[0] == WORD + raw
    assert read(WORD + raw + b"x")[0] == WORD + raw


def test_what_cannot_be_read_counts_by_its_size() -> None:
    _, answer = read(b"data: {broken\n\n", WORD, STOP)
    assert answer.text_bytes == len(b"\n{broken") + 5
    _, answer = read(b"data: {broken\n", WORD, STOP)
    assert answer.text_bytes == len(b"\n{broken") + 5
    _, answer = read(b"data: [1]\n\n", STOP)
    assert (answer.text_bytes, answer.has_words) == (3, False)


def test_a_line_that_is_too_long_counts_by_its_size_and_the_next_is_read() -> None:
    endless = b"data: " + b"x" * MAX_LINE
    passed, answer = read(endless, b"y" * 10, b"z\n\n", WORD, STOP, DONE)
    assert answer.text_bytes == len(endless) + 11 + 5
    assert answer.is_whole
    assert len(passed) == len(endless) + 13 + len(WORD + STOP + DONE)
    just = b"data: " + b"x" * (MAX_LINE - 6)
    reader = StreamReader()
    reader.feed(just)
    assert reader.answer.text_bytes == 0
    reader.feed(b"x")
    assert reader.answer.text_bytes == MAX_LINE + 1


def test_a_byte_order_mark_is_taken_off_however_it_is_cut() -> None:
    for chunks in ((BOM + WORD,), (BOM, WORD), (BOM[:1], BOM[1:2], BOM[2:] + WORD)):
        passed, answer = read(*chunks, STOP)
        assert passed == WORD + STOP
        assert answer.text_bytes == 5
    passed, _ = read(BOM[:2], b"x")
    assert passed == BOM[:2] + b"x"


SMALL = WORD + line(piece("é€😀")) + line({"choices": [], "usage": USAGE}) + STOP + DONE


@given(st.lists(st.integers(0, len(SMALL)), max_size=12), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_wherever_a_stream_is_cut_it_is_read_and_passed_on_alike(
    cuts: list[int], newline: bytes
) -> None:
    stream = SMALL.replace(b"\n", newline)
    at = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    passed, answer = read(*(stream[a:b] for a, b in itertools.pairwise(at)))
    assert passed.rstrip(b"\r\n") == stream.rstrip(b"\r\n")
    assert answer.text_bytes == 5 + len("é€😀".encode())
    assert answer.counts is not None
    assert (answer.counts.input, answer.counts.output) == (7, 3)
    assert answer.is_whole
    assert answer.is_counted_late


@given(st.lists(st.sampled_from([
    WORD, STOP, DONE, ROLE, COUNTED, b"\n", b"\r", b"data:", b"event: error\n", b"{", b"]", b"\xff",
    b"error: x", b": x\n", line({"error": "x"}), b'data: {"choices": [{"delta": "\\ud800"}]}\n',
]) | st.binary(max_size=20), max_size=20))  # fmt: skip
def test_no_stream_makes_its_reader_fail_and_nothing_follows_a_failure(chunks: list[bytes]) -> None:
    reader = StreamReader()
    for chunk in chunks:
        passed = reader.feed(chunk)
        assert not passed or reader.answer.failure is None
    reader.finish()
    assert reader.answer.text_bytes >= 0


# --- use ---------------------------------------------------------------------------------------


def test_use_that_grows_counts_as_it_stood_last() -> None:
    payload = [line({**piece("ab"), "usage": {**USAGE, "completion_tokens": n, "total_tokens": 7 + n}})
            for n in (1, 2, 3)]  # fmt: skip
    _, answer = read(*payload, STOP, DONE)
    assert answer.counts is not None
    assert answer.counts.output == 3
    assert answer.is_counted_late


def test_a_use_before_the_last_word_is_early() -> None:
    _, answer = read(COUNTED, WORD, STOP, DONE)
    assert answer.counts is not None
    assert not answer.is_counted_late
    assert not read(WORD, STOP)[1].is_counted_late


@pytest.mark.parametrize("payload", [
    {"usage": USAGE}, {"x_groq": {"usage": USAGE}}, {"choices": [{"usage": USAGE, "delta": {}}]},
])  # fmt: skip
def test_use_is_found_in_each_place(payload: dict[str, Any]) -> None:
    _, answer = read(WORD, line(payload), STOP)
    assert answer.counts is not None
    assert answer.counts.output == 3


@pytest.mark.parametrize(("delta", "size"), [
    ("text", 4), ({"content": "héllo", "role": "assistant"}, 6), ({"content": [{"type": "text", "text": "hi"}]}, 2),
    ({"tool_calls": [{"id": "call_1", "type": "function", "index": 0,
                      "function": {"name": "ls", "arguments": "{}"}}]}, 4),
    ({"reasoning": "abc", "content": None}, 3), ({"images": ["data:xxxx"], "audio": {"data": "x"}}, 0),
    ({"content": "\ud800"}, 3), (None, 0), (5, 0), ([], 0), ({"signature": "x" * 90}, 0),
])  # fmt: skip
def test_words_are_counted_without_what_stands_around_them(delta: Any, size: int) -> None:
    assert words_bytes(delta) == size


# --- whole answers ------------------------------------------------------------------------------


@pytest.mark.parametrize(("payload", "is_whole"), [
    (whole(), True), (whole(finish=None), True), (whole("", "stop"), True), (whole(None, "stop"), True),
    (whole(None, None, tool_calls=[{"function": {"name": "x"}}]), True), (whole("", None), False),
    ({"choices": []}, False), ({"choices": None}, False), ({}, False), ({"usage": USAGE}, False),
    ({"choices": [{"finish_reason": "stop"}]}, False), ({"choices": [None]}, False),
    ({"choices": [{"text": "legacy", "finish_reason": "stop"}]}, True), ({"choices": "x"}, False),
])  # fmt: skip
def test_a_whole_answer_needs_a_choice_with_words_or_an_end(
    payload: dict[str, Any], is_whole: bool
) -> None:
    value, answer = read_answer(msgspec.json.encode(payload))
    assert value == payload
    assert (answer.failure is None) is is_whole
    if not is_whole:
        assert answer.failure is not None
        assert not answer.failure.is_refusal
        assert (answer.failure.status, answer.failure.text) == (500, "an answer without a choice")


def test_the_text_of_a_whole_answer_is_measured_without_its_frame() -> None:
    _, answer = read_answer(msgspec.json.encode({**whole("four"), "usage": USAGE, "id": "x" * 99}))
    assert answer.text_bytes == 4
    assert answer.is_counted_late
    assert answer.is_whole


@pytest.mark.parametrize(("raw", "text"), [
    (b'{"choices":[{"message":{"content":"a\\ud800b"},"finish_reason":"stop"}]}', "a?b"),
    (b'\xef\xbb\xbf{"choices":[{"message":{"content":"ab"},"finish_reason":"stop"}]}', "ab"),
    (b'{"x":NaN,"choices":[{"message":{"content":"ab"},"finish_reason":"stop"}]}', "ab"),
    (b'{"x":-Infinity,"choices":[{"message":{"content":"ab"},"finish_reason":"stop"}]}', "ab"),
    (b'{"x":1e400,"choices":[{"message":{"content":"ab"},"finish_reason":"stop"}]}', "ab"),
    (b'{"choices":[{"message":{"content":"a\xff"},"finish_reason":"stop"}]}', "a\ufffd"),
    (b'{"choices":[{"message":{"content":"a\nb"},"finish_reason":"stop"}]}', "a\nb"),
])  # fmt: skip
def test_a_whole_answer_in_sloppy_json_is_mended_and_not_paid_twice(raw: bytes, text: str) -> None:
    value, answer = read_answer(raw)
    assert answer.failure is None
    assert value["choices"][0]["message"]["content"] == text
    assert value.get("x") is None
    msgspec.json.encode(value)


@pytest.mark.parametrize("raw", [
    b"", b"null", b"5", b'"x"', b"[]", b"[5]", b"<html>", b'{"choices":[{"mess', b"\x00" * 9,
    b"[" * 5000, b'{"a":' * 5000,
])  # fmt: skip
def test_what_is_no_answer_is_broken_and_counts_by_its_size(raw: bytes) -> None:
    value, answer = read_answer(raw)
    assert not isinstance(value, dict) or isinstance(value, Unreadable)
    assert answer.failure is not None
    assert not answer.failure.is_refusal
    assert answer.text_bytes == len(raw)


def test_an_error_in_a_list_is_a_refusal() -> None:
    _, answer = read_answer(b'[{"error":{"code":429,"message":"slow"}}]')
    assert answer.failure is not None
    assert (answer.failure.status, answer.failure.is_refusal) == (429, True)


def test_a_whole_answer_becomes_a_stream_with_the_same_words_end_and_use() -> None:
    calls: list[Any] = [
        {"id": "a", "function": {"name": "ls", "arguments": "{}"}},
        {"id": "b"},
        None,
    ]
    value = {**whole("hello", tool_calls=calls), "usage": USAGE, "id": "x", "model": "m"}
    events = as_events(value)
    assert isinstance(events, bytes)
    first, second, last, rest = events.split(b"\n\n")
    found = msgspec.json.decode(first.removeprefix(b"data: "))
    assert found["choices"] == [{"index": 0, "finish_reason": "stop", "delta": {
        "role": "assistant", "content": "hello", "tool_calls": [
            {"index": 0, **calls[0]}, {"index": 1, "id": "b"},
        ]}}]  # fmt: skip
    assert (found["id"], found["model"], found["object"]) == ("x", "m", "chat.completion.chunk")
    assert msgspec.json.decode(second.removeprefix(b"data: "))["usage"] == USAGE
    assert (last, rest) == (b"data: [DONE]", b"")
    _, answer = read(events)
    assert answer.is_whole
    assert answer.counts == usage_of(USAGE)


def test_a_whole_answer_without_an_end_becomes_a_stream_that_has_one() -> None:
    events = as_events(whole(finish=None))
    assert isinstance(events, bytes)
    assert read(events)[1].end == "stop"
    assert isinstance(as_events({**whole(), "usage": {"n": "\ud800"}}), Unreadable)


def first_of(events: bytes | Unreadable) -> dict[str, Any]:
    assert isinstance(events, bytes)
    found: dict[str, Any] = msgspec.json.decode(events.split(b"\n\n")[0].removeprefix(b"data: "))
    return found


@pytest.mark.parametrize(
    "message", [{"content": "x"}, {"content": "x", "tool_calls": None}, "x", None]
)
def test_a_message_of_a_whole_answer_becomes_a_delta_as_it_is(message: Any) -> None:
    value = {
        "created": 7,
        "choices": [{"message": message, "finish_reason": "length"}, {"message": 2}],
    }
    found = first_of(as_events(value))
    assert found["choices"] == [{"index": 0, "delta": message, "finish_reason": "length"}]
    assert (found["created"], found["id"], found["model"]) == (7, None, None)


def test_an_answer_without_choices_becomes_its_use_alone() -> None:
    found = first_of(as_events({"usage": USAGE}))
    assert (found["choices"], found["usage"]) == ([], USAGE)


@pytest.mark.parametrize("stray", [b'{"choices":1}', b"[]", b"[5]", b"{", b'["error"]'])
def test_json_outside_of_an_event_is_no_word_and_counts_by_its_size(stray: bytes) -> None:
    passed, answer = read(stray + b"\n")
    assert (answer.text_bytes, answer.has_words, answer.is_settled) == (len(stray), False, False)
    _, answer = read(stray + b"\n", stray + b"\n", WORD, STOP)
    assert answer.text_bytes == 2 * len(stray) + 5
    assert answer.is_whole
    assert passed == stray + b"\n"


@pytest.mark.parametrize(("raw", "status", "message"), [
    (b'error: {"code":503,"message":"no slot"}\n\n', 503, "no slot"), (b"error: no slot\n\n", 500, "no slot"),
    (b'event: error\ndata: {"code":401,"message":"no key"}\n\n', 401, "no key"),
    (b"event: error\ndata: no slot\xff\n\n", 500, "no slot\ufffd"), (b"error: [1]\n\n", 500, "[1]"),
    (b"error: " + b"x" * 20_000 + b"\n\n", 500, "x" * 15_000),
    (b'event: error\ndata: {"message":\ndata: "no"}\n\n', 500, '{"message":'),
    (b'{"error":{"code":429,"message":"slow"}}\n', 429, "slow"), (b'[{"error":{"code":429,"message":"slow"}}]\n', 429, "slow"),
])  # fmt: skip
def test_the_words_and_the_status_of_an_error_in_a_stream_are_kept(
    raw: bytes, status: int, message: str
) -> None:
    _, answer = read(raw)
    assert answer.failure is not None
    assert answer.failure.status == status
    assert answer.failure.is_refusal is True
    assert msgspec.json.encode(message).decode()[1:-1] in answer.failure.text


@pytest.mark.parametrize(("raw", "text"), [
    (b"<html>", "<html>"), (b"caf\xff", "caf\ufffd"), (b"x" * 20_000, "x" * 16_000), (b"", ""), (b"[5]", "[5]"),
])  # fmt: skip
def test_the_beginning_of_what_is_no_answer_is_kept(raw: bytes, text: str) -> None:
    _, answer = read_answer(raw)
    assert answer.failure is not None
    assert answer.failure.is_refusal is False
    assert (answer.failure.status, answer.failure.text) == (500, text)
    assert answer.is_done


def test_conclusions_of_ours_are_no_refusals() -> None:
    payloads: list[dict[str, Any]] = [{"choices": []}, whole(finish="network_error")]
    for payload in payloads:
        _, answer = read_answer(msgspec.json.encode(payload))
        assert answer.failure is not None
        assert answer.failure.is_refusal is False


def test_the_use_of_a_whole_answer_stands_in_an_event_of_its_own() -> None:
    events = as_events({**whole(finish=None), "usage": USAGE, "created": 7})
    assert isinstance(events, bytes)
    first, second = (msgspec.json.decode(one[6:]) for one in events.split(b"\n\n")[:2])
    assert first["choices"][0]["finish_reason"] == "stop"
    assert "usage" not in first
    assert (second["choices"], second["usage"], second["created"]) == ([], USAGE, 7)
    assert second["object"] == "chat.completion.chunk"


def test_a_payload_as_a_list_is_read_by_its_first_object() -> None:
    _, answer = read(b'data: [{"choices":[{"delta":{"content":"abc"}}]}, 5]\n\n', STOP)
    assert (answer.text_bytes, answer.has_words) == (3, True)
    _, answer = read(b"data: [5, {}]\n\n", STOP)
    assert (answer.text_bytes, answer.has_words) == (7, False)


def test_a_failure_that_came_first_is_the_one_that_is_kept() -> None:
    reader = StreamReader()
    assert reader.feed(line({"error": {"code": 503}})) == b""
    assert reader.feed(line({"error": {"code": 401}})) == b""
    reader.finish()
    assert reader.answer.failure is not None
    assert reader.answer.failure.status == 503
    answer = Answer()
    note(answer, {"error": {"code": 503}})
    note(answer, {"error": {"code": 401}})
    assert answer.failure is not None
    assert answer.failure.status == 503


def test_only_the_end_of_a_stream_reads_a_line_without_its_end() -> None:
    reader = StreamReader()
    reader.feed(WORD.rstrip())
    assert not reader.answer.has_words
    reader.finish()
    assert reader.answer.has_words
    reader.finish()
    assert reader.answer.text_bytes == 5


def test_what_is_pending_at_the_end_is_read() -> None:
    _, answer = read(b'data: {"choices": [{"delta":\ndata: {"content": "hello"}}]}')
    assert (answer.text_bytes, answer.has_words) == (5, True)
    _, answer = read(b"data: {cut")
    assert answer.text_bytes == len(b"\n{cut")


def test_a_line_is_read_as_soon_as_it_ends_also_after_an_empty_one() -> None:
    for newline in (b"\n", b"\r\n"):
        reader = StreamReader()
        reader.feed(newline + WORD.rstrip() + newline)
        assert reader.answer.has_words
    reader = StreamReader()
    reader.feed(b"event: error\ndata: no slot\n")
    assert reader.answer.failure is not None


def test_what_cannot_be_read_adds_to_the_words_before_it() -> None:
    _, answer = read(WORD, b"data: [1]\n\n", b"x" * (MAX_LINE + 1), b"\n", STOP)
    assert answer.text_bytes == 5 + 3 + MAX_LINE + 1


def test_an_end_that_came_is_not_read_twice() -> None:
    reader = StreamReader()
    reader.feed(b"data: [1]")
    reader.finish()
    reader.finish()
    assert reader.answer.text_bytes == 3


@pytest.mark.parametrize(("raw", "done"), [
    (b"data: [DONE]", True), (b"data:[DONE] ", True), (b"event: [DONE]", False),
    (b": [DONE]", False), (b"data: [DONE]x", False),
])  # fmt: skip
def test_done_ends_a_stream_before_its_line_does_and_no_other_field_ends_it(
    raw: bytes, done: bool
) -> None:
    reader = StreamReader()
    assert reader.feed(WORD + raw) == WORD + raw
    assert reader.answer.is_done is done
    assert reader.feed(WORD) == (b"" if done else WORD)


def test_a_line_of_an_unknown_field_is_no_word_and_costs_nothing() -> None:
    for field in (b"X: 1\n", b"id: 7\n", b"retry: 5\n", b": waiting\n", b"nothing\n"):
        _, answer = read(field, WORD, STOP)
        assert answer.text_bytes == 5


def test_what_could_not_be_read_is_counted_once_for_each_time_it_came() -> None:
    lines = b"data: {a\n", WORD.rstrip() + b"\n", b"data: {b\n", WORD.rstrip() + b"\n"
    _, answer = read(*lines, STOP)
    assert answer.text_bytes == 2 * (len(b"\n{a") + 5)


@pytest.mark.parametrize(("payload", "status", "text"), [
    ({"base_resp": {"status_code": 429, "status_msg": "slow"}}, 429,
     '{"error":{"message":"slow","code":429}}'),
    ({"base_resp": {"status_code": 1004, "status_msg": "no key"}}, 500,
     '{"error":{"message":"no key","code":1004}}'),
    ({"message": "no", "code": 404}, 404, '{"error":{"message":"no","code":404}}'),
    (piece(finish="x" * 101), 500, "finish_reason " + "x" * 100),
])  # fmt: skip
def test_the_status_and_the_words_of_a_failure_are_those_of_the_provider(
    payload: dict[str, Any], status: int, text: str
) -> None:
    found = failure_in(payload)
    assert found is not None
    assert (found.status, found.text) == (status, text)


def test_an_error_in_words_is_handed_on_as_the_message_of_an_error() -> None:
    _, answer = read(b"error: no slot\n\n")
    assert answer.failure == Failure(500, '{"error":{"message":"no slot"}}', is_refusal=True)


def test_an_answer_that_json_cannot_hold_becomes_no_stream_and_says_why() -> None:
    events = as_events({"id": object(), "choices": []})
    assert events == Unreadable("TypeError: Encoding objects of type object is unsupported")


def test_a_use_that_shrinks_does_not_take_back_what_was_counted() -> None:
    answer = Answer()
    for count in (9, 4):
        note(answer, {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": count}})
    assert answer.counts is not None
    assert answer.counts.output == 9
