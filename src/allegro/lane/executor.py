"""Carries out one permit: look, intent, write, look, receipt (S8).

Nothing is written without a look before and an intent on disk; nothing is reported done that was
not looked at; whatever the forge did not clearly answer is unknown and left to the house.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from allegro.core.actions import (
    Action,
    CreatePullRequest,
    ProposeChange,
    kind_of,
    of_forge,
)
from allegro.core.errors import EdgeError, Refusal
from allegro.core.gate import Permit, Situation, may_write
from allegro.core.issues import Repository, issue_subject, repository_subject
from allegro.core.look import Absent, Conflict, Finding, Present, Stale
from allegro.core.ports import Clock, Dress, ForgeReader, ForgeWriter
from allegro.core.render import effect_words
from allegro.lane.audit import audit_repository, judge_identity
from allegro.lane.looking import Looking
from allegro.lane.recorder import Recorder

_log = structlog.get_logger()
MAX_STEPS = 8
SHOW_S = 12.0
SHOW_AFTER_NO_S = 1.0
RELOOK_S = 0.4

Outcome = tuple[str, dict[str, Any], Any]
"""(event type, clear data, words)."""


class Executor:
    """`situation` is asked anew before every write."""

    def __init__(
        self,
        reader: ForgeReader,
        writer: ForgeWriter,
        recorder: Recorder,
        clock: Clock,
        situation: Callable[[], Situation],
        *,
        bots: frozenset[int],
        forbidden: tuple[str, ...],
        accepted: tuple[str, ...],
        write_s: float,
        shadow: bool,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._recorder = recorder
        self._clock = clock
        self._situation = situation
        self._looking = Looking(reader, bots)
        self._bots = bots
        self._forbidden = forbidden
        self._accepted = accepted
        self._write_s = write_s
        self._shadow = shadow
        self._busy: set[str] = set()

    @property
    def looking(self) -> Looking:
        return self._looking

    async def carry_out(self, permit: Permit, dress: Dress) -> None:
        """See a permit to its end and journal what came of it.

        Raises EdgeError only when the journal refuses; then nothing more is written.
        """
        if permit.digest in self._busy:
            await self._tell(permit, ("action.void", {"reason": "busy"}, None))
            return
        self._busy.add(permit.digest)
        try:
            outcome = await self._carry_out(permit, dress)
        finally:
            self._busy.discard(permit.digest)
        await self._tell(permit, outcome)

    async def _carry_out(self, permit: Permit, dress: Dress) -> Outcome:
        try:
            repo = await self._reader.repository_by_id(of_forge(permit.action).repository.id)
        except EdgeError as error:
            return "action.void", {"reason": "cannot_look"}, str(error)
        if repo is None:
            return (
                "action.failed",
                {"reason": "no_repository"},
                "gone, or our token may not read it",
            )
        wrote = False
        for _ in range(MAX_STEPS):
            try:
                finding = await self._looking.look(repo, of_forge(permit.action), dress)
            except EdgeError as error:
                return self._cannot_look(error, wrote)
            if not isinstance(finding, Absent):
                return self._settled(permit, finding, dress)
            outcome = None if wrote else await self._against(permit.action, repo, dress)
            outcome = outcome or await self._write(permit, finding, repo, dress)
            if outcome is not None:
                return outcome
            wrote = True
        return (
            "action.failed",
            {"reason": "no_progress"},
            "the forge took our writes without effect",
        )

    async def _against(self, action: Action, repo: Repository, dress: Dress) -> Outcome | None:
        """Check repository and change token before the first write (G9). None when all is well."""
        try:
            refusal = await self._refusal(action, repo, dress)
        except EdgeError as error:
            if error.transient:
                return "action.void", {"reason": "cannot_audit"}, str(error)
            return "action.failed", {"reason": error.kind or "cannot_audit"}, str(error)
        if refusal is None:
            return None
        return "action.failed", {"reason": refusal.reason}, refusal.detail

    async def _refusal(self, action: Action, repo: Repository, dress: Dress) -> Refusal | None:
        if repo.archived:
            return Refusal("archived", "the repository is archived")
        if not isinstance(action, ProposeChange | CreatePullRequest):
            return None
        if dress.change_token is None:
            return Refusal("no_change_token", "set forge.change_token_file at the house")
        identity = await self._reader.whoami(dress.change_token)
        refusal = judge_identity(identity, self._bots, self._forbidden)
        if refusal is not None:
            return refusal
        audit = await audit_repository(
            self._reader, repo, identity, self._accepted, dress.change_token
        )
        return None if audit.against is None else Refusal("repository_refused", audit.against)

    async def _write(
        self, permit: Permit, absent: Absent, repo: Repository, dress: Dress
    ) -> Outcome | None:
        """Send one write and wait until it shows. None when the next look can go on."""
        refusal = may_write(permit, self._situation(), needs_s=self._write_s)
        if refusal is not None:
            return "action.void", {"reason": refusal.reason}, refusal.detail
        step = {"step": absent.step.value}
        if self._shadow:
            return "action.failed", {"reason": "shadow", **step}, "shadow mode writes nothing"
        await self._tell(permit, ("action.intent", step, None))
        refusal = may_write(permit, self._situation(), needs_s=self._write_s)
        if refusal is not None:
            return "action.void", {"reason": refusal.reason}, refusal.detail
        try:
            await self._writer.perform(permit, absent.step, dress, absent.target)
        except EdgeError as error:
            return await self._after_error(permit, absent, repo, dress, error)
        if await self._shows(permit, absent, repo, dress):
            return None
        return "action.unknown", {"reason": "does_not_show", **step}, None

    async def _after_error(
        self, permit: Permit, absent: Absent, repo: Repository, dress: Dress, error: EdgeError
    ) -> Outcome | None:
        _log.warning("effect.failed", step=absent.step.value, error=str(error))
        if not error.sent:
            return "action.void", {"reason": "not_sent"}, str(error)
        if not error.transient:
            exists = error.kind in {"conflict", "validation"}  # or so the forge may mean
            if exists and await self._shows(permit, absent, repo, dress, SHOW_AFTER_NO_S):
                return None
            return "action.failed", {"reason": error.kind or "refused"}, str(error)
        if await self._shows(permit, absent, repo, dress):
            return None
        step = {"step": absent.step.value, "status": error.status}
        return "action.unknown", {"reason": "no_clear_answer", **step}, str(error)

    async def _shows(
        self,
        permit: Permit,
        absent: Absent,
        repo: Repository,
        dress: Dress,
        show_s: float = SHOW_S,
    ) -> bool:
        """Look until the step is no longer the next one, for `show_s` seconds at most."""
        until_s = self._clock.boot_s() + show_s
        while True:
            try:
                finding = await self._looking.look(repo, of_forge(permit.action), dress)
                if not (isinstance(finding, Absent) and finding.step is absent.step):
                    return True
            except EdgeError as error:
                _log.info("look.failed", error=str(error))
            if not self._clock.boot_s() < until_s:
                return False
            await self._clock.sleep(RELOOK_S)

    def _cannot_look(self, error: EdgeError, wrote: bool) -> Outcome:
        if wrote:
            return "action.unknown", {"reason": "cannot_look"}, str(error)
        return "action.void", {"reason": "cannot_look"}, str(error)

    def _settled(self, permit: Permit, finding: Finding, dress: Dress) -> Outcome:
        match finding:
            case Present():
                data: dict[str, Any] = {"artifact": finding.number, "commit": finding.commit}
                if finding.others:
                    data["others"] = list(finding.others)
                words = effect_words(permit.action, dress.marker)
                if words:
                    data["content"] = self._recorder.content(words)
                return "action.receipt", data, {"url": finding.url, "branch": dress.branch}
            case Conflict():
                return "action.conflict", {}, finding.reason
            case Stale():
                return "action.stale", {}, finding.reason
            case _:
                raise AssertionError("an absent effect is not settled")

    async def _tell(self, permit: Permit, outcome: Outcome) -> None:
        type_, data, words = outcome
        action = of_forge(permit.action)
        number = getattr(action, "issue", 0)
        repository = action.repository.id
        subject = (
            issue_subject(action.forge, repository, number)
            if number
            else repository_subject(action.forge, repository)
        )
        clear = {
            "digest": permit.digest, "order": permit.order_number, "kind": kind_of(action),
            "repository": repository, "number": number, **data,
        }  # fmt: skip
        await self._recorder.tell(type_, subject=subject, data=clear, words=words)
