"""A lane's question to the owner: told home as an event, its words sealed. It never acts on an answer."""

from __future__ import annotations

import msgspec

from allegro.core.protocol.payloads.lane import DecisionAsked
from allegro.core.requests.decisions import NewDecision
from allegro.lane.context.recorder import Recorder


async def ask_owner(recorder: Recorder, question: NewDecision, key: str) -> None:
    """Ask the owner, once for each `key` of this lane. Raises EdgeError of the journal."""
    payload = DecisionAsked(urgency=question.urgency, options=len(question.options))
    words = msgspec.to_builtins(question)
    id_ = recorder.named_id("question", key)
    await recorder.append([recorder.event(payload, words=words, id_=id_)])
