"""Figures as programs and people see them: over the house's socket, typed, and in lines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from allegro.cli.output import Failure
from allegro.cli.watch.measures import measures, window_s
from allegro.client.errors import BadRequest
from allegro.client.house_client import HouseClient
from allegro.core.measures.answers import prometheus_lines
from allegro.core.measures.table import MEASURES
from tests.bad.api_house import ApiHouse, api_house


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiHouse]:
    async with api_house(tmp_path) as made:
        yield made


async def test_a_program_gets_every_row_as_values(api: ApiHouse) -> None:
    asked = await api.house.comment("one")
    await api.house.requests.withdraw(asked.id)
    async with HouseClient(api.socket) as house:
        answer = await house.measures(86_400.0)
    assert [row.name for row in answer.rows] == [one.name for one in MEASURES]
    assert all(row.method and row.source and row.title for row in answer.rows)
    assert all(row.value is not None or row.reason for row in answer.rows)
    assert answer.row > 0
    assert answer.behind == 0


async def test_the_command_prints_each_row_and_says_where_nothing_is_known(api: ApiHouse) -> None:
    words = ["--window", "24h", "--socket", str(api.socket)]
    shown = await asyncio.to_thread(CliRunner().invoke, measures, words)
    assert shown.exit_code == 0, shown.stdout
    assert all(one.title in shown.stdout for one in MEASURES)
    assert shown.stdout.count("not measurable yet") >= len(MEASURES) - 2
    plain = await asyncio.to_thread(CliRunner().invoke, measures, [*words, "--json"])
    assert json.loads(plain.stdout)["schema"] == "allegro.measures/1"
    lines = await asyncio.to_thread(CliRunner().invoke, measures, [*words, "--prometheus"])
    assert 'allegro_measure_target{measure="uptime",unit="share"} 0.999' in lines.stdout


async def test_a_value_that_is_not_known_has_no_line_for_prometheus(api: ApiHouse) -> None:
    async with HouseClient(api.socket) as house:
        answer = await house.measures()
    text = prometheus_lines(answer)
    assert 'allegro_measure_value{measure="syncthing.lag"' not in text
    assert 'allegro_measure_known{measure="syncthing.lag",unit="s"} 0' in text


async def test_a_window_that_is_none_is_refused_in_words(api: ApiHouse) -> None:
    async with HouseClient(api.socket) as house:
        with pytest.raises(BadRequest, match="window_s"):
            await house.get("measures", window_s="soon")


@pytest.mark.parametrize(("text", "seconds"), [("90m", 5_400), ("24h", 86_400), ("7d", 604_800)])
def test_a_span_is_read(text: str, seconds: float) -> None:
    assert window_s(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "-7d", "0d", "7 d", "9999999d"])
def test_what_is_no_span_is_refused_in_words(text: str) -> None:
    with pytest.raises(Failure, match="expected a span"):
        window_s(text)
