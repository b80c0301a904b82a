"""Everything outside a lane in one place, so that a test can put a fault in between."""

from __future__ import annotations

from collections.abc import Callable

from allegro.core.ports import (
    AgentHost,
    Clock,
    Council,
    Dice,
    ForgeReader,
    ForgeWriter,
    Journal,
    Sealer,
)


class Ports:
    """The ports of one lane."""

    def __init__(
        self, *, clock: Clock, dice: Dice, journal: Journal, sealer: Sealer,
        reader: ForgeReader, writer: ForgeWriter,
        councils: Callable[[Council], Council] = lambda council: council,
        agents: Callable[[AgentHost], AgentHost] = lambda host: host,
    ) -> None:  # fmt: skip
        self.clock = clock
        self.dice = dice
        self.journal = journal
        self.sealer = sealer
        self.reader = reader
        self.writer = writer
        self.councils = councils
        self.agents = agents


Wrap = Callable[[Ports], Ports]
