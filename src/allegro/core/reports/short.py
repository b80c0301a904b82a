"""The report in a few sentences, for a chat."""

from __future__ import annotations

from allegro.core.base.timestamps import span
from allegro.core.reports.facts import DayFacts, Done, SessionsDay, Unknown
from allegro.core.reports.judgement import judge

LATE_S = 900.0
"""A report that is built so much after its time is called late."""


def short_form(facts: DayFacts) -> str:
    """Return a few sentences for a chat. They hold no foreign word, no name and no title."""
    judgement = judge(facts)
    parts = [f"Morning report {facts.date.isoformat()}: {judgement.headline.lower()}."]
    if isinstance(facts.waiting, Unknown):
        parts.append("What waits for you is not known.")
    elif facts.waiting:
        oldest_s = facts.built_s - min(one.created_s for one in facts.waiting)
        parts.append(f"{len(facts.waiting)} wait for you, the oldest for {span(oldest_s)}.")
    else:
        parts.append("Nothing waits for you.")
    if isinstance(facts.done, Done):
        parts.append(f"Done: {facts.done.states.get('done', 0)}.")
    if isinstance(facts.sessions, SessionsDay):
        ended = sum(facts.sessions.ends.values())
        parts.append(f"Sessions: {ended}, ${facts.sessions.cost_usd:.2f}.")
    if facts.late_s > LATE_S:
        parts.append(f"This report is late by {span(facts.late_s)}.")
    return " ".join(parts)
