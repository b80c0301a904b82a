"""Marks new issues as seen, under the lease, within the action cap (G7, G11)."""

from __future__ import annotations

from typing import TypedDict

import msgspec
import structlog

from allegro.core.authority.actions.families import action_bytes, action_digest
from allegro.core.authority.actions.forge import MarkSeen, RepositoryRef
from allegro.core.authority.gate import Permit, judge_leased, may_write
from allegro.core.authority.lease import holds
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.effects.findings import WriteStep
from allegro.core.forge.issues import STATUS_SCOPE, Issue, Repository, issue_subject
from allegro.core.forge.triage import TriageRule, triage
from allegro.core.ports import Dress
from allegro.core.protocol.payloads.actions import (
    ActionIntent,
    ShadowEffect,
    TriageDone,
    TriageRefused,
)
from allegro.lane.context import Context
from allegro.runtime.consumer import as_edge_error

_log = structlog.get_logger()
ROLE = "forge"
LEASE_LEFT_S = 1.0
MAX_WAITING = 5_000


class _About(TypedDict):
    """What each event of one mark says of it."""

    digest: str
    kind: str
    repository: int
    number: int


class Waiting(msgspec.Struct, frozen=True):
    """A new issue that has no label of ours yet, and the watch that found it."""

    watch: str
    repo: Repository
    issue: Issue


class Triage:
    """One label an issue, harmless when done twice. Gives up nothing: what fails comes again.

    What is left to do waits in a queue of at most `MAX_WAITING`, oldest first, so that nothing is
    read twice to be found again. `overflowed`: it had no room, and what it left out is to be
    offered again.
    """

    def __init__(self, ctx: Context, bots: frozenset[int]) -> None:
        """`bots` are the ids of the fleet's own users."""
        self._reader = ctx.ports.reader
        self._writer = ctx.ports.writer
        self._recorder = ctx.recorder
        self._state = ctx.state
        self._settings = ctx.settings.forge
        self._clock = ctx.ports.clock
        self._dice = ctx.ports.dice
        self.bots = bots
        self._queue: dict[str, Waiting] = {}
        self._done: dict[str, frozenset[str]] = {}
        self.overflowed = False

    def offered_again(self) -> None:
        """Note that what the queue had no room for is offered again at the next poll."""
        self.overflowed = False

    def may_act(self) -> bool:
        """Whether labels may be set now: switched on, lease held, not frozen, the house's label."""
        lease = self._state.acting_lease(ROLE)
        situation = self._state.situation()
        return (
            self._settings.triage
            and holds(lease, situation.boot_s)
            and (situation.freezes.is_thawed and not situation.safe_mode)
            and self._state.home_label.allows(self._settings.triage_label)
        )

    def waiting(self, watch: str = "") -> int:
        """Return how many issues wait for their label, of one watch or of all."""
        if not watch:
            return len(self._queue)
        return sum(one.watch == watch for one in self._queue.values())

    def offer(self, watch: str, repo: Repository, issue: Issue, *, since_s: int) -> None:
        """Queue an issue that is new and has no label of ours; forget one that needs none."""
        subject = issue_subject(self._state.forge, repo.id, issue.number)
        if not self._settings.triage or subject in self._done:
            return
        if triage(issue, TriageRule(since_s, self.bots, self._settings.triage_label)) is None:
            self._queue.pop(subject, None)
        elif subject in self._queue or len(self._queue) < MAX_WAITING:
            slim = msgspec.structs.replace(issue, title="", body="")
            self._queue[subject] = Waiting(watch, repo, slim)
        else:
            self.overflowed = True

    async def work(self) -> bool:
        """Label what waits, at most `actions_per_cycle`; return whether more can be done at once.

        Never raises EdgeError but the journal's: what failed comes again in a later cycle, and
        its repository rests in this one.
        """
        if not self.may_act():
            return False
        left, resting = self._settings.actions_per_cycle, set[int]()
        before = len(self._queue)
        for subject, one in list(self._queue.items()):
            if left <= 0:
                break
            if one.repo.id in resting:
                continue
            left -= 1
            if not await self._consider(subject, one):
                resting.add(one.repo.id)
        return len(self._queue) < before and bool(self._queue)

    async def _consider(self, subject: str, one: Waiting) -> bool:
        """Label one issue; return whether its repository takes labels."""
        labels = triage(one.issue, TriageRule(0, self.bots, self._settings.triage_label))
        if labels is None:
            self._queue.pop(subject, None)
            return True
        action = MarkSeen(
            id=self._dice.token(16).hex(),
            forge=self._state.forge,
            repository=RepositoryRef(one.repo.id, one.repo.name),
            issue=one.issue.number,
            label=labels.label,
            status=labels.status,
        )
        try:
            work = self._mark(subject, one.issue, one.repo, action)
            await as_edge_error("triage", subject, work)
        except EdgeError as error:
            _log.warning("triage.failed", subject=subject, error=str(error))
            if error.kind == "journal_full":
                raise
            if error.transient and error.kind != "bug":
                return False
            await self._give_up(subject, error)
        return subject not in self._queue

    def own_labels(self, subject: str) -> frozenset[str]:
        """Return the labels that this lane itself set on an issue under its lease."""
        return self._done.get(subject, frozenset())

    def _finish(self, subject: str, labels: frozenset[str] = frozenset()) -> None:
        self._queue.pop(subject, None)
        self._done[subject] = labels
        while len(self._done) > MAX_WAITING:
            self._done.pop(next(iter(self._done)))

    def _has_time(self, permit: Permit) -> bool:
        """Whether the lease is held a little longer. A label that ends after it is harmless."""
        return may_write(permit, self._state.situation(), needs_s=LEASE_LEFT_S) is None

    async def _give_up(self, subject: str, error: EdgeError) -> None:
        """Tell once that the forge will not let us label this issue, and leave it alone."""
        self._finish(subject)
        await self._recorder.tell(
            TriageRefused(status=error.status), subject=subject, words=str(error)
        )

    async def _mark(self, subject: str, issue: Issue, repo: Repository, action: MarkSeen) -> None:
        digest = action_digest(action_bytes(action))
        about = _About(digest=digest, kind="mark_seen", repository=repo.id, number=issue.number)
        if self._settings.shadow:
            self._finish(subject)
            await self._recorder.tell(ShadowEffect(**about), subject=subject, words=action)
            return
        lease = self._state.acting_lease(ROLE)
        permit = judge_leased(action, lease, self._state.situation())
        if isinstance(permit, Refusal) or not self._has_time(permit):
            return
        await self._recorder.tell(ActionIntent(**about), subject=subject)
        if not self._has_time(permit):
            return
        await self._writer.perform(permit, WriteStep.LABEL, Dress("", ""), 0)
        seen = await self._reader.issue(repo, issue.number)
        wanted = {action.label} | ({STATUS_SCOPE + action.status} if action.status else set())
        if seen is None or not wanted <= set(seen.labels):
            return
        self._finish(subject, frozenset(wanted))
        forge_now_s = self._clock.now_s() - (self._state.forge_offset_s or 0.0)
        took_s = max(0.0, forge_now_s - issue.created_s)
        done = TriageDone(**about, took_s=round(took_s, 3))
        await self._recorder.tell(done, subject=subject)
        self._state.did(f"marked #{issue.number} as seen")
