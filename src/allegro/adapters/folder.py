"""A folder of files for other programs to take: each written whole, readable by its owner only."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from allegro.core.base.errors import EdgeError


class Folder:
    """The `Exports` port on a folder, which is made when the first file is. Raises EdgeError.

    Names are relative paths that this program makes; a file is replaced by a rename, so that a
    reader never sees a part of one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def write(self, name: str, raw: bytes) -> None:
        await asyncio.to_thread(self._write, name, raw)

    async def read(self, name: str) -> bytes | None:
        """Return the bytes of a file, None where there is none that can be read."""
        return await asyncio.to_thread(self._read, name)

    def _write(self, name: str, raw: bytes) -> None:
        path = self._path / name
        beside = path.with_name(path.name + ".part")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except OSError as error:
            raise EdgeError(f"cannot write {name}: {error}", transient=True, kind="disk") from error

    def _read(self, name: str) -> bytes | None:
        try:
            return (self._path / name).read_bytes()
        except OSError:
            return None
