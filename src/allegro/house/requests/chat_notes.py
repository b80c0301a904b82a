"""What its owner noted by chat on a request: a line of its history, and never more than that.

A note comes through a lane, which could make it up: it names the lane, it counts only for the very
content that was shown, and a request takes few of them.
"""

from __future__ import annotations

import structlog

from allegro.core.base.errors import Refusal
from allegro.core.chat.taps import SHOWN, request_subject
from allegro.core.effects.render import one_line
from allegro.core.protocol.payloads.chat import ChatNoted
from allegro.core.requests.requests import NOTED
from allegro.house.requests.requests import Requests

_log = structlog.get_logger()
MOST_NOTES = 5
VERBS = frozenset({"approve", "reject"})


async def take_note(requests: Requests, note: ChatNoted, lane: str) -> None:
    """Write a note on its request, once; on none that is settled, changed or not known."""
    id_ = note.subject.removeprefix("r:")
    request = requests.find(id_) if note.verb in VERBS and id_ != note.subject else None
    if request is None:
        return
    if isinstance(request, Refusal) or request.is_final:
        _log.info("chat.note_late", subject=one_line(note.subject, 40))
        return
    if request_subject(request.id) != note.subject or request.digest[:SHOWN] != note.shown:
        _log.info("chat.note_changed", request=request.id)
        return
    words = f"{note.verb} by {one_line(note.by, 64)}, read by lane {one_line(lane, 64)}"
    before = [line.detail for line in request.history if line.what == NOTED]
    if words not in before and len(before) < MOST_NOTES:
        await requests.note(request, NOTED, words)
