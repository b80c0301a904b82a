"""What the house said last about itself: kept in memory, and given to whoever asks to hear of it."""

from __future__ import annotations

from collections.abc import Callable

from allegro.core.protocol.queries import Inform, Params, read_query
from allegro.core.protocol.statement import HouseStatement


class HouseWord:
    """`statement` is None until a house said something to this program."""

    def __init__(self) -> None:
        self.statement: HouseStatement | None = None
        self._listeners: list[Callable[[HouseStatement], None]] = []

    def on_statement(self, listener: Callable[[HouseStatement], None]) -> None:
        """Call `listener` with each statement."""
        self._listeners.append(listener)

    def remember(self, statement: HouseStatement) -> None:
        """Take what the house said to the program before this one, if it said nothing since."""
        self.statement = self.statement or statement

    async def hear(self, params: Params) -> bool:
        """Answer `inform`: take the statement. Raises EdgeError where it is none."""
        self.statement = read_query(params, Inform).statement
        for listener in self._listeners:
            listener(self.statement)
        return True
