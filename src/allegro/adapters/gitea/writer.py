"""The ForgeWriter port: the only code that changes a forge, and only by a permit's action."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from allegro.adapters.gitea import wire
from allegro.adapters.gitea.http import Answer, GiteaHttp, decode
from allegro.adapters.gitea.listing import every
from allegro.adapters.gitea.reader import GiteaReader
from allegro.core.authority.actions.forge import (
    CloseIssue,
    CommentOnIssue,
    CreatePullRequest,
    MarkSeen,
    MirrorRequest,
    ProposeChange,
    RepositoryRef,
    UpdateStatus,
    of_forge,
)
from allegro.core.authority.gate import Permit
from allegro.core.base.errors import EdgeError
from allegro.core.base.timestamps import rfc3339
from allegro.core.effects.findings import WriteStep
from allegro.core.effects.render import rendered_body
from allegro.core.forge.issues import STATUS_SCOPE, Repository, is_status
from allegro.core.ports import Dress

_COLOURS = {
    "pending": "#d4c5f9",
    "ready": "#0e8a16",
    "in-progress": "#1d76db",
    "blocked": "#b60205",
    "review": "#fbca04",
    "done": "#006b75",
    "failed": "#e11d21",
}
_SEEN_COLOUR = "#c5def5"

LATELY_S = 2.0
LABEL_KNOWN_S = 60.0
MAX_LABELS_KNOWN = 10_000

T = TypeVar("T")


class GiteaWriter:
    """Carries out single steps. What is sent is computed here from the permit's action."""

    def __init__(self, http: GiteaHttp, reader: GiteaReader, now_s: Callable[[], float]) -> None:
        self._http = http
        self._reader = reader
        self._now_s = now_s
        self._seen_at: dict[int, tuple[float, Repository]] = {}
        self._label_ids: dict[tuple[int, str], tuple[float, int]] = {}

    async def perform(self, permit: Permit, step: WriteStep, dress: Dress, target: int) -> None:
        """Send the write of one step.

        Raises EdgeError; `sent` is false only when surely nothing left us. An answer that says
        "it exists already" is `conflict` or `validation`: what is there is judged by looking.
        """
        action = of_forge(permit.action)
        keyed = isinstance(action, ProposeChange) and step is not WriteStep.BRANCH
        repo = (
            await self._where_lately(action.repository)
            if isinstance(action, MarkSeen)
            else await self._where(action.repository, keyed=keyed)
        )
        match action, step:
            case ProposeChange(), WriteStep.BRANCH:
                await self._make_branch(repo, action, dress)
            case ProposeChange(), WriteStep.COMMIT:
                await self._commit(repo, action, dress)
            case ProposeChange() | CreatePullRequest(), WriteStep.PULL:
                await self._open_pull(repo, action, dress)
            case CommentOnIssue() | MirrorRequest(), WriteStep.COMMENT:
                body = {"body": rendered_body(action, dress.marker)}
                await self._send("POST", repo, f"/issues/{action.issue}/comments", body)
            case MirrorRequest(), WriteStep.EDIT:
                body = {"body": rendered_body(action, dress.marker)}
                await self._send("PATCH", repo, f"/issues/comments/{target}", body)
            case UpdateStatus(), WriteStep.LABEL:
                await self._label(repo, action.issue, [STATUS_SCOPE + action.status])
            case MarkSeen(), WriteStep.LABEL:
                names = [action.label]
                if action.status is not None:
                    names.append(STATUS_SCOPE + action.status)
                await self._mark(repo, action.issue, names)
            case CloseIssue(), WriteStep.CLOSE:
                await self._send("PATCH", repo, f"/issues/{action.issue}", {"state": "closed"})
            case _:
                raise EdgeError(f"no such step: {step}", transient=False, sent=False)

    async def _where(self, ref: RepositoryRef, *, keyed: bool) -> Repository:
        """Ask for the repository's name now: an old one may be another repository's.

        A `keyed` write names a branch of ours, which no other repository has: for it a name that was
        asked for a moment ago is good enough.
        """
        if keyed and self._reader.is_fresh(ref.id):
            return Repository(ref.id, self._reader.name_of(ref.id, ref.name))
        repo = await _before_write(self._reader.repository_by_id(ref.id))
        if repo is None:
            raise EdgeError("the repository is gone", transient=False, sent=False, kind="not_found")
        return repo

    async def _where_lately(self, ref: RepositoryRef) -> Repository:
        """Return what was asked for within `LATELY_S`: new issues are marked many at a time."""
        asked_s, repo = self._seen_at.get(ref.id, (float("-inf"), None))
        if repo is None or _loop_s() - asked_s > LATELY_S:
            repo = await self._where(ref, keyed=False)
            self._seen_at = {ref.id: (_loop_s(), repo)}
        return repo

    async def _mark(self, repo: Repository, issue: int, names: list[str]) -> None:
        """Add labels whose ids may be known from a moment ago.

        The forge ignores an id that is no label any more; then the ids are asked for again.
        """
        for _ in range(2):
            ids = [await _before_write(self._known_label_id(repo, name)) for name in names]
            path = f"/issues/{issue}/labels"
            answer = await self._send("POST", repo, path, {"labels": ids})
            held = decode(answer, wire.nullable(wire.Label), path) or []
            if set(names) <= {label.name for label in held}:
                return
            self._label_ids.clear()

    async def _known_label_id(self, repo: Repository, name: str) -> int:
        asked_s, id_ = self._label_ids.get((repo.id, name), (float("-inf"), 0))
        if _loop_s() - asked_s > LABEL_KNOWN_S:
            id_ = await self._label_id(repo, name)
            if len(self._label_ids) > MAX_LABELS_KNOWN:
                self._label_ids.clear()
            self._label_ids[repo.id, name] = _loop_s(), id_
        return id_

    async def _make_branch(self, repo: Repository, action: ProposeChange, dress: Dress) -> None:
        body = {"new_branch_name": dress.branch, "old_ref_name": action.base_commit}
        await self._send("POST", repo, "/branches", body, dress.change_token)

    async def _commit(self, repo: Repository, action: ProposeChange, dress: Dress) -> None:
        files = []
        for change in action.files:
            file = {"operation": change.operation, "path": change.path}
            if change.content is not None:
                file["content"] = change.content
            if change.before is not None:
                file["sha"] = change.before
            files.append(file)
        # without dates some Gitea versions write commits of the year 2001
        at = rfc3339(self._now_s())
        dates = {"author": at, "committer": at}
        body = {"branch": dress.branch, "message": action.title, "files": files, "dates": dates}
        await self._send("POST", repo, "/contents", body, dress.change_token)

    async def _open_pull(
        self, repo: Repository, action: ProposeChange | CreatePullRequest, dress: Dress
    ) -> None:
        body = {
            "base": action.base,
            "head": dress.branch if isinstance(action, ProposeChange) else action.head,
            "title": action.title,
            "body": rendered_body(action, dress.marker),
        }
        await self._send("POST", repo, "/pulls", body, dress.change_token)

    async def _label(self, repo: Repository, issue: int, names: list[str]) -> None:
        """Add labels, and take other status labels away that stand beside ours.

        What the forge answers to the addition is what stood right after it. Only where ours is among
        it are others taken away, and none that came later: so an issue never ends without a status.
        """
        ids = [await _before_write(self._label_id(repo, name)) for name in names]
        path = f"/issues/{issue}/labels"
        answer = await self._send("POST", repo, path, {"labels": ids})
        held = decode(answer, wire.nullable(wire.Label), path) or []
        if not set(names) <= {label.name for label in held}:
            return
        for label in held:
            if is_status(label.name) and label.name not in names:
                await self._take_away(repo, f"{path}/{label.id}")

    async def _take_away(self, repo: Repository, path: str) -> None:
        try:
            await self._send("DELETE", repo, path, None)
        except EdgeError as error:
            if error.kind != "not_found":  # somebody was faster
                raise

    async def _label_id(self, repo: Repository, name: str) -> int:
        for label in await self._labels(repo, name):
            if label.name == name:
                return label.id
        status = name.removeprefix(STATUS_SCOPE)
        body = {
            "name": name,
            "color": _COLOURS.get(status, _SEEN_COLOUR) if is_status(name) else _SEEN_COLOUR,
            "exclusive": is_status(name),
            "description": "set by allegro",
        }
        path = f"{self._reader.path_of(repo)}/labels"
        answer = await self._http.call("POST", path, body=body)
        return decode(answer, wire.Label, path).id

    async def _labels(self, repo: Repository, name: str) -> list[wire.Label]:
        """Return the repository's labels, and its organisation's where `name` is not among them."""
        path = self._reader.path_of(repo)
        owner = path.split("/")[2]
        found = await self._paged(f"{path}/labels")
        if any(label.name == name for label in found):
            return found
        try:
            return found + await self._paged(f"/orgs/{owner}/labels")
        except EdgeError as error:
            if error.kind in {"not_found", "forbidden"}:
                return found
            raise

    async def _paged(self, path: str) -> list[wire.Label]:
        size = (await self._reader.server()).page_size
        return await every(self._http, path, wire.Label, size, key=lambda label: label.id)

    async def _send(
        self,
        method: str,
        repo: Repository,
        suffix: str,
        body: object,
        token: str | None = None,
    ) -> Answer:
        path = self._reader.path_of(repo) + suffix
        return await self._http.call(method, path, body=body, token=token)


async def _before_write(read: Awaitable[T]) -> T:
    """Await what comes before a write: when it fails for now, nothing of the effect left us."""
    try:
        return await read
    except EdgeError as error:
        if not error.transient:
            raise
        raise EdgeError(
            str(error),
            transient=True,
            status=error.status,
            sent=False,
            kind=error.kind,
            retry_after_s=error.retry_after_s,
        ) from error


def _loop_s() -> float:
    return asyncio.get_running_loop().time()
