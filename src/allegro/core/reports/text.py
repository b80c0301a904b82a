"""A report as sections of lines, whatever it is then written in: foreign words stay marked as such."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

import msgspec

from allegro.core.documents.words import linked, phrase
from allegro.core.effects.render import one_line

_ADDRESS = re.compile(
    r"https?://[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~#-]{0,200}){0,14}"
)
MAX_FOREIGN = 200


class Own(msgspec.Struct, frozen=True):
    """Our own words, which hold nothing that others wrote."""

    text: str


class Foreign(msgspec.Struct, frozen=True):
    """Words of people, models or lanes."""

    text: str


class Link(msgspec.Struct, frozen=True):
    """An address that a forge gave, under a name of ours."""

    name: str
    address: str


Part = Own | Foreign | Link
Line = tuple[Part, ...]


class Section(msgspec.Struct, frozen=True):
    """A heading and its lines. Without any, `empty` is said."""

    title: str
    lines: tuple[Line, ...]
    empty: str = "none"


class Page(msgspec.Struct, frozen=True):
    """A whole report. `summary` stands below the title, `image` is an SVG of ours or empty."""

    title: str
    summary: tuple[Line, ...]
    sections: tuple[Section, ...]
    image: str = ""


def line(*parts: str | Part) -> Line:
    """Return a line; plain strings are our own words, and words that are not there are left out."""
    found = (Own(one) if isinstance(one, str) else one for one in parts)
    return tuple(one for one in found if not isinstance(one, Own) or one.text)


def words(before: str, foreign: str, after: str = "") -> tuple[str | Part, ...]:
    """Return foreign words between our own; nothing at all where there are none."""
    return (before, Foreign(foreign), after) if foreign.strip() else ()


# --- Markdown -------------------------------------------------------------------------------


def markdown(page: Page) -> str:
    """Return a page as Markdown. Foreign words stand in code spans."""
    parts = [f"# {page.title}", "\n".join(_markdown_line(one) for one in page.summary)]
    for section in page.sections:
        lines = [f"- {_markdown_line(one)}" for one in section.lines] or [section.empty]
        parts.append("\n".join([f"## {section.title}", "", *lines]))
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_line(parts: Iterable[Part]) -> str:
    return "".join(_markdown_part(one) for one in parts)


def _markdown_part(part: Part) -> str:
    match part:
        case Own(text=text):
            return text
        case Foreign(text=text):
            return phrase(text, MAX_FOREIGN)
        case Link(name=name, address=address):
            return linked(name, address)


# --- plain text, for a terminal -------------------------------------------------------------


def plain(page: Page) -> str:
    """Return a page for a terminal: every foreign word stays inside its line."""
    lines = [page.title, *(_plain_line(one) for one in page.summary)]
    for section in page.sections:
        lines += ["", section.title]
        lines += [f"  {_plain_line(one)}" for one in section.lines] or [f"  {section.empty}"]
    return "\n".join(lines) + "\n"


def _plain_line(parts: Sequence[Part]) -> str:
    return "".join(_plain_part(one) for one in parts)


def _plain_part(part: Part) -> str:
    match part:
        case Own(text=text):
            return text
        case Foreign(text=text):
            return f"“{one_line(text, MAX_FOREIGN)}”" if text.strip() else "–"
        case Link(name=name, address=address):
            return f"{one_line(name)} {one_line(address)}".strip()


# --- HTML -----------------------------------------------------------------------------------

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem }}
h1 {{ font-size: 1.4rem }} h2 {{ font-size: 1.1rem; margin-top: 1.6rem }}
code {{ background: #8881; padding: 0 .2em; overflow-wrap: anywhere }} svg {{ max-width: 100% }}
</style>
</head>
<body>
"""


def html_page(page: Page) -> str:
    """Return a page as HTML that loads nothing and runs nothing."""
    parts = [_HEAD.format(title=html.escape(page.title)), f"<h1>{html.escape(page.title)}</h1>"]
    parts += [f"<p>{_html_line(one)}</p>" for one in page.summary]
    if page.image:
        parts.append(page.image)
    for section in page.sections:
        parts.append(f"<h2>{html.escape(section.title)}</h2>")
        if section.lines:
            items = "\n".join(f"<li>{_html_line(one)}</li>" for one in section.lines)
            parts.append(f"<ul>\n{items}\n</ul>")
        else:
            parts.append(f"<p>{html.escape(section.empty)}</p>")
    return "\n".join([*parts, "</body>", "</html>"]) + "\n"


def _html_line(parts: Sequence[Part]) -> str:
    return "".join(_html_part(one) for one in parts)


def _html_part(part: Part) -> str:
    match part:
        case Own(text=text):
            return html.escape(text)
        case Foreign(text=text):
            return f"<code>{html.escape(one_line(text, MAX_FOREIGN))}</code>" if text else "–"
        case Link(name=name, address=address):
            shown = html.escape(one_line(name))
            if not _ADDRESS.fullmatch(address):
                return shown
            return f'<a rel="noreferrer" href="{html.escape(address)}">{shown}</a>'
