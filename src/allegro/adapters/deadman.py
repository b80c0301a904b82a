"""Calls a watcher's URL, as healthchecks and its like expect it: a GET that says "still alive"."""

from __future__ import annotations

import aiohttp

from allegro.core.base.errors import EdgeError

TIMEOUT_S = 10.0


async def ping(url: str) -> None:
    """Call once. Raises EdgeError for every answer but 2xx, and for none within 10 s."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            if not 200 <= response.status < 300:
                raise EdgeError(f"the watcher answers {response.status}", transient=True)
    except (aiohttp.ClientError, TimeoutError, OSError, UnicodeError) as error:
        detail = str(error) or type(error).__name__
        raise EdgeError(f"the watcher cannot be reached: {detail}", transient=True) from error
