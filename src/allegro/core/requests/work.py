"""A request on its way to a lane: with its action, read once from the bytes that were signed."""

from __future__ import annotations

import msgspec

from allegro.core.authority.actions.families import delivery_of, family_of
from allegro.core.authority.actions.family import Action, Delivery, Family
from allegro.core.requests.requests import Request, parsed


class Work(msgspec.Struct, frozen=True):
    """`action` and `delivery` are computed from `request.action`; both outlive its versions."""

    request: Request
    action: Action
    delivery: Delivery

    @property
    def family(self) -> Family:
        return family_of(self.action)

    @property
    def carries_code_token(self) -> bool:
        """Whether its order needs the token that may change code."""
        return type(self.action) in self.family.code


def work_of(request: Request, key: bytes, action: Action | None = None) -> Work:
    """Return a request with its action, read from its bytes unless it is at hand.

    `key` is the fleet's key of markers and branch suffixes.
    """
    action = parsed(request) if action is None else action
    return Work(request, action, delivery_of(action, request.digest, key))
