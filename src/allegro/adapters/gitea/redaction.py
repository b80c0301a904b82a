"""Takes secrets out of words that somebody else wrote, before they reach a log or an error."""

from __future__ import annotations

import base64
import codecs
from collections.abc import Iterable, Iterator

PART = 8
MAX_TEXT = 4_000
BLOT = "[secret]"


def blotted(text: str, secrets: Iterable[str]) -> str:
    """Return a text of at most `MAX_TEXT` characters without these secrets.

    Any part of a secret from 8 characters on is taken out, also in another case, with signs
    between its characters, backwards, or written in hexadecimal, base32, base64, percent or
    escape notation. A secret of fewer than 4 letters and digits is found only as it stands.
    """
    text = text[:MAX_TEXT]
    for secret in secrets:
        if secret:
            text = _hide(text.replace(secret, BLOT), secret)
    return text


def _hide(text: str, secret: str) -> str:
    at = [n for n, char in enumerate(text) if char.isascii() and char.isalnum()]
    plain = "".join(text[n] for n in at).lower()
    hidden = [False] * len(text)
    for form, size in _forms(secret):
        parts = {form[n : n + size] for n in range(len(form) - size + 1)}
        for n in range(len(plain) - size + 1):
            if plain[n : n + size] in parts:
                first, last = at[n], at[n + size - 1]
                hidden[first : last + 1] = [True] * (last + 1 - first)
    return "".join(
        BLOT if hide and not (n and hidden[n - 1]) else "" if hide else text[n]
        for n, hide in enumerate(hidden)
    )


def _forms(secret: str) -> Iterator[tuple[str, int]]:
    """Yield (letters and digits of one spelling, how many of them betray a part)."""
    plain = _letters(secret)
    if len(plain) < 4:
        return
    part = min(PART, len(plain))
    raw = secret.encode("utf-8", "replace")
    yield plain, part
    yield plain[::-1], part
    yield _letters(codecs.encode(secret, "rot13")), part
    yield raw.hex(), 2 * part
    yield "".join(f"x{byte:02x}" for byte in raw), 3 * part
    yield "".join(f"u{byte:04x}" for byte in raw), 5 * part
    yield "".join(str(byte) for byte in raw), 2 * part
    for pad in range(3):
        form = _letters(base64.b64encode(b"\0" * pad + raw).decode()[pad and pad + 1 :])
        yield form, min(part + 1, len(form))
    for pad in range(5):
        form = _letters(base64.b32encode(b"\0" * pad + raw).decode()[(pad * 8 + 4) // 5 :])
        yield form, min(part + 3, len(form))


def _letters(text: str) -> str:
    return "".join(char for char in text if char.isascii() and char.isalnum()).lower()
