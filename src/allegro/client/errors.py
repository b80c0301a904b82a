"""How an act that was asked for can end other than done."""

from __future__ import annotations

from allegro.core.base.errors import UserError


class BridgeError(UserError):
    """The base of all; `request_id` names the request where there is one."""

    def __init__(self, message: str, request_id: str = "") -> None:
        super().__init__(message)
        self.request_id = request_id


class HouseUnreachable(BridgeError):
    """The house's socket does not answer: is `allegro house` running?"""

    exit_code = 3


class BadRequest(BridgeError):
    """What was asked for cannot be done as asked; the message says why. Nothing was kept."""


class NotNow(BridgeError):
    """No lane or forge can be reached to answer; ask again later. Nothing was kept."""


class Rejected(BridgeError):
    """The sovereign said no."""


class Withdrawn(BridgeError):
    """The request was taken back."""


class Expired(BridgeError):
    """Nobody answered in time, or the approval ran out."""


class Stale(BridgeError):
    """The world moved; the renewed request is named in the message."""


class Conflict(BridgeError):
    """Something else stands in its place; nothing was changed."""


class EffectFailed(BridgeError):
    """The forge refused it."""


class Frozen(BridgeError):
    """The wait ended while the fleet is frozen; the request stands."""

    exit_code = 4


class StillOpen(BridgeError):
    """The wait ended; the request stands and may still be answered."""
