"""What a lane keeps of its alerts, and of its house's last statement."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from allegro.adapters.state_form import load
from allegro.core.base.untrusted import MAX_NUMBER, Unreadable
from allegro.core.health.kept import KeptAlerts
from allegro.core.protocol.statement import HouseStatement
from allegro.lane.folder.forms import ALERTS, STATEMENT, read_kept, write_kept


class HeardStatement(msgspec.Struct, frozen=True):
    """statement.json: what the house said last, and when it was heard here (Unix s)."""

    statement: HouseStatement
    heard_s: Annotated[float, Meta(ge=0, lt=MAX_NUMBER)]


class FileAlerts:
    """The alert store of a lane: one file, written whole, in a thread of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = threading.Lock()

    async def load(self) -> KeptAlerts | Unreadable | None:
        return load(self._path, ALERTS, KeptAlerts)

    async def save(self, kept: KeptAlerts) -> None:
        await asyncio.to_thread(self._save, kept)

    def _save(self, kept: KeptAlerts) -> None:
        with self._writing:  # a writer that was cancelled may still be at work
            write_kept(self._path, ALERTS, kept)


def load_statement(path: Path) -> HeardStatement | None:
    """Return what the house said last; None where it cannot be read."""
    return read_kept(path, STATEMENT, HeardStatement)


def save_statement(path: Path, heard: HeardStatement) -> None:
    """Write what the house said last, each half minute. Raises EdgeError."""
    write_kept(path, STATEMENT, heard)
