"""Events of a chat: what a person noted by a button, and how many strangers wrote."""

from __future__ import annotations

from allegro.core.base.untrusted import Number
from allegro.core.protocol.event_types import EventType
from allegro.core.protocol.payloads.base import Payload


class ChatNoted(Payload, frozen=True, kw_only=True):
    """Somebody on the allow-list pressed a button: a note, which causes no effect.

    `by` is channel and person, such as `telegram:77`. `subject` and `shown` are the button's: what
    it is about, and the first 16 characters of the digest that was shown above it. `option` is 1 to
    9 for `answer`. Every lane that reads the same press tells it under the same id.
    """

    type_ = EventType.CHAT_NOTED
    by: str
    verb: str
    subject: str
    shown: str
    option: Number = 0


class ChatDeaf(Payload, frozen=True, kw_only=True):
    """The lane that reads the chat has not been able to for a minute, or gets nothing of what waits.

    Told once each time it begins. `why` is `no reading`, `piling up` or `brings nothing`.
    """

    type_ = EventType.CHAT_DEAF
    channel: str
    why: str


class ChatStrangers(Payload, frozen=True, kw_only=True):
    """So many updates of so many people who are on no allow-list were read and not answered."""

    type_ = EventType.CHAT_STRANGERS
    channel: str
    updates: Number
    senders: Number
