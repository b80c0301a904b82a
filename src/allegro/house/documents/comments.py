"""The one comment of a document: asked for at its newest wording, made once, edited in place.

An order of the house is enough for it (`mirror_request` of the policy table). Its marker is computed
from the document's name, so that every lane finds the comment that another one made.
"""

from __future__ import annotations

from collections.abc import Callable

from allegro.core.authority.actions.forge import MirrorRequest, RepositoryRef
from allegro.core.base.untrusted import MAX_NAME, whole_number
from allegro.core.protocol.answers.forge import PinnedRepository, Place
from allegro.core.protocol.queries import AskRepository
from allegro.core.requests.lifecycle import State
from allegro.core.requests.requests import Request
from allegro.core.stores import Ledger
from allegro.house.ports import Ask
from allegro.house.requests.proposals import asked
from allegro.house.requests.requests import Requests

Home = tuple[str, int]
"""owner/name of a repository, and the number of an issue in it."""

_LOST = frozenset({State.EXPIRED, State.WITHDRAWN, State.FAILED, State.STALE})
_SINCE = "reports since"


class Comments:
    """Asks for comments. What is written, and how often it is tried, is the orders' business."""

    def __init__(self, requests: Requests, ask: Ask, wake: Callable[[], None]) -> None:
        self._requests = requests
        self._ask = ask
        self._wake = wake

    def newest(self, name: str) -> Request | None:
        """Return the newest request for this document's comment that may still come to something.

        None also where it was settled so long ago that it left memory.
        """
        found = self.last(name)
        return None if found is None or found.state in _LOST else found

    def last(self, name: str) -> Request | None:
        """Return the newest request for this document's comment, whatever became of it."""
        return self._requests.newest_mirror(name)

    def is_shown_since(self, name: str, at_s: float) -> bool:
        """Say whether this document's comment was asked for after `at_s` (Unix seconds)."""
        found = self.newest(name)
        return found is not None and found.created_s > at_s

    async def show(self, name: str, home: Home, text: Callable[[bool], str]) -> None:
        """Ask for the comment, unless its newest version says this already.

        `text` makes the words for a repository that is private, or not. Raises EdgeError: transient
        where no lane or forge can be asked now.
        """
        place, number = home
        repo, forge = await where(self._ask, place, number)
        action = MirrorRequest(
            id=self._requests.new_id(),
            forge=forge,
            repository=RepositoryRef(repo.id, repo.name),
            issue=number,
            request=name,
            body=text(repo.private),
        )
        if self._says(name, action.body):
            return
        await self._requests.propose_mirror(action, repo.name)
        self._wake()

    def _says(self, name: str, body: str) -> bool:
        newest = self.newest(name)
        if newest is None:
            return False
        action = self._requests.work(newest).action
        return isinstance(action, MirrorRequest) and action.body == body


async def where(ask: Ask, place: str, number: int) -> tuple[Place, str]:
    """Ask a lane which repository and forge an issue is on. Raises EdgeError."""
    query = AskRepository(repository=place, number=number)
    world = await asked(ask, query, PinnedRepository)
    return world.repository, world.forge


def issue_named(text: str) -> Home | None:
    """Read `owner/name#12`; None for anything else."""
    name, _, digits = text.partition("#")
    number = whole_number(digits)
    if not number or name.count("/") != 1 or len(name) > MAX_NAME or not name.isprintable():
        return None
    return name, number


def home_of(requests: Requests, request: Request, otherwise: str) -> Home | None:
    """Return the issue where a request was asked for; None where it was asked for in none.

    That is the issue it is about, the one its program named, or `otherwise` (`owner/name#12`).
    """
    issue = getattr(requests.work(request).action, "issue", 0)
    if issue:
        return request.repository, issue
    return issue_named(request.document.context) or issue_named(otherwise)


async def reports_since(ledger: Ledger, now_s: float) -> float:
    """Return since when this house leaves reports (Unix seconds): its first start with them.

    What ended before is left as it is, so that a new release does not report weeks at once. Raises
    EdgeError of the ledger.
    """
    held = await ledger.strings(_SINCE)
    since_s = whole_number(held[0]) if held else None
    if since_s is None:
        since_s = int(now_s)
        await ledger.set_strings(_SINCE, (str(since_s),))
    return float(since_s)
