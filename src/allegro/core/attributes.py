"""Reads `.gitattributes` as git does, to know which files a forge would not keep as they are sent.

A forge with LFS stores a pointer for a file whose `filter` is `lfs`, so the commit never holds the
approved bytes. Syntax and order: gitattributes(5), gitignore(5).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

import msgspec

from allegro.core.look import parents_of

NAME = ".gitattributes"
MAX_BYTES = 100_000
MAX_LINES = 500
_FILTER = "filter"


class _Line(msgspec.Struct, frozen=True):
    """One line that says something of `filter`; `value` is "" where it takes the filter away."""

    pattern: str
    value: str


def rewritten_by(path: str, attributes: Mapping[str, bytes]) -> str:
    """Return why a forge with LFS would not keep this file's bytes; "" where it would.

    `attributes` are the contents of the `.gitattributes` files by their paths; those that are not
    above `path` do not count. One that is too large to be read counts as a reason.
    """
    found, where = "", ""
    for folder in ("", *parents_of(path)):
        name = f"{folder}/{NAME}" if folder else NAME
        raw = attributes.get(name)
        if raw is None:
            continue
        lines = _lines(raw)
        if lines is None:
            return f"{name} is too large to be read"
        below = path.removeprefix(folder + "/") if folder else path
        for line in lines:
            if _matches(line.pattern, below):
                found, where = line.value, name
    if found != "lfs":
        return ""
    return f"{where} puts it under filter=lfs, so the forge would store a pointer instead of it"


def _lines(raw: bytes) -> list[_Line] | None:
    """Return the lines about `filter`, in order; None where there is too much to read."""
    if len(raw) > MAX_BYTES:
        return None
    macros = {_FILTER}
    values: dict[str, str] = {}
    found: list[_Line] = []
    for text in raw.decode("utf-8", "replace").splitlines():
        pattern, words = _split(text.strip(" \t"))
        if pattern.startswith("[attr]"):
            told = _value(words, macros, values)
            if told is not None:
                macros.add(pattern.removeprefix("[attr]"))
                values[pattern.removeprefix("[attr]")] = told
        elif pattern and (told := _value(words, macros, values)) is not None:
            found.append(_Line(pattern, told))
    return found if len(found) <= MAX_LINES else None


def _split(line: str) -> tuple[str, list[str]]:
    if not line or line.startswith("#"):
        return "", []
    if line.startswith('"'):
        try:
            pattern, *words = shlex.split(line, posix=True)
        except ValueError:
            return "", []
        return pattern, words
    pattern, *words = line.split()
    return pattern, words


def _value(words: list[str], macros: set[str], values: dict[str, str]) -> str | None:
    """Return what a line's words make of `filter`: its value, "" for none, None for no word."""
    found = None
    for word in words:
        name, _, value = word.partition("=")
        if name.lstrip("-!") == _FILTER:
            found = value if name == _FILTER else ""
        elif name in macros:
            found = values.get(name, "")
    return found


def _matches(pattern: str, path: str) -> bool:
    """Match like git: a pattern without `/` by the last part, else from the file's own folder."""
    if pattern.endswith("/"):
        return False
    parts = path.split("/")
    if "/" not in pattern:
        return _part_matches(pattern, parts[-1])
    return _parts_match(pattern.lstrip("/").split("/"), parts)


def _parts_match(pattern: list[str], parts: list[str]) -> bool:
    """Match part by part; `**` stands for any number of parts. Takes len × len steps at most."""
    reached = {0}
    for number, one in enumerate(pattern):
        if one == "**":
            last = number == len(pattern) - 1
            reached = set(range(min(reached) + (1 if last else 0), len(parts) + 1))
        else:
            reached = {
                at + 1 for at in reached if at < len(parts) and _part_matches(one, parts[at])
            }
        if not reached:
            return False
    return len(parts) in reached


def _part_matches(pattern: str, text: str) -> bool:
    """Match one part with `*`, `?`, `[…]` and `\\`, going back to the last `*` only."""
    at = place = 0
    star = resume = -1
    while place < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, resume, at = at, place, at + 1
            continue
        end = _one(pattern, at, text[place]) if at < len(pattern) else -1
        if end >= 0:
            at, place = end, place + 1
        elif star >= 0:
            resume += 1
            at, place = star + 1, resume
        else:
            return False
    return all(char == "*" for char in pattern[at:])


def _one(pattern: str, at: int, char: str) -> int:
    """Return where the pattern goes on after one character that it matches, -1 for no match."""
    first = pattern[at]
    if first == "?":
        return at + 1
    if first == "\\" and at + 1 < len(pattern):
        return at + 2 if pattern[at + 1] == char else -1
    if first == "[" and (end := pattern.find("]", at + 2)) > 0:
        inside = pattern[at + 1 : end]
        negated = inside[:1] in {"!", "^"}
        return end + 1 if _in_class(inside[negated:], char) is not negated else -1
    return at + 1 if first == char else -1


def _in_class(inside: str, char: str) -> bool:
    at = 0
    while at < len(inside):
        if inside[at + 1 : at + 2] == "-" and at + 2 < len(inside):
            if inside[at] <= char <= inside[at + 2]:
                return True
            at += 3
        else:
            if inside[at] == char:
                return True
            at += 1
    return False
