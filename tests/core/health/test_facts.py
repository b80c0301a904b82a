"""A fact is shown with its code, its source and its age, also to the release before."""

from __future__ import annotations

import msgspec

from allegro.core.health import codes
from allegro.core.health.facts import Fact, fact_page
from allegro.core.protocol.answers.lane import LaneFact, read_facts


def test_a_page_says_who_says_it_and_how_old_it_is() -> None:
    page = fact_page(Fact(codes.WATCH, "bad", "404", "GET issues", "home/shed", at_s=70.0), 100.0)
    assert (page.code, page.subject, page.source) == ("forge.watch", "home/shed", "GET issues")
    assert (page.at_s, page.age_s) == (70.0, 30.0)
    assert page.runbook == "an-issue-does-not-show-up"


def test_a_fact_without_a_time_is_of_the_moment_it_is_asked_for() -> None:
    page = fact_page(Fact(codes.FORGE, "ok", "answers", "poll"), 100.0)
    assert (page.at_s, page.age_s) == (100.0, 0.0)


def test_what_to_do_names_the_subject_and_is_left_out_where_all_is_well() -> None:
    bad = fact_page(Fact(codes.LANE_SUSPENDED, "bad", "x", "ledger", "vps"), 1.0)
    assert "`allegro fleet resume vps`" in bad.fix
    assert fact_page(Fact(codes.LANE_SUSPENDED, "ok", "x", "ledger", "vps"), 1.0).fix == ""


def test_the_release_before_reads_a_page_and_sees_no_state_that_it_does_not_know() -> None:
    page = msgspec.to_builtins(
        fact_page(Fact(codes.SWAP, "unknown", "no word", "/proc/swaps"), 1.0)
    )
    before = {key: page[key] for key in ("what", "verdict", "told", "source", "age_s", "mend")}
    assert (before["what"], before["verdict"], before["told"]) == ("swap", "warn", "no word")


def test_a_house_reads_the_page_of_a_lane_and_a_fact_without_a_code() -> None:
    page = msgspec.to_builtins(fact_page(Fact(codes.SWAP, "unknown", "x", "/proc/swaps"), 1.0))
    older = {"what": "swap", "verdict": "warn", "told": "x", "source": "/proc/swaps"}
    new, old = read_facts([page, older])  # type: ignore[misc]
    assert isinstance(new, LaneFact)
    assert isinstance(old, LaneFact)
    assert (new.code, new.state) == ("host.swap", "unknown")
    assert (old.code, old.state) == ("other", None)
