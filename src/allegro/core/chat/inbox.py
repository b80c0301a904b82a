"""What was read from a chat and is not yet acted on: stored before it is confirmed.

    receive ─▶ stored ─▶ confirmed at the service ─▶ acted on ─▶ forgotten, but for its key

Nothing is lost: what is not confirmed comes again. Nothing is acted on twice: an update is known by
its key, and it is acted on by the lane that confirmed it alone. A lane that died between storing and
noting the confirmation learns at its next reading which of the two it was: what does not come again
was confirmed. If another lane held the role meanwhile, that one has most likely read it: a command
is left to it. (A lane killed in the very moment after the confirmation, whose role another one takes,
leaves that command unanswered; its sender sees no answer.) A press is taken nevertheless: its note
has one id, whoever tells it.

A `/stop` waits for none of this: it freezes as soon as it is read, on every lane that reads it, under
one id. Pure; the caller writes the value to disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from allegro.core.base.untrusted import MAX_NUMBER, Number
from allegro.core.chat.received import Batch, Command, Tap

SEEN = 400
"""Keys that are remembered. A service gives at most 100 updates again that are not confirmed."""

MOST_WAITING = 100
"""More commands than this at a time are read and not answered; a `/stop` always freezes."""


class Waits(msgspec.Struct, frozen=True):
    """One update that is to be acted on.

    `number` is the channel's; `epoch` that of the role under which it was read; `read_s` Unix
    seconds. `is_ours` once the service has been told that it was read.
    """

    number: Number
    content: Command | Tap
    epoch: Number
    read_s: Annotated[float, Meta(ge=0, lt=MAX_NUMBER)]
    is_ours: bool = False


class Inbox(msgspec.Struct, frozen=True):
    """Oldest first. `seen` are the keys of everything that was ever stored, the newest last."""

    waiting: tuple[Waits, ...] = ()
    seen: tuple[str, ...] = ()

    @property
    def is_unconfirmed(self) -> bool:
        """Whether anything waits of which it is not known that the service was told."""
        return any(not one.is_ours for one in self.waiting)


def fresh(
    inbox: Inbox, found: Iterable[tuple[int, Command | Tap]]
) -> list[tuple[int, Command | Tap]]:
    """Return those of these (number, content) that were never stored, each once."""
    known, news = set(inbox.seen), []
    for number, content in found:
        if content.key not in known:
            known.add(content.key)
            news.append((number, content))
    return news


def stored(
    inbox: Inbox, news: Sequence[tuple[int, Command | Tap]], epoch: int, now_s: float
) -> Inbox:
    """Return the inbox with what `fresh` returned."""
    added = [Waits(number, _kept(content), epoch, max(0.0, now_s)) for number, content in news]
    room = max(0, MOST_WAITING - len(inbox.waiting))
    keys = tuple(one.content.key for one in added)
    return Inbox((*inbox.waiting, *added[:room]), (*inbox.seen, *keys)[-SEEN:])


def _kept(content: Command | Tap) -> Command | Tap:
    """Only a stop keeps what stood behind it: words of a person do not lie on a lane's disk."""
    is_stop = isinstance(content, Tap) or content.name == "stop"
    return content if is_stop else replace(content, argument="")


def confirmed(inbox: Inbox, upto: int) -> Inbox:
    """Return the inbox once the service was told of everything up to this number."""
    return replace(
        inbox,
        waiting=tuple(
            replace(one, is_ours=True) if one.number <= upto else one for one in inbox.waiting
        ),
    )


def settled(inbox: Inbox, batch: Batch, alone_since: int) -> Inbox:
    """Return the inbox after a reading that may show what became of unconfirmed updates.

    `alone_since` is the first epoch since which no other lane held the role: what was read before
    it and does not come again was read by another lane, and is that one's, but for presses.
    """
    numbers = [one.number for one in batch.updates if one.number is not None]
    again = {one.number for one in batch.updates if isinstance(one.content, Command | Tap)}

    def is_gone(one: Waits) -> bool:
        """Whether the service surely holds it no more."""
        return not numbers or one.number < min(numbers) or one.number <= max(numbers)

    kept = []
    for one in inbox.waiting:
        if one.is_ours or one.number in again or not is_gone(one):
            kept.append(one)
        elif one.epoch >= alone_since or isinstance(one.content, Tap):
            kept.append(replace(one, is_ours=True))
    return replace(inbox, waiting=tuple(kept))


def done(inbox: Inbox, key: str) -> Inbox:
    """Return the inbox without what was acted on."""
    left = tuple(one for one in inbox.waiting if one.content.key != key)
    return replace(inbox, waiting=left)
