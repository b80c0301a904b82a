"""Reads a provider's stream as it comes, cut anywhere, by the table of `models.answers`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from allegro.core.base.untrusted import Unreadable
from allegro.core.models.answers import (
    BOM,
    DONE,
    MAX_REFUSAL,
    Answer,
    failure_in,
    note,
    object_of,
)

MAX_LINE = 1024 * 1024
_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")


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
        self._is_error = False
        self._pending = b""
        self._is_skipping = False

    def feed(self, chunk: bytes) -> bytes:
        """Read on. Return what of it may be passed on: nothing after `[DONE]` or a failure."""
        if self._is_over:
            return b""
        if self._head is not None:
            chunk = self._head + chunk
            if BOM.startswith(chunk):
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
        after = buffer[at:].lstrip(b"\r\n")
        return buffer[before : len(buffer) - len(after)]

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
            self._is_error = value.strip() == b"error"
        elif name == b"error":
            self._failed(value.strip())
        elif line[:1] in b"{[":
            self._stray(line)

    def _blank(self) -> None:
        """Read an event that stood on several lines; what cannot be read counts by its size."""
        if self._pending:
            self._taken(object_of(self._pending), self._pending)
        self._is_error, self._pending = False, b""

    def _data(self, value: bytes) -> None:
        if value == DONE:
            self.answer.is_done = True
            return
        payload = object_of(value)
        if isinstance(payload, Unreadable) and not self._is_error:
            self._pending = (self._pending + b"\n" + value)[:MAX_LINE]
            return
        self.answer.text_bytes += len(self._pending)
        self._pending = b""
        self._taken(payload, value)

    def _taken(self, payload: object, raw: bytes) -> None:
        if isinstance(payload, list) and payload and isinstance(payload[0], dict):
            payload = payload[0]
        if isinstance(payload, dict):
            note(self.answer, payload, in_error=self._is_error)
        elif self._is_error:
            self._failed(raw)
        else:
            self.answer.text_bytes += len(raw)

    def _stray(self, line: bytes) -> None:
        """Look for an error in JSON that stands outside of an event; its words reach nobody."""
        value = object_of(line)
        if isinstance(value, list) and value:
            value = value[0]
        self.answer.failure = failure_in(value) if isinstance(value, dict) else None
        self.answer.text_bytes += len(line)

    def _failed(self, value: bytes) -> None:
        error = object_of(value)
        if not isinstance(error, dict):
            error = {"message": value[:MAX_REFUSAL].decode(errors="replace")}
        self.answer.failure = failure_in(error, in_error=True)
