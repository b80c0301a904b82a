"""Bytes that arrive in pieces, kept by their digest until they are whole and used. Pure.

In memory only. They outlive a connection, so that what was cut off goes on where it stopped.
"""

from __future__ import annotations

import hashlib

from allegro.core.base.errors import Refusal

LIFE_S = 600.0
IDLE_S = 60.0
LANE_BYTES = 16 * 1024 * 1024
HOUSE_BYTES = 8 * 1024 * 1024
MAX_BLOBS = 16


class _Blob:
    def __init__(self, size: int, at_s: float) -> None:
        self.size = size
        self.at_s = at_s
        self.held = bytearray()
        self.hash = hashlib.sha256()


class Blobs:
    """At most `total_bytes` in all, counted by what was announced, and MAX_BLOBS at once.

    Each is forgotten LIFE_S after its last piece; one that stood still for IDLE_S makes room for
    others.
    """

    def __init__(self, total_bytes: int) -> None:
        self._total = total_bytes
        self._blobs: dict[str, _Blob] = {}

    @property
    def count(self) -> int:
        """How many are here or on their way."""
        return len(self._blobs)

    @property
    def reserved(self) -> int:
        """The bytes that are here or may still come."""
        return sum(blob.size for blob in self._blobs.values())

    def offer(self, digest: str, size: int, now_s: float) -> int | Refusal:
        """Open a blob, or go on with it; return how many of its bytes are here."""
        self.expire(now_s)
        known = self._blobs.get(digest)
        if known is not None and known.size == size:
            known.at_s = now_s
            return len(known.held)
        if known is not None or not 0 < size <= self._total:
            return Refusal("wrong_size", f"a blob has 1 to {self._total} bytes")
        if not self._make_room(size, now_s):
            return Refusal("no_room", "too much is on the way; try again")
        self._blobs[digest] = _Blob(size, now_s)
        return 0

    def add(self, digest: str, offset: int, data: bytes, now_s: float) -> int | Refusal:
        """Append a piece; return how many bytes are here. A refused piece ends its blob."""
        blob = self._blobs.get(digest)
        if blob is None:
            return Refusal("not_offered", "nothing of this digest is expected")
        if offset != len(blob.held) or not data or offset + len(data) > blob.size:
            del self._blobs[digest]
            return Refusal("wrong_piece", "a piece must go on where the last one ended")
        blob.held += data
        blob.hash.update(data)
        blob.at_s = now_s
        if len(blob.held) == blob.size and blob.hash.hexdigest() != digest:
            del self._blobs[digest]
            return Refusal("wrong_digest", "the bytes are not those that were announced")
        return len(blob.held)

    def find(self, digest: str) -> bytes | None:
        """Return a whole blob's bytes."""
        blob = self._blobs.get(digest)
        return bytes(blob.held) if blob is not None and len(blob.held) == blob.size else None

    def take(self, digest: str) -> bytes | None:
        """Return a whole blob's bytes and forget it."""
        found = self.find(digest)
        if found is not None:
            del self._blobs[digest]
        return found

    def drop(self, digest: str) -> None:
        """Forget a blob, whole or not."""
        self._blobs.pop(digest, None)

    def clear(self) -> None:
        """Forget everything."""
        self._blobs.clear()

    def expire(self, now_s: float) -> None:
        """Forget what got no piece for LIFE_S."""
        for digest in [d for d, blob in self._blobs.items() if now_s - blob.at_s >= LIFE_S]:
            del self._blobs[digest]

    def _make_room(self, size: int, now_s: float) -> bool:
        while len(self._blobs) >= MAX_BLOBS or self.reserved + size > self._total:
            if not self._blobs:
                return False
            digest = min(self._blobs, key=lambda one: self._blobs[one].at_s)
            if now_s - self._blobs[digest].at_s < IDLE_S:
                return False
            del self._blobs[digest]
        return True
