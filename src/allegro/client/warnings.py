"""What the house says with every answer, whatever was asked: that nobody is called, for one."""

from __future__ import annotations

from contextvars import ContextVar

from allegro.core.health.codes import CODES

HEARD: ContextVar[set[str] | None] = ContextVar("heard", default=None)
"""Where a program gathers the codes; None where it does not listen."""


def hear(header: str) -> None:
    """Note the codes of a header, as far as they are known here."""
    heard = HEARD.get()
    if heard is not None:
        heard.update(code for code in header.split(",") if code in CODES)


def sentence(code: str) -> str:
    """Return a warning as one line: what to do, and the code."""
    return f"{CODES[code].fix} ({code})"
