"""Facts that expire: each carries the time by which its producer must speak again.

A fact that was well and is heard of no more is not well: it is *unknown*. The board keeps the
newest fact of each code, lane and subject with its deadline (`until_s`), as plain values that are
stored with the rest of a program's state.

Invariant: a fact is shown as its producer stated it only while `now_s < until_s`; afterwards, and
where either is NaN, it is unknown, never ok. A restart changes no deadline: what expired while the
program was down is unknown at its start. Two things move deadlines, and both are seen from the
clocks at each tick, so that nobody is accused of what the clocks did:

    the whole program slept (its ticks are further apart on the boot clock than `SLEPT_S`): every
    producer has its whole period again, counted from now, because none could be heard;
    the wall clock was set (it went further than the boot clock by more than `STEP_S`): all times
    move with it.

A restart, or a reboot, begins a new series of ticks: there the stored wall times are all we have.
Facts without a deadline (0) are of the moment at which they are asked for and are not kept.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from allegro.core.base.timestamps import rfc3339
from allegro.core.health.codes import code_of
from allegro.core.health.facts import Fact, State

SLEPT_S = 30.0
STEP_S = 2.0


class KeptFact(msgspec.Struct, frozen=True):
    """A fact as it is stored: its code by name. Times in Unix seconds."""

    code: str
    lane: str
    subject: str
    state: State
    detail: str
    source: str
    at_s: float
    until_s: float
    producer: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.code, self.lane, self.subject)


class Tick(msgspec.Struct, frozen=True):
    """Both clocks at one moment. `boot_s` never jumps and counts suspend."""

    now_s: float
    boot_s: float


class Board(msgspec.Struct, frozen=True):
    """The newest fact of each key, and when the program looked last (None: not since its start)."""

    facts: tuple[KeptFact, ...] = ()
    tick: Tick | None = None


def loaded(board: Board) -> Board:
    """Return a board as it was stored: deadlines as they were, and no tick of this program yet."""
    return Board(board.facts)


def stated(board: Board, facts: Iterable[Fact]) -> Board:
    """Return the board with what producers say now; one without a deadline is not kept."""
    held = {one.key: one for one in board.facts}
    for fact in facts:
        if fact.until_s != 0:
            one = _kept(fact)
            held[one.key] = one
    return Board(tuple(held.values()), board.tick)


def restated(
    board: Board, facts: Iterable[Fact], producer: str, now_s: float
) -> tuple[Board, list[Fact]]:
    """Return the board with all that one producer says now, and what it says no more.

    A producer states everything it knows each time. What it stated before and does not name now
    holds no longer: it leaves the board, and is returned as `ok`, so that its alert can end.
    """
    said = {(one.code.code, one.lane, one.subject): one for one in facts}
    others = {
        one.key: one for one in board.facts if one.producer != producer and one.key not in said
    }
    gone = [
        Fact(code_of(one.code), "ok", "holds no longer", one.source, one.subject, now_s,
             lane=one.lane)
        for one in board.facts
        if one.producer == producer and one.key not in said
    ]  # fmt: skip
    mine = [_kept(one, producer) for one in said.values() if one.until_s != 0]
    return Board((*others.values(), *mine), board.tick), gone


def withdrawn(board: Board, code: str, lane: str, subject: str) -> Board:
    """Return the board without a fact whose subject is gone on purpose, as an unpaired lane."""
    rest = tuple(one for one in board.facts if one.key != (code, lane, subject))
    return Board(rest, board.tick)


def _kept(fact: Fact, producer: str = "") -> KeptFact:
    return KeptFact(
        code=fact.code.code,
        lane=fact.lane,
        subject=fact.subject,
        state=fact.state,
        detail=fact.detail,
        source=fact.source,
        at_s=fact.at_s,
        until_s=fact.until_s,
        producer=producer,
    )


def ticked(board: Board, tick: Tick) -> Board:
    """Return the board once the clocks were looked at: call it at least each SLEPT_S / 3."""
    before = board.tick
    if before is None or not tick.boot_s >= before.boot_s:
        return Board(board.facts, tick)
    passed_s = tick.boot_s - before.boot_s
    step_s = tick.now_s - before.now_s - passed_s
    facts = board.facts
    if abs(step_s) > STEP_S:
        facts = tuple(_moved(one, step_s) for one in facts)
    if passed_s > SLEPT_S:
        facts = tuple(_again(one, tick.now_s - passed_s, tick.now_s) for one in facts)
    return Board(facts, tick)


def _moved(fact: KeptFact, step_s: float) -> KeptFact:
    return msgspec.structs.replace(fact, at_s=fact.at_s + step_s, until_s=fact.until_s + step_s)


def _again(fact: KeptFact, slept_from_s: float, now_s: float) -> KeptFact:
    if not fact.until_s > slept_from_s:
        return fact  # it was unknown before the sleep, and stays so until its producer speaks
    period_s = max(0.0, fact.until_s - fact.at_s)
    return msgspec.structs.replace(fact, until_s=max(fact.until_s, now_s + period_s))


def expired(facts: Iterable[KeptFact], now_s: float) -> list[Fact]:
    """Return the facts as they hold now: unknown where the deadline passed."""
    return [_shown(one, now_s) for one in facts]


def _shown(one: KeptFact, now_s: float) -> Fact:
    state, detail = one.state, one.detail
    if not now_s < one.until_s:
        state = "unknown"
        detail = f"not heard since {rfc3339(one.at_s)}; then {one.state}: {one.detail}"
    return Fact(
        code_of(one.code), state, detail, one.source, one.subject, one.at_s, one.until_s, one.lane
    )
