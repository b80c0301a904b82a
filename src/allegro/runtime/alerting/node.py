"""Which program calls a person: its name, its rules, and what it knows at the moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from allegro.core.health.alert_state import Rules
from allegro.core.health.delivery.notices import Notice
from allegro.core.health.delivery.outbox import Sent
from allegro.core.health.facts import Fact

OnProven = Callable[[Notice | None, Sent], None]
"""Is given what a channel has taken for the first time; the notice is None after a restart."""


def _nobody(notice: Notice | None, sent: Sent) -> None:
    del notice, sent


class Node(msgspec.Struct, frozen=True):
    """Which program this is.

    `origin` begins the ids of its notices, at most 22 of a-z 0-9 - so that a button can carry one.
    `rules` are asked anew for each step, so are `facts`, those of the moment. `is_explained` says
    whether a fact that expired is no news, because its producer is known to be out of reach.
    """

    origin: str
    rules: Callable[[], Rules]
    facts: Callable[[], Sequence[Fact]] = tuple
    is_explained: Callable[[Fact], bool] = lambda _: False
    on_proven: OnProven = _nobody
