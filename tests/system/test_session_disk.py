"""A session on a lane whose disk is full: stopped, told once there is room, and begun once."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from .agency import needs_hermes, open_agency, types

DISK_MB = 24
FULL_S = 13.0  # longer than a lane waits for room before it stops the session


def fill(folder: Path) -> Path:
    """Write until the disk is full; return the file that fills it."""
    file = folder / "filler"
    with file.open("wb", buffering=0) as out:
        try:
            while out.write(bytes(65_536)):
                pass
        except OSError:
            pass
    return file


@needs_hermes
@pytest.mark.skipif(os.geteuid() != 0, reason="a disk of its own needs root")
async def test_a_full_disk_stops_a_session_whose_end_is_told_when_there_is_room(
    tmp_path: Path,
) -> None:
    place = tmp_path / "play" / "lane"
    place.mkdir(parents=True)
    options = f"size={DISK_MB}m,mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=True)
    try:
        async with open_agency(tmp_path, lane={"journal.min_free_mb": 1}) as agency:
            await agency.ready()
            slow = {"say": "slow", "pieces": 1_000, "gap_ms": 40}
            session = await agency.begin(slow, tag="full disk")
            await agency.turn("full disk")  # its record is on disk: no record, no call
            await asyncio.sleep(0.5)
            filler = fill(place)
            await asyncio.sleep(FULL_S)
            filler.unlink()

            result = await agency.result(session)

            assert (result.state, result.why) == ("stopped", "its journal has no room")
            assert types(await agency.told(session), "session.end") == ["session.end"]
            assert agency.beginnings("full disk") == 1
            assert (await agency.run({"say": "next"})).output == "next"
    finally:
        subprocess.run(["umount", str(place)], check=True)
