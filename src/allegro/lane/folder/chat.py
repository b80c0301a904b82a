"""What a lane keeps of its chat: what was read and waits, and whose stops count no more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from allegro.core.chat.inbox import Inbox
from allegro.lane.folder.forms import CHAT, MUTED, read_kept, write_kept


class KeptMuted(msgspec.Struct, frozen=True, kw_only=True):
    """muted.json: the senders (channel:person) whose stops by chat a thaw took away."""

    muted: frozenset[Annotated[str, Meta(max_length=64)]]


def load_inbox(path: Path) -> Inbox:
    """Return what was read by chat; nothing where that cannot be read.

    What is not confirmed comes again, and a stop that is read again is the same freeze.
    """
    return read_kept(path, CHAT, Inbox) or Inbox()


def save_inbox(path: Path, inbox: Inbox) -> None:
    """Write what was read by chat. Raises EdgeError."""
    write_kept(path, CHAT, inbox)


def load_muted(path: Path) -> frozenset[str]:
    """Return whose stops count no more; nobody's where that cannot be read: they are heard then."""
    kept = read_kept(path, MUTED, KeptMuted)
    return kept.muted if kept is not None else frozenset()


def save_muted(path: Path, muted: frozenset[str]) -> None:
    """Write whose stops count no more. Raises EdgeError."""
    write_kept(path, MUTED, KeptMuted(muted=muted))
