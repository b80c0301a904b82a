"""What the forge's answer to a write means for the effect: done, not done, or in doubt (S8)."""

from __future__ import annotations

import enum

from allegro.core.base.errors import EdgeError
from allegro.core.effects.findings import WriteStep

REQUEST_TIMEOUT = 408
REPEATABLE = frozenset({WriteStep.LABEL})
"""Writes that may be sent again at once: doing them twice changes nothing."""


class Said(enum.Enum):
    """What an error of a write says of the write."""

    NOT_SENT = "nothing left us"
    NOT_NOW = "refused for a while, and not done"
    NO = "refused, and not done"
    EXISTS = "refused, because something stands there: perhaps what we wanted"
    NOTHING = "no clear answer: it may have been done"


def said_by(error: EdgeError) -> Said:
    """Read an error of a write.

    A 4xx says that it was not done, but for 408, which a proxy gives when it stopped waiting; with
    `Retry-After` it may be done later. A 503 says so only with `Retry-After`. Everything else leaves it open: other 5xx, a lost connection,
    and answers that cannot be read.
    """
    if not error.sent:
        return Said.NOT_SENT
    waits = error.status in {403, 503} and error.retry_after_s is not None
    if error.status == 429 or waits:
        return Said.NOT_NOW
    if not 300 <= error.status < 500 or error.status == REQUEST_TIMEOUT:
        return Said.NOTHING
    if error.status in {409, 422}:
        return Said.EXISTS
    return Said.NOT_NOW if error.status < 400 else Said.NO
