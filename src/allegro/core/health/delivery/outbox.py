"""The outbox: a notice is stored before it is sent, sent until a channel proves it, and never lost.

The value is stored whole, in one transaction with the alert state. The shell around it does, for
each of `sendings`: store `begun`, send, store `noted` or `failed`. After a start it stores
`resumed` first.

`sendings`, `begun`, `noted` and `failed` stand in `sending`.

Invariants. A notice leaves the outbox when it was proven by a channel (all of them, where its way
is `every`), when a newer notice about the same alerts replaces it, or, told by `gone`, for room:
never the more severe for the less. Between `begun` and `noted` a kill leaves open whether it went
out: it is sent once more, marked `is_repeat`, so each such kill doubles a notice at most once. One
sending at a time on each channel.

Channels. One that fails is tried again with backoff, and what waits for it goes by the next one in
the configured order; late (`Notice.by_s`), by every one. The next message on a channel that was
down says since when. A permanent error ends the attempt of that channel for that notice; where all
have ended, they begin anew each `STRANDED_S`, because a person may have mended something. A channel
that is down is a fact (`channel_facts`), so the alert machine tells it by another one. A recovery
goes only to channels that proved one of its alarms.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from allegro.core.health.alerts import Key
from allegro.core.health.delivery.notices import Kind, Notice

MAX_ENTRIES = 300
MAX_SENT = 500


class Route(msgspec.Struct, frozen=True):
    """One channel as the outbox sees it. `since_s`: since when it is down (Unix s), 0: it is not."""

    channel: str
    failures: int = 0
    since_s: float = 0.0
    next_s: float = 0.0
    reason: str = ""


class Attempt(msgspec.Struct, frozen=True):
    """A notice's way over one channel. `is_out` from `begun` to `noted` or `failed`.

    `is_unsure`: the program ended in between. `ended_s`: when a permanent error ended it.
    """

    channel: str
    failures: int = 0
    is_out: bool = False
    is_unsure: bool = False
    ended_s: float = 0.0


class Entry(msgspec.Struct, frozen=True):
    """A notice that waits, with the channels that it may still go by. `number` orders entries."""

    number: int
    notice: Notice
    attempts: tuple[Attempt, ...]
    is_proven: bool = False


class Sent(msgspec.Struct, frozen=True):
    """The proof of one channel: `message` is the id there, empty where it gives none."""

    notice: str
    keys: tuple[Key, ...]
    channel: str
    message: str
    at_s: float
    kind: Kind = Kind.ALARM


class Outbox(msgspec.Struct, frozen=True):
    """All that waits, what was proven lately, and how many were given up for room by severity."""

    routes: tuple[Route, ...] = ()
    entries: tuple[Entry, ...] = ()
    sent: tuple[Sent, ...] = ()
    dropped: dict[str, int] = {}
    gone: tuple[str, ...] = ()
    put: int = 0


class Sending(msgspec.Struct, frozen=True):
    """What to send now. `down_since_s`: say that the channel was down since then; 0: it was not.

    `is_repeat`: it may have arrived before.
    """

    notice: Notice
    channel: str
    down_since_s: float = 0.0
    is_repeat: bool = False


class Failure(msgspec.Struct, frozen=True):
    """Why a channel did not take a notice.

    `is_permanent`: the same call fails again. `is_of_notice`: it refused this notice alone and is
    well otherwise. `retry_after_s`: how long it asks to be left alone.
    """

    reason: str
    is_permanent: bool = False
    is_of_notice: bool = False
    retry_after_s: float | None = None


def configured(outbox: Outbox, channels: Sequence[str]) -> Outbox:
    """Return the outbox over these channels, in this order; ended attempts begin anew."""
    known = {one.channel: one for one in outbox.routes}
    routes = tuple(known.get(name, Route(name)) for name in channels)
    entries = []
    for entry in outbox.entries:
        mine = {one.channel: one for one in entry.attempts}
        if entry.is_proven:
            attempts = tuple(mine[name] for name in channels if name in mine)
        else:
            attempts = tuple(mine.get(name, Attempt(name)) for name in channels)
        attempts = tuple(_replaced(one, ended_s=0.0) for one in attempts)
        entries.append(_replaced(entry, attempts=attempts))
    kept = tuple(one for one in entries if one.attempts or not one.is_proven)
    return _replaced(outbox, routes=routes, entries=kept)


def resumed(outbox: Outbox) -> Outbox:
    """Return the outbox at a program's start: what was on its way may or may not have arrived."""
    entries = tuple(
        _replaced(
            entry,
            attempts=tuple(
                _replaced(one, is_out=False, is_unsure=True) if one.is_out else one
                for one in entry.attempts
            ),
        )
        for entry in outbox.entries
    )
    return _replaced(outbox, entries=entries)


def with_notice(outbox: Outbox, notice: Notice) -> Outbox:
    """Return the outbox with one more notice; the same id again changes nothing."""
    if notice.id in {one.notice.id for one in outbox.entries} | {one.notice for one in outbox.sent}:
        return outbox
    channels = [one.channel for one in outbox.routes]
    if notice.kind is Kind.RECOVERY:
        reached = {one.channel for one in outbox.sent if set(one.keys) & set(notice.keys)}
        channels = [name for name in channels if name in reached] or channels
    attempts = tuple(Attempt(name) for name in channels)
    entries = tuple(left for one in outbox.entries if (left := _replaced_by(one, notice)))
    entry = Entry(outbox.put + 1, notice, attempts)
    return _bounded(_replaced(outbox, entries=(*entries, entry), put=entry.number))


def _replaced_by(entry: Entry, notice: Notice) -> Entry | None:
    """Return what is left of an older notice once a newer one says more about the same alerts."""
    is_about_same = (
        notice.kind is not Kind.REPORT
        and entry.notice.kind in {Kind.ALARM, Kind.REMINDER}
        and set(entry.notice.keys) <= set(notice.keys)
    )
    if not is_about_same or (notice.kind is Kind.RECOVERY and not entry.is_proven):
        return entry
    out = tuple(one for one in entry.attempts if one.is_out)
    return _replaced(entry, attempts=out) if out else None


def _bounded(outbox: Outbox) -> Outbox:
    waiting = [one for one in outbox.entries if not any(a.is_out for a in one.attempts)]
    if len(outbox.entries) <= MAX_ENTRIES or not waiting:
        return outbox
    # one that reached somebody goes before one that did not, then the least severe, the oldest
    worst = max(waiting, key=lambda one: (one.is_proven, one.notice.severity, -one.number))
    left = tuple(one for one in outbox.entries if one is not worst)
    if worst.is_proven:
        return _replaced(outbox, entries=left)
    severity = worst.notice.severity.value
    dropped = {**outbox.dropped, severity: outbox.dropped.get(severity, 0) + 1}
    return _replaced(outbox, entries=left, dropped=dropped, gone=(*outbox.gone, worst.notice.id))


def gone_taken(outbox: Outbox) -> tuple[tuple[str, ...], Outbox]:
    """Return the ids given up since the last call, for `Inputs.dropped`, and the outbox after."""
    return outbox.gone, _replaced(outbox, gone=())


_replaced = msgspec.structs.replace
