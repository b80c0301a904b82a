"""Whether it is this lane's turn to read the chat: with the role `forge`, or because nobody has it.

One reader at a time, for a second one takes the first one's updates away. A lane without a fleet
always reads. Where the council has decided nothing for a while every lane reads on: a `/stop` must
be heard then too, and it is the same freeze on each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from allegro.core.authority.roster import members_of
from allegro.core.protocol.answers.fleet import Peer
from allegro.lane.chat.links import Turn
from allegro.lane.context import Context

ROLE = "forge"


class TakeOver(Protocol):
    """How this lane came to a role."""

    @property
    def epoch(self) -> int: ...
    @property
    def is_from_another(self) -> bool: ...


class RoleKeeper(Protocol):
    """Keeps this lane's roles. `undecided`: the council has named nobody for a while."""

    @property
    def taken(self) -> Mapping[str, TakeOver]: ...
    def undecided(self) -> bool: ...
    def seen(self) -> tuple[Peer, ...]: ...


class Turns:
    """Asks the keeper of roles."""

    def __init__(self, ctx: Context, keeper: RoleKeeper) -> None:
        self._state = ctx.state
        self._keeper = keeper

    def now(self) -> Turn:
        """Return whose turn it is at this moment."""
        if not members_of(self._state.held):
            return Turn(True)
        epoch = self._state.held_roles().get(ROLE)
        if epoch is None:
            return Turn(self._keeper.undecided())
        taken = self._keeper.taken.get(ROLE)
        if taken is None or taken.is_from_another:
            return Turn(True, epoch, alone_since=epoch)
        return Turn(True, epoch, alone_since=epoch - 1)
