"""What the duties of the house stand on: stores, clock, dice, and whom they tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from allegro.core.base.events import Event
from allegro.core.health.alerts import RaiseAlert
from allegro.core.ports import Clock, Dice
from allegro.core.stores import Archive, Ledger
from allegro.runtime.consumer import OnSetAside


class Ports(msgspec.Struct, frozen=True):
    """The stores of one house. `open_words` opens what a lane sealed into an event, None for none."""

    archive: Archive
    ledger: Ledger
    clock: Clock
    dice: Dice
    open_words: Callable[[Event], Any]


class Reactions(msgspec.Struct, frozen=True):
    """Whom a duty tells: a person, by an alarm; and who takes the items that it cannot handle."""

    alarm: RaiseAlert
    on_set_aside: OnSetAside
