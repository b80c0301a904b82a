"""`/stop`: which freeze a message asks for, and whether it is to be made.

Nothing here thaws: a freeze is lifted by the sovereign's signature alone. A stop that was read before,
on this lane or on another that read the same message, is the same freeze by its id.
"""

from __future__ import annotations

import hashlib

import msgspec

from allegro.core.authority.freeze import Freeze, FreezeSet, contains
from allegro.core.chat.received import Command, Sender


class Made(msgspec.Struct, frozen=True):
    """Freeze now, with this."""

    freeze: Freeze


class Kept(msgspec.Struct, frozen=True):
    """This sender's freeze stands already; a second one would only be a second thing to thaw."""

    freeze_id: str


class Over(msgspec.Struct, frozen=True):
    """This very message's freeze was lifted: read again, it stops nothing."""

    freeze_id: str


class Muted(msgspec.Struct, frozen=True):
    """A thaw took this sender's stops away."""

    by: str


Stop = Made | Kept | Over | Muted


def source_of(channel: str, sender: Sender) -> str:
    """Return the name under which a sender's freezes stand: the same person in any chat."""
    return f"{channel}:{sender.person}"[:64]


def freeze_id_of(channel: str, command: Command) -> str:
    """Return the freeze id of a message: the same on every lane that ever reads it."""
    whole = f"{channel}\0{command.sender.chat}\0{command.message}".encode()
    return "chat-" + hashlib.sha256(whole).hexdigest()[:32]


def judge_stop(
    channel: str, command: Command, freezes: FreezeSet, muted: frozenset[str], now_s: float
) -> Stop:
    """Decide what a `/stop` comes to. `muted` holds sources (`source_of`) that a thaw named.

    A message that claims to be from the future is dated now. Its age never makes it invalid: a
    stop that waited while nobody could read is still meant.
    """
    by, freeze_id = source_of(channel, command.sender), freeze_id_of(channel, command)
    if by in muted:
        return Muted(by)
    if contains(freezes, freeze_id):
        still = any(freeze.id == freeze_id for freeze in freezes.active)
        return Kept(freeze_id) if still else Over(freeze_id)
    if freeze_id in freezes.thawed:
        return Over(freeze_id)
    standing = next((freeze for freeze in freezes.active if freeze.by == by), None)
    if standing is not None:
        return Kept(standing.id)
    reason = command.argument or "stopped by chat"
    return Made(Freeze(freeze_id, min(float(command.at_s), now_s), by, reason))
