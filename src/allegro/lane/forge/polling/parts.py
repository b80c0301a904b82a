"""What the parts of a poll share."""

from __future__ import annotations

from typing import NamedTuple

from allegro.lane.context import Context
from allegro.lane.forge.footprints import Footprints
from allegro.lane.forge.intake import Intake
from allegro.lane.forge.polling.attempts import Attempts
from allegro.lane.forge.snapshots import Taking
from allegro.lane.forge.triage import Triage


class Parts(NamedTuple):
    """The lane, what takes in what was read, what labels, and what notes each failure."""

    ctx: Context
    taking: Taking
    intake: Intake
    footprints: Footprints
    triage: Triage
    attempts: Attempts

    async def page_size(self) -> int:
        """Return how many items a page of the forge holds. Raises EdgeError."""
        return (await self.ctx.ports.reader.server()).page_size
