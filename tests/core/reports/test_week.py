"""The report of a week: trends as blocks and as an SVG."""

from __future__ import annotations

import datetime
import xml.etree.ElementTree as ET

import msgspec
import pytest

from allegro.core.reports.facts import CameIn, Unknown
from allegro.core.reports.text import html_page, markdown
from allegro.core.reports.week import WeekFacts, sparkline, trend_svg, week_page

from .samples import NASTY, WELL, changed, troubles


def week() -> WeekFacts:
    days = []
    for n in range(7):
        came = CameIn(issues=n, pulls=0, closed=0, comments=0, vanished=0)
        day = changed(came_in=came, date=datetime.date(2027, 1, 11 + n))
        days.append(day)
    days[2] = msgspec.structs.replace(days[2], came_in=Unknown("no archive"))
    return WeekFacts(days=tuple(days), measures=WELL.measures)


@pytest.mark.parametrize(("values", "shown"), [
    ([0.0, 0.0], "▁▁"), ([1.0, 1.0], "▅▅"), ([0.0, 7.0], "▁█"), ([None, None], "··"),
    ([0.0, None, 8.0, 4.0], "▁·█▅"), ([], ""),
])  # fmt: skip
def test_a_line_of_blocks_goes_from_the_smallest_to_the_largest_and_leaves_out_the_unknown(
    values: list[float | None], shown: str
) -> None:
    assert sparkline(values) == shown


def test_a_week_shows_each_trend_and_how_each_day_was() -> None:
    shown = markdown(week_page(week()))
    assert "▁▂·▅▆▇█ opened on the forge: 0 to 6" in shown
    assert "2027-01-13: not all well: 1 not known" in shown
    assert "6 of 7 days were all well." in shown


def test_the_svg_is_well_formed_and_loads_nothing() -> None:
    root = ET.fromstring(trend_svg(week()))
    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert names == {"svg", "title", "text", "polyline", "circle"}
    assert "NaN" not in trend_svg(week())
    assert "<svg" in html_page(week_page(week()))


def test_foreign_words_of_a_day_do_not_reach_the_week() -> None:
    days = tuple(msgspec.structs.replace(one, **troubles(NASTY)) for one in week().days)
    page = week_page(WeekFacts(days=days, measures=Unknown("no figures")))
    assert "script" not in html_page(page)
    assert "not known: no figures" in markdown(page)


def test_the_same_week_is_the_same_bytes() -> None:
    assert html_page(week_page(week())) == html_page(week_page(week()))
