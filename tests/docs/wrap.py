"""Wraps the prose of the pages at 100 columns: `python -m tests.docs.wrap`.

Tables, fenced code, headings, HTML comments and generated parts stay as they are. A paragraph that
keeps to the width already is left alone, so that a small edit makes a small difference.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from tests.docs import render

WIDTH = 100
_ITEM = re.compile(r"(?P<indent> *)(?P<mark>[-*+]|\d+\.) +")
_FENCE = re.compile(r" *(```|~~~)")
_APART = re.compile(r" *(\||#{1,6} |<!--|$)|.*  $|---+$")
_STARTS_A_BLOCK = re.compile(r"([-*+#>|]+|\d+[.)])$")
_GLUE = "\N{NO-BREAK SPACE}"


def wrapped(text: str) -> str:
    """Return a page whose paragraphs and list items keep to `WIDTH` where a space allows it."""
    return "\n".join(line for block in _blocks(text.split("\n")) for line in block)


def too_long(text: str) -> list[str]:
    """Return the lines of prose that are wider than `WIDTH` and could be broken."""
    after = set(wrapped(text).split("\n"))
    return [line for line in text.split("\n") if len(line) > WIDTH and line not in after]


def _blocks(lines: list[str]) -> Iterator[list[str]]:
    """Yield the lines of one paragraph or list item, wrapped, or one line that stays as it is."""
    block: list[str] = []
    kept = False
    for line in lines:
        closes = kept and (_FENCE.match(line) or line.startswith("<!-- end:"))
        opens = not kept and (_FENCE.match(line) or line.startswith("<!-- generated:"))
        if kept or opens or _APART.match(line) or _ITEM.match(line):
            yield _wrapped(block)
            block = []
        kept = (kept or bool(opens)) and not closes
        if kept or closes or _APART.match(line):
            yield [line]
        else:
            block.append(line)
    yield _wrapped(block)


def _wrapped(block: list[str]) -> list[str]:
    if all(len(line) <= WIDTH for line in block):
        return block
    item = _ITEM.match(block[0])
    indent = re.match(" *", block[0])
    assert indent is not None
    first = item[0] if item else indent[0]
    rest = " " * len(first)
    words = " ".join([block[0][len(first) :], *(line.strip() for line in block[1:])])
    glued = re.sub(r"`[^`]*`", lambda span: span[0].replace(" ", _GLUE), words)
    glued = _keep_marks_inside(glued)
    made = textwrap.wrap(
        glued, WIDTH, initial_indent=first, subsequent_indent=rest,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return [line.replace(_GLUE, " ") for line in made]


def _keep_marks_inside(text: str) -> str:
    """Tie a word that would begin a list, heading or table at a line's start to the one before."""
    words = text.split(" ")
    found = words[:1]
    for word in words[1:]:
        if _STARTS_A_BLOCK.match(word):
            found[-1] += _GLUE + word
        else:
            found.append(word)
    return " ".join(found)


def pages() -> list[Path]:
    """Return the pages whose prose keeps to the width: all but the changelog."""
    return [path for path in render.pages() if path.name != "CHANGELOG.md"]


def main() -> None:
    """Wrap every page in place."""
    for path in pages():
        text = path.read_text("utf-8")
        if wrapped(text) != text:
            path.write_text(wrapped(text), "utf-8")


if __name__ == "__main__":
    main()
