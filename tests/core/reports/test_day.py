"""The report of a day: when it says that all was well, and that foreign words stay words."""

from __future__ import annotations

import html.parser
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from allegro.config import load_zone
from allegro.core.measures.answers import Measured, Window, answered
from allegro.core.measures.buckets import with_samples
from allegro.core.measures.state import Sample
from allegro.core.reports.day import day_page
from allegro.core.reports.facts import (
    AlertLine,
    AlertsDay,
    DeliveryLine,
    FactLine,
    LaneLine,
    Unknown,
)
from allegro.core.reports.judgement import SOURCES, judge
from allegro.core.reports.short import short_form
from allegro.core.reports.text import html_page, markdown, plain

from .samples import FROM_S, NASTY, TO_S, WELL, changed, troubles

ZONE: ZoneInfo = load_zone("Europe/Berlin")
TROUBLES = troubles("words")


def test_a_day_of_which_every_source_spoke_and_none_told_of_trouble_was_all_well() -> None:
    assert judge(WELL).headline == "All well"
    assert "All well." in markdown(day_page(WELL, ZONE))


@pytest.mark.parametrize("field", SOURCES)
def test_a_source_that_did_not_speak_is_shown_as_unknown_and_nothing_is_all_well(
    field: str,
) -> None:
    facts = changed(**{field: Unknown("the disk refused")})
    judgement = judge(facts)
    assert not judgement.is_well
    assert judgement.unknown
    assert not judgement.wrong
    shown = plain(day_page(facts, ZONE))
    assert "All well" not in shown
    assert "the disk refused" in shown


@pytest.mark.parametrize("field", TROUBLES)
def test_a_source_that_tells_of_trouble_makes_nothing_all_well(field: str) -> None:
    facts = changed(**{field: TROUBLES[field]})
    assert judge(facts).wrong
    assert "Not all well" in plain(day_page(facts, ZONE)).splitlines()[1]


def test_a_lane_that_is_linked_and_not_home_makes_the_day_unknown() -> None:
    lane = LaneLine(name="a", is_linked=True, is_home=False, heard_s=1.0)
    assert judge(changed(lanes=(lane,))).unknown == ("lane a: not all that it told is here",)


def test_a_house_without_lanes_knows_nothing() -> None:
    assert not judge(changed(lanes=())).is_well


def test_an_unknown_fact_of_doctor_is_not_well_and_a_warning_is_only_shown() -> None:
    fact = FactLine(code="c", title="t", subject="", lane="", state="unknown", detail="d", fix="f")
    assert judge(changed(doctor=(fact,))).unknown
    warned = changed(doctor=(msgspec.structs.replace(fact, state="warn"),))
    assert judge(warned).is_well
    assert "warn" in plain(day_page(warned, ZONE))


def test_an_alert_for_the_report_alone_is_no_trouble() -> None:
    quiet = AlertLine(
        severity="P3", code="lane.back", sentence="s", first_s=1.0, last_s=1.0, count=1
    )
    assert judge(changed(alerts=AlertsDay(items=(quiet,)))).is_well


def test_a_promise_that_was_missed_is_trouble_and_a_quiet_day_is_not() -> None:
    figures = {
        name: one
        for (name, _), one in with_samples([
            Sample("triage.time", FROM_S, 900.0, False), Sample("pulls.rate", FROM_S, 1.0, True),
        ]).items()
    }  # fmt: skip
    rows = answered(Measured(Window(FROM_S, TO_S), figures, {}, None, FROM_S - 1))
    assert judge(changed(measures=rows)).wrong == ("issue triage: missed",)


@pytest.mark.parametrize("state", ["waiting", "failed", "none"])
def test_a_report_that_is_not_proven_to_have_come_is_told_in_the_next(state: str) -> None:
    line = DeliveryLine(way="forge", state=state)
    assert judge(changed(deliveries=(line,))).wrong


def test_what_waits_is_oldest_first_with_its_age() -> None:
    lines = plain(day_page(WELL, ZONE)).splitlines()
    at = lines.index("Waits for you (2)")
    assert "Plant roses?" in lines[at + 1]
    assert "for 8 h" in lines[at + 1]
    assert "allegro show r1" in lines[at + 1]
    assert "Close it?" in lines[at + 2]


def test_each_number_opens_its_receipt() -> None:
    shown = markdown(day_page(WELL, ZONE))
    assert "allegro explain d1" in shown
    assert "https://git.example.org/home/garden/issues/./3" in shown
    assert "allegro session" in shown


def test_that_no_backup_is_configured_is_said() -> None:
    assert "backup: none configured" in markdown(day_page(WELL, ZONE))
    assert "drift: none configured" in markdown(day_page(WELL, ZONE))


def test_the_same_facts_are_the_same_bytes_in_every_form() -> None:
    again = msgspec.json.decode(msgspec.json.encode(WELL), type=dict[str, Any])
    assert again["date"] == "2027-01-15"
    for write in (markdown, plain, html_page):
        assert write(day_page(WELL, ZONE)) == write(day_page(changed(), ZONE))


def test_a_late_report_says_so() -> None:
    late = changed(late_s=7_200.0)
    assert "Late by 2 h" in plain(day_page(late, ZONE))
    assert "late by 2 h" in short_form(late)


def test_the_short_form_holds_counts_and_no_foreign_word() -> None:
    facts = changed(**troubles(NASTY))
    said = short_form(facts)
    assert said.startswith("Morning report 2027-01-15: not all well")
    assert "2 wait for you, the oldest for 8 h." in said
    assert "script" not in said
    assert "home/garden" not in said
    assert len(said) < 400


# --- foreign words -----------------------------------------------------------------------------


def hostile_facts() -> Any:
    facts = changed(**troubles(NASTY))
    waiting = tuple(
        msgspec.structs.replace(one, question=NASTY, repository=NASTY)
        for one in facts.waiting  # type: ignore[union-attr]
    )
    items = tuple(
        msgspec.structs.replace(one, title=NASTY, repository=NASTY, url=NASTY)
        for one in facts.came_in.items  # type: ignore[union-attr]
    )
    came = msgspec.structs.replace(facts.came_in, items=items)
    return msgspec.structs.replace(facts, waiting=waiting, came_in=came)


def test_foreign_words_bring_no_control_character_and_no_line_of_their_own() -> None:
    page = day_page(hostile_facts(), ZONE)
    for text in (plain(page), markdown(page), html_page(page)):
        assert "\x1b" not in text
        assert "\u202e" not in text
    heads = [one for one in markdown(page).splitlines() if one.startswith("#")]
    assert len(heads) == 1 + len(page.sections)
    assert "# b" not in heads


def test_foreign_words_in_markdown_stand_in_code_and_mention_nobody() -> None:
    shown = markdown(day_page(hostile_facts(), ZONE))
    assert "@timmy" not in shown
    assert "](http://x)" not in outside_code(shown)
    assert "**bold**" not in outside_code(shown)
    assert "<script>" not in outside_code(shown)


def outside_code(text: str) -> str:
    """Return a page without its code spans, by the rule of CommonMark 6.1."""
    kept, at = [], 0
    while at < len(text):
        if text[at] != "`":
            kept.append(text[at])
            at += 1
            continue
        ticks = len(text) - at - len(text[at:].lstrip("`"))
        run, end = "`" * ticks, at + ticks
        while True:
            end = text.find(run, end)
            if end < 0:
                kept.append(run)
                at += ticks
                break
            after = len(text) - end - len(text[end:].lstrip("`"))
            if after == ticks:
                at = end + ticks
                break
            end += after
    return "".join(kept)


class Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]
        assert not any(name.startswith("on") for name, _ in attrs)


def test_foreign_words_in_html_make_no_tag_and_no_link() -> None:
    tags = Tags()
    tags.feed(html_page(day_page(hostile_facts(), ZONE)))
    allowed = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "ul", "li", "code",
               "a"}  # fmt: skip
    assert tags.seen <= allowed
    assert all(link.startswith("https://git.example.org/") for link in tags.links)
