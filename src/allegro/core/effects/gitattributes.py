"""Reads `.gitattributes` as git does, to know which files a forge would not keep as they are sent.

A forge with LFS stores a pointer for a file whose `filter` is `lfs`, so the commit never holds the
approved bytes. Syntax and order: gitattributes(5), gitignore(5).
"""

from __future__ import annotations

import functools
import shlex
from collections.abc import Mapping

from allegro.core.effects.findings import parents_of

NAME = ".gitattributes"
MAX_BYTES = 100_000
MAX_LINES = 500
_FILTER = "filter"
_MACRO = "[attr]"


Words = tuple[tuple[str, str], ...]
"""Attributes in their order, each with its value: "" for unset or unspecified."""

_SET = "set"


def rewritten_by(path: str, attributes: Mapping[str, bytes]) -> str:
    """Return why a forge with LFS would not keep this file's bytes; "" where it would.

    `attributes` are the contents of the `.gitattributes` files by their paths; those that are not
    above `path` do not count. One that is too large to be read counts as a reason.
    """
    macros = _macros(attributes.get(NAME, b""))
    known: dict[str, str] = {}
    for folder in reversed(("", *parents_of(path))):  # as git does: who speaks last decides
        name = f"{folder}/{NAME}" if folder else NAME
        lines = _lines(attributes.get(name, b""))
        if lines is None:
            return f"{name} is too large to be read"
        below = path.removeprefix(f"{folder}/")
        for pattern, words in reversed(lines):
            if _matches(pattern, below):
                _settle(known, words, macros)
        if known.get(_FILTER) == "lfs":
            return (
                f"{name} puts it under filter=lfs, so the forge would store a pointer instead of it"
            )
    return ""


def _settle(known: dict[str, str], words: Words, macros: Mapping[str, Words]) -> None:
    """Note what a line says of attributes that no later line spoke of; a macro says more."""
    for name, value in reversed(words):
        if name not in known:
            known[name] = value
            if value == _SET and name in macros:
                _settle(known, macros[name], macros)


def _macros(raw: bytes) -> dict[str, Words]:
    """Return the macros of the topmost file, which count in every file."""
    lines = _lines(raw, macros=True) or ()
    return {pattern.removeprefix(_MACRO): words for pattern, words in lines}


@functools.lru_cache(maxsize=128)
def _lines(raw: bytes, *, macros: bool = False) -> tuple[tuple[str, Words], ...] | None:
    """Return patterns (or macros) with their words, in order; None where it is too much."""
    if len(raw) > MAX_BYTES:
        return None
    found = []
    for text in raw.decode("utf-8", "replace").splitlines():
        pattern, words = _split(text.strip(" \t"))
        if pattern and pattern.startswith(_MACRO) is macros:
            found.append((pattern, tuple(_word(word) for word in words)))
    return tuple(found) if len(found) <= MAX_LINES else None


def _word(word: str) -> tuple[str, str]:
    name, given, value = word.partition("=")
    if name[:1] in {"-", "!"}:
        return name[1:], ""
    return name, value if given else _SET


def _split(line: str) -> tuple[str, list[str]]:
    if not line or line.startswith("#"):
        return "", []
    if line.startswith('"'):
        try:
            pattern, *words = shlex.split(line)
        except ValueError:
            return "", []
        return pattern, words
    pattern, *words = line.split()
    return pattern, words


def _matches(pattern: str, path: str) -> bool:
    """Match like git: a pattern without `/` by the last part, else from the file's own folder.

    A `/` at its end asks for an empty last part, which no path has: folders match nothing here.
    """
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
