"""The lines of a stream of events, with a look at the run while the stream is silent.

An older Hermes drops the events of a run when any reader of them goes away, and keeps the
connections of the others open with comments: a stream that nobody feeds looks like an agent that
thinks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from allegro.core.base.errors import EdgeError
from allegro.core.base.untrusted import whole_number

LOOK_S = 5.0
LAST_WORDS_S = 1.0  # Hermes tells its stream of an end before it tells who asks


async def data_lines(
    readline: Callable[[], Awaitable[bytes]], is_over: Callable[[], Awaitable[bool]]
) -> AsyncIterator[tuple[int | None, bytes]]:
    """Yield what stands behind `data:`, with the number of its `id:` line, to the end of the stream.

    Each LOOK_S without one `is_over` is asked, also while a question waits: its answer may be what
    the stream did not tell. Raises EdgeError when the run is over and the stream does not say so.
    """
    loop = asyncio.get_running_loop()
    look_at_s = loop.time() + LOOK_S
    number: int | None = None
    while True:
        reading = asyncio.ensure_future(readline())
        try:
            while not await _comes(reading, look_at_s - loop.time()):
                if await is_over() and not await _comes(reading, LAST_WORDS_S):
                    raise EdgeError("the stream is silent and the run is over", transient=True)
                look_at_s = loop.time() + LOOK_S
            line = await reading
        finally:
            reading.cancel()
        if not line:
            return
        if line.startswith(b"id:"):
            number = whole_number(line[3:].strip().decode("ascii", "replace"))
        elif line.startswith(b"data:"):
            yield number, line[5:]
            number = None
            look_at_s = loop.time() + LOOK_S


async def _comes(reading: asyncio.Future[bytes], within_s: float) -> bool:
    """Say whether a line is there in time; it is not cut off where it is not."""
    done, _ = await asyncio.wait({reading}, timeout=max(0.0, within_s))
    return bool(done)
