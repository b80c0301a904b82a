"""The report over the house's socket and on the command line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from allegro.cli.watch.report import report
from allegro.client.errors import BadRequest
from allegro.client.house_client import HouseClient
from tests.bad.api_house import ApiHouse, api_house


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiHouse]:
    async with api_house(tmp_path) as made:
        yield made


async def shown(api: ApiHouse, *words: str) -> Result:
    arguments = [*words, "--socket", str(api.socket)]
    return await asyncio.to_thread(CliRunner().invoke, report, arguments)


async def test_a_program_gets_a_report_in_the_form_it_asks_for(api: ApiHouse) -> None:
    async with HouseClient(api.socket) as house:
        answer = await house.report(form="json")
        page = await house.report(form="html")
    assert json.loads(answer.text)["schema"] == "allegro.report/1"
    assert page.text.startswith("<!doctype html>")
    assert not answer.is_kept


async def test_the_command_prints_a_page_that_says_what_is_not_known(api: ApiHouse) -> None:
    said = await shown(api)
    assert said.exit_code == 0, said.stdout
    assert said.stdout.startswith("Morning report for ")
    assert "Not all well" in said.stdout
    assert "alerts are not kept" in said.stdout


async def test_a_week_and_every_form_can_be_printed(api: ApiHouse) -> None:
    assert (await shown(api, "--weekly")).stdout.startswith("Weekly report ")
    assert (await shown(api, "--markdown")).stdout.startswith("# Morning report for ")
    assert "</html>" in (await shown(api, "--html")).stdout
    assert json.loads((await shown(api, "--json")).stdout)["house"] == "home"


async def test_what_waits_is_in_the_report_with_words_that_stay_in_their_line(
    api: ApiHouse,
) -> None:
    await api.house.propose(kind="close_issue", issue=3)
    said = await shown(api)
    assert "Waits for you (1)" in said.stdout


@pytest.mark.parametrize("day", ["yesterday", "2027-13-01", "20270101", "2027-1-1"])
async def test_what_is_no_date_is_refused_in_words(api: ApiHouse, day: str) -> None:
    async with HouseClient(api.socket) as house:
        with pytest.raises(BadRequest, match="day must be a date"):
            await house.report(day)


async def test_a_day_to_come_is_refused_in_words(api: ApiHouse) -> None:
    said = await shown(api, "--day", "2999-01-01")
    assert said.exit_code == 1
    assert "a day that is over" in str(said.exception)
