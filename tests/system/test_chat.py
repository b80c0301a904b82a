"""The owner says stop from his phone: real lanes, a real house, the stand-in of the Bot API."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from allegro.core.chat.taps import button_data, request_subject
from allegro.scratch.processes import secret_file
from allegro.testing.telegram.server import TelegramStandIn
from allegro.testing.telegram.world import TOKEN
from tests.patience import patient

from .fleet_fixture import open_theatre
from .fleet_life import HOUSE, LANE, Life

pytestmark = pytest.mark.slow
ROSA, STRANGER = 77, 78
HELD_S, CONFLICT_S = 30.0, 60.0


def settings(folder: Path, stand_in: TelegramStandIn) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    token = secret_file(folder / "telegram.token", TOKEN)
    return {
        "telegram.token_file": str(token), "telegram.chat": str(ROSA),
        "telegram.allow": [str(ROSA)], "telegram.url": stand_in.url, "telegram.poll_s": 1,
    }  # fmt: skip


@pytest_asyncio.fixture
async def telegram() -> AsyncIterator[TelegramStandIn]:
    async with TelegramStandIn() as opened:
        opened.world.message(ROSA, ROSA, "/start")
        yield opened


def answers(telegram: TelegramStandIn) -> list[str]:
    """Return what the bot wrote, oldest first."""
    return [one["text"] for one in telegram.world.sent()]


def titled(telegram: TelegramStandIn, title: str) -> list[str]:
    return [text for text in answers(telegram) if text.startswith(f"{title}\n")]


def freezes_of(folder: Path) -> list[str]:
    found = json.loads((folder / "freezes.json").read_bytes())
    return [one["id"] for one in found["freezes"] if one["id"] not in found["thawed"]]


@pytest.mark.parametrize(
    "point",
    ["after:receive", "before:freeze", "after:freeze", "before:confirm", "after:confirm",
     "before:reply", "after:reply", "before:answer", "after:answer"],
)  # fmt: skip
async def test_a_lane_killed_anywhere_freezes_once_and_answers(
    tmp_path: Path, telegram: TelegramStandIn, point: str
) -> None:
    async with open_theatre(
        tmp_path / "play", lane=settings(tmp_path, telegram), start=False
    ) as theatre:
        await theatre.stage.start_house()
        world = telegram.world
        digest = "ab" * 32
        shown = world.message(ROSA, ROSA, "a request")["message_id"]
        world.says(ROSA, "/stop")
        world.presses(ROSA, ROSA, shown, button_data("approve", request_subject("1" * 32), digest))
        await theatre.start_lane("--die", point)
        await theatre.dead()
        assert world.updates or point not in {"after:receive", "before:freeze", "after:freeze"}
        await theatre.start_lane()

        async def all_done() -> bool:
            return bool(titled(telegram, "Stop")) and bool(world.answered)

        await theatre.until(all_done, "the stop and the press are answered")
        await theatre.stage.linked()

        async def is_home() -> Any:
            return (await theatre.stage.status())["freezes"]

        (freeze,) = await theatre.until(is_home, "the house is frozen")
        await asyncio.sleep(1.5)
        assert freezes_of(theatre.lane_folder) == [freeze["id"]]
        assert freeze["by"] == f"telegram:{ROSA}"
        assert len(titled(telegram, "Stop")) <= (2 if point == "after:reply" else 1)
        assert world.updates == []


async def test_what_waits_at_home_is_shown_by_chat_and_a_press_is_a_note_at_home(
    tmp_path: Path, telegram: TelegramStandIn
) -> None:
    chat = settings(tmp_path, telegram)
    sends = {name: value for name, value in chat.items() if name != "telegram.allow"}
    async with open_theatre(tmp_path / "play", lane=chat, house=sends) as theatre:
        asked = await theatre.ask("close_issue", issue=1, urgency="critical")

        async def told() -> Any:
            return titled(telegram, "Critical request: close_issue")

        await theatre.until(told, "the owner is told of it")

        async def shown() -> bool:
            telegram.world.says(ROSA, "/requests")
            await asyncio.sleep(1.0)
            return any(asked["id"][:10] in text for text in titled(telegram, "Requests"))

        await theatre.until(shown, "the lane shows what waits")
        telegram.world.says(ROSA, "/status")
        await theatre.until(lambda: _soon(titled(telegram, "Status")), "the status is answered")
        (status,) = titled(telegram, "Status")
        assert "Waiting for you: 1" in status
        assert "House: linked" in status
        (message,) = [one for one in telegram.world.sent() if one["text"].startswith("Critical")]
        data = message["reply_markup"]["inline_keyboard"][0][0]["callback_data"]
        telegram.world.presses(ROSA, ROSA, message["message_id"], data)
        await theatre.until(lambda: _soon(telegram.world.answered), "the press is answered")
        assert list(telegram.world.answered.values()) == ["Noted; needs your signature."]

        async def is_noted() -> Any:
            return (await theatre.request(asked["id"]))["noted"]

        noted = await theatre.until(is_noted, "the note stands on the request")
        assert noted.startswith(f"approve by telegram:{ROSA}")
        assert (await theatre.request(asked["id"]))["state"] == "proposed"


async def _soon(found: Any) -> bool:
    return bool(found)


async def test_strangers_get_nothing_and_are_counted_at_home(
    tmp_path: Path, telegram: TelegramStandIn
) -> None:
    async with open_theatre(tmp_path / "play", lane=settings(tmp_path, telegram)) as theatre:
        telegram.world.message(STRANGER, STRANGER, "/start")
        for _ in range(3):
            telegram.world.says(STRANGER, "/stop \x1b[2J <b>me</b>")
        telegram.world.says(STRANGER, "/stop", chat=ROSA)
        telegram.world.says_anonymously(-100, "/stop")

        async def counted() -> Any:
            client = theatre.stage.client
            return [event async for event in client.events(prefix="chat.strangers")]

        events = await theatre.until(counted, "strangers are counted at home")
        assert sum(one["data"]["updates"] for one in events) >= 1
        assert all(set(one["data"]) == {"channel", "updates", "senders"} for one in events)
        assert all(one["words"] is None for one in events)
        assert answers(telegram) == []
        assert freezes_of(theatre.lane_folder) == []


async def test_a_thaw_mutes_a_sender_and_lets_him_be_heard_again(
    tmp_path: Path, telegram: TelegramStandIn
) -> None:
    async with open_theatre(tmp_path / "play", lane=settings(tmp_path, telegram)) as theatre:
        stage = theatre.stage
        thaw = ("thaw", "--config", str(stage.house_config))
        steps = (((), "Frozen."), (("--all", "--mute", "telegram:77"), "Your stops are switched"),
                 (("--hear", "telegram:77"), "Frozen."))  # fmt: skip
        for number, (words, expected) in enumerate(steps, 1):
            if words:
                await stage.command(*thaw, *words)

                async def taken(words: tuple[str, ...] = words) -> bool:
                    muted = theatre.lane_folder / "muted.json"
                    kept = json.loads(muted.read_bytes())["muted"] if muted.exists() else []
                    is_muted = kept == ["telegram:77"]
                    return is_muted is ("--mute" in words) and not freezes_of(theatre.lane_folder)

                await theatre.until(taken, "the lane took the thaw")
            telegram.world.says(ROSA, "/stop")

            async def answered(number: int = number) -> bool:
                return len(titled(telegram, "Stop")) == number

            await theatre.until(answered, "the stop is answered")
            assert titled(telegram, "Stop")[-1].removeprefix("Stop\n").startswith(expected)


async def test_doctor_asks_the_bot_beside_a_running_lane(
    tmp_path: Path, telegram: TelegramStandIn
) -> None:
    async with open_theatre(tmp_path / "play", lane=settings(tmp_path, telegram)) as theatre:
        config = str(theatre.stage.lane_config)
        said = json.loads(await theatre.stage.command("doctor", "--config", config, "--json"))
        facts = [one for one in said["facts"] if one["code"] == "chat.deaf"]
        assert [one["state"] for one in facts] == ["ok"]
        telegram.fail("status", method="getWebhookInfo", status=401)
        said = json.loads(
            await theatre.stage.command("doctor", "--config", config, "--json", code=1)
        )
        (fact,) = [one for one in said["facts"] if one["code"] == "chat.deaf"]
        assert (fact["state"], fact["detail"].partition(":")[0]) == ("bad", "token")


class Elsewhere:
    """Another channel of the owner: takes what Apprise sends, on loopback."""

    def __init__(self) -> None:
        self.words: list[str] = []

    async def take(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.words.append(f"{body['title']} {body['message']}")
        return web.Response()


@pytest_asyncio.fixture
async def elsewhere(tmp_path: Path) -> AsyncIterator[tuple[Elsewhere, dict[str, Any]]]:
    """That channel, and the settings by which a program sends by it; none without Apprise."""
    made, app = Elsewhere(), web.Application()
    app.router.add_post("/{path:.*}", made.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    urls = secret_file(tmp_path / "urls", f"json://127.0.0.1:{runner.addresses[0][1]}/x")
    yield made, {"apprise.urls_file": str(urls)} if find_spec("apprise") else {}
    await runner.cleanup()


async def test_a_stop_is_heard_across_a_take_over_from_a_dead_reader(
    tmp_path: Path, telegram: TelegramStandIn, elsewhere: tuple[Elsewhere, dict[str, Any]]
) -> None:
    """A dead lane's poll is held 30 s and answered with 409 for 60 s more; another takes over."""
    fleet = Life(tmp_path / "fleet")
    chat = settings(tmp_path, telegram)
    sends = {name: value for name, value in chat.items() if name != "telegram.allow"}
    try:
        await fleet.set_up(lane={**LANE, **chat}, house={**HOUSE, **sends, **elsewhere[1]})
        await _across(fleet, telegram, elsewhere[0])
    finally:
        await fleet.close()


async def _across(fleet: Life, telegram: TelegramStandIn, elsewhere: Elsewhere) -> None:
    world = telegram.world
    holder = await fleet.settled()
    world.says(ROSA, "/status")
    await _until(lambda: len(titled(telegram, "Status")) == 1, 20.0)

    await asyncio.sleep(1.0)  # a kill just now could leave the answer to be given once more
    telegram.dead_reader(HELD_S + CONFLICT_S)
    died_s = time.monotonic()
    await fleet.lanes[holder].daemon.end(signal.SIGKILL)
    await fleet.another_took(holder, time.time() - 1)
    await asyncio.sleep(15)
    world.says(ROSA, "/status")
    for _ in range(3):
        world.says(STRANGER, "/stop", chat=ROSA)
    world.says(ROSA, "/stop the garden burns")
    world.says(ROSA, "/stop")
    heir = await fleet.holder()
    await asyncio.sleep(max(0.0, died_s + 75 - time.monotonic()))
    assert await _is_deaf(fleet, heir), "deaf for a minute, and it says so"
    if find_spec("apprise"):
        await _until(lambda: any("chat.deaf" in one for one in elsewhere.words), 15.0)
        assert not any("chat.deaf" in text for text in answers(telegram)), "by the other channel"

    before = len(telegram.good_polls)
    folder = fleet.lanes[heir].folder
    await _until(lambda: len(telegram.good_polls) > before, 40.0)
    await _until(lambda: bool(freezes_of(folder)), 5.0)
    frozen_s = time.monotonic() - telegram.good_polls[before]
    assert frozen_s < patient(1.0), f"frozen {frozen_s:.2f} s after the first good poll"
    await _until(lambda: len(titled(telegram, "Stop")) == 2, 10.0)

    await fleet.start(holder)  # it comes back, and gets the role back
    await asyncio.sleep(8)
    (freeze,) = freezes_of(folder)
    assert [one["id"] for one in (await fleet.status())["freezes"]] == [freeze]
    assert freezes_of(fleet.lanes[holder].folder) == [freeze]
    assert len(titled(telegram, "Status")) == 2
    frozen, again = titled(telegram, "Stop")
    assert frozen.startswith("Stop\nFrozen. Nothing is written")
    assert again.startswith("Stop\nFrozen already, by you")
    assert world.updates == []
    assert not await _is_deaf(fleet, heir)


async def _is_deaf(fleet: Life, lane: str) -> bool:
    report = await fleet.client.get("doctor")
    return any(
        fact["code"] == "chat.deaf" and fact["state"] == "bad" and fact["lane"] == lane
        for fact in report["facts"]
    )


async def _until(check: Any, within_s: float) -> None:
    until_s = time.monotonic() + patient(within_s)
    while not check():
        assert time.monotonic() < until_s, "it did not come true in time"
        await asyncio.sleep(0.01)
