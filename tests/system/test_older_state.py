"""The programs of today start on the folders of commit a8b1bd5, link, and go on."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from allegro.config import load_lane
from allegro.scratch.processes import Stage, free_port, secret_file
from tests.duties.test_state_folders import NIGHT, folder, hashes

__all__ = ["folder"]
pytestmark = pytest.mark.slow
LANE = "ezra"


class Older(Stage):
    """The house, and the lane that ran the session, on a free port."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.lane_config = folder / f"{LANE}.toml"
        for name in ("daily.token", "change.token"):
            secret_file(folder / name, "0" * 40)
        settings = load_lane(self.lane_config)
        before, now = settings.link.listen, f"127.0.0.1:{self.link_port}"
        council = f"127.0.0.1:{free_port()}"
        for path in (self.lane_config, folder / "house" / "fleet.json"):
            text = path.read_text("utf-8").replace(before, now)
            path.write_text(text.replace(settings.council.listen, council), "utf-8")

    async def lane_is_linked(self) -> bool:
        lanes = (await self.status())["lanes"]
        return any(one["name"] == LANE and one["linked"] for one in lanes)

    async def kinds(self) -> list[tuple[str, str]]:
        found: list[dict[str, Any]] = (await self.client.get("requests", all=1))["requests"]
        return sorted((one["kind"], one["state"]) for one in found)


@pytest.fixture
async def older(folder: Path) -> AsyncIterator[Older]:
    stage = Older(folder)
    yield stage
    await stage.close()


async def test_house_and_lane_of_a8b1bd5_link_under_today_s_programs_and_stay_frozen(
    older: Older,
) -> None:
    await older.start_house()
    await older.start_lane()
    await older.until(older.lane_is_linked, f"{LANE} is linked", older.lane)
    assert ("propose_change", "approved") in await older.kinds()
    assert ("propose_change", "proposed") in await older.kinds()
    status = await older.status()
    assert status["frozen"]
    assert NIGHT in json.dumps(status)
    await older.command("thaw", NIGHT, "--config", str(older.house_config))

    async def is_thawed() -> bool:
        result = await older.status()
        return not result["frozen"] and await older.lane_is_linked()

    await older.until(is_thawed, "its own sovereign key lifts the freeze", older.house)
    for process in (older.house, older.lane):
        assert await process.end(signal.SIGTERM) == 0


async def test_a_house_with_a_newer_ledger_ends_with_the_sentence_and_changes_nothing(
    older: Older,
) -> None:
    ledger = older.folder / "house" / "ledger.db"
    connection = sqlite3.connect(ledger)
    connection.execute("PRAGMA user_version = 99")
    connection.commit()
    connection.close()
    before = hashes(older.folder / "house")["ledger.db"]
    await older.start_house()
    await older.until(lambda: not older.house.is_running, "the house ends")
    assert await older.house.end() == 2
    words = older.house.tail(40)
    assert "ledger.db was written by a newer allegro: it has schema 99" in words
    assert "Traceback" not in words
    assert hashes(older.folder / "house")["ledger.db"] == before


async def test_a_lane_with_newer_freezes_ends_with_the_sentence_and_changes_nothing(
    older: Older,
) -> None:
    freezes = older.folder / LANE / "freezes.json"
    freezes.write_bytes(b'{"schema": 99, "freezes": [], "thawed": [], "known": true}')
    await older.start_lane()
    await older.until(lambda: not older.lane.is_running, "the lane ends")
    assert await older.lane.end() == 2
    assert "freezes.json was written by a newer allegro: it has schema 99" in older.lane.tail(40)
    assert freezes.read_bytes().startswith(b'{"schema": 99')
