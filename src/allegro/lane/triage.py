"""Marks new issues as seen, under the lease, within the action cap (G7, G11)."""

from __future__ import annotations

import structlog

from allegro.core.actions import MarkSeen, RepositoryRef, action_bytes, action_digest
from allegro.core.errors import EdgeError, Refusal
from allegro.core.gate import Permit, judge_leased, may_write
from allegro.core.issues import STATUS_SCOPE, Issue, Repository, issue_subject
from allegro.core.lease import holds
from allegro.core.look import WriteStep
from allegro.core.ports import Clock, Dice, Dress, ForgeReader, ForgeWriter
from allegro.core.settings import ForgeSettings
from allegro.core.triage import TriageRule, triage
from allegro.lane.recorder import Recorder
from allegro.lane.state import LaneState

_log = structlog.get_logger()
ROLE = "forge"
LEASE_LEFT_S = 1.0


class Triage:
    """One label an issue, harmless when done twice. Gives up nothing: what fails comes again."""

    def __init__(
        self,
        reader: ForgeReader,
        writer: ForgeWriter,
        recorder: Recorder,
        state: LaneState,
        settings: ForgeSettings,
        clock: Clock,
        dice: Dice,
        bots: frozenset[int],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._recorder = recorder
        self._state = state
        self._settings = settings
        self._clock = clock
        self._dice = dice
        self._bots = bots
        self._left = 0
        self._done: set[str] = set()

    def new_cycle(self) -> None:
        """Start counting writes anew: `actions_per_cycle` for each poll."""
        self._left = self._settings.actions_per_cycle

    def may_act(self) -> bool:
        """Whether labels may be set now: switched on, lease held, not frozen."""
        lease = self._state.acting_lease(ROLE)
        situation = self._state.situation()
        return (
            self._settings.triage
            and holds(lease, situation.boot_s)
            and (situation.freezes.is_thawed and not situation.safe_mode)
        )

    async def consider(self, repo: Repository, issue: Issue, *, since_s: int) -> bool:
        """Label an issue if it is new and nobody did.

        Returns whether nothing is left to do about it. Never raises EdgeError: what failed, or
        was over the cap, comes again.
        """
        subject = issue_subject(self._state.forge, repo.id, issue.number)
        if subject in self._done:
            return True
        rule = TriageRule(since_s, self._bots, self._settings.triage_label)
        labels = triage(issue, rule)
        if labels is None:
            return True
        if self._left <= 0:
            return False
        action = MarkSeen(
            id=self._dice.token(16).hex(),
            forge=self._state.forge,
            repository=RepositoryRef(repo.id, repo.name),
            issue=issue.number,
            label=labels.label,
            status=labels.status,
        )
        self._left -= 1
        try:
            await self._mark(subject, issue, repo, action)
        except EdgeError as error:
            _log.warning("triage.failed", subject=subject, error=str(error))
            if not error.transient:
                await self._give_up(subject, error)
        return subject in self._done

    def _has_time(self, permit: Permit) -> bool:
        """Whether the lease is held a little longer. A label that ends after it is harmless."""
        return may_write(permit, self._state.situation(), needs_s=LEASE_LEFT_S) is None

    async def _give_up(self, subject: str, error: EdgeError) -> None:
        """Tell once that the forge will not let us label this issue, and leave it alone."""
        self._done.add(subject)
        await self._recorder.tell(
            "triage.refused", subject=subject, data={"status": error.status}, words=str(error)
        )

    async def _mark(self, subject: str, issue: Issue, repo: Repository, action: MarkSeen) -> None:
        digest = action_digest(action_bytes(action))
        data = {
            "digest": digest,
            "kind": "mark_seen",
            "repository": repo.id,
            "number": issue.number,
        }
        if self._settings.shadow:
            self._done.add(subject)
            await self._recorder.tell("shadow.effect", subject=subject, data=data, words=action)
            return
        lease = self._state.acting_lease(ROLE)
        permit = judge_leased(action, lease, self._state.situation())
        if isinstance(permit, Refusal) or not self._has_time(permit):
            return
        await self._recorder.tell("action.intent", subject=subject, data=data)
        if not self._has_time(permit):
            return
        await self._writer.perform(permit, WriteStep.LABEL, Dress("", ""), 0)
        seen = await self._reader.issue(repo, issue.number)
        wanted = {action.label} | ({STATUS_SCOPE + action.status} if action.status else set())
        if seen is None or not wanted <= set(seen.labels):
            return
        self._done.add(subject)
        took_s = max(0.0, self._clock.now_s() - issue.created_s)
        await self._recorder.tell(
            "triage.done", subject=subject, data={**data, "took_s": round(took_s, 3)}
        )
        self._state.did(f"marked #{issue.number} as seen")
