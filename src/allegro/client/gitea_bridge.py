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
    BadRequest,
    Conflict,
    EffectFailed,
    Expired,
    Frozen,
    Rejected,
    Stale,
    StillOpen,
    Withdrawn,
)
from allegro.client.house_client import WAIT_S, named
from allegro.core.base.untrusted import Unreadable, read_value
from allegro.core.forge.issues import Issue

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
        response = await self._house.get("issues", repository=repo, since_s=since_s)
        issues = [_issue(issue) for issue in response["issues"]]
        return [issue for issue in issues if not issue.is_pull_request]

    async def get_issue_details(self, repo: str, issue: int) -> Issue:
        """Return an issue with comments, labels, linked pull requests and timeline, read now.

        Raises NotNow when no lane or forge answers, BadRequest when there is no such issue.
        """
        response = await self._house.post(
            "ask", {"method": "issue_details", "params": {"repository": repo, "number": issue}}
        )
        return _issue(response)

    async def create_pr(
        self, repo: str, branch: str, title: str, body: str, *, base: str = ""
    ) -> PR:
        """Open a pull request from an existing branch at its commit of now, once approved.

        `base` defaults to the repository's default branch.
        """
        return _pr(
            await self._settled(
                {
                    "kind": "create_pr",
                    "repository": repo,
                    "branch": branch,
                    "title": title,
                    "body": body,
                    "base": base,
                }
            ),
            branch,
        )

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
        return _pr(
            await self._settled(
                {
                    "kind": "propose_change",
                    "repository": repo,
                    "base": base,
                    "branch": branch,
                    "title": title,
                    "body": body,
                    "files": encoded(files),
                    "allow_ci_paths": allow_ci_paths,
                }
            ),
            branch,
        )

    async def comment_on_issue(self, repo: str, issue: int, body: str) -> int:
        """Comment on an issue and return the comment's id. Needs no approval: the house orders it."""
        request = await self._settled(
            {"kind": "comment", "repository": repo, "issue": issue, "body": body}
        )
        return int(request["artifact"])

    async def update_status(self, repo: str, issue: int, status: str) -> None:
        """Give an issue exactly this `status/…` label. Needs no approval."""
        await self._settled(
            {"kind": "update_status", "repository": repo, "issue": issue, "status": status}
        )

    async def close_issue(self, repo: str, issue: int) -> None:
        """Close an issue as it stands now, once approved."""
        await self._settled({"kind": "close_issue", "repository": repo, "issue": issue})

    async def request(self, action: Mapping[str, Any]) -> Asked:
        """Ask without waiting. `action` has the fields of the methods above and `kind`.

        Kinds: propose_change, create_pr, close_issue, comment, update_status. More fields:
        urgency, question, recommendation, context, expires_in_s.
        """
        body = {"asked_by": asked_by(), "key": uuid.uuid4().hex, **action}
        response = await self._riding_over(lambda: self._house.post("requests", body))
        return Asked(response["id"], response["digest"], response["state"])

    async def outcome(self, request_id: str, *, wait_s: float | None = None) -> dict[str, Any]:
        """Wait until a request is settled and return it; raise what it ended in otherwise."""
        left_s = self._wait_s if wait_s is None else wait_s
        while True:
            slice_s = min(WAIT_S, left_s)
            request: dict[str, Any] = await self._riding_over(
                lambda: self._house.get(f"requests/{named(request_id)}/wait", timeout_s=slice_s)  # noqa: B023
            )
            if request["state"] == "done":
                return request
            if request["state"] in _ENDS:
                raise _ENDS[request["state"]](_why(request), request["id"])
            left_s -= slice_s
            if left_s <= 0:
                raise await self._unsettled(request)

    async def _settled(self, action: dict[str, Any]) -> dict[str, Any]:
        asked = await self.request(action)
        return await self.outcome(asked.id)

    async def _unsettled(self, request: dict[str, Any]) -> StillOpen | Frozen:
        status = await self._house.get("status")
        kind = Frozen if status["frozen"] else StillOpen
        return kind(
            f"request {request['id']} is still {request['state']}; it stands", request["id"]
        )


def encoded(files: Mapping[str, str | bytes | None]) -> dict[str, str | None]:
    """Return files as the house takes them: base64, None for a deletion."""
    return {
        path: None
        if content is None
        else base64.b64encode(content.encode() if isinstance(content, str) else content).decode()
        for path, content in files.items()
    }


def _issue(value: object) -> Issue:
    issue = read_value(value, Issue)
    if isinstance(issue, Unreadable):
        raise BadRequest(f"the lane's answer is no issue: {issue}")
    return issue


def _why(request: dict[str, Any]) -> str:
    why = request["detail"] or request["state"]
    if request.get("superseded_by"):
        why += f"; asked again as {request['superseded_by']}"
    return f"request {request['id']}: {why}"


def _pr(request: dict[str, Any], branch: str) -> PR:
    return PR(
        request["artifact"],
        request["url"],
        request.get("branch") or branch,
        request["commit"],
        request["id"],
    )
