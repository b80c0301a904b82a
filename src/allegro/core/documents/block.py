"""The block at the end of a document that programs read: which document it is, and until when.

It is a fenced block with the word `allegro` and one line of canonical JSON. A place to look, never
evidence: whoever can write a comment can write such a block. What it promises is that no foreign
words inside a document of ours can pass for it.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from allegro.core.base.canonical import canonical
from allegro.core.base.errors import Unholdable
from allegro.core.base.untrusted import Number, Unreadable, read_json

INFO = "allegro"
MAX_DOCUMENT = 200_000
_FENCE = re.compile(r" {0,3}(?P<ticks>`{3,}|~{3,})(?P<info>.*)")


class Block(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What programs read of a document.

    `digest` names its content (SHA-256 in hex), "" on a public repository and where there is none.
    `expires_s` is Unix seconds, None likewise.
    """

    document: Literal["request", "report"]
    id: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._:-]{1,64}\Z")]
    digest: Annotated[str, Meta(pattern=r"\A([0-9a-f]{64})?\Z")] = ""
    expires_s: Number | None = None
    v: Literal[1] = 1


def block_text(block: Block) -> str:
    """Return a block as it stands at the end of a document. Raises Unholdable for a bad value."""
    raw = canonical(block)
    held = read_json(raw, Block)
    if held != block:
        raise Unholdable(f"no block of a document: {held}")
    return f"```{INFO}\n{raw.decode()}\n```"


def read_block(text: object) -> Block | Unreadable:
    """Return the one block of a document. Never raises.

    Refused are no block, more than one, one that does not end, and one that is not in the very form
    that `block_text` writes.
    """
    if not isinstance(text, str) or len(text) > MAX_DOCUMENT:
        return Unreadable("no text, or too long a one")
    found = _blocks(text.replace("\r\n", "\n").split("\n"))
    if isinstance(found, Unreadable):
        return found
    if len(found) != 1:
        return Unreadable("no block" if not found else f"{len(found)} blocks")
    return _read(found[0])


def _read(lines: list[str]) -> Block | Unreadable:
    if len(lines) != 1:
        return Unreadable("a block has one line")
    block = read_json(lines[0], Block)
    if isinstance(block, Unreadable):
        return block
    try:
        same = canonical(block).decode() == lines[0]
    except Unholdable as error:
        return Unreadable(str(error))
    return block if same else Unreadable("not in its canonical form")


def _blocks(lines: list[str]) -> list[list[str]] | Unreadable:
    """Return the content of each block that stands by itself, not inside another fence."""
    found: list[list[str]] = []
    inside: list[str] | None = None
    ticks = ""
    for line in lines:
        match = _FENCE.fullmatch(line)
        if inside is None:
            opens = match is not None and not (match["ticks"][0] == "`" and "`" in match["info"])
            if match is not None and opens:
                ticks, inside = match["ticks"], []
                if match["info"].strip() == INFO:
                    found.append(inside)
        elif match is not None and match["ticks"].startswith(ticks) and not match["info"].strip():
            inside = None
        else:
            inside.append(line)
    if inside is not None:
        return Unreadable("a fence that does not end")
    return found
