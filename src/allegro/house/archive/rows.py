"""Finds the place of a moment in the archive, whose rows are in the order of arrival."""

from __future__ import annotations

from allegro.core.stores import Archive


async def row_before(archive: Archive, at_s: float) -> int:
    """Return the last row that came home before a moment (Unix s), 0 for none."""
    low, high = 0, await archive.last_row()
    while low < high:
        middle = (low + high) // 2
        found = await archive.events(middle, 1)
        if found and found[0].at_s < at_s:
            low = found[0].row
        else:
            high = middle
    return low
