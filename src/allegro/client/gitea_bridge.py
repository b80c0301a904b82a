"""What Timmy's programs import to read and change a forge through the fleet."""

from __future__ import annotations

import base64
import datetime
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec

from allegro.client.bridge import Bridge, asked_by
from allegro.client.errors import (
    Conflict,
    EffectFailed,
    Expired,
    Frozen,
    Rejected,
    Stale,
    StillOpen,
    Withdrawn,
)
from allegro.client.socket import WAIT_S
from allegro.core.forge.issues import Issue
from allegro.core.protocol.answers.requests import RequestAnswer
from allegro.core.requests.proposals import Proposal

_ENDS = {
    "rejected": Rejected,
    "withdrawn": Withdrawn,
    "expired": Expired,
    "stale": Stale,
    "conflict": Conflict,
    "failed": EffectFailed,
}


class PR(msgspec.Struct, frozen=True):
    """A pull request that was opened and looked at."""

    number: int
    url: str
    branch: str
    commit: str
    request_id: str


class Asked(msgspec.Struct, frozen=True):
    """A request that waits at the house, named by id and digest."""

    id: str
    digest: str
    state: str


class GiteaBridge(Bridge):
    """The forge, with Timmy between asking and acting.

    Acts that need approval wait for the receipt, `wait_s` seconds at most (default 24 h), and
    raise what they ended in. Cancelling the await leaves the request standing. Use as an async
    context manager or call `close`.
    """

    async def poll_issues(
        self, repo: str, since: datetime.datetime | float | None = None
    ) -> list[Issue]:
        """Return the newest archived version of each issue updated since then, oldest first.

        `repo` is owner/name; `since` a time or Unix seconds, inclusive; None is all. Pull
        requests are left out. Answers from the house alone, so it works without any link.
        """
        since_s = since.timestamp() if isinstance(since, datetime.datetime) else since or 0.0
        answer = await self._house.issues(repo, since_s)
        return [issue for issue in answer.issues if not issue.is_pull_request]

    async def get_issue_details(self, repo: str, issue: int) -> Issue:
        """Return an issue with comments, labels, linked pull requests and timeline, read now.

        Raises NotNow when no lane or forge answers, BadRequest when there is no such issue.
        """
        return await self._house.issue(repo, issue)

    async def create_pr(
        self, repo: str, branch: str, title: str, body: str, *, base: str = ""
    ) -> PR:
        """Open a pull request from an existing branch at its commit of now, once approved.

        `base` defaults to the repository's default branch.
        """
        proposal = Proposal(
            kind="create_pr", repository=repo, branch=branch, title=title, body=body, base=base
        )
        return _pr(await self._done(proposal), branch)

    async def propose_change(
        self,
        repo: str,
        base: str,
        branch: str,
        title: str,
        body: str,
        files: Mapping[str, str | bytes | None],
        *,
        allow_ci_paths: bool = False,
    ) -> PR:
        """Put files on a new branch and open a pull request, once exactly that is approved.

        `files` maps paths to whole contents (text is UTF-8), None deletes. The real branch name
        is `<branch>-<hex>`.
        """
        proposal = Proposal(
            kind="propose_change",
            repository=repo,
            base=base,
            branch=branch,
            title=title,
            body=body,
            files=encoded(files),
            allow_ci_paths=allow_ci_paths,
        )
        return _pr(await self._done(proposal), branch)

    async def comment_on_issue(self, repo: str, issue: int, body: str) -> int:
        """Comment on an issue and return the comment's id. Needs no approval: the house orders it."""
        proposal = Proposal(kind="comment", repository=repo, issue=issue, body=body)
        return (await self._done(proposal)).artifact

    async def update_status(self, repo: str, issue: int, status: str) -> None:
        """Give an issue exactly this `status/…` label. Needs no approval."""
        proposal = Proposal(kind="update_status", repository=repo, issue=issue, status=status)
        await self._done(proposal)

    async def close_issue(self, repo: str, issue: int) -> None:
        """Close an issue as it stands now, once approved."""
        await self._done(Proposal(kind="close_issue", repository=repo, issue=issue))

    async def request(self, action: Mapping[str, object]) -> Asked:
        """Ask without waiting. `action` has the fields of the methods above and `kind`.

        Kinds: propose_change, create_pr, close_issue, comment, update_status. More fields:
        urgency, question, recommendation, context, expires_in_s.
        """
        return await self._ask({"asked_by": asked_by(), "key": uuid.uuid4().hex, **action})

    async def _ask(self, proposal: Proposal | Mapping[str, object]) -> Asked:
        answer = await self._riding_over(lambda: self._house.propose(proposal))
        return Asked(answer.id, answer.digest, answer.state)

    async def outcome(self, request_id: str, *, wait_s: float | None = None) -> dict[str, Any]:
        """Wait until a request is settled and return it; raise what it ended in otherwise.

        It has the fields of `allegro show --json`.
        """
        return dict(msgspec.to_builtins(await self.settled(request_id, wait_s=wait_s)))

    async def settled(self, request_id: str, *, wait_s: float | None = None) -> RequestAnswer:
        """Wait as `outcome` does; return the request as its type."""
        left_s = self._wait_s if wait_s is None else wait_s
        while True:
            slice_s = min(WAIT_S, left_s)
            request = await self._riding_over(
                lambda: self._house.wait_for_request(request_id, slice_s)  # noqa: B023
            )
            if request.state == "done":
                return request
            if request.state in _ENDS:
                raise _ENDS[request.state](_why(request), request.id)
            left_s -= slice_s
            if left_s <= 0:
                raise await self._unsettled(request)

    async def _done(self, proposal: Proposal) -> RequestAnswer:
        named = msgspec.structs.replace(proposal, asked_by=asked_by(), key=uuid.uuid4().hex)
        return await self.settled((await self._ask(named)).id)

    async def _unsettled(self, request: RequestAnswer) -> StillOpen | Frozen:
        status = await self._house.status()
        kind = Frozen if status.frozen else StillOpen
        return kind(f"request {request.id} is still {request.state}; it stands", request.id)


def encoded(files: Mapping[str, str | bytes | None]) -> dict[str, str | None]:
    """Return files as the house takes them: base64, None for a deletion."""
    return {
        path: None
        if content is None
        else base64.b64encode(content.encode() if isinstance(content, str) else content).decode()
        for path, content in files.items()
    }


def _why(request: RequestAnswer) -> str:
    why = request.detail or request.state
    if request.superseded_by:
        why += f"; asked again as {request.superseded_by}"
    return f"request {request.id}: {why}"


def _pr(request: RequestAnswer, branch: str) -> PR:
    return PR(request.artifact, request.url, request.branch or branch, request.commit, request.id)
