"""What a lane knows of its leases that outlives its process."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import structlog

from allegro.core.authority.lease import Slot
from allegro.core.base.errors import EdgeError

_log = structlog.get_logger()


class Epochs:
    """The highest epoch seen of each role; on disk before a role is taken under a new one."""

    def __init__(self, known: dict[str, int], save: Callable[[dict[str, int]], None]) -> None:
        self._known = known
        self._save = save

    def all(self) -> dict[str, int]:
        return dict(self._known)

    def highest(self, role: str) -> int:
        return self._known.get(role, 0)

    def keep(self, role: str, epoch: int) -> None:
        if epoch > self.highest(role):
            self._known = {**self._known, role: epoch}
            self._save(self._known)


class Written:
    """What this lane wrote last into each register, so that its next start knows it again.

    `known` is what the last process left on disk.
    """

    def __init__(self, known: dict[str, Slot], save: Callable[[dict[str, Slot]], None]) -> None:
        self._slots = known
        self._save = save

    def last(self, role: str) -> Slot | None:
        """Return what was written last, None where that is not known."""
        return self._slots.get(role)

    def keep(self, role: str, slot: Slot) -> None:
        """Remember what was written. A disk that refuses costs the next start a lease."""
        self._slots = {**self._slots, role: slot}
        try:
            self._save(self._slots)
        except EdgeError as error:
            _log.warning("role.not_remembered", role=role, error=str(error))


class Memory(NamedTuple):
    epochs: Epochs
    written: Written
