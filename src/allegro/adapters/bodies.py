"""Reads a whole HTTP body: a stream gives at each read what has come, seldom all of it."""

from __future__ import annotations

import aiohttp


async def read_whole(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Return the body to its end, or its first `limit` bytes. Raises what aiohttp raises."""
    raw = bytearray()
    while len(raw) < limit and (piece := await response.content.readany()):
        raw += piece
    return bytes(raw[:limit])
