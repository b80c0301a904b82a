"""Matches what polls show under our bots' names to what was ordered; nobody's is P0 (G13)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog

from allegro.core.authority.freeze import Freeze
from allegro.core.base.untrusted import text_of
from allegro.core.effects.matching import (
    Altered,
    BotWrite,
    Doubled,
    Matched,
    Receipt,
    Unmatched,
    Waiting,
    judge,
)
from allegro.core.effects.receipts import branch_at
from allegro.core.effects.render import one_line
from allegro.core.health import codes
from allegro.core.health.alerts import RaiseAlert, sentence_of
from allegro.core.health.codes import Code
from allegro.core.protocol.payloads.base import Payload
from allegro.core.protocol.payloads.fleet import EffectDoubled
from allegro.core.protocol.payloads.polls import (
    AuditDone,
    ForgeMark,
    Snapshot,
    SnapshotBranch,
    SnapshotComment,
    SnapshotIssue,
    SnapshotLabel,
    SnapshotPull,
    SnapshotRepository,
)
from allegro.core.requests.lifecycle import MAY_WRITE
from allegro.core.requests.ordering import given_to
from allegro.house.archive.events import ArchivedEvent
from allegro.house.files import Fleet
from allegro.house.ports import Ports
from allegro.house.requests.bots import MAX_BOTS, Bots
from allegro.house.requests.forge_clocks import ForgeClocks
from allegro.house.requests.ordered_effects import Names, OrderedEffects
from allegro.house.requests.requests import Requests
from allegro.runtime.consumer import nothing_to_settle

_log = structlog.get_logger()
MAX_COUNTED_S = 30.0  # a longer pause between two looks was a sleeping machine
MOST_NAMED = 5
_UNEDITED_S = 2


class Watched(msgspec.Struct, frozen=True):
    """Whose writes are matched, and what follows from one that was not ordered.

    `fleet` is the fleet's record as it is now, `names` how polls show what our orders make,
    `freeze` stops the fleet for what this lane showed, `own` makes an event of the house itself
    from (type, data, subject). `settle` returns once what was raised is on disk.
    """

    fleet: Callable[[], Fleet]
    names: Names
    freeze: Callable[[Freeze, str], Awaitable[Any]]
    alarm: RaiseAlert
    own: Callable[[Payload, str], bytes]
    settle: Callable[[], Awaitable[None]] = nothing_to_settle

    def revoked(self) -> frozenset[str]:
        """Return the names of the lanes whose word is void: each key of that name is revoked."""
        lanes = self.fleet().lanes
        return frozenset(one.name for one in lanes if one.revoked) - {
            one.name for one in lanes if not one.revoked
        }


class BotWrites:
    """Keeps the writes that wait for a receipt, within a share for each lane."""

    def __init__(self, ports: Ports, requests: Requests, watched: Watched) -> None:
        self._archive, self._ledger = ports.archive, ports.ledger
        self._clock, self._dice = ports.clock, ports.dice
        self._requests = requests
        self._began_s, self._names = watched.fleet().began_s, watched.names
        self._freeze, self._alarm = watched.freeze, watched.alarm
        self._own, self._settle = watched.own, watched.settle
        self._bots = Bots(ports.ledger, watched.revoked)
        self._clocks = ForgeClocks(ports.ledger)
        self._ordered = OrderedEffects(requests, watched.names, self._clocks)
        self._waited_s: dict[str, float] = {}
        self._matched_s: float | None = None
        self._flooding: set[str] = set()

    async def resume(self) -> None:
        """Take up what the ledger keeps: whose writes are ours, and the forge's clock."""
        await self._bots.resume()
        await self._clocks.resume()

    async def hear_clock(self, event: ArchivedEvent, mark: ForgeMark) -> None:
        """Take up the forge's time that a lane tells with its mark. Raises EdgeError."""
        forge_s = mark.date_s or mark.forge_s
        if forge_s:
            await self._clocks.hear(event.lane, forge_s, event.at_s)

    async def learn(self, audit: AuditDone, lane: str) -> None:
        """Take up which users are our bots; more than MAX_BOTS are not believed."""
        later, left = await self._bots.learn(lane, set(audit.bots[: 4 * MAX_BOTS]))
        if left:
            self._alarm(codes.BOTS_TOO_MANY, lane, lane)
        if later:
            ids = ", ".join(map(str, later[:MOST_NAMED]))
            more = f" and {len(later) - MOST_NAMED} more" if len(later) > MOST_NAMED else ""
            self._alarm(codes.BOTS, f"{ids}{more}", lane)

    async def note(self, event: ArchivedEvent) -> None:
        """Keep the write of one of our bots that a snapshot shows, until it is matched."""
        write = bot_write(event, self._bots.ids, self._began_s)
        branch = event.payload if isinstance(event.payload, SnapshotBranch) else None
        if write is None or (branch is not None and self._ordered.is_commit(write, branch)):
            return
        if isinstance(await self._judge(write, write.seen_s, lambda _: False), Matched):
            return
        if await self._ledger.is_foreign(write):
            return  # reported and frozen before
        if branch is not None and 0 < branch.created_s < self._began_s:
            await self._ledger.drop_bot_writes([], [write])
            self._alarm(codes.WRITE_TOO_OLD, _named(write), write.lane)
            return
        if await self._ledger.add_bot_write(write) or event.lane in self._flooding:
            return
        self._flooding.add(event.lane)
        await self._stop(codes.WRITE_FLOOD, event.lane, event.lane)

    async def match(self, *, is_linked: bool, is_home: Callable[[str], bool]) -> bool:
        """Match what waits; say whether anything still does.

        `is_home` says whether all that a lane told is archived. Only time spent awake and linked
        counts towards the grace.
        """
        await self._bots.forget_revoked()
        passed_s = self._linked_since_last_s(is_linked)
        writes = await self._ledger.bot_writes()
        if not is_linked or not writes:
            return bool(writes)
        settled: list[BotWrite] = []
        foreign: list[BotWrite] = []
        for write in writes:
            held_s = self._waited_s.get(write.event)
            waited_s = 0.0 if held_s is None else held_s + passed_s
            self._waited_s[write.event] = waited_s
            verdict = await self._judge(write, write.seen_s + waited_s, is_home)
            if isinstance(verdict, Waiting):
                continue
            self._waited_s.pop(write.event, None)
            settled.append(write)
            if isinstance(verdict, Altered | Unmatched) and await self._ordered.settle(write):
                continue
            if isinstance(verdict, Altered):
                self._alarm(codes.WRITE_ALTERED, _named(write), write.lane)
            if isinstance(verdict, Doubled):
                await self._note_doubled(write, verdict.of)
            is_new = not any(_same(write, one) for one in foreign)
            is_foreign = isinstance(verdict, Unmatched) and is_new
            if is_foreign and not await self._ledger.is_foreign(write):
                foreign.append(write)
        await self._tell_foreign(foreign)
        await self._ledger.drop_bot_writes([write.event for write in settled], foreign)
        self._flooding &= {write.lane for write in writes}
        return len(settled) < len(writes)

    async def _judge(
        self, write: BotWrite, now_s: float, is_home: Callable[[str], bool]
    ) -> Matched | Altered | Doubled | Waiting | Unmatched:
        if write.kind == "branch" and not write.fresh and self._ordered.may_be_branch(write):
            return Matched()
        receipts = await self._ledger.receipts_for(write.target)
        may_come = self._ordered.may_come_of(write)
        lanes = {lane for request in may_come for lane in given_to(request).values()}
        return judge(
            write,
            map(self._names.shown, receipts),
            open_order=any(request.state in MAY_WRITE for request in may_come),
            journals_home=all(map(is_home, lanes)),
            now_s=now_s,
            leased=self._names.leased,
            ahead_s=self._clocks.ahead_s(write.lane),
        )

    async def _tell_foreign(self, foreign: list[BotWrite]) -> None:
        """Alert for each write, freeze once for each lane that showed some."""
        by_lane: dict[str, list[BotWrite]] = {}
        for write in foreign:
            by_lane.setdefault(write.lane, []).append(write)
        for lane, writes in by_lane.items():
            for write in writes[1:MOST_NAMED]:
                self._alarm(codes.WRITE_FOREIGN, _named(write), lane, more="")
            more = f", and {len(writes) - 1} more" if len(writes) > 1 else ""
            hint = _OWN_LABEL if any(write.kind == "label" for write in writes) else ""
            named = _named(writes[0])
            await self._stop(codes.WRITE_FOREIGN, named, lane, more=f"{more}{hint}")
        await self._settle()

    async def _stop(self, code: Code, subject: str, lane: str, **values: object) -> None:
        """Alert, and freeze the fleet with the alert's sentence as the reason."""
        self._alarm(code, subject, lane, **values)
        reason = sentence_of(code, subject, lane, values)
        id_ = self._dice.token(8).hex()
        await self._freeze(Freeze(id_, self._clock.now_s(), "house", reason), lane)

    async def _note_doubled(self, write: BotWrite, of: Receipt) -> None:
        """Tell of a second copy of an effect of ours, and know it from now on (G10)."""
        payload = EffectDoubled(
            kind=write.kind, target=write.target, artifact=write.artifact, also=of.artifact
        )
        await self._archive.add([self._own(payload, "")], self._clock.now_s())
        self._alarm(codes.WRITE_DOUBLED, _named(write), write.lane, others=of.artifact)
        copy = msgspec.structs.replace(of, artifact=write.artifact)
        await self._ledger.save(receipts=(copy,))

    def _linked_since_last_s(self, is_linked: bool) -> float:
        """Return the seconds since the last match, 0 where the link was down then or is now."""
        boot_s, last_s = self._clock.boot_s(), self._matched_s
        self._matched_s = boot_s if is_linked else None
        if last_s is None or self._matched_s is None:
            return 0.0
        return min(boot_s - last_s, MAX_COUNTED_S)


_OWN_LABEL = "; if it is the lane's triage label, set forge.triage_label of house.toml to it"


def _same(one: BotWrite, other: BotWrite) -> bool:
    """Whether two lanes show the same write: it is reported, and freezes, once."""
    return _key(one) == _key(other)


def _key(write: BotWrite) -> tuple[str, str, int, str]:
    return write.kind, write.target, write.artifact, write.content


def _named(write: BotWrite) -> str:
    what = write.kind if write.kind in {"label", "branch"} else f"{write.kind} {write.artifact}"
    return f"{what} on {one_line(write.target, 120)}"


def bot_write(event: ArchivedEvent, bots: frozenset[int], began_s: float) -> BotWrite | None:
    """Return the write of one of our bots that a snapshot shows, None when it shows none.

    What was there before this fleet began is not looked at. A branch whose pusher the forge does
    not tell is not looked at either.
    """
    seen = event.payload
    if not isinstance(seen, Snapshot) or isinstance(seen, SnapshotRepository):
        return None
    found = _write_of(seen, event.envelope.subject, bots, began_s - 60)
    if found is None:
        return None
    kind, target, artifact, content = found
    return BotWrite(
        event=f"{event.row} {event.envelope.id}"[:220],
        kind=kind,
        target=target,
        artifact=artifact,
        content=content[:300],
        seen_s=event.at_s,
        lane=event.lane,
        fresh=seen.held is not None
        if isinstance(seen, SnapshotBranch)
        else 0 < seen.updated_s <= seen.created_s + _UNEDITED_S,
    )


def _write_of(
    seen: Snapshot, subject: str, bots: frozenset[int], since_s: float
) -> tuple[str, str, int, str] | None:
    """Return kind, target, artifact and content."""
    repository = subject.split("#", 1)[0].split("/comment/", 1)[0].split("/branch/", 1)[0]
    match seen:
        case SnapshotBranch() if seen.author_id in bots:
            return "branch", repository, 0, branch_at(text_of(seen.branch, 64), seen.content[:300])
        case SnapshotIssue() if seen.closed_by in bots and seen.closed_s >= since_s:
            return "close", f"{repository}#{seen.number}", seen.closed_s, ""
        case SnapshotBranch() | SnapshotRepository():
            return None
    if not (seen.author_id in bots and seen.created_s >= since_s):
        return None
    target = f"{repository}#{seen.number}"
    match seen:
        case SnapshotComment():
            return "comment", target, seen.comment, seen.content
        case SnapshotPull():
            return "pull_request", repository, seen.number, seen.content
        case SnapshotLabel():
            return "label", target, seen.created_s, seen.content
        case SnapshotIssue():  # a pull request shows as forge.snapshot.pull
            return None if seen.is_pull else ("issue", target, seen.number, "")
