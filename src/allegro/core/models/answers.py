"""What in a provider's answer is an end, a failure, a word, a use: one table, for whole answers and streams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from allegro.core.base.untrusted import (
    UNREADABLE,
    Unreadable,
    read_json,
    read_loose_json,
    unreadable,
)
from allegro.core.models.dialect import Body
from allegro.core.models.refusals import status_of
from allegro.core.models.usage import TokenCounts, merged, usage_of

MAX_REFUSAL = 16_000
BOM = b"\xef\xbb\xbf"
DONE = b"[DONE]"

ENDS = frozenset({
    "stop", "length", "tool_calls", "function_call", "content_filter",
    "eos", "eos_token", "end_turn", "stop_sequence", "max_tokens", "tool_use",
    "complete", "tool_call", "refusal", "model_length", "model_context_window_exceeded",
})  # fmt: skip
"""What `finish_reason` says of an answer that came to its end: the five words of OpenAI's API, and
those of other APIs that gateways pass on. Any other word says that the answer failed."""

_CUT_OFF = frozenset({"length", "max_tokens", "model_length", "model_context_window_exceeded"})
_NO_END = frozenset({"null", "none"})
"""How some write that an answer goes on: the word, where JSON has a value for it."""

_NO_WORDS = frozenset({
    "role", "type", "id", "index", "object", "signature", "data", "images", "image_url", "audio",
    "encrypted_content", "annotations", "finish_reason",
})  # fmt: skip


class Failure(msgspec.Struct, frozen=True):
    """An answer that says it failed. `is_refusal`: in an error of the provider's own, with a status.

    Without, it is what we conclude from an answer that is none.
    """

    status: int
    text: str
    is_refusal: bool


class Answer(msgspec.Struct):
    """What is known of an answer so far. `end` is its finish reason, `is_done` that it said so.

    `text_bytes` counts its words and tool calls; `counts` is what it says it used, at
    `counted_bytes` of its text.
    """

    text_bytes: int = 0
    has_words: bool = False
    end: str = ""
    is_done: bool = False
    has_choice: bool = False
    failure: Failure | None = None
    counts: TokenCounts | None = None
    counted_bytes: int = 0

    @property
    def is_whole(self) -> bool:
        """It came to its end: by a finish reason, or by `[DONE]` after some words."""
        return self.failure is None and bool(self.end or (self.is_done and self.has_words))

    @property
    def is_cut_off(self) -> bool:
        """It is as long as it was allowed to be."""
        return self.end in _CUT_OFF

    @property
    def is_settled(self) -> bool:
        """What came tells whether this answer can be passed on or has failed."""
        return self.has_words or bool(self.end) or self.is_done or self.failure is not None

    @property
    def is_counted_late(self) -> bool:
        """No word came after the provider's last count."""
        return self.counts is not None and self.counted_bytes == self.text_bytes


def failure_in(payload: Mapping[str, Any], *, in_error: bool = False) -> Failure | None:
    """Return why one object of an answer is a failure, None where it is not. The one table.

    `in_error` says that it came in an event of a stream that is named `error`.
    """
    error = payload.get("error")
    if error:
        return _refused(error)
    if in_error or payload.get("object") == "error" or payload.get("type") == "error":
        return _refused(payload)
    base = payload.get("base_resp")
    if isinstance(base, dict) and base.get("status_code"):
        return _refused({"message": base.get("status_msg"), "code": base.get("status_code")})
    choices = payload.get("choices")
    if not choices and _is_bare_error(payload):
        return _refused(payload)
    for choice in _choices(choices):
        if choice.get("error"):
            return _refused(choice["error"])
        reason = choice.get("finish_reason")
        if reason and not (isinstance(reason, str) and reason.lower() in ENDS | _NO_END):
            return Failure(500, f"finish_reason {str(reason)[:100]}", is_refusal=False)
    return None


def _is_bare_error(payload: Mapping[str, Any]) -> bool:
    """Whether an object without choices is an error that does not call itself so."""
    if payload.get("detail") or payload.get("errors"):
        return True
    words = payload.get("message") or payload.get("msg")
    if isinstance(words, dict) and "role" in words:  # a choice that stands by itself
        return False
    return bool(words) and ("object" not in payload and "usage" not in payload)


def _refused(error: object) -> Failure:
    text = encoded({"error": error})
    shown = repr(error) if isinstance(text, Unreadable) else text.decode()
    return Failure(status_of(error), shown[:MAX_REFUSAL], is_refusal=True)


def encoded(value: object) -> bytes | Unreadable:
    """Return a value as JSON, Unreadable where JSON cannot hold it."""
    try:
        return msgspec.json.encode(value)
    except UNREADABLE as error:
        return unreadable(error)


def _choices(choices: object) -> Iterator[Mapping[str, Any]]:
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            yield choice


def note(answer: Answer, payload: Mapping[str, Any], *, in_error: bool = False) -> None:
    """Take in one object of an answer: the whole of it, or one piece of a stream."""
    answer.failure = answer.failure or failure_in(payload, in_error=in_error)
    holders = [payload, payload.get("x_groq")]
    for choice in _choices(payload.get("choices")):
        holders.append(choice)
        piece = choice.get("delta") or choice.get("message") or choice.get("text")
        if isinstance(piece, dict):
            answer.has_choice = True
        size = words_bytes(piece)
        if size:
            answer.text_bytes += size
            answer.has_words = True
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason.lower() in ENDS:
            answer.end = reason.lower()
    for holder in holders:
        counts = usage_of(holder.get("usage")) if isinstance(holder, dict) else None
        if counts is not None:
            answer.counts = merged(answer.counts, counts)
            answer.counted_bytes = answer.text_bytes


def words_bytes(piece: object) -> int:
    """Return the size of all words in a piece of an answer: text, reasoning, tool calls."""
    todo, size = [piece], 0
    while todo:
        one = todo.pop()
        if isinstance(one, str):
            size += len(one.encode("utf-8", "surrogatepass"))
        elif isinstance(one, dict):
            todo.extend(inner for name, inner in one.items() if name not in _NO_WORDS)
        elif isinstance(one, list):
            todo.extend(one)
    return size


def read_answer(raw: bytes) -> tuple[Any, Answer]:
    """Read an answer that was not streamed; return it in plain values, and what is known of it."""
    answer = Answer(is_done=True)
    value = object_of(raw)
    if not isinstance(value, dict):
        if isinstance(value, list) and value and isinstance(value[0], dict):
            answer.failure = failure_in(value[0])
        text = raw[:MAX_REFUSAL].decode(errors="replace")
        answer.failure = answer.failure or Failure(500, text, is_refusal=False)
        answer.text_bytes = len(raw)
        return value, answer
    note(answer, value)
    if answer.failure is None and not (answer.has_words or (answer.end and answer.has_choice)):
        answer.failure = Failure(500, "an answer without a choice", is_refusal=False)
    return value, answer


def as_events(value: Mapping[str, Any]) -> bytes | Unreadable:
    """Return a whole answer as the events of a stream, for a caller that asked for one."""
    events: list[Body] = []
    for choice in _choices(value.get("choices")):
        delta = choice.get("message")
        if isinstance(delta, dict) and isinstance(delta.get("tool_calls"), list):
            calls = [
                {"index": at, **call}
                for at, call in enumerate(delta["tool_calls"]) if isinstance(call, dict)
            ]  # fmt: skip
            delta = {**delta, "tool_calls": calls}
        reason = choice.get("finish_reason") or "stop"
        events.append({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})
        break
    events.append({"choices": [], "usage": value.get("usage")})
    frame = {name: value.get(name) for name in ("id", "created", "model")}
    lines = [encoded({**frame, "object": "chat.completion.chunk", **one}) for one in events]
    bad = [line for line in lines if isinstance(line, Unreadable)]
    return bad[0] if bad else b"".join(b"data: %s\n\n" % line for line in (*lines, DONE))


def object_of(raw: bytes) -> Any:
    """Return the JSON value of some bytes, strict or sloppy; Unreadable where there is none."""
    value: Any = read_json(raw, Body)
    return read_loose_json(raw) if isinstance(value, Unreadable) else value
