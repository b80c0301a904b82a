"""Carries out one permit on the forge: look, intent, write, look, receipt.

Invariant: for each single write, in this order: a look found it absent; an intent is committed to
the journal; the gate was asked again (`may_write`) after that commit; one write was sent, with the
content of the permit's action; and `action.receipt` is journalled only after a look found the
whole effect present, by one of our users and equal in everything that was approved. Whatever the
forge did not answer clearly is `action.unknown` and left to the house, which alone may order again.

Order of one permit: find the repository by id; look; where anything is absent, audit repository and
change token; then step by step (branch, commit, pull request; or one comment, label or close) until
a look finds the effect present, in conflict or stale. At most `MAX_STEPS` writes.

How it ends: `action.receipt` done; `action.void` not done, the house may order it again;
`action.failed` not done, and not to be tried again; `action.unknown` it may have been done;
`action.conflict` something else stands in its place, and nobody acts; `action.stale` what it rests
on has moved.

Must never happen: a write without an intent on disk or after the permit ran out; *done* because of
a 2xx answer alone; a second attempt at a write of unknown outcome (only labels, which are the same
when set twice, are repeated, `MAX_REPEATS` intents at most); two runs of one digest at the same
time; a clean-up (a branch that a failed order leaves behind is named in the report and stays); a
write in shadow mode.

Sources: docs/adr/0005-look-before-and-after.md, docs/adr/0008-comment-only-until-protected.md,
docs/adr/0025-abort-abandoned-writes-at-the-socket.md, docs/adr/0029-shadow-mode-ends-an-order.md;
docs/forge.md ("When the forge says no, or nothing"). RFC 9110 sections 9.2.2 (POST is not
idempotent), 10.2.3 (Retry-After), 15.5.9 (408) and 15.6.4 (503). Gitea (from 1.21) and Forgejo
(from 7) have no idempotency key and answer 409 or 422 where something already exists.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from allegro.core.authority.actions.families import kind_of
from allegro.core.authority.actions.forge import (
    CreatePullRequest,
    ForgeAction,
    ProposeChange,
    of_forge,
)
from allegro.core.authority.gate import Permit, Situation, may_write
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.effects.findings import Absent, Conflict, Finding, Present, Stale, WriteStep
from allegro.core.effects.outcomes import REPEATABLE, Said, said_by
from allegro.core.effects.preview import would_write
from allegro.core.effects.render import effect_words, one_line
from allegro.core.forge.issues import Repository, issue_subject, repository_subject
from allegro.core.forge.token_audit import judge_identity
from allegro.core.ports import Clock, Dress, ForgeReader, ForgeWriter
from allegro.core.protocol.payloads.actions import (
    Act,
    ActionConflict,
    ActionFailed,
    ActionIntent,
    ActionReceipt,
    ActionShadowed,
    ActionStale,
    ActionUnknown,
    ActionVoid,
)
from allegro.lane.context.recorder import Recorder
from allegro.lane.effects.effect_reader import Look, Looking
from allegro.lane.repository.audit import audit_repository

_log = structlog.get_logger()
MAX_STEPS = 8
MAX_REPEATS = 3
SHOW_S = 12.0
SHOW_AFTER_NO_S = 1.0
RELOOK_S = 0.4


class Outcome(msgspec.Struct, frozen=True):
    """How an order ended: what is told in clear, and words for the house alone."""

    payload: Act
    words: Any = None


class _Effect:
    """One order on its way."""

    def __init__(self, permit: Permit, dress: Dress) -> None:
        self.permit = permit
        self.dress = dress
        self.action: ForgeAction = of_forge(permit.action)
        self.intents: list[WriteStep] = []


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for every order of this lane.

    `bots` are the ids of the fleet's own users, `forbidden` logins whose token writes nothing,
    `accepted` repositories that are written to although their default branch is open to us.
    `write_s` is how long one write may take; in `shadow` nothing is written at all.
    """

    bots: frozenset[int]
    forbidden: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    write_s: float
    shadow: bool = False


class Executor:
    """Carries out permits, several digests at once.

    `situation` is asked anew before every write. `bots` are the forge's user ids that count as
    ours; `forbidden` are user names that a token may never belong to; `accepted` the repositories
    whose missing protection the operator accepted by name. `write_s` is how long one write may
    take (seconds); `shadow` reports what would be written and writes nothing.
    """

    def __init__(
        self,
        forge: tuple[ForgeReader, ForgeWriter],
        recorder: Recorder,
        clock: Clock,
        situation: Callable[[], Situation],
        rules: Rules,
    ) -> None:
        self._reader, self._writer = forge
        self._recorder = recorder
        self._clock = clock
        self._situation = situation
        self.rules = rules
        self._looking = Looking(self._reader, rules.bots)
        self._under_way: dict[str, _Effect] = {}

    @property
    def looking(self) -> Looking:
        return self._looking

    async def carry_out(self, permit: Permit, dress: Dress) -> None:
        """See a permit to its end and journal what came of it.

        Raises EdgeError only when the journal refuses; then nothing more is written. Any other error
        is a bug: the caller tells it with `set_aside`.
        """
        if permit.digest in self._under_way:
            await self._tell(permit, Outcome(ActionVoid(reason="busy")))
            return
        effect = self._under_way[permit.digest] = _Effect(permit, dress)
        try:
            outcome = await self._carry_out(effect)
            await self._tell(permit, outcome)
        except EdgeError:
            self._under_way.pop(permit.digest)
            raise
        self._under_way.pop(permit.digest)

    async def set_aside(self, permit: Permit, error: BaseException) -> None:
        """Tell of an order that a bug ended: in doubt where an intent was written, else void.

        Raises EdgeError when the journal refuses.
        """
        effect = self._under_way.pop(permit.digest, None)
        in_doubt = effect is not None and effect.intents
        payload = ActionUnknown(reason="bug") if in_doubt else ActionVoid(reason="bug")
        words = f"a fault in the lane ended it: {one_line(repr(error))}"
        await self._tell(permit, Outcome(payload, words))

    async def _carry_out(self, effect: _Effect) -> Outcome:
        try:
            repo = await self._reader.repository_by_id(effect.action.repository.id)
            if repo is None:
                words = "gone, or our token may not read it"
                return Outcome(ActionFailed(reason="no_repository"), words)
            look = self._looking.begin(repo, effect.action, effect.dress)
            finding = await look.now()
        except EdgeError as error:
            return Outcome(_void("cannot_look", error), str(error))
        if isinstance(finding, Absent):
            refused = await self._against(effect, repo)
            if refused is not None:
                return refused
        for _ in range(MAX_STEPS):
            if not isinstance(finding, Absent):
                return self._settled(effect, finding)
            after = await self._write(effect, look, finding)
            if isinstance(after, Outcome):
                return after
            finding = after
        words = "the forge took our writes without effect"
        return Outcome(ActionFailed(reason="no_progress"), _named(effect, words))

    async def _against(self, effect: _Effect, repo: Repository) -> Outcome | None:
        """Check repository and change token before the first write (G9). None when all is well."""
        try:
            refusal = await self._refusal(effect, repo)
        except EdgeError as error:
            if error.transient:
                return Outcome(_void("cannot_audit", error), str(error))
            return Outcome(ActionFailed(reason=error.kind or "cannot_audit"), str(error))
        if refusal is None:
            return None
        return Outcome(ActionFailed(reason=refusal.reason), refusal.detail)

    async def _refusal(self, effect: _Effect, repo: Repository) -> Refusal | None:
        if repo.archived:
            return Refusal("archived", "the repository is archived")
        if not isinstance(effect.action, ProposeChange | CreatePullRequest):
            return None
        token = effect.dress.change_token
        if token is None:
            return Refusal("no_change_token", "set forge.change_token_file at the house")
        identity = await self._reader.whoami(token, scopes=False)
        refusal = judge_identity(identity, self.rules.bots, self.rules.forbidden)
        if refusal is not None:
            return refusal
        audit = await audit_repository(self._reader, repo, identity, self.rules.accepted, token)
        return None if audit.against is None else Refusal("repository_refused", audit.against)

    async def _write(self, effect: _Effect, look: Look, absent: Absent) -> Outcome | Finding:
        """Send one write; return what a look finds once it shows, or how the order ended."""
        refusal = self._may_not(effect)
        if refusal is not None:
            return refusal
        if self.rules.shadow:
            return await self._show_shadow(effect, absent)
        await self._tell(effect.permit, Outcome(ActionIntent(step=absent.step.value)))
        effect.intents.append(absent.step)
        refusal = self._may_not(effect)
        if refusal is not None:
            return refusal
        try:
            await self._writer.perform(effect.permit, absent.step, effect.dress, absent.target)
        except EdgeError as error:
            return await self._after_error(effect, look, absent, error)
        with contextlib.suppress(EdgeError):  # not one look was answered
            found = await self._shown(effect, look, absent, SHOW_S)
            if found is not None:
                return found
        payload = ActionUnknown(reason="does_not_show", step=absent.step.value)
        return Outcome(payload, _named(effect, "the forge does not show it"))

    def _may_not(self, effect: _Effect, *, after_s: float = 0.0) -> Outcome | None:
        needs_s = after_s + self.rules.write_s
        refusal = may_write(effect.permit, self._situation(), needs_s=needs_s)
        if refusal is None:
            return None
        return Outcome(ActionVoid(reason=refusal.reason), refusal.detail)

    async def _show_shadow(self, effect: _Effect, absent: Absent) -> Outcome:
        """Tell what would be written, and end the order without a write (G12)."""
        dress = effect.dress
        steps = would_write(effect.action, absent, branch=dress.branch, marker=dress.marker)
        intent = ActionIntent(step=absent.step.value, shadow=True)
        await self._tell(effect.permit, Outcome(intent))
        shadowed = ActionShadowed(
            steps=tuple(step.step for step in steps), content=self._content(effect)
        )
        await self._tell(effect.permit, Outcome(shadowed, steps))
        words = (
            "shadow mode: nothing was written to the forge; `action.shadowed` shows what would be"
        )
        return Outcome(ActionFailed(reason="shadow"), words)

    async def _after_error(
        self, effect: _Effect, look: Look, absent: Absent, error: EdgeError
    ) -> Outcome | Finding:
        """End or go on after a write that was not answered with yes.

        Whatever the forge said, a look decides whether it is there: a short one after a clear no.
        Where no look was answered either, a clear no is none.
        """
        _log.warning("effect.failed", step=absent.step.value, error=str(error))
        said = said_by(error)
        if said is Said.NOT_SENT:
            return Outcome(_void("not_sent", error), _named(effect, str(error)))
        show_s = {Said.NOTHING: SHOW_S, Said.EXISTS: SHOW_AFTER_NO_S}.get(said, 0.0)
        try:
            found = await self._shown(effect, look, absent, show_s)
        except EdgeError:
            found, said = None, said if said is Said.NOT_NOW else Said.NOTHING
        if found is not None and (found != absent or said is Said.NOTHING):
            return found
        if said is Said.NOT_NOW:
            return await self._wait(effect, look, error)
        words = _named(effect, str(error))
        if said is Said.NOTHING:
            unknown = ActionUnknown(
                reason="no_clear_answer", step=absent.step.value, status=error.status
            )
            return Outcome(unknown, words)
        return Outcome(ActionFailed(reason=error.kind or "refused"), words)

    async def _wait(self, effect: _Effect, look: Look, error: EdgeError) -> Outcome | Finding:
        """Wait as long as the forge asks where the order lasts so long; else it was not done."""
        after_s = error.retry_after_s
        if after_s is not None and self._may_not(effect, after_s=after_s) is None:
            await self._clock.sleep(after_s)
            try:
                return await look.now()
            except EdgeError as again:
                error = again
        return Outcome(_void(error.kind or "refused", error), _named(effect, str(error)))

    async def _shown(
        self, effect: _Effect, look: Look, absent: Absent, show_s: float
    ) -> Finding | None:
        """Look until the step is no longer the next one; None after `show_s` seconds.

        What may be written twice is not waited for, a few times: it is given back to be written.
        Raises the last EdgeError where not one look was answered.
        """
        until_s = self._clock.boot_s() + show_s
        again = absent.step in REPEATABLE and effect.intents.count(absent.step) < MAX_REPEATS
        looks = 0
        while True:
            try:
                finding = await look.now()
                looks += 1
                shows = not (isinstance(finding, Absent) and finding.step is absent.step)
                if shows or (again and looks > 1):
                    return finding
            except EdgeError as error:
                _log.info("look.failed", error=str(error))
                if not looks and not self._clock.boot_s() < until_s:
                    raise
            if not self._clock.boot_s() < until_s:
                return None
            await self._clock.sleep(RELOOK_S)

    def _settled(self, effect: _Effect, finding: Finding) -> Outcome:
        match finding:
            case Present():
                receipt = ActionReceipt(
                    artifact=finding.number,
                    commit=finding.commit,
                    others=finding.others,
                    content=self._content(effect),
                )
                return Outcome(receipt, {"url": finding.url, "branch": effect.dress.branch})
            case Conflict():
                return Outcome(ActionConflict(), _named(effect, finding.reason))
            case Stale():
                return Outcome(ActionStale(), _named(effect, finding.reason))
            case _:
                raise AssertionError("an absent effect is not settled")

    def _content(self, effect: _Effect) -> str:
        """Return the keyed name of the text an action writes, empty where it writes none."""
        words = effect_words(effect.action, effect.dress.marker)
        return self._recorder.content(words) if words else ""

    async def _tell(self, permit: Permit, outcome: Outcome) -> None:
        action = of_forge(permit.action)
        number = getattr(action, "issue", 0)
        repository = action.repository.id
        subject = (
            issue_subject(action.forge, repository, number)
            if number
            else repository_subject(action.forge, repository)
        )
        payload = msgspec.structs.replace(
            outcome.payload,
            digest=permit.digest,
            order=permit.order_number,
            kind=kind_of(action),
            repository=repository,
            number=number,
        )
        await self._recorder.tell(payload, subject=subject, words=outcome.words)


def _void(reason: str, error: EdgeError) -> ActionVoid:
    """Return that nothing was written, with how long the forge asked to be left alone."""
    return ActionVoid(reason=reason, retry_after_s=error.retry_after_s)


def _named(effect: _Effect, words: str) -> str:
    """Add the branch that this order made, which nobody here may delete."""
    if WriteStep.BRANCH not in effect.intents:
        return words
    return f"{words}. The branch {effect.dress.branch} may be left on the forge: delete it there"
