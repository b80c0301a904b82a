"""Facts of doctor about one lane: what its link shows, and what it answers of itself."""

from __future__ import annotations

import msgspec

from allegro import __version__
from allegro.core.base.timestamps import span
from allegro.core.base.untrusted import Unreadable
from allegro.core.health import codes
from allegro.core.health.codes import Code
from allegro.core.health.facts import Fact, FactPage, fact_page, verdict_of
from allegro.core.protocol.answers.house import LinkedLane
from allegro.core.protocol.answers.lane import LaneFact, read_facts


def link_facts(lane: LinkedLane, now_s: float) -> list[Fact]:
    """Return what the link of a lane shows."""
    if not lane.linked:
        return [Fact(_link_code(lane.trouble), "bad", lane.trouble, "link")]
    since = span(now_s - (lane.since_s or now_s))
    is_home = lane.home >= lane.head
    on_the_way = f"{max(0, lane.head - lane.home)} events on the way"
    facts = [
        Fact(codes.LANE_LINK, "ok", f"up for {since}", "link"),
        Fact(codes.LANE_JOURNAL, "ok" if is_home else "warn", on_the_way, "link"),
    ]
    if lane.version != __version__:
        words = f"{lane.version}, the house has {__version__}"
        facts.append(Fact(codes.VERSION, "warn", words, "greeting"))
    return facts


def of_lane(page: FactPage, lane: str) -> FactPage:
    """Return a fact as one about this lane; an empty name leaves it as it is."""
    if not lane:
        return page
    return msgspec.structs.replace(page, lane=lane, what=f"lane {lane}: {page.what}")


def answered_facts(lane: str, answer: object, now_s: float) -> list[FactPage]:
    """Return what a lane answered of itself; what cannot be read is said, and hides nothing else.

    A lane of the release before names no code: its facts have the code `other`.
    """
    facts = read_facts(answer)
    pages = [
        _answered(fact, now_s) for fact in ([facts] if isinstance(facts, Unreadable) else facts)
    ]
    return [of_lane(page, lane) for page in pages]


def _answered(fact: LaneFact | Unreadable, now_s: float) -> FactPage:
    if isinstance(fact, Unreadable):
        words = f"its answer cannot be read: {fact}"
        return fact_page(Fact(codes.LANE_DOCTOR, "bad", words, "link"), now_s)
    state, code = fact.state or fact.verdict, codes.code_of(fact.code)
    is_known = code is not codes.OTHER
    return FactPage(
        code=fact.code,
        title=code.title if is_known else fact.what,
        severity=code.severity,
        subject=fact.subject,
        state=state,
        detail=fact.detail,
        source=fact.source,
        at_s=now_s - fact.age_s,
        age_s=fact.age_s,
        fix=fact.mend,
        runbook=code.runbook,
        lane="",
        what=fact.what,
        verdict=verdict_of(state),
        old_detail=fact.detail,
        mend=fact.mend,
    )


_LINK_CODES = {
    "house_behind": codes.LANE_LINK_HOUSE_BEHIND,
    "wrong_seat": codes.LANE_LINK_SEAT,
    "old_key": codes.LANE_LINK_SEAT,
    "wrong_key": codes.LANE_LINK_KEYS,
    "bad_signature": codes.LANE_LINK_KEYS,
    "wrong_protocol": codes.LANE_LINK_PROTOCOL,
}


def _link_code(trouble: str) -> Code:
    """Return the code of a lane that is not linked, by the reason at the beginning."""
    return _LINK_CODES.get(trouble.partition(":")[0], codes.LANE_LINK)
