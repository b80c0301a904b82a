"""Foreign words inside a document of ours: they make no markup, no link, no mention, no line.

Short ones stand in a code span, long ones in a fenced block. A forge looks for mentions, references,
links and emoji in neither (CommonMark 0.31, sections 4.5 and 6.1), and neither can be closed by what
stands in it.
"""

from __future__ import annotations

import re

from allegro.core.effects.render import fence, tame, visible

NOTHING = "–"
_TICKS = re.compile(r"`+")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,79}")
_ADDRESS = re.compile(
    r"https?://[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~-]{1,100}){1,12}"
    r"(?:#[a-z]{1,20}-[0-9]{1,16})?"
)
_OBJECT = re.compile(r"/(issues|pulls|pull|commit)/(?=\w)")


def phrase(foreign: str, limit: int = 200) -> str:
    """Return foreign words as one code span of at most `limit` characters; `–` for none."""
    shown = visible(" ".join(foreign.split())).strip()
    if not shown:
        return NOTHING
    shown = tame(shown if len(shown) <= limit else shown[: limit - 1] + "…")
    ticks = "`" * (max((len(run) for run in _TICKS.findall(shown)), default=0) + 1)
    pad = " " if "`" in shown else ""
    return f"{ticks}{pad}{shown}{pad}{ticks}"


def quoted(foreign: str, limit: int = 2_000) -> str:
    """Return foreign text of several lines as a fenced block; `–` for none."""
    text = foreign.replace("\r\n", "\n").strip()
    return fence(visible(text), limit=limit) if text else NOTHING


def linked(name: str, address: str) -> str:
    """Return a link where both are plain, else the name alone as a code span.

    A forge makes a reference, seen by everybody who watches, of each address of an issue, pull
    request or commit. A `./` before the number keeps it from that; browsers leave it out (WHATWG
    URL, "single-dot path segment").
    """
    if not _PLAIN.fullmatch(name) or not _ADDRESS.fullmatch(address):
        return phrase(name)
    unreferenced = _OBJECT.sub(r"/\1/./", address)
    return f"[{name}]({unreferenced})"
