"""Takes the examples out of the pages."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tests.docs import render

_FENCE = re.compile(r"^```(?P<language>[a-z]*)[^\n]*\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"`(allegro [^`]+)`")


class Example(msgspec.Struct, frozen=True):
    """One fenced block: where it stands, its language, its text."""

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return _FENCE.sub("", page.read_text("utf-8"))


def examples(*languages: str) -> list[Example]:
    """Return every fenced block in these languages."""
    return [example for page in render.pages() for example in _of(page, languages)]


def _of(page: Path, languages: tuple[str, ...]) -> Iterator[Example]:
    text, name = page.read_text("utf-8"), page.relative_to(render.ROOT).as_posix()
    for match in _FENCE.finditer(text):
        if match["language"] in languages:
            line = text.count("\n", 0, match.start()) + 1
            yield Example(name, line, match["language"], match["text"])


def commands() -> list[tuple[str, str]]:
    """Return (place, command line) of every allegro command that the pages show or name."""
    found = [
        (example.place, line)
        for example in examples("console")
        for line in typed(example.text)
        if re.search(r"(^|[ /])allegro [a-z]", line)
    ]
    for page in render.pages():
        name = page.relative_to(render.ROOT).as_posix()
        found += [(name, span) for span in _SPAN.findall(prose(page))]
    return sorted(set(found))


def typed(text: str) -> list[str]:
    """Return the commands of a console example, continued lines joined."""
    joined = text.replace("\\\n", " ")
    return [line[2:] for line in joined.splitlines() if line.startswith("$ ")]


def words(line: str) -> list[str]:
    """Return the words of a command line as a shell would, without a comment behind it."""
    return shlex.split(re.sub(r"\s#.*$", "", line))
