"""Audits the daily token at start, hourly and when it changes; keeps the verdicts for the gate."""

from __future__ import annotations

import asyncio

import structlog

from allegro.core.base.backoff import LONGEST_WAIT_S, REPOSITORY, TOKEN
from allegro.core.base.errors import EdgeError, Refusal, UserError
from allegro.core.forge.issues import Repository
from allegro.core.forge.token_audit import Audit, Identity, judge_identity, judge_login
from allegro.core.health.facts import Fact
from allegro.core.ports import ForgeReader
from allegro.core.protocol.payloads.polls import AuditDone
from allegro.lane.context import Context
from allegro.lane.repository.audit import audit_repository
from allegro.lane.tokens.daily import DailyToken
from allegro.lane.tokens.facts import identity_facts, protection_facts
from allegro.runtime.consumer import as_edge_error

_log = structlog.get_logger()
GIVE_UP = 3
_WHOLE_FORGE = {"waiting", "token_not_audited", "secret"}


class TokenRefused(UserError):
    """The lane must not run with this token; the message says what to do."""


class Auditor:
    """`bots` are the ids of the fleet's own users, `audits` the newest verdicts: both are empty before
    the first audit.

    Each repository is audited for itself: one that does not answer stays comment-only until it
    does, and holds up nothing.
    """

    def __init__(
        self,
        ctx: Context,
        token: DailyToken,
    ) -> None:
        self._reader = ctx.ports.reader
        self._recorder = ctx.recorder
        self._state = ctx.state
        self._settings = ctx.settings.forge
        self._clock = ctx.ports.clock
        self._dice = ctx.ports.dice
        self._token = token
        self._left_out = 0
        self._incomplete = 0
        self._identity: Identity | None = None
        self._audited_s = 0.0
        self.audits: tuple[Audit, ...] = ()
        self.bots: frozenset[int] = frozenset()

    async def run(self) -> None:
        """Audit every `audit_s`, and at once when the token's file changed.

        What was left out is asked again sooner. Raises TokenRefused; a forge that fails is asked
        again later.
        """
        failures = 0
        while True:
            await self._until_due(failures)
            try:
                await self.audit()
                failures = 0
            except EdgeError as error:
                self._token.not_audited(str(error))
                _log.warning("audit.failed", error=str(error))
                delay_s = TOKEN.delay_s(failures, self._dice.fraction)
                failures += 1
                asked_s = min(error.retry_after_s or 0.0, LONGEST_WAIT_S)
                await self._clock.sleep(max(delay_s, asked_s))

    async def audit(self) -> None:
        """Audit once. An administrator's or a forbidden user's token stops the program (G9).

        The token is asked whose it is before anything else is sent with it. Raises EdgeError.
        """
        await as_edge_error("audit", "the daily token", self._audit())

    async def _audit(self) -> None:
        text = self._token.text()
        identity = await self._reader.whoami(text)
        self._check(judge_login(identity, self._settings.bots, self._settings.forbidden_users))
        self._token.accept(text)
        self.bots = await bot_ids(self._reader, self._settings.bots)
        self._check(judge_identity(identity, self.bots, self._settings.forbidden_users))
        self._left_out = 0
        audits = await self._repositories(identity)
        self._incomplete = self._incomplete + 1 if self._left_out else 0
        self._identity = identity
        self.audits, self._audited_s = tuple(audits), self._clock.now_s()
        payload = AuditDone(
            repositories=len(audits),
            comment_only=sum(audit.against is not None for audit in audits),
            bots=tuple(sorted(self.bots)),
        )
        await self._recorder.tell(payload)
        self._state.audited(self.bots)

    def facts(self) -> list[Fact]:
        """Return what the newest audit found, for `doctor`; nothing before the first."""
        if self._identity is None:
            return []
        return [
            *identity_facts(self._identity, self._settings.watch, self._audited_s),
            *protection_facts(self.audits, self._audited_s),
        ]

    def _check(self, refusal: Refusal | None) -> None:
        if refusal is not None:
            raise TokenRefused(f"the daily token cannot be used: {refusal}")

    async def _until_due(self, failures: int) -> None:
        pause_s = self._settings.audit_s
        if failures:  # so far nothing of this audit counts
            pause_s = min(pause_s, REPOSITORY.delay_s(failures, self._dice.fraction))
        elif self._incomplete:
            soon_s = 30.0 + REPOSITORY.delay_s(self._incomplete, self._dice.fraction)
            pause_s = min(pause_s, soon_s)
        waits = {
            asyncio.ensure_future(self._clock.sleep(pause_s)),
            asyncio.ensure_future(self._token.changed.wait()),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _repositories(self, identity: Identity) -> list[Audit]:
        """Audit every watched repository. Raises EdgeError where the whole forge does not answer."""
        audits: list[Audit] = []
        in_a_row = 0
        for name in self._settings.watch:
            try:
                found = await watched(self._reader, name)
            except EdgeError as error:
                self._note(name, error)
                continue
            for repo in found:
                audit, failed = await self._repository(repo, identity)
                audits.append(audit)
                in_a_row = in_a_row + 1 if failed else 0
                if failed and in_a_row >= GIVE_UP and failed.kind == "connection":
                    raise failed
        return audits

    async def _repository(
        self, repo: Repository, identity: Identity
    ) -> tuple[Audit, EdgeError | None]:
        failed: EdgeError | None = None
        try:
            audit = await audit_repository(
                self._reader, repo, identity, self._settings.accept_unprotected
            )
        except EdgeError as error:
            self._note(repo.name, error)
            failed, against = error, f"not audited yet, tried again by itself: {error}"
            audit = Audit(identity, repo.name, repo.default_branch, None, None, against)
        self._state.repository_audited(repo.id, audit.against)
        return audit, failed

    def _note(self, name: str, error: EdgeError) -> None:
        if error.kind in _WHOLE_FORGE:
            raise error
        self._left_out += 1
        _log.warning("audit.left_out", watch=name, error=str(error))


async def bot_ids(reader: ForgeReader, logins: tuple[str, ...]) -> frozenset[int]:
    """Return the ids of the fleet's users. Raises EdgeError when the forge knows one not."""
    ids = set()
    for login in logins:
        id_ = await reader.user_id(login)
        if id_ is None:
            raise EdgeError(
                f"forge.bots names {login!r}, whom the forge does not know",
                transient=True,
                kind="not_found",
            )
        ids.add(id_)
    return frozenset(ids)


async def watched(reader: ForgeReader, name: str) -> tuple[Repository, ...]:
    """Return the repositories of one watch. Raises EdgeError where they cannot be read."""
    if name.startswith("org:"):
        return await reader.organisation_repositories(name.removeprefix("org:"))
    repo = await reader.repository(name)
    if repo is None:
        raise EdgeError(
            f"{name}: not there, or the daily token may not read it",
            transient=False,
            kind="not_found",
        )
    return (repo,)
