"""The name of every event that a lane or the house writes, and what a full journal may drop.

A name is written here and nowhere else: emitters build a payload (`payloads.py`), readers match its
class or one of these names. `journal.py` of the SQLite adapter stores the name as plain text.
"""

from __future__ import annotations

import enum

from allegro.core.base.events import Shed


class EventType(enum.StrEnum):
    """CloudEvents `type` of every event of ours. The archive may hold others: a lane is foreign."""

    ACTION_CONFLICT = "action.conflict"
    ACTION_FAILED = "action.failed"
    ACTION_INTENT = "action.intent"
    ACTION_RECEIPT = "action.receipt"
    ACTION_SHADOWED = "action.shadowed"
    ACTION_STALE = "action.stale"
    ACTION_UNKNOWN = "action.unknown"
    ACTION_VOID = "action.void"
    ALERT_TOLD = "alert.told"
    AUDIT_DONE = "audit.done"
    BEAT_BACK = "beat.back"
    BEAT_MISSING = "beat.missing"
    CHAT_DEAF = "chat.deaf"
    CHAT_NOTED = "chat.noted"
    CHAT_STRANGERS = "chat.strangers"
    COUNCIL_BACK = "council.back"
    COUNCIL_LOST = "council.lost"
    COUNCIL_PAGE_ASIDE = "council.page_aside"
    DUTY_FAILED = "duty.failed"
    DECISION_ASKED = "decision.asked"
    DUTY_FAILING = "duty.failing"
    DUTY_MISSED = "duty.missed"
    DUTY_PLANNED = "duty.planned"
    DUTY_RAN = "duty.ran"
    EFFECT_DOUBLED = "effect.doubled"
    FAILOVER_REPORTED = "failover.reported"
    FLEET_PROBED = "fleet.probed"
    FORGE_MARK = "forge.mark"
    FORGE_RECONCILED = "forge.reconciled"
    FORGE_RECOVERED = "forge.recovered"
    FORGE_SNAPSHOT_BRANCH = "forge.snapshot.branch"
    FORGE_SNAPSHOT_COMMENT = "forge.snapshot.comment"
    FORGE_SNAPSHOT_ISSUE = "forge.snapshot.issue"
    FORGE_SNAPSHOT_LABEL = "forge.snapshot.label"
    FORGE_SNAPSHOT_PULL = "forge.snapshot.pull"
    FORGE_SNAPSHOT_REPOSITORY = "forge.snapshot.repository"
    FORGE_UNREACHABLE = "forge.unreachable"
    FORGE_UNREAD = "forge.unread"
    FORGE_VANISHED = "forge.vanished"
    FREEZE_ADDED = "freeze.added"
    FREEZE_THAWED = "freeze.thawed"
    JOURNAL_GAP = "journal.gap"
    JOURNAL_RESTARTED = "journal.restarted"
    LANE_BEAT = "lane.beat"
    LANE_SAFE_MODE = "lane.safe_mode"
    LANE_SAFE_MODE_ENDED = "lane.safe_mode_ended"
    LINK_CAUGHT_UP = "link.caught_up"
    LINK_DOWN = "link.down"
    LINK_UP = "link.up"
    MODEL_CALL = "model.call"
    MODEL_REFUSED = "model.refused"
    MODEL_RESULT = "model.result"
    ORDER_REFUSED = "order.refused"
    REQUEST_SETTLED = "request.settled"
    ROLE_TAKEN = "role.taken"
    SESSION_ACCEPTED = "session.accepted"
    SESSION_ANSWERED = "session.answered"
    SESSION_DELTA = "session.delta"
    SESSION_END = "session.end"
    SESSION_QUESTION = "session.question"
    SESSION_STARTED = "session.started"
    SESSION_TOOL_BEGAN = "session.tool_began"
    SESSION_TOOL_ENDED = "session.tool_ended"
    SESSION_USAGE = "session.usage"
    SHADOW_EFFECT = "shadow.effect"
    TELEMETRY_GAP = "telemetry.gap"
    TRIAGE_DONE = "triage.done"
    TRIAGE_REFUSED = "triage.refused"
    TRUST_CHANGED = "trust.changed"
    WATCH_FAILING = "watch.failing"
    WATCH_RECOVERED = "watch.recovered"
    WATCH_REPLACED = "watch.replaced"


ACTIONS = "action."
"""How the names of events about one order begin."""

AUDITS = "audit."
BEATS = "beat."
CHAT = "chat."
COUNCIL = "council."
DUTIES = "duty."
FREEZES = "freeze."
FORGE = "forge."
LINKS = "link."

SNAPSHOTS = "forge.snapshot."
"""How the names of events begin that hold a new version of one forge object."""

_SHED: tuple[tuple[str, Shed], ...] = (
    (ACTIONS, Shed.RESERVED),
    ("request.", Shed.RESERVED),
    (FREEZES, Shed.RESERVED),
    (EventType.CHAT_NOTED, Shed.RESERVED),
    (EventType.ALERT_TOLD, Shed.RESERVED),
    ("journal.", Shed.RESERVED),
    (EventType.SESSION_END, Shed.RESERVED),
    (EventType.SESSION_QUESTION, Shed.RESERVED),
    (EventType.SESSION_DELTA, Shed.TEXT_DELTA),
    ("session.tool", Shed.TOOL_CONTENT),
    ("lane.metric", Shed.METRIC),
    (EventType.LANE_BEAT, Shed.METRIC),
    ("forge.snapshot", Shed.SNAPSHOT),
)


def shed_class(event_type: str) -> Shed:
    """Return what may happen to events of this type when the journal is full: KEPT if unknown."""
    for prefix, shed in _SHED:
        if event_type.startswith(prefix):
            return shed
    return Shed.KEPT
