"""Events about one action: from the intent to how it ended."""

from __future__ import annotations

from allegro.core.base.untrusted import Number
from allegro.core.protocol.answers.bounds import Seconds
from allegro.core.protocol.event_types import EventType
from allegro.core.protocol.payloads.base import Payload


class Act(Payload, frozen=True, kw_only=True):
    """What events about one action share.

    `order` is missing where a lease allowed the action instead of an order; `repository` and
    `number` (0: the repository itself) are missing for actions of sessions.
    """

    digest: str = ""
    order: Number | None = None
    kind: str = ""
    repository: Number | None = None
    number: Number | None = None


class ActionIntent(Act, frozen=True, kw_only=True):
    """The lane is about to write. `epochs` are those of the leases it knew when it began."""

    type_ = EventType.ACTION_INTENT
    step: str = ""
    shadow: bool = False
    session: str = ""
    local: bool = False
    epochs: dict[str, Number] | None = None


class ActionReceipt(Act, frozen=True, kw_only=True):
    """The effect is there. `content` is the keyed name of what was written."""

    type_ = EventType.ACTION_RECEIPT
    artifact: Number | None = None
    commit: str | None = None
    others: tuple[Number, ...] = ()
    content: str = ""
    reason: str = ""
    session: str = ""
    local: bool = False


class ActionFailed(Act, frozen=True, kw_only=True):
    """The order ended without effect, and another try would end alike."""

    type_ = EventType.ACTION_FAILED
    reason: str = ""
    session: str = ""
    local: bool = False


class ActionVoid(Act, frozen=True, kw_only=True):
    """Nothing was written; the same action may be ordered again, after `retry_after_s`."""

    type_ = EventType.ACTION_VOID
    reason: str = ""
    retry_after_s: Seconds | None = None
    session: str = ""
    local: bool = False


class ActionUnknown(Act, frozen=True, kw_only=True):
    """A write was sent and neither its answer nor a look says what became of it."""

    type_ = EventType.ACTION_UNKNOWN
    reason: str = ""
    step: str = ""
    status: Number | None = None


class ActionConflict(Act, frozen=True, kw_only=True):
    """Something else stands where the effect would be."""

    type_ = EventType.ACTION_CONFLICT


class ActionStale(Act, frozen=True, kw_only=True):
    """What the action was pinned to has changed since it was approved."""

    type_ = EventType.ACTION_STALE
    reason: str = ""
    session: str = ""
    local: bool = False


class ActionShadowed(Act, frozen=True, kw_only=True):
    """Shadow mode: these steps would have been written."""

    type_ = EventType.ACTION_SHADOWED
    steps: tuple[str, ...]
    content: str = ""


class ShadowEffect(Act, frozen=True, kw_only=True):
    """Shadow mode: this label would have been set under the lease."""

    type_ = EventType.SHADOW_EFFECT


class TriageDone(Act, frozen=True, kw_only=True):
    """An issue carries the label that marks it as seen, `took_s` after it was opened."""

    type_ = EventType.TRIAGE_DONE
    took_s: Seconds


class TriageRefused(Payload, frozen=True, kw_only=True):
    """The forge refuses to label this issue; it is left alone."""

    type_ = EventType.TRIAGE_REFUSED
    status: Number


class OrderRefused(Payload, frozen=True, kw_only=True):
    """The lane refused an order before anything was done."""

    type_ = EventType.ORDER_REFUSED
    reason: str


SessionAct = ActionIntent | ActionReceipt | ActionFailed | ActionVoid | ActionStale
"""What becomes of an order about a session or a loan."""
