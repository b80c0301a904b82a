"""Reads the archive on from where a duty stands; the place is durable in the ledger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from allegro.core.stores import Archive, Archived, Ledger

SPAN = 20_000


async def read_on(
    archive: Archive, ledger: Ledger, name: str, prefixes: tuple[str, ...],
    one: Callable[[Archived], Awaitable[None]],
) -> None:  # fmt: skip
    """Give each archived event of these types to `one`, in order, from the place called `name`.

    A place is written down after its span was read: after a crash some events are given again.
    Raises EdgeError of the stores.
    """
    row = await ledger.number(name)
    while True:
        found, scanned = await archive.scan(row, SPAN, prefixes)
        for archived in found:
            await one(archived)
        if scanned == row:
            return
        row = scanned
        await ledger.set_number(name, row)
