"""What must hold after a trial, judged from the forge's own log and from what came home.

Pure: values in, faults in words out. Nothing here believes a lane about its own effects.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

Call = Mapping[str, Any]
"""One request as the simulated forge logs it, in JSON."""

SEEN = "triage/seen"
MARKER = "<!-- allegro:"


class Poll(msgspec.Struct, frozen=True):
    """A listing of issues that the forge answered, and for which lane."""

    at_s: float
    lane: str


class Write(msgspec.Struct, frozen=True):
    """A call that changed the forge. `what` is pull, branch, comment, label or other."""

    at_s: float
    lane: str
    what: str
    name: str


class Taken(msgspec.Struct, frozen=True):
    """The forge role was taken by a lane under an epoch."""

    at_s: float
    lane: str
    epoch: int


class Wanted(msgspec.Struct, frozen=True):
    """An effect that was asked for: a comment's text, or a pull request's title."""

    what: str
    name: str
    state: str


class Evidence(msgspec.Struct, frozen=True):
    """Everything a trial left. `opened` and `archived` are issue numbers; `labelled` by number.

    `intents` are (order number, lane) of the effects that lanes began; `frozen` the spans
    (from, until) in which the fleet was stopped, `grace_s` after the stop already taken off.
    `vanished` are the subjects that came home as deleted: in a trial nobody deletes anything.
    """

    writes: tuple[Write, ...] = ()
    taken: tuple[Taken, ...] = ()
    wanted: tuple[Wanted, ...] = ()
    opened: frozenset[int] = frozenset()
    archived: frozenset[int] = frozenset()
    labelled: Mapping[int, tuple[str, ...]] = {}
    vanished: tuple[str, ...] = ()
    intents: tuple[tuple[int, str], ...] = ()
    frozen: tuple[tuple[float, float], ...] = ()
    expects_labels: bool = True


def calls_of(
    log: Iterable[Call], who: Callable[[Call], str]
) -> tuple[tuple[Poll, ...], tuple[Write, ...]]:
    """Return polls and writes of a forge's log. `who` names a caller's lane, empty for a person."""
    polls, writes = [], []
    for call in log:
        lane = who(call)
        if not lane:
            continue
        path, at_s = str(call["path"]), float(call["at_s"])
        if call["method"] == "GET":
            if path.endswith("/issues") and call["status"] == 200:
                polls.append(Poll(at_s, lane))
        elif call["effect"]:
            writes.append(Write(at_s, lane, *_effect(str(call["method"]), path, call["json"])))
    return tuple(polls), tuple(writes)


def _effect(method: str, path: str, body: object) -> tuple[str, str]:
    fields = body if isinstance(body, dict) else {}
    if method == "POST" and path.endswith("/pulls"):
        return "pull", str(fields.get("title", ""))
    if method == "POST" and path.endswith("/comments"):
        return "comment", str(fields.get("body", "")).split("\n\n" + MARKER)[0].strip()
    if method == "POST" and path.endswith(("/branches", "/contents")):
        return "branch", str(fields.get("new_branch") or fields.get("new_branch_name") or "")
    if path.endswith("/labels") or "/labels/" in path:
        return "label", path
    return "other", f"{method} {path}"


def faults(evidence: Evidence) -> list[str]:
    """Return everything that is not as it must be; empty for a good trial."""
    found = _effect_faults(evidence)
    found += [
        f"issue {number} never came home" for number in sorted(evidence.opened - evidence.archived)
    ]
    found += [f"{subject} was told as deleted and is there" for subject in evidence.vanished]
    if evidence.expects_labels:
        for number in sorted(evidence.opened):
            seen = sum(label == SEEN for label in evidence.labelled.get(number, ()))
            if seen != 1:
                found.append(f"issue {number} has {seen} seen labels")
    by_order: dict[int, set[str]] = {}
    for order, lane in evidence.intents:
        by_order.setdefault(order, set()).add(lane)
    found += [
        f"order {order} was carried out by {', '.join(sorted(lanes))}"
        for order, lanes in by_order.items()
        if len(lanes) > 1
    ]
    found += [
        f"{write.lane} wrote {write.what} {write.name!r} while the fleet was stopped"
        for write in evidence.writes
        for from_s, until_s in evidence.frozen
        if from_s < write.at_s < until_s
    ]
    return found


def _effect_faults(evidence: Evidence) -> list[str]:
    done = Counter((write.what, write.name) for write in evidence.writes)
    found = []
    for wanted in evidence.wanted:
        count = done.pop((wanted.what, wanted.name), 0)
        expected = 1 if wanted.state == "done" else 0
        if count != expected:
            found.append(
                f"{wanted.what} {wanted.name!r} is {wanted.state} and was made {count} times"
            )
    for (what, name), count in done.items():
        if what == "branch" and count > 1:
            found.append(f"branch {name!r} was made {count} times")
        elif what in {"pull", "comment", "other"}:
            found.append(f"{what} {name!r} was made {count} times and asked for by nobody")
    return found


def duplicates(evidence: Evidence) -> int:
    """Return how many effects too many there are: pull requests, branches and comments."""
    done = Counter(
        (write.what, write.name)
        for write in evidence.writes
        if write.what in {"pull", "branch", "comment"}
    )
    return sum(count - 1 for count in done.values())


def late_writes(evidence: Evidence) -> tuple[Write, ...]:
    """Return writes under a lease by a lane after another had taken the role: each is harmless.

    Only labels are written under a lease; effects under an order need none.
    """
    late = []
    for write in evidence.writes:
        if write.what != "label":
            continue
        before = [taken for taken in evidence.taken if taken.at_s <= write.at_s]
        holder = max(before, key=lambda taken: taken.epoch, default=None)
        if holder is not None and holder.lane != write.lane:
            late.append(write)
    return tuple(late)


def longest_silence(polls: Iterable[Poll], from_s: float, until_s: float) -> float:
    """Return the longest time (s) without a poll by any lane between two moments.

    Counted from the last poll before `from_s`, so a poll interval is part of it.
    """
    times = sorted(poll.at_s for poll in polls)
    before = [at for at in times if at <= from_s]
    start_s = before[-1] if before else from_s
    stops = [start_s, *(at for at in times if from_s < at < until_s), until_s]
    return max(later - earlier for earlier, later in itertools.pairwise(stops))
