"""The one byte form of a value (RFC 8785), and the digest that names it for ever."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import msgspec
import rfc8785

from allegro.core.base.errors import Unholdable
from allegro.core.base.untrusted import UNREADABLE, Unreadable, read_json


def canonical(value: Any) -> bytes:
    """Return the RFC 8785 bytes of a struct or plain JSON value.

    Raises Unholdable for what JSON cannot hold exactly: NaN, infinities, integers beyond 2**53,
    lone surrogates, keys that are no words, MessagePack extensions, values nested too deep.
    """
    try:
        return rfc8785.dumps(msgspec.to_builtins(value))
    except UNREADABLE as error:
        raise Unholdable(f"no canonical form: {error}") from error


def is_canonical(raw: bytes) -> bool:
    """Say whether these bytes are JSON in exactly their canonical form.

    Duplicate keys, white space, other number spellings and escapes all make it false.
    """
    value = read_json(raw, object)
    if isinstance(value, Unreadable):
        return False
    try:
        return canonical(value) == raw
    except Unholdable:
        return False


def sha256_hex(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def keyed_hex(key: bytes, purpose: str, *parts: str) -> str:
    """Return HMAC-SHA256 in hex over length-prefixed parts, separated by purpose."""
    mac = hmac.new(key, purpose.encode(), hashlib.sha256)
    for part in parts:
        raw = part.encode()
        mac.update(len(raw).to_bytes(8, "big") + raw)
    return mac.hexdigest()
