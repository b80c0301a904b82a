"""Reads bytes and values from outside: a typed value, or Unreadable with the reason. Never raises.

Everything that another program, machine or person wrote passes one of these functions before a
rule looks at it: frames, events, answers of forges, providers, agents and council servers, state
files, arguments. What they promise:

- A reader returns a value of the type that was asked for, or `Unreadable`. It raises nothing,
  whatever the bytes are (cut, nested 20,000 deep, no UTF-8, numbers of 5,000 digits).
- A number is used only within `0 <= n < 2**53` (`Number`), a word only up to a length. Both bounds
  belong in the type, so that they hold where the value is made, not where it is used.
- A value of an open type (`dict[str, Any]`) passes `plain`, so that nothing in it can fail later,
  when it is stored, signed or sent on.
"""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, TypeVar

import msgspec

T = TypeVar("T")

MAX_NUMBER = 2**53
MAX_TEXT = 2_000
MAX_NAME = 300
MAX_DEPTH = 64
MAX_DIGITS = 16

Number = Annotated[int, msgspec.Meta(ge=0, lt=MAX_NUMBER)]
"""A count, id or time in whole seconds from outside: JSON, SQLite and msgpack hold it exactly."""

Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME)]
"""A name, address or reason from outside that is kept or shown."""

Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
"""Some sentences from outside that are kept or shown."""

UNREADABLE = (
    msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError, MemoryError,
    AttributeError, KeyError,
)  # fmt: skip
"""What a decoder raises for bytes it cannot read. UnicodeError is a ValueError."""


class Unreadable(msgspec.Struct, frozen=True):
    """Bytes or a value that could not be read, with the reason for a person."""

    reason: str

    def __str__(self) -> str:
        return self.reason


def read_json(raw: bytes | str, type_: type[T]) -> T | Unreadable:
    """Read JSON as a value of this type."""
    try:
        return msgspec.json.decode(raw, type=type_)
    except UNREADABLE as error:
        return unreadable(error)


def read_loose_json(raw: bytes) -> Any:
    """Read JSON as sloppy programs write it; return a value that strict JSON holds, or Unreadable.

    Not a number and infinity become None; half a surrogate pair becomes `?` and a byte that is no
    UTF-8 U+FFFD; a byte order mark and control characters in words are taken.
    """
    try:
        text = raw.decode(errors="replace").removeprefix("\ufeff")
        return _mended(json.loads(text, strict=False), MAX_DEPTH)
    except UNREADABLE as error:
        return unreadable(error)


def _mended(value: Any, depth: int) -> Any:
    if depth < 0:
        raise ValueError("nested too deep")
    if isinstance(value, dict):
        return {_writable(name): _mended(one, depth - 1) for name, one in value.items()}
    if isinstance(value, list):
        return [_mended(one, depth - 1) for one in value]
    if isinstance(value, str):
        return _writable(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _writable(word: str) -> str:
    return word.encode(errors="replace").decode()


def read_msgpack(raw: bytes, type_: type[T]) -> T | Unreadable:
    """Read MessagePack as a value of this type."""
    try:
        return msgspec.msgpack.decode(raw, type=type_)
    except UNREADABLE as error:
        return unreadable(error)


def read_value(value: object, type_: type[T], *, strict: bool = True) -> T | Unreadable:
    """Convert a decoded value to this type. Not `strict`: digits in a word are a number too."""
    try:
        return msgspec.convert(value, type_, strict=strict)
    except UNREADABLE as error:
        return unreadable(error)


def unreadable(error: BaseException) -> Unreadable:
    """Return the reason of a decoder's error in at most 200 characters."""
    kind = "" if isinstance(error, msgspec.ValidationError) else f"{type(error).__name__}: "
    return Unreadable(f"{kind}{error}"[:200])


def plain(value: object, *, depth: int = MAX_DEPTH) -> Any:
    """Return a value that JSON holds exactly, or Unreadable.

    Plain are None, booleans, integers within ±2**53, finite floats, words without lone surrogates,
    lists, and dicts with such words as keys, nested at most `depth` levels. Anything else (a
    MessagePack extension, a timestamp, bytes, NaN, a tuple as key) would fail later.
    """
    reason = _not_plain(value, depth)
    return Unreadable(reason) if reason else value


def _not_plain(value: object, depth: int) -> str:
    todo: list[tuple[object, int]] = [(value, depth)]
    while todo:
        one, left = todo.pop()
        if left < 0:
            return "nested too deep"
        if isinstance(one, dict):
            if not all(isinstance(key, str) and is_text(key) for key in one):
                return "a key that is no word"
            todo.extend((inner, left - 1) for inner in one.values())
        elif isinstance(one, list):
            todo.extend((inner, left - 1) for inner in one)
        elif not _is_plain_leaf(one):
            return f"a value of type {type(one).__name__} that JSON cannot hold"
    return ""


def _is_plain_leaf(value: object) -> bool:
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, int):
        return -MAX_NUMBER < value < MAX_NUMBER
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, str) and is_text(value)


def is_text(value: str) -> bool:
    """Say whether a word can be written as UTF-8: it holds no lone surrogate."""
    return value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value)


def whole_number(text: object, *, limit: int = MAX_NUMBER) -> int | None:
    """Read decimal ASCII digits as a number below `limit`; None for anything else.

    `str.isdigit` also says yes to other scripts' digits and to superscripts, which `int` refuses,
    and `int` refuses more than 4,300 digits.
    """
    if not isinstance(text, str) or len(text) > MAX_DIGITS:
        return None
    if not (text.isascii() and text.isdigit()):
        return None
    number = int(text)
    return number if number < limit else None


def text_of(value: object, limit: int = MAX_TEXT) -> str:
    """Return a word cut to `limit` characters, empty when it is no word."""
    return _writable(value[:limit]) if isinstance(value, str) else ""


def names_of(value: object) -> tuple[str, ...]:
    """Return at most 64 words of at most 64 characters, empty when it is no list."""
    return tuple(text_of(one, 64) for one in value[:64]) if isinstance(value, list) else ()


def number_of(value: object) -> int:
    """Return a whole number within `Number`, 0 when it is none."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_NUMBER:
        return value
    return 0


def real_of(value: object) -> float | None:
    """Return a finite number, 0 or more and below 2**53; None when it is none."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MAX_NUMBER:
        return float(value)
    return None
