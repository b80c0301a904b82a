"""Which notice goes out by which channel now, and what the answer of a channel changes.

The rules are those of `outbox`: one sending at a time on each channel; the first channel in order
that is well, or every one where the way is `every` or the notice is late; backoff for a channel that
fails; a permanent error ends one attempt.

Invariant: what is not proven stays in the outbox, whatever the order of answers, kills and repeats.
An answer about a notice that is there no more changes the channel alone. A notice that failed again
and again lets others of its channel go first (`PATIENCE`), so that one bad notice blocks nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from allegro.core.base.backoff import LONGEST_WAIT_S, Backoff
from allegro.core.health import codes
from allegro.core.health.codes import Severity
from allegro.core.health.codes.code import Way
from allegro.core.health.delivery.outbox import (
    MAX_SENT,
    Attempt,
    Entry,
    Failure,
    Outbox,
    Route,
    Sending,
    Sent,
)

CHANNEL = Backoff(first_s=1.0, cap_s=60.0)
STRANDED_S = 3600.0
PATIENCE = 4
"""After so many failures in a row a notice lets others of its channel go first."""


def sendings(outbox: Outbox, now_s: float) -> list[Sending]:
    """Return what is to be sent now, one for each channel at most."""
    found: list[Sending] = []
    taken: set[int] = set()
    for route in outbox.routes:
        if _is_gated(route, now_s) or _is_busy(outbox, route.channel):
            continue
        ready = [
            (entry, attempt)
            for entry in outbox.entries
            for attempt in entry.attempts
            if attempt.channel == route.channel
            and not (entry.number in taken and not _goes_by_all(entry, now_s))
            and _may_go(outbox, entry, attempt, now_s)
        ]
        if ready:
            entry, attempt = min(ready, key=_rank)
            taken.add(entry.number)
            sending = Sending(entry.notice, route.channel, route.since_s, attempt.is_unsure)
            found.append(sending)
    return found


def _rank(pair: tuple[Entry, Attempt]) -> tuple[int, Severity, int]:
    entry, attempt = pair
    return (attempt.failures // PATIENCE, entry.notice.severity, entry.number)


def _is_gated(route: Route, now_s: float) -> bool:
    # further away than any wait: the clock was put back
    return now_s < route.next_s <= now_s + LONGEST_WAIT_S


def _is_busy(outbox: Outbox, channel: str) -> bool:
    return any(
        one.is_out and one.channel == channel for entry in outbox.entries for one in entry.attempts
    )


def _goes_by_all(entry: Entry, now_s: float) -> bool:
    return entry.notice.way is Way.EVERY or now_s > entry.notice.by_s


def _may_go(outbox: Outbox, entry: Entry, attempt: Attempt, now_s: float) -> bool:
    if not _is_open(entry, attempt, now_s):
        return False
    open_by = [one.channel for one in entry.attempts if _is_open(entry, one, now_s)]
    others = [name for name in open_by if name != entry.notice.avoid]
    if attempt.channel == entry.notice.avoid and others:
        return False
    if _goes_by_all(entry, now_s):
        return True
    if any(one.is_out for one in entry.attempts):
        return False
    well = [one.channel for one in outbox.routes if not one.since_s and one.channel in others]
    return not well or attempt.channel == well[0]


def _is_open(entry: Entry, attempt: Attempt, now_s: float) -> bool:
    if attempt.is_out:
        return False
    if not attempt.ended_s:
        return True
    is_stranded = not entry.is_proven and all(one.ended_s for one in entry.attempts)
    return is_stranded and not attempt.ended_s <= now_s < attempt.ended_s + STRANDED_S


def begun(outbox: Outbox, sending: Sending) -> Outbox:
    """Return the outbox to be stored before a sending begins."""
    return _with_attempt(outbox, sending, is_out=True)


def noted(outbox: Outbox, sending: Sending, message: str, now_s: float) -> Outbox:
    """Return the outbox with the proof of a channel: `message` is its id there, "" for none."""
    notice = sending.notice
    proof = Sent(notice.id, notice.keys, sending.channel, message, now_s, notice.kind)
    outbox = _well(outbox, sending.channel)
    entries: list[Entry] = []
    for entry in outbox.entries:
        if entry.notice.id != sending.notice.id:
            entries.append(entry)
            continue
        left = tuple(one for one in entry.attempts if one.channel != sending.channel)
        if entry.notice.way is not Way.EVERY:
            left = tuple(one for one in left if one.is_out)
        left = tuple(one for one in left if not one.ended_s)
        if left:
            entries.append(_replaced(entry, attempts=left, is_proven=True))
    is_told = any(code == codes.OUTBOX.code for code, _, _ in sending.notice.keys)
    return _replaced(
        outbox,
        entries=tuple(entries),
        sent=(*outbox.sent, proof)[-MAX_SENT:],
        dropped={} if is_told else outbox.dropped,
    )


def _well(outbox: Outbox, channel: str) -> Outbox:
    before = _route(outbox, channel)
    outbox = _with_route(outbox, Route(channel))
    if before is None or not before.since_s:
        return outbox
    return _each_attempt(outbox, lambda one: _replaced(one, failures=0), channel)


def failed(
    outbox: Outbox, sending: Sending, failure: Failure, now_s: float, dice: Callable[[], float]
) -> Outbox:
    """Return the outbox after a channel did not take a notice. `dice` gives 0 to 1, for jitter."""
    entry = next((one for one in outbox.entries if one.notice.id == sending.notice.id), None)
    mine = [one for one in entry.attempts if one.channel == sending.channel] if entry else []
    failures = mine[0].failures + 1 if mine else 0
    ended_s = now_s if failure.is_permanent else 0.0
    outbox = _with_attempt(outbox, sending, is_out=False, failures=failures, ended_s=ended_s)
    if entry is not None and entry.is_proven:
        outbox = _without_ended(outbox, entry.number)
    route = _route(outbox, sending.channel)
    if route is None or failure.is_of_notice:
        return outbox
    wait_s = CHANNEL.delay_s(route.failures, dice)
    if failure.retry_after_s is not None:
        wait_s = max(wait_s, min(failure.retry_after_s, LONGEST_WAIT_S))
    down = Route(
        sending.channel, route.failures + 1, route.since_s or now_s, now_s + wait_s, failure.reason
    )
    return _with_route(outbox, down)


def _without_ended(outbox: Outbox, number: int) -> Outbox:
    entries: list[Entry] = []
    for one in outbox.entries:
        left = one.attempts
        if one.number == number:
            left = tuple(attempt for attempt in left if not attempt.ended_s)
        if left:
            entries.append(_replaced(one, attempts=left))
    return _replaced(outbox, entries=tuple(entries))


def _route(outbox: Outbox, channel: str) -> Route | None:
    return next((one for one in outbox.routes if one.channel == channel), None)


def _with_route(outbox: Outbox, route: Route) -> Outbox:
    routes = tuple(route if one.channel == route.channel else one for one in outbox.routes)
    return _replaced(outbox, routes=routes)


def _with_attempt(outbox: Outbox, sending: Sending, **changes: object) -> Outbox:
    return _each_attempt(
        outbox, lambda one: _replaced(one, **changes), sending.channel, sending.notice.id
    )


def _each_attempt(
    outbox: Outbox, change: Callable[[Attempt], Attempt], channel: str, notice: str = ""
) -> Outbox:
    entries = tuple(
        _replaced(
            entry,
            attempts=tuple(
                change(one) if one.channel == channel else one for one in entry.attempts
            ),
        )
        if notice in ("", entry.notice.id)
        else entry
        for entry in outbox.entries
    )
    return _replaced(outbox, entries=entries)


_replaced = msgspec.structs.replace
