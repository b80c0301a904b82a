"""Outages: what was appended comes home in order, once; a full journal or disk stops effects."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from .exactly_once import done, propose
from .fleet_fixture import REPOSITORY, Theatre, open_theatre

pytestmark = pytest.mark.slow


async def flood(theatre: Theatre) -> None:
    os.kill(theatre.stage.lane.pid, signal.SIGUSR1)


async def detail(theatre: Theatre) -> dict[str, Any]:
    return dict((await theatre.stage.status())["lanes"][0]["detail"] or {})


async def test_thousands_of_events_come_home_in_order_after_an_outage(theatre: Theatre) -> None:
    await theatre.restart_lane("--flood", "6000")
    theatre.path.cut()
    await flood(theatre)
    await asyncio.sleep(1.0)
    await theatre.open_issue("while cut")
    await asyncio.sleep(1.0)
    theatre.path.mend()

    def numbers() -> list[int]:
        return [event["data"]["n"] for event in theatre.archived("test.flood")]

    await theatre.until(lambda: len(numbers()) >= 6000, "all is home", 20)
    assert numbers() == list(range(6000))


async def test_a_full_journal_sheds_with_a_named_gap_and_keeps_what_is_reserved(
    tmp_path: Path,
) -> None:
    async with open_theatre(tmp_path / "play", lane={"journal.cap_mb": 1}) as theatre:
        flood_of = ("--flood", "8000", "--flood-type", "session.delta")
        await theatre.restart_lane(*flood_of)
        theatre.path.cut()
        await flood(theatre)
        await asyncio.sleep(3.0)
        theatre.path.mend()
        await theatre.stage.linked()
        await theatre.home()
        kept = [event["data"]["n"] for event in theatre.archived("session.delta")]
        assert kept == list(range(kept[0], 8000))
        gaps = theatre.archive().execute("SELECT SUM(count), shed, reason FROM gap").fetchall()
        assert gaps == [(8000 - len(kept), 5, "overflow")]
        shed = theatre.archived("journal.gap")
        assert sum(event["data"]["count"] for event in shed) == 8000 - len(kept)


async def test_a_journal_full_of_what_is_kept_stops_effects_and_resumes(tmp_path: Path) -> None:
    async with open_theatre(tmp_path / "play", lane={"journal.cap_mb": 1}) as theatre:
        await theatre.restart_lane("--flood", "20000")
        theatre.path.swallowed = frozenset({"ack"})
        await flood(theatre)

        async def is_full() -> bool:
            return (await detail(theatre)).get("room") is False

        await theatre.until(is_full, "the lane says that it is full", 20)
        assert not (await detail(theatre))["healthy"]
        asked = await propose(theatre, "comment", "x")
        await asyncio.sleep(1.5)
        comments = await theatre.listed(f"/repos/{REPOSITORY}/issues/comments")
        assert comments == []
        theatre.path.swallowed = frozenset()
        theatre.path.cut()
        theatre.path.mend()
        await theatre.stage.linked()
        await done(theatre, asked)


@pytest.fixture
async def small_disk(tmp_path: Path) -> AsyncIterator[Path]:
    """A disk of 40 MB; where none may be mounted the test says so."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40m,mode=700", "tmpfs", str(folder)],
        check=False, capture_output=True,
    )  # fmt: skip
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_full_disk_stops_effects_and_resumes_by_itself(small_disk: Path) -> None:
    async with open_theatre(small_disk / "play", lane={"journal.min_free_mb": 15}) as theatre:
        filler = small_disk / "filler"
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        filler.write_bytes(bytes(free - 3_000_000))

        async def has_no_room() -> bool:
            return (await detail(theatre)).get("room") is False

        await theatre.until(has_no_room, "the lane notices", 15)
        asked = await propose(theatre, "comment", "x")
        await asyncio.sleep(1.5)
        assert await theatre.listed(f"/repos/{REPOSITORY}/issues/comments") == []
        filler.unlink()
        await done(theatre, asked)


async def test_no_words_of_people_are_on_the_lanes_disk(tmp_path: Path) -> None:
    """Search every file the lane writes, while everything waits in its journal (H7)."""
    async with open_theatre(tmp_path / "play") as theatre:
        marks = [f"zebra{n}quagga" for n in range(7)]
        want = await propose(theatre, "comment", marks[0])
        await done(theatre, want)
        change = await theatre.ask_change(marks[1], {f"{marks[2]}.txt": marks[3]})
        await theatre.approve(change)
        await theatre.settled(change["id"])
        theatre.path.cut()
        number = await theatre.open_issue(marks[4], marks[5])
        await theatre.act("comment", repo=REPOSITORY, number=number, user="robin", body=marks[6])
        await asyncio.sleep(2.5)
        token = theatre.tokens["allegro-change"]["change"]
        await theatre.stage.lane.end(signal.SIGKILL)
        files = [file for file in theatre.lane_folder.rglob("*") if file.is_file()]
        files.append(theatre.stage.lane.log)
        assert any(file.name == "journal.db-wal" for file in files)
        for file in files:
            raw = file.read_bytes()
            found = [word for word in (*marks, token) if word.encode() in raw]
            assert found == [], (file.name, found)
