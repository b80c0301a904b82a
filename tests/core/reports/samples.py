"""A day on which all was well, to be changed by tests."""

from __future__ import annotations

import datetime
from typing import Any

import msgspec

from allegro.core.measures.answers import Judged, Measured, Window, answered
from allegro.core.reports.facts import (
    AlertLine,
    AlertsDay,
    CameIn,
    CameItem,
    DayFacts,
    DeliveryLine,
    Done,
    DoneItem,
    DutiesDay,
    DutyLine,
    FactLine,
    FreezeLine,
    GapLine,
    LaneLine,
    SessionsDay,
    TakeOverLine,
    WaitingRequest,
)

FROM_S, TO_S = 1_800_000_000.0, 1_800_086_400.0
NASTY = "a\n# b\x1b[31m<script>alert(1)</script> | `code` **bold** @timmy #1 ![x](http://x) \u202e"

WELL = DayFacts(
    house="home",
    date=datetime.date(2027, 1, 15),
    zone="Europe/Berlin",
    from_s=FROM_S,
    to_s=TO_S,
    built_s=TO_S + 21_600,
    waiting=(
        WaitingRequest(
            id="r2", kind="close_issue", urgency="low", repository="home/garden",
            question="Close it?", created_s=TO_S - 60, expires_s=TO_S + 90_000,
        ),
        WaitingRequest(
            id="r1", kind="propose_change", urgency="high", repository="home/garden",
            question="Plant roses?", created_s=TO_S - 7_200, expires_s=TO_S + 90_000,
        ),
    ),
    came_in=CameIn(
        issues=1, pulls=0, closed=0, comments=3, vanished=0,
        items=(
            CameItem(
                repository="home/garden", number=3, title="Roses", is_pull=False,
                url="https://git.example.org/home/garden/issues/3",
            ),
        ),
    ),
    done=Done(
        states={"done": 1, "rejected": 1}, kinds={"comment": 1},
        items=(
            DoneItem(
                id="d1", kind="comment", state="done", settled_s=FROM_S + 3_600, question="Say hello",
                url="https://git.example.org/home/garden/issues/3",
            ),
        ),
    ),
    sessions=SessionsDay(
        ends={"completed": 2}, calls=4, failed_calls=0, tokens_in=10, tokens_out=20, cost_usd=0.5,
        unpriced=1, ids=("s1", "s2"),
    ),
    measures=answered(Measured(Window(FROM_S, TO_S), {}, {}, None, FROM_S)),
    alerts=AlertsDay(items=(), judged=Judged(3, 4, 9)),
    duties=DutiesDay(ran=5),
    freezes=(),
    gaps=(),
    take_overs=(),
    lanes=(LaneLine(name="a", is_linked=True, is_home=True, heard_s=TO_S),),
    doctor=(),
    deliveries=(DeliveryLine(way="forge", state="shown", url="https://git.example.org/x/y"),),
)  # fmt: skip


def changed(**changes: Any) -> DayFacts:
    return msgspec.structs.replace(WELL, **changes)


def troubles(word: str) -> dict[str, Any]:
    """Return for each field a value that tells of trouble; `word` stands in each foreign place."""
    return {
        "done": Done(
            states={"failed": 1}, kinds={},
            items=(DoneItem(id="d1", kind="comment", state="failed", settled_s=FROM_S, question=word,
                            url=word),),
        ),
        "sessions": SessionsDay(
            ends={"lost": 1}, calls=0, failed_calls=0, tokens_in=0, tokens_out=0, cost_usd=0.0,
            unpriced=0, ids=(word,),
        ),
        "alerts": AlertsDay(items=(
            AlertLine(severity="P1", code="lane.silent", sentence=word, first_s=FROM_S,
                      last_s=FROM_S, count=2),
        )),
        "duties": DutiesDay(ran=0, items=(
            DutyLine(duty=word, owner=word, ending="failed", at_s=FROM_S, result=word),
        )),
        "freezes": (FreezeLine(id="f", by=word, reason=word, at_s=FROM_S, is_active=True),),
        "gaps": (GapLine(lane="a", first=1, last=2, count=2, reason=word),),
        "take_overs": (
            TakeOverLine(role="forge", lane="b", before="a", why="expired", took_s=3.0),
        ),
        "lanes": (LaneLine(name="a", is_linked=False, is_home=False, heard_s=0.0),),
        "doctor": (
            FactLine(code=word, title=word, subject=word, lane=word, state="bad", detail=word,
                     fix=word),
        ),
        "deliveries": (DeliveryLine(way="forge", state="failed", detail=word, url=word),),
        "unreadable": 1,
    }  # fmt: skip
