"""Each request has one home on the forge: a comment that follows its state (C1)."""

from __future__ import annotations

from collections.abc import Callable

from allegro.core.authority.actions.forge import MirrorRequest, RepositoryRef
from allegro.core.base.timestamps import rfc3339
from allegro.core.base.untrusted import MAX_NAME, whole_number
from allegro.core.effects.render import fence
from allegro.core.protocol.answers import PinnedRepository, Place
from allegro.core.protocol.queries import AskRepository
from allegro.core.requests.lifecycle import State
from allegro.core.requests.requests import Request
from allegro.core.settings import RequestSettings
from allegro.house.ports import Ask
from allegro.house.requests.newest_state import Homes, ItemPorts
from allegro.house.requests.proposals import asked
from allegro.house.requests.requests import Requests

_LOST = frozenset({State.EXPIRED, State.WITHDRAWN, State.FAILED, State.STALE})
_SHOWN = frozenset(
    {
        State.PROPOSED,
        State.DONE,
        State.FAILED,
        State.CONFLICT,
        State.STALE,
        State.EXPIRED,
        State.WITHDRAWN,
        State.REJECTED,
    }
)


class Mirror:
    """Asks for a mirror whenever a request that needs Timmy begins or ends."""

    def __init__(
        self,
        requests: Requests,
        settings: RequestSettings,
        ask: Ask,
        kick: Callable[[], None],
        ports: ItemPorts,
    ) -> None:
        self._requests = requests
        self._settings = settings
        self._ask = ask
        self._kick = kick
        self._homes = Homes("mirror", self._show, ports)
        requests.on_change(self._changed)

    @property
    def waiting(self) -> int:
        """How many requests are not shown yet as they are."""
        return self._homes.waiting

    def _changed(self, request: Request) -> None:
        if self._settings.mirror and _is_shown(request):
            self._homes.put(request.id)

    async def run(self) -> None:
        """Keep homes up to date. A forge that cannot be asked now is asked again later."""
        if not self._settings.mirror:
            return
        for request in self._requests.all():
            self._changed(request)
        await self._homes.run()

    async def _show(self, id_: str) -> None:
        request = self._requests.find_exact(id_)
        if request is None or not _is_shown(request):
            return
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
        newest = self._requests.newest_mirror(request.id)
        if newest is None or newest.state in _LOST:
            return False
        action = self._requests.work(newest).action
        return isinstance(action, MirrorRequest) and action.body == body

    def _home(self, request: Request) -> tuple[str, int] | None:
        issue = getattr(self._requests.work(request).action, "issue", 0)
        if issue:
            return request.repository, issue
        return issue_named(request.document.context) or issue_named(self._settings.home)


def _is_shown(request: Request) -> bool:
    return not request.internal and request.needs_approval and request.state in _SHOWN


async def where(ask: Ask, place: str, number: int) -> tuple[Place, str]:
    """Ask a lane which repository and forge an issue is on. Raises EdgeError."""
    query = AskRepository(repository=place, number=number)
    world = await asked(ask, query, PinnedRepository)
    return world.repository, world.forge


def issue_named(text: str) -> tuple[str, int] | None:
    """Read `owner/name#12`; None for anything else."""
    name, _, digits = text.partition("#")
    number = whole_number(digits)
    if not number or name.count("/") != 1 or len(name) > MAX_NAME or not name.isprintable():
        return None
    return name, number


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
