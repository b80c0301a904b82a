"""One comment on an issue follows a session: mechanical facts only, no word of a model (H8)."""

from __future__ import annotations

from collections.abc import Callable

from allegro.core.authority.actions.agent import MODEL_NAME
from allegro.core.authority.actions.forge import MirrorRequest, RepositoryRef
from allegro.core.base.errors import EdgeError
from allegro.core.stores import SessionRecord
from allegro.house.agent.sessions import Sessions
from allegro.house.ports import Ask
from allegro.house.requests.mirror import issue_named, where
from allegro.house.requests.newest_state import Homes, ItemPorts
from allegro.house.requests.requests import Requests


class Progress:
    """Keeps the comment of each session that names an issue at its newest state."""

    def __init__(
        self,
        sessions: Sessions,
        requests: Requests,
        ask: Ask,
        kick: Callable[[], None],
        ports: ItemPorts,
    ) -> None:
        self._requests = requests
        self._ask = ask
        self._kick = kick
        self._homes = Homes("progress", self._show, ports)
        self._shown: dict[str, str] = {}
        self._newest: dict[str, SessionRecord] = {}
        sessions.on_change(self._changed)

    def _changed(self, record: SessionRecord) -> None:
        if record.issue and self._shown.get(record.id) != record.state:
            self._shown[record.id] = record.state
            self._newest[record.id] = record
            self._homes.put(record.id)

    async def run(self) -> None:
        """Show states as they come; a forge that cannot be asked now is asked again."""
        await self._homes.run()

    async def _show(self, id_: str) -> None:
        record = self._newest[id_]
        named = issue_named(record.issue)
        if named is None:
            raise EdgeError(f"{record.issue[:100]!r} names no issue", transient=False)
        place, number = named
        repo, forge = await where(self._ask, place, number)
        action = MirrorRequest(
            id=self._requests.new_id(),
            forge=forge,
            repository=RepositoryRef(repo.id, repo.name),
            issue=number,
            request=record.id,
            body=progress_text(record),
        )
        await self._requests.propose_mirror(action, repo.name)
        self._kick()
        if record.end and self._newest.get(id_) is record:
            del self._newest[id_], self._shown[id_]


def progress_text(record: SessionRecord) -> str:
    """Return the facts of a session as its comment shows them."""
    lines = [f"**Session `{record.id}`** · {record.end or record.state}"]
    named = bool(MODEL_NAME.fullmatch(record.model))  # a lane's word, and shown to everybody
    facts = [f"model `{record.model}`" if named else "", f"on lane `{record.lane}`"]
    if record.end:
        if record.duration_s is not None:
            facts.append(f"{record.duration_s:.0f} s")
        facts += [f"{record.tokens} tokens", f"{record.tools} tool calls"]
    lines.append(" · ".join(filter(None, facts)))
    if record.state == "waiting":
        lines += ["", "It waits for an answer at the house; a comment here is no answer."]
    return "\n".join(lines)
