"""What lanes bring of questions: a tap that answers one, and a question of a lane's own.

A lane is foreign. It could make up a tap, so the answer names the lane that read it, counts only for
the very question that was shown, and causes nothing anyway; and it has few questions open at once.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import structlog

from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.chat.taps import SHOWN, question_subject
from allegro.core.effects.render import one_line
from allegro.core.protocol.payloads.chat import ChatNoted
from allegro.core.requests.decisions import NewDecision
from allegro.core.requests.proposals import MAX_KEY
from allegro.house.documents.decisions import Decisions
from allegro.house.ports import Reactions

_log = structlog.get_logger()
MOST_OF_A_LANE = 5
"""So many questions of one lane wait for an answer at once."""


def with_questions(reactions: Reactions, decisions: Callable[[], Decisions]) -> Reactions:
    """Return reactions that also take taps on questions, and questions of lanes."""

    async def pressed(note: ChatNoted, lane: str) -> None:
        await reactions.pressed(note, lane)
        await take_answer(decisions(), note, lane)

    async def asked(question: NewDecision, lane: str, key: str) -> None:
        await take_question(decisions(), question, lane, key)

    return msgspec.structs.replace(reactions, pressed=pressed, asked=asked)


async def take_answer(decisions: Decisions, note: ChatNoted, lane: str) -> None:
    """Answer a question by a tap, once; the same tap again changes nothing. Raises EdgeError."""
    decision = decisions.find_exact(note.subject.removeprefix("q:"))
    if note.verb != "answer" or decision is None or question_subject(decision.id) != note.subject:
        return
    by = f"tap {one_line(note.by, 64)}, read by lane {one_line(lane, 64)}"
    held = decision.answer
    if held is not None and (held.option, held.by) == (note.option, by):
        return
    shown = note.shown if len(note.shown) >= SHOWN else "not shown"
    found = await decisions.answered(decision.id, note.option, by, shown)
    if isinstance(found, Refusal):
        _log.info("tap.refused", decision=decision.id, reason=found.reason)


async def take_question(decisions: Decisions, question: NewDecision, lane: str, key: str) -> None:
    """Keep a question of a lane, once for each key. One that cannot be asked is logged, no more.

    Raises EdgeError of the store.
    """
    by = f"lane {lane}"
    if sum(one.asked_by == by for one in decisions.open()) >= MOST_OF_A_LANE:
        _log.warning("question.too_many", lane=lane)
        return
    mine = msgspec.structs.replace(question, asked_by=by, key=key[:MAX_KEY])
    try:
        await decisions.ask(mine)
    except EdgeError as error:
        if error.transient:
            raise
        _log.warning("question.refused", lane=lane, reason=error.kind)
