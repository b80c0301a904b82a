"""Each request has one home on the forge: a comment that follows its state (C1)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from allegro.core.actions import MirrorRequest, RepositoryRef
from allegro.core.errors import EdgeError
from allegro.core.issues import Repository
from allegro.core.lifecycle import State
from allegro.core.ports import Clock
from allegro.core.render import fence
from allegro.core.requests import Request, parsed
from allegro.core.settings import RequestSettings
from allegro.core.timestamps import rfc3339
from allegro.house.proposals import Ask
from allegro.house.requests import Requests

_log = structlog.get_logger()
_LOST = frozenset({State.EXPIRED, State.WITHDRAWN, State.FAILED, State.STALE})
_SHOWN = frozenset(
    {State.PROPOSED, State.DONE, State.FAILED, State.CONFLICT, State.STALE, State.EXPIRED,
     State.WITHDRAWN, State.REJECTED}
)  # fmt: skip


class Mirror:
    """Asks for a mirror whenever a request that needs Timmy begins or ends."""

    def __init__(
        self, requests: Requests, settings: RequestSettings, ask: Ask, clock: Clock,
        kick: Callable[[], None],
    ) -> None:  # fmt: skip
        self._requests = requests
        self._settings = settings
        self._ask = ask
        self._clock = clock
        self._kick = kick
        self._queue: asyncio.Queue[Request] = asyncio.Queue()
        requests.on_change(self._changed)

    def _changed(self, request: Request) -> None:
        if request.internal or not request.needs_approval or request.state not in _SHOWN:
            return
        self._queue.put_nowait(request)

    async def run(self) -> None:
        """Keep homes up to date. A forge that cannot be asked now is asked again later."""
        if not self._settings.mirror:
            return
        for request in self._requests.all():
            self._changed(request)
        while True:
            request = await self._queue.get()
            try:
                await self._mirror(request)
            except EdgeError as error:
                _log.info("mirror.postponed", request=request.id, error=str(error))
                if error.transient:
                    await self._clock.sleep(2.0)
                    self._queue.put_nowait(request)

    async def _mirror(self, request: Request) -> None:
        home = self._home(request)
        if home is None:
            return
        place, number = home
        repo, forge = await where(self._ask, place, number)
        action = MirrorRequest(
            id=self._requests.new_id(),
            forge=forge,
            repository=RepositoryRef(repo.id, repo.name),
            issue=number,
            request=request.id,
            body=mirror_text(request, private=repo.private),
        )
        if self._is_mirrored(request, action.body):
            return
        await self._requests.propose_mirror(action, repo.name)
        self._kick()

    def _is_mirrored(self, request: Request, body: str) -> bool:
        """Whether the newest mirror that was asked for says this already."""
        mirrors = [r for r in self._requests.all() if r.internal and _mirrors(r, request)]
        newest = max(mirrors, key=lambda mirror: mirror.created_s, default=None)
        if newest is None or newest.state in _LOST:
            return False
        action = parsed(newest)
        return isinstance(action, MirrorRequest) and action.body == body

    def _home(self, request: Request) -> tuple[str, int] | None:
        issue = getattr(parsed(request), "issue", 0)
        if issue:
            return request.repository, issue
        name, _, number = request.document.context.partition("#")
        if number.isdigit() and name.count("/") == 1:
            return name, int(number)
        name, _, number = self._settings.home.partition("#")
        return (name, int(number)) if number.isdigit() else None


async def where(ask: Ask, place: str, number: int) -> tuple[Repository, str]:
    """Ask a lane which repository and forge an issue is on. Raises EdgeError."""
    world = await ask("pin_repository", {"repository": place, "number": number})
    try:
        repo = msgspec.convert(world["repository"], Repository)
        return repo, msgspec.convert(world["forge"], str)
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise EdgeError("the lane's answer cannot be read", transient=False) from error


def _mirrors(older: Request, request: Request) -> bool:
    action = parsed(older)
    return isinstance(action, MirrorRequest) and action.request == request.id


def mirror_text(request: Request, *, private: bool) -> str:
    """Return the words of a request's home. On a public repository: id, type, urgency, age only."""
    document = request.document
    lines = [
        f"**Request `{request.id}`** · {document.type} · {document.urgency} · {request.state.value}",
        f"since {rfc3339(document.created_s)}",
    ]
    if private:
        lines += [
            "",
            fence(document.question),
            f"kind `{request.kind}` · digest `{request.digest[:16]}` · default: do nothing",
        ]
        if request.url:
            lines.append(f"outcome: pull request or comment {request.artifact}")
        if request.detail and request.is_final:
            lines.append(fence(request.detail, limit=500))
    if not request.is_final:
        lines += ["", "Answers are given at the house; a comment here is no approval."]
    return "\n".join(lines)
