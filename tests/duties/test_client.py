"""The client of the house's socket: what it sends, and what it makes of what comes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from allegro.client.errors import BadRequest, HouseUnreachable, NotNow
from allegro.client.house_client import HouseClient
from allegro.client.socket import named
from allegro.core.authority.actions.agent import Quote
from allegro.house.api.agent import MAX_QUOTES, QUOTES_BYTES, newest_quotes

LONG = "x" * 3_000_000


class HouseStub:
    """Answers as a house does; `paths` are what was asked for, as it was sent."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.last: dict[str, str] = {"end": "all"}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.raw_path)
        if request.path != "/v1/events":
            return web.Response(status=404, text="404: Not Found")
        response = web.StreamResponse()
        await response.prepare(request)
        for words in ("one", LONG, "three"):
            await response.write(msgspec.json.encode({"words": words}) + b"\n")
        if self.last:
            await response.write(msgspec.json.encode(self.last) + b"\n")
        return response


@pytest.fixture
async def stub(tmp_path: Path) -> AsyncIterator[tuple[HouseStub, HouseClient]]:
    house = HouseStub()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", house.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "house.sock")).start()
    async with HouseClient(tmp_path / "house.sock") as client:
        yield house, client
    await runner.cleanup()


async def test_an_event_however_long_is_read_and_what_is_behind_it(
    stub: tuple[HouseStub, HouseClient],
) -> None:
    _, client = stub
    assert [event["words"] async for event in client.events()] == ["one", LONG, "three"]


@pytest.mark.parametrize(
    ("last", "raised"), [({}, HouseUnreachable), ({"error": "the disk is full"}, NotNow)]
)
async def test_events_that_break_off_are_not_taken_for_all_there_are(
    stub: tuple[HouseStub, HouseClient], last: dict[str, str], raised: type[Exception]
) -> None:
    house, client = stub
    house.last = last
    with pytest.raises(raised):
        _ = [event async for event in client.events()]


@pytest.mark.parametrize("id_", ["a/b", "../status", "x?y=1", "x#y", "ö %41"])
async def test_an_id_is_one_part_of_a_path_whatever_stands_in_it(
    stub: tuple[HouseStub, HouseClient], id_: str
) -> None:
    house, client = stub
    with pytest.raises(BadRequest, match="404"):
        await client.get(f"sessions/{named(id_)}")
    assert house.paths[0].startswith("/v1/sessions/")
    assert house.paths[0].count("/") == 3
    assert "?" not in house.paths[0]


@pytest.mark.parametrize("id_", ["", ".", "..", "\udcff"])
def test_what_names_nothing_is_refused_in_words(id_: str) -> None:
    with pytest.raises(BadRequest):
        named(id_)


async def test_what_is_no_text_is_refused_in_words(stub: tuple[HouseStub, HouseClient]) -> None:
    _, client = stub
    with pytest.raises(BadRequest, match="UTF-8"):
        await client.post("sessions", {"prompt": "bad \udcff"})


def quotes(count: int, size: int = 10) -> list[Quote]:
    return [Quote(f"a/b#1 comment {n}", "timmy", "x" * size) for n in range(count)]


FIRST = Quote("a/b#1", "timmy", "the roses are dry")


def test_an_issue_with_room_for_all_its_comments_is_quoted_whole() -> None:
    rest = quotes(MAX_QUOTES - 2)
    assert newest_quotes(FIRST, rest) == (FIRST, *rest)


@pytest.mark.parametrize("rest", [quotes(60), quotes(15, 19_000), quotes(3, QUOTES_BYTES)])
def test_the_newest_comments_are_kept_and_what_is_left_out_is_said(rest: list[Quote]) -> None:
    quoted = newest_quotes(FIRST, rest)
    kept = quoted[2:]
    assert quoted[0] == FIRST
    assert list(kept) == rest[len(rest) - len(kept) :]
    assert quoted[1].text.startswith(f"{len(rest) - len(kept)} older comments are left out")
    assert len(quoted) <= MAX_QUOTES
    assert sum(len(one.text) for one in quoted) < QUOTES_BYTES + 1_000
