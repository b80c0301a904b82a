"""Scripted faults, restarts, the log of calls."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest

from .forge import WEB, Client, Forge, utc

REPO = "acme/web"
LOST = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError)


async def post(forge: Forge) -> int:
    return (await forge.client().post(f"{WEB}/issues", {"title": "t"})).status


def issues(forge: Forge) -> int:
    return len(forge.world.the_repo(REPO).issues)


async def test_a_lost_answer_leaves_its_effect(forge: Forge) -> None:
    forge.faults.add("answer_lost", method="POST", path="/issues$")
    with pytest.raises(LOST):
        await post(forge)
    assert issues(forge) == 1
    call = forge.simulator.log[-1]
    assert (call.status, call.fault, call.effect, call.user) == (201, "answer_lost", True, "bot")
    assert await post(forge) == 201


async def test_a_reset_comes_before_any_effect(forge: Forge) -> None:
    forge.faults.add("reset", method="POST")
    with pytest.raises(LOST):
        await post(forge)
    assert issues(forge) == 0
    call = forge.simulator.log[-1]
    assert (call.status, call.fault, call.effect) == (0, "reset", False)


async def test_a_proxy_answers_instead_with_html_and_retry_after(forge: Forge) -> None:
    forge.faults.add("status", status=429, headers={"Retry-After": "7"})
    answer = await forge.client().get(WEB)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
    assert answer.headers["Content-Type"] == "text/html"
    assert (await forge.client().get(WEB)).status == 200


async def test_a_proxys_time_out_can_come_after_the_effect(forge: Forge) -> None:
    forge.faults.add("status", status=504, after_effect=True)
    assert await post(forge) == 504
    assert issues(forge) == 1


async def test_a_rule_strikes_the_nth_call_and_as_often_as_told(forge: Forge) -> None:
    forge.faults.add("status", method="GET", path="/issues", nth=2, count=2, status=502)
    client = forge.client()
    seen = [(await client.get(f"{WEB}/issues")).status for _ in range(5)]
    assert seen == [200, 502, 502, 200, 200]


async def test_a_slow_call_is_answered_late(forge: Forge) -> None:
    forge.faults.add("slow", seconds=0.1)
    began = time.monotonic()
    assert (await forge.client().get(WEB)).status == 200
    assert time.monotonic() - began >= 0.1


async def test_a_hanging_call_ends_when_the_client_goes(forge: Forge) -> None:
    forge.faults.add("hang")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await post(forge)
    assert issues(forge) == 0


async def test_garbage_is_not_json(forge: Forge) -> None:
    forge.faults.add("garbage")
    with pytest.raises(ValueError, match="Unterminated"):
        await forge.client().get(WEB)


async def test_a_truncated_body_breaks_off(forge: Forge) -> None:
    forge.faults.add("truncated")
    with pytest.raises(LOST):
        await forge.client().get(WEB)


async def test_a_delayed_commit_appears_later_with_the_earlier_second(forge: Forge) -> None:
    forge.faults.commit_delay_s = 0.2
    at_s = forge.clock.now_s
    writing = asyncio.ensure_future(forge.client().post(f"{WEB}/issues", {"title": "t"}))
    await asyncio.sleep(0.05)
    reader = forge.client()
    assert (await reader.get(f"{WEB}/issues")).json == []
    forge.clock.move(3)
    made = await writing
    assert made.json["updated_at"] == utc(at_s)
    assert len((await reader.get(f"{WEB}/issues", since=utc(at_s))).json) == 1


async def test_a_wrong_clock_shows_in_rows_and_date(forge: Forge) -> None:
    forge.faults.clock_offset_s = -3600
    made = await forge.client().post(f"{WEB}/issues", {"title": "t"})
    assert made.json["created_at"] == utc(forge.clock.now_s - 3600)
    assert made.headers["Date"] == "Mon, 21 Sep 2026 13:13:20 GMT"


async def test_the_date_header_alone_can_be_wrong(forge: Forge) -> None:
    forge.faults.date_offset_s = 3600
    made = await forge.client().post(f"{WEB}/issues", {"title": "t"})
    assert made.json["created_at"] == utc(forge.clock.now_s)
    assert made.headers["Date"] == "Mon, 21 Sep 2026 15:13:20 GMT"
    forge.faults.date_header = "yesterday"
    assert (await forge.client().get("/version")).headers["Date"] == "yesterday"


async def test_clear_takes_all_faults_away(forge: Forge) -> None:
    forge.faults.add("reset", count=None)
    forge.faults.commit_delay_s = 9.0
    forge.faults.clear()
    assert await post(forge) == 201


async def test_a_restart_keeps_port_and_state_and_drops_connections(forge: Forge) -> None:
    client = forge.client()
    await client.get(WEB)
    url = forge.simulator.url
    forge.faults.add("hang")
    hanging = asyncio.ensure_future(client.get(WEB))
    await asyncio.sleep(0.05)
    await forge.simulator.restart()
    with pytest.raises(LOST):
        await hanging
    assert forge.simulator.url == url
    assert (await client.get(WEB)).status == 200


async def test_the_log_keeps_every_call_with_its_body(forge: Forge) -> None:
    await forge.client().post(f"{WEB}/issues", {"title": "t"})
    await forge.client("").get(f"{WEB}/issues", state="all")
    first, second = forge.simulator.log
    assert (first.method, first.path, first.user) == ("POST", f"/api/v1{WEB}/issues", "bot")
    assert (first.json, first.status, first.at_s) == ({"title": "t"}, 201, forge.clock.now_s)
    assert (second.query, second.user, second.status) == ((("state", "all"),), "", 404)


async def test_an_unreadable_body_is_422(forge: Forge) -> None:
    client: Client = forge.client()
    async with client.session.post(
        f"{client.base}/api/v1{WEB}/issues", data=b"{", headers=client.headers
    ) as response:
        assert response.status == 422


async def test_a_field_of_the_wrong_type_is_422(forge: Forge) -> None:
    assert (await forge.client().post(f"{WEB}/issues", {"title": 7})).status == 422
