"""Gives out the daily token only as it was audited: a changed file is audited first (G9)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

from allegro.core.base.errors import EdgeError


class DailyToken:
    """What the adapter asks for on each request. `read` returns the file's text as it is now.

    Until `accept` was called with exactly this text, every request but the audit's own (which
    brings the token itself) is refused before it is sent. `changed` is set at the first refusal.
    """

    def __init__(self, read: Callable[[], str]) -> None:
        self._read = read
        self._accepted = b""
        self.changed = asyncio.Event()
        self.trouble = ""

    def __call__(self) -> str:
        """Return the token. Raises EdgeError, not sent, while the file's text is not audited."""
        text = self._read()
        if _digest(text) == self._accepted:
            return text
        self.changed.set()
        words = "the daily token was changed and is audited before anything else is sent"
        raise EdgeError(
            f"{words}: {self.trouble}" if self.trouble else words,
            transient=True,
            sent=False,
            kind="token_not_audited",
        )

    def text(self) -> str:
        """Return the file's text for the audit alone. Raises EdgeError where there is none."""
        return self._read()

    def not_audited(self, trouble: str) -> None:
        """Note why the last audit failed; what is refused meanwhile says so."""
        self.trouble = trouble

    def accept(self, text: str) -> None:
        """Let this text be used from now on, and no other."""
        self._accepted = _digest(text)
        self.trouble = ""
        self.changed.clear()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
