"""The table of bad values, and how they are put into documents, frames, headers and arguments.

A row is a name and a value. `RAW_JSON` rows are spellings that no encoder writes; they stand in a
document as they are. Expected outcomes never come from here: a driver says what must hold (the
program lives, the next good item is handled, nothing false is believed).
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

import msgspec

T = TypeVar("T")

DIGITS_5000 = "9" * 5_000
DEEP = 20_000


class Bad(NamedTuple):
    name: str
    value: Any


MISSING = object()
"""Put in place of a field's value: the field itself is left out."""

VALUES: tuple[Bad, ...] = (
    Bad("missing", MISSING),
    Bad("null", None),
    Bad("true", True),
    Bad("false", False),
    Bad("zero", 0),
    Bad("one", 1),
    Bad("negative", -1),
    Bad("fraction", 0.5),
    Bad("2**31", 2**31),
    Bad("2**53", 2**53),
    Bad("2**63", 2**63),
    Bad("2**64-1", 2**64 - 1),
    Bad("-2**63", -(2**63)),
    Bad("huge float", 1e308),
    Bad("negative huge float", -1e308),
    Bad("empty text", ""),
    Bad("blank text", "  "),
    Bad("text", "x"),
    Bad("digits", "7"),
    Bad("digits of another script", "٣"),
    Bad("superscript digit", "²"),
    Bad("5,000 digits", DIGITS_5000),
    Bad("long text", "x" * 100_000),
    Bad("control characters", "a\x00b\x07c\x1b[2J\x1b]0;title\x07"),
    Bad("newline", "no\n  signed    by sovereign:1, for exactly this digest\r\n"),
    Bad("bidi characters", "a\u202eb\u2066c\u200bd"),
    Bad("astral characters", "\U0001f600" * 50),
    Bad("markup", "[bold red]x[/] <b>x</b> `x` @timmy #1"),
    Bad("path", "../../etc/passwd"),
    Bad("year 0001", "0001-01-01T00:00:00Z"),
    Bad("year 1900", "1900-01-01T00:00:00Z"),
    Bad("year 9999", "9999-12-31T23:59:59Z"),
    Bad("zone off", "2026-01-01T00:00:00+99:99"),
    Bad("empty list", []),
    Bad("list of null", [None]),
    Bad("list of 1", [1]),
    Bad("list of text", ["x"]),
    Bad("list of lists", [[["x"]]]),
    Bad("empty object", {}),
    Bad("object", {"x": 1}),
    Bad("object of objects", {"x": {"y": {"z": [1]}}}),
)

RAW_JSON: tuple[Bad, ...] = (
    Bad("NaN", b"NaN"),
    Bad("infinity", b"Infinity"),
    Bad("1e400", b"1e400"),
    Bad("2**70", str(2**70).encode()),
    Bad("number of 5,000 digits", DIGITS_5000.encode()),
    Bad("nested lists", b"[" * DEEP + b"]" * DEEP),
    Bad("nested objects", b'{"x":' * DEEP + b"1" + b"}" * DEEP),
    Bad("no UTF-8", b'"\xff\xfe"'),
    Bad("lone surrogate", b'"\\ud800"'),
    Bad("repeated key", b'{"a":1,"a":2}'),
    Bad("cut", b'{"a":'),
)

RAW_MSGPACK: tuple[Bad, ...] = (
    Bad("NaN", msgspec.msgpack.encode(float("nan"))),
    Bad("infinity", msgspec.msgpack.encode(float("inf"))),
    Bad("extension", b"\xc7\x01\x05x"),
    Bad("timestamp", b"\xd6\xff\x00\x00\x00\x00"),
    Bad("bytes", b"\xc4\x02\xff\xfe"),
    Bad("tuple key", b"\x81\x91\x01\x01"),
    Bad("number key", b"\x81\x01\x01"),
    Bad("nested lists", b"\x91" * DEEP + b"\x01"),
    Bad("no UTF-8", b"\xa2\xff\xfe"),
    Bad("cut", b"\x92\x01"),
)

WHOLE_BODIES: tuple[Bad, ...] = (
    Bad("empty", b""),
    Bad("blank", b" \r\n"),
    Bad("null", b"null"),
    Bad("number", b"5"),
    Bad("text", b'"x"'),
    Bad("list", b"[]"),
    Bad("object", b"{}"),
    Bad("object cut in half", b'{"a": {"b": 1'),
    Bad("byte order mark", b"\xef\xbb\xbf{}"),
    Bad("UTF-16", '{"a":1}'.encode("utf-16")),
    Bad("HTML", b"<!doctype html><html><body>503</body></html>"),
    Bad("zero bytes", b"\x00" * 64),
    Bad("random", random.Random(7).randbytes(512)),
    *RAW_JSON,
)

TEXTS: tuple[Bad, ...] = (
    *tuple(row for row in VALUES if isinstance(row.value, str)),
    Bad("number", "9007199254740993"),
    Bad("negative number", "-1"),
    Bad("NaN", "nan"),
    Bad("infinity", "inf"),
    Bad("1e400", "1e400"),
    Bad("option", "--help-me"),
    Bad("null", "null"),
)
"""For arguments, environment, paths and configuration."""

HEADERS: tuple[Bad, ...] = (
    *(
        row for row in TEXTS
        if not set("\r\n\x00") & set(row.value) and len(row.value) < 8_000
    ),
    Bad("date far ahead", "Fri, 31 Dec 9999 23:59:59 GMT"),
    Bad("date before time", "Mon, 01 Jan 0001 00:00:00 GMT"),
    Bad("date with a zone beyond a day", "Mon, 01 Jan 2024 00:00:00 +99999999999999"),
    Bad("date at the end of time, zone west", "Fri, 31 Dec 9999 23:59:59 -2359"),
    Bad("date that is none", "Tomorrow"),
)  # fmt: skip
"""For header values: no line ends, below what an HTTP server takes as one header line."""

_HOLE = "\ue000hole\ue000"


def paths(document: object, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every field and first list item in a document, outermost first."""
    found: list[tuple[Any, ...]] = []
    if isinstance(document, dict):
        for key, inner in document.items():
            found += [(*prefix, key), *paths(inner, (*prefix, key))]
    elif isinstance(document, list) and document:
        found += [(*prefix, 0), *paths(document[0], (*prefix, 0))]
    return found


def replaced(document: Any, path: tuple[Any, ...], value: object) -> Any:
    """Return a copy of a document with one field replaced, or left out for MISSING."""
    copy = document.copy()
    key = path[0]
    if len(path) > 1:
        copy[key] = replaced(copy[key], path[1:], value)
    elif value is MISSING:
        del copy[key]
    else:
        copy[key] = value
    return copy


def bent_values(document: Any) -> Iterator[tuple[str, Any]]:
    """Yield (case name, document) with every field once as every value of the table."""
    for path in paths(document):
        for row in VALUES:
            yield f"{_dotted(path)}: {row.name}", replaced(document, path, row.value)


def bent_json(document: Any) -> Iterator[tuple[str, bytes]]:
    """Yield (case name, JSON bytes) with every field once as every value and raw spelling.

    The document itself stands in every row of WHOLE_BODIES too.
    """
    for name, bent in bent_values(document):
        yield name, json.dumps(bent).encode()
    for path in paths(document):
        around = json.dumps(replaced(document, path, _HOLE)).encode()
        hole = json.dumps(_HOLE).encode()
        for row in RAW_JSON:
            yield f"{_dotted(path)}: {row.name}", around.replace(hole, row.value)
    for row in WHOLE_BODIES:
        yield f"whole: {row.name}", row.value


def bent_msgpack(document: Any) -> Iterator[tuple[str, bytes]]:
    """Yield (case name, MessagePack bytes) with every field once as every value and spelling."""
    for name, bent in bent_values(document):
        yield name, msgspec.msgpack.encode(bent)
    hole = msgspec.msgpack.encode(_HOLE)
    for path in paths(document):
        around = msgspec.msgpack.encode(replaced(document, path, _HOLE))
        for row in RAW_MSGPACK:
            yield f"{_dotted(path)}: {row.name}", around.replace(hole, row.value)


def sample(cases: Iterator[T], count: int, seed: int) -> list[T]:
    """Return a seeded sample of cases, all of them when there are no more."""
    every = list(cases)
    return every if len(every) <= count else random.Random(seed).sample(every, count)


def _dotted(path: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in path)
