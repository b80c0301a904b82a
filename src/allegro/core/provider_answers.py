"""Reads a provider's answer, whole or as it comes, by one table of what is an end and what a failure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from allegro.core.provider_refusals import status_of
from allegro.core.provider_usage import TokenCounts, merged, usage_of
from allegro.core.untrusted import UNREADABLE, Unreadable, read_json, read_loose_json

MAX_LINE = 1024 * 1024
MAX_REFUSAL = 16_000
BOM = b"\xef\xbb\xbf"
DONE = b"[DONE]"

ENDS = frozenset({
    "stop", "length", "tool_calls", "function_call", "content_filter",
    "eos", "eos_token", "end_turn", "stop_sequence", "max_tokens", "tool_use",
})  # fmt: skip
"""What `finish_reason` says of an answer that came to its end: the five words of OpenAI's API, and
those of other APIs that gateways pass on. Any other word says that the answer failed."""

_CUT_OFF = frozenset({"length", "max_tokens"})
_NO_WORDS = frozenset({
    "role", "type", "id", "index", "object", "signature", "data", "images", "image_url", "audio",
    "encrypted_content", "annotations", "finish_reason",
})  # fmt: skip
_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")
_NEWLINES = re.compile(rb"[\r\n]*")


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


def failure_in(payload: Mapping[str, Any], event: str = "") -> Failure | None:
    """Return why one object of an answer is a failure, None where it is not. The one table.

    `event` is the name that stood before it in a stream.
    """
    error = payload.get("error")
    if error:
        return _refused(error)
    if event == "error" or payload.get("object") == "error" or payload.get("type") == "error":
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
        if reason and not (isinstance(reason, str) and reason.lower() in ENDS):
            return Failure(500, f"finish_reason {str(reason)[:100]}", is_refusal=False)
    return None


def _is_bare_error(payload: Mapping[str, Any]) -> bool:
    """Whether an object without choices is an error that does not call itself so."""
    if payload.get("detail") or payload.get("errors"):
        return True
    words = payload.get("message") or payload.get("msg")
    return bool(words) and ("object" not in payload and "usage" not in payload)


def _refused(error: object) -> Failure:
    text = encoded({"error": error})
    shown = repr(error) if isinstance(text, Unreadable) else text.decode("utf-8", "replace")
    return Failure(status_of(error), shown[:MAX_REFUSAL], is_refusal=True)


def encoded(value: object) -> bytes | Unreadable:
    """Return a value as JSON, Unreadable where JSON cannot hold it."""
    try:
        return msgspec.json.encode(value)
    except UNREADABLE as error:
        return Unreadable(f"{type(error).__name__}: {str(error)[:160]}")


def _choices(choices: object) -> Iterator[Mapping[str, Any]]:
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            yield choice


def note(answer: Answer, payload: Mapping[str, Any], event: str = "") -> None:
    """Take in one object of an answer: the whole of it, or one piece of a stream."""
    answer.failure = answer.failure or failure_in(payload, event)
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
    value = _object_of(raw.removeprefix(BOM))
    if not isinstance(value, dict):
        if isinstance(value, list) and value and isinstance(value[0], dict):
            answer.failure = failure_in(value[0])
        text = raw[:MAX_REFUSAL].decode("utf-8", "replace")
        answer.failure = answer.failure or Failure(500, text, is_refusal=False)
        answer.text_bytes = len(raw)
        return value, answer
    note(answer, value)
    if answer.failure is None and not (answer.has_words or (answer.end and answer.has_choice)):
        answer.failure = Failure(500, "an answer without a choice", is_refusal=False)
    return value, answer


def _object_of(raw: bytes) -> Any:
    value: Any = read_json(raw, dict[str, Any])
    return read_loose_json(raw) if isinstance(value, Unreadable) else value


def _line_ends(buffer: bytes) -> Iterator[tuple[int, int]]:
    """Yield where each line of a buffer ends, and where the next begins."""
    if b"\r" in buffer:
        for found in _LINE_END.finditer(buffer):
            yield found.span()
        return
    at = buffer.find(b"\n")
    while at >= 0:
        yield at, at + 1
        at = buffer.find(b"\n", at + 1)


class StreamReader:
    """Reads the bytes of a stream of events as they come, cut anywhere. Raises nothing.

    Lines may end in any of the three ways; a byte order mark at the start is dropped. A line that
    no JSON reader can read counts by its size, so that it is not free of charge.
    """

    def __init__(self) -> None:
        self.answer = Answer()
        self._head: bytes | None = b""
        self._rest = b""
        self._event = ""
        self._pending = b""
        self._is_skipping = False

    def feed(self, chunk: bytes) -> bytes:
        """Read on. Return what of it may be passed on: nothing after `[DONE]` or a failure."""
        if self._is_over:
            return b""
        if self._head is not None:
            chunk = self._head + chunk
            if len(chunk) < len(BOM) and BOM.startswith(chunk):
                self._head = chunk
                return b""
            self._head = None
            chunk = chunk.removeprefix(BOM)
        before, buffer, at = len(self._rest), self._rest + chunk, 0
        for start, end in _line_ends(buffer):
            self._line(buffer[at:start])
            at = end
            if self._is_over:
                break
        else:
            self._keep(buffer[at:])
            name, _, value = self._rest.partition(b":")
            if name == b"data" and value.strip() == DONE:  # perhaps no line end will come
                self.answer.is_done, at = True, len(buffer)
        if self.answer.failure is not None:
            return b""
        if not self.answer.is_done:
            return chunk
        newlines = _NEWLINES.match(buffer, at)
        return buffer[before : newlines.end() if newlines else at]

    @property
    def _is_over(self) -> bool:
        return self.answer.is_done or self.answer.failure is not None

    def finish(self) -> None:
        """Take in that no more comes."""
        if not self._is_over:
            self._line(self._rest)
            self._blank()
        self._rest = b""

    def _keep(self, rest: bytes) -> None:
        if len(rest) > MAX_LINE:  # too long to be read along: it counts by its size
            self.answer.text_bytes += len(rest)
            self._is_skipping, rest = True, b""
        self._rest = rest

    def _line(self, line: bytes) -> None:
        if self._is_skipping:
            self.answer.text_bytes += len(line)
            self._is_skipping = False
            return
        line = line.strip()
        name, _, value = line.partition(b":")
        if not line:
            self._blank()
        elif name == b"data":
            self._data(value.strip())
        elif name == b"event":
            self._event = value.strip()[:100].decode("utf-8", "replace")
        elif name == b"error":
            self._failed(value.strip())
        elif line[:1] in b"{[":
            self._data(line)

    def _blank(self) -> None:
        """Read an event that stood on several lines; what cannot be read counts by its size."""
        if self._pending:
            self._taken(_object_of(self._pending), self._pending)
        self._event, self._pending = "", b""

    def _data(self, value: bytes) -> None:
        if value == DONE:
            self.answer.is_done = True
            return
        payload = _object_of(value)
        if isinstance(payload, Unreadable) and self._event != "error":
            self._pending = (self._pending + b"\n" + value)[:MAX_LINE]
            return
        self.answer.text_bytes += len(self._pending)
        self._pending = b""
        self._taken(payload, value)

    def _taken(self, payload: object, raw: bytes) -> None:
        if isinstance(payload, list) and payload and isinstance(payload[0], dict):
            payload = payload[0]
        if isinstance(payload, dict):
            note(self.answer, payload, self._event)
        elif self._event == "error":
            self._failed(raw)
        else:
            self.answer.text_bytes += len(raw)

    def _failed(self, value: bytes) -> None:
        error = _object_of(value)
        if not isinstance(error, dict):
            error = {"message": value[:MAX_REFUSAL].decode("utf-8", "replace")}
        self.answer.failure = failure_in(error, "error")
