"""Audits the daily token at start and hourly, and keeps the verdicts where the gate reads them."""

from __future__ import annotations

import structlog

from allegro.core.errors import EdgeError, ToldError
from allegro.core.issues import Repository
from allegro.core.ports import Clock, ForgeReader
from allegro.core.settings import ForgeSettings
from allegro.lane.audit import Audit, audit_repository, judge_identity
from allegro.lane.recorder import Recorder
from allegro.lane.state import LaneState
from allegro.lane.status import Status

_log = structlog.get_logger()


class TokenRefused(ToldError):
    """The lane must not run with this token; the message says what to do."""


class Auditor:
    """`bots` are the ids of the fleet's own users, known after the first audit."""

    def __init__(
        self,
        reader: ForgeReader,
        recorder: Recorder,
        state: LaneState,
        status: Status,
        settings: ForgeSettings,
        clock: Clock,
    ) -> None:
        self._reader = reader
        self._recorder = recorder
        self._state = state
        self._status = status
        self._settings = settings
        self._clock = clock
        self.bots: frozenset[int] = frozenset()

    async def run(self) -> None:
        """Audit every `audit_s`. Raises TokenRefused; a forge that fails is asked again later."""
        while True:
            await self._clock.sleep(self._settings.audit_s)
            try:
                await self.audit()
            except EdgeError as error:
                _log.warning("audit.failed", error=str(error))

    async def audit(self) -> None:
        """Audit once. An administrator's or a forbidden user's token stops the program (G9)."""
        self.bots = await bot_ids(self._reader, self._settings.bots)
        identity = await self._reader.whoami()
        refusal = judge_identity(identity, self.bots, self._settings.forbidden_users)
        if refusal is not None:
            raise TokenRefused(f"the daily token cannot be used: {refusal}")
        audits: list[Audit] = []
        for repo in await watched(self._reader, self._settings.watch):
            audits.append(
                await audit_repository(
                    self._reader, repo, identity, self._settings.accept_unprotected
                )
            )
            against = audits[-1].against
            if against is None:
                self._state.refused_repositories.pop(repo.id, None)
            else:
                self._state.refused_repositories[repo.id] = against
        self._status.audits, self._status.audited_s = tuple(audits), self._clock.now_s()
        data = {
            "repositories": len(audits),
            "comment_only": sum(audit.against is not None for audit in audits),
            "bots": sorted(self.bots),
        }
        await self._recorder.tell("audit.done", data=data)


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


async def watched(reader: ForgeReader, names: tuple[str, ...]) -> list[Repository]:
    """Return every repository that is watched, by itself or through its organisation."""
    found: list[Repository] = []
    for name in names:
        try:
            if name.startswith("org:"):
                found += await reader.organisation_repositories(name.removeprefix("org:"))
            elif (repo := await reader.repository(name)) is not None:
                found.append(repo)
        except EdgeError as error:
            if error.transient:
                raise
            _log.warning("audit.not_there", watch=name, error=str(error))
    return found
