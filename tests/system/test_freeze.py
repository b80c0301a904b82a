"""Stop means stop, whatever restarts; only the sovereign's signature thaws (S6, G13)."""

from __future__ import annotations

import asyncio
import json
import signal
import time

import pytest

from allegro.adapters.crypto.signatures import SigningKey

from .exactly_once import approve, done, propose
from .fleet_fixture import BOT, REPOSITORY, Theatre, copy_files
from .invariants import faults, look

pytestmark = pytest.mark.slow
LEDGER = ("ledger.db", "ledger.db-wal", "ledger.db-shm")


async def stop(theatre: Theatre) -> str:
    return str((await theatre.stage.client.post("stop", {"reason": "test"}))["freeze"])


async def writes(theatre: Theatre) -> list[float]:
    """Return when the forge got writes that had an effect."""
    calls = await theatre.stage.forge_log()
    return [call["at_s"] for call in calls if call["method"] != "GET" and call["effect"]]


async def thaw(theatre: Theatre, freeze: str) -> None:
    await theatre.stage.client.post("thaw", {"token": theatre.thaw_token(freeze)})


async def test_after_stop_nothing_new_is_sent_and_restarts_stay_frozen(theatre: Theatre) -> None:
    slow = {"kind": "slow", "path": "/branches$", "method": "POST", "seconds": 0.7, "count": 1}
    await theatre.stage.faults(add=[slow])
    want = await propose(theatre, "propose_change", "x")
    await approve(theatre, want)
    await asyncio.sleep(0.3)
    freeze = await stop(theatre)
    stopped_s = time.time()
    await asyncio.sleep(2.0)
    assert [at_s for at_s in await writes(theatre) if at_s > stopped_s + 1.0] == []

    before = len(await writes(theatre))
    await theatre.restart_lane()
    await theatre.restart_house()
    await theatre.stage.linked()
    other = await propose(theatre, "comment", "y")
    await asyncio.sleep(6.0)
    assert len(await writes(theatre)) == before
    status = await theatre.stage.status()
    assert status["frozen"]
    assert status["lanes"][0]["detail"]["frozen"]

    wrong = theatre.thaw_token(freeze, key=SigningKey.make())
    assert "bad_signature" in await theatre.refused("thaw", {"token": wrong})
    await thaw(theatre, freeze)
    wants = [await done(theatre, want), await done(theatre, other)]
    assert faults(wants, await look(theatre, wants)) == []


@pytest.mark.parametrize("state", ["missing", "corrupt", "older"])
async def test_a_lane_whose_set_is_gone_or_old_is_frozen_until_the_house_told_it(
    theatre: Theatre, state: str
) -> None:
    path = theatre.lane_folder / "freezes.json"
    await theatre.restart_lane()
    older = path.read_bytes() if path.exists() else b'{"freezes":[],"thawed":[],"known":true}'
    freeze = await stop(theatre) if state == "older" else ""
    await theatre.home()
    await theatre.stage.lane.end(signal.SIGKILL)
    if state == "missing":
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(older if state == "older" else b"\x00{")
    before = len(await writes(theatre))
    theatre.path.cut()
    await theatre.start_lane()
    await asyncio.sleep(1.0)
    theatre.path.mend()
    await theatre.stage.linked()
    if freeze:
        await propose(theatre, "comment", "y")
        await asyncio.sleep(1.5)
        assert len(await writes(theatre)) == before
        assert (await theatre.stage.status())["lanes"][0]["detail"]["frozen"]
        await thaw(theatre, freeze)
    want = await done(theatre, await propose(theatre, "comment", "x"))
    assert want.state == "done"


async def test_an_older_ledger_never_thaws(theatre: Theatre) -> None:
    copy = theatre.stage.folder / "older"
    await theatre.stage.house.end(signal.SIGKILL)
    copy_files(theatre.house_files.folder, copy, LEDGER)
    await theatre.stage.start_house()
    await theatre.stage.linked()
    await stop(theatre)
    await theatre.stage.house.end(signal.SIGKILL)
    copy_files(copy, theatre.house_files.folder, LEDGER)
    await theatre.stage.start_house()
    await theatre.until(theatre.frozen, "the house learns of the freeze from its lane")
    before = len(await writes(theatre))
    await propose(theatre, "comment", "y")
    await asyncio.sleep(1.5)
    assert len(await writes(theatre)) == before


async def test_three_bugs_in_a_minute_are_safe_mode_and_kills_are_not(theatre: Theatre) -> None:
    for _ in range(3):
        await theatre.restart_lane()
    assert not (await theatre.stage.status())["lanes"][0]["detail"]["safe_mode"]

    async def is_safe() -> bool:
        detail = (await theatre.stage.status())["lanes"][0]["detail"] or {}
        return bool(detail.get("safe_mode"))

    clock = theatre.lane_folder.parent / "clock"
    await theatre.restart_lane("--clock", str(clock), how=signal.SIGTERM)
    clock.write_text("no number")  # a bug wherever the time is asked for, outside any item too
    await asyncio.sleep(8.0)
    clock.unlink()
    await theatre.until(is_safe, "the running lane is in safe mode")
    await theatre.stage.lane.end()
    crashes = theatre.lane_folder / "crashes.json"
    crashes.write_text(json.dumps([time.time() - ago_s for ago_s in (20.0, 10.0, 1.0)]))
    await theatre.start_lane()
    await theatre.until(is_safe, "a lane that crashed three times starts in safe mode")
    want = await propose(theatre, "comment", "not in safe mode")
    await asyncio.sleep(2.0)
    assert faults([], await look(theatre, [])) == []  # nothing of ours was written
    await theatre.stage.lane.end()
    await theatre.start_lane("--leave-safe-mode")
    want = await done(theatre, want)
    assert faults([want], await look(theatre, [want])) == []


async def test_a_bug_in_an_effect_ends_no_lane_and_its_order_is_given_again(
    theatre: Theatre,
) -> None:
    await theatre.restart_lane("--bug", "before:comment", how=signal.SIGTERM)
    running = theatre.stage.lane.pid
    want = await done(theatre, await propose(theatre, "comment", "met by a bug"))
    assert faults([want], await look(theatre, [want])) == []
    assert theatre.stage.lane.is_running
    assert theatre.stage.lane.pid == running


async def test_a_write_under_our_name_that_nobody_ordered_freezes_the_fleet(
    theatre: Theatre,
) -> None:
    want = await done(theatre, await propose(theatre, "comment", "ours"))
    await asyncio.sleep(2.0)
    assert faults([want], await look(theatre, [want])) == []

    await theatre.api(
        "POST", f"/repos/{REPOSITORY}/issues/1/comments", {"body": "a thief's"},
        token=theatre.tokens[BOT]["daily"],
    )  # fmt: skip
    await theatre.until(theatre.frozen, "the fleet freezes", 15)
    alerts = (await theatre.stage.status())["alerts"]
    assert any("by nobody here" in alert["sentence"] for alert in alerts)
