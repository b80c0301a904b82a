"""What the house makes of a lane's facts, and what a lane's metrics say of its own."""

from __future__ import annotations

from allegro.core.health import codes
from allegro.core.health.facts import Fact
from allegro.house.health.lane_facts import answered_facts
from allegro.lane.health.status import worst_states

OLDER = {"what": "forge", "verdict": "bad", "told": "500", "source": "last request", "age_s": 5.0,
         "mend": "check forge.url"}  # fmt: skip


def test_a_fact_of_the_release_before_is_shown_with_the_code_other_and_its_own_words() -> None:
    (page,) = answered_facts("vps", [OLDER], 100.0)
    assert (page.code, page.title, page.state, page.detail) == ("other", "forge", "bad", "500")
    assert (page.fix, page.at_s, page.lane) == ("check forge.url", 95.0, "vps")
    assert page.what == "lane vps: forge"


def test_a_code_of_a_newer_lane_is_shown_as_it_came() -> None:
    newer = {**OLDER, "code": "host.fan", "state": "unknown", "subject": "fan 2"}
    (page,) = answered_facts("vps", [newer], 100.0)
    assert (page.code, page.subject, page.state) == ("host.fan", "fan 2", "unknown")
    assert page.verdict == "warn"


def test_what_cannot_be_read_is_a_fact_and_hides_no_other() -> None:
    pages = answered_facts("vps", [{"what": 5}, OLDER], 100.0)
    assert [(page.code, page.state) for page in pages] == [("lane.doctor", "bad"), ("other", "bad")]


def test_the_metrics_show_the_worst_fact_of_each_code() -> None:
    facts = [
        Fact(codes.WATCH, "ok", "", "", "a"),
        Fact(codes.WATCH, "bad", "", "", "b"),
        Fact(codes.WATCH, "warn", "", "", "c"),
        Fact(codes.SWAP, "unknown", "", ""),
        Fact(codes.FORGE, "ok", "", ""),
    ]
    assert worst_states(facts) == {"forge.watch": 3, "host.swap": 1, "forge.reachable": 0}
