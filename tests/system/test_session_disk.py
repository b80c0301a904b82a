"""A session on a lane whose disk is full: stopped, told once there is room, and begun once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from .agent_fixture import needs_hermes, open_agency, types
from .disk import NO_DISK, ON_DISK, can_mount, fill, small_disk

FULL_S = 13.0  # longer than a lane waits for room before it stops the session


@needs_hermes
async def test_a_full_disk_stops_a_session_whose_end_is_told_when_there_is_room(
    tmp_path: Path,
) -> None:
    if not can_mount():
        pytest.skip(NO_DISK)
    place = tmp_path / "play" / "lane"
    with small_disk(place):
        async with open_agency(tmp_path, lane=ON_DISK) as agency:
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
            assert types(await agency.events_of(session), "session.end") == ["session.end"]
            assert agency.beginnings("full disk") == 1
            assert (await agency.run({"say": "next"})).output == "next"
