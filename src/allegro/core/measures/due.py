"""Which scheduled duties are expected when, by what their owners told last."""

from __future__ import annotations

import msgspec

from allegro.core.health.duty_watch import owner_of
from allegro.core.measures.state import Archived, Due, State
from allegro.core.protocol.payloads.duties import DutyEnded, DutyPlanned

MAX_DUE = 512
DUTY_GRACE_S = 3600.0
HOUSE_NODE = "house"


def owner_of_duty(event: Archived, duty: DutyPlanned | DutyEnded) -> str:
    """Return whose duty an event is about: a role, the house, or a lane.

    The house tells of duties of others too, where nothing ran for them.
    """
    if event.is_own and isinstance(duty, DutyEnded) and duty.owner:
        return duty.owner
    if duty.role:
        return owner_of(duty.role, "")
    return HOUSE_NODE if event.is_own else owner_of("", event.lane)


def with_due(state: State, event: Archived, duty: DutyPlanned | DutyEnded) -> State:
    """Note when a duty is due next; one that is off, or has no next time, is expected no more."""
    owner = owner_of_duty(event, duty)
    name = f"{owner} {duty.duty}"
    held = state.due.get(name)
    due = dict(state.due)
    if isinstance(duty, DutyPlanned):
        due_s, grace_s = (duty.due_s if duty.cron else 0.0), duty.grace_s
    else:
        due_s, grace_s = duty.next_s, held.grace_s if held else DUTY_GRACE_S
    due.pop(name, None)
    if due_s > 0 and (held is not None or len(due) < MAX_DUE):
        due[name] = Due(duty.duty, owner, due_s, grace_s)
    return msgspec.structs.replace(state, due=due)
