"""The webhook queue: at most once, never again."""

from __future__ import annotations

import asyncio
import fnmatch
import hashlib
import hmac
import uuid
from dataclasses import dataclass, field

import aiohttp
import msgspec

from .api.code_shapes import payload_commit_shape, pull_shape, status_shape
from .api.shapes import comment_shape, issue_shape, org_shape, repo_shape, user_shape
from .faults import Faults
from .model import Event, Hook, Json, Status
from .quirks import Quirks
from .world import World

TIMEOUT_S = 5.0
_ISSUE_PARTS = ("issue_assign", "issue_label", "issue_milestone", "issue_comment")
_PULL_PARTS = (
    "pull_request_assign",
    "pull_request_label",
    "pull_request_milestone",
    "pull_request_comment",
    "pull_request_sync",
)
_COVERS = {
    "issues": ("issues", *_ISSUE_PARTS),
    "issues_only": ("issues",),
    "pull_request": ("pull_request", *_PULL_PARTS),
    "pull_request_only": ("pull_request",),
}


@dataclass(slots=True)
class Delivery:
    """One webhook: marked delivered before it is sent; `status` 0 = lost, refused or timed out."""

    uuid: str
    hook_id: int
    event: str
    url: str
    headers: dict[str, str]
    body: bytes
    status: int = 0
    done: asyncio.Event = field(default_factory=asyncio.Event)


def wants(hook: Hook, event: Event) -> bool:
    """Tell whether a hook asks for an event; `issues` means its labels and comments too."""
    only = event.extra.get("only_hook")
    if only is not None:
        return bool(hook.id == only)
    place = hook.repo_id == event.repo.id or hook.owner_id == event.repo.owner.id
    if not hook.active or not place:
        return False
    covered = {kind for name in hook.events for kind in _COVERS.get(name, (name,))}
    if event.kind not in covered:
        return False
    branch = str(event.extra.get("ref", "")).removeprefix("refs/heads/")
    filtered = event.kind in ("push", "create", "delete") and hook.branch_filter not in ("", "*")
    return not filtered or fnmatch.fnmatchcase(branch, hook.branch_filter)


def coarse(kind: str) -> str:
    """Return the event header for an exact type."""
    if kind in ("issue_comment", "pull_request_comment"):
        return "issue_comment"
    for family in ("issue", "pull_request"):
        if kind.startswith(f"{family}_"):
            return "issues" if family == "issue" else family
    return kind


def payload_of(world: World, event: Event) -> Json:
    """The body of a webhook: full issue or pull request, repository and sender."""
    sender = user_shape(world, event.sender, None)
    tail: Json = {"repository": repo_shape(world, event.repo, event.repo.owner), "sender": sender}
    kind = coarse(event.kind)
    if kind == "issue_comment":
        return _comment_payload(world, event, tail)
    if kind == "issues":
        return _issue_payload(world, event, tail)
    if kind == "pull_request":
        return _pull_payload(world, event, tail)
    if kind == "push":
        return _push_payload(world, event, sender, tail)
    if kind == "status":
        return _status_payload(world, event, tail)
    if kind == "repository":
        owner = event.repo.owner
        org = org_shape(world, owner) if owner.kind == "org" else None
        return {"action": event.action, "organization": org, **tail}
    return {**event.extra, **tail}


def _changes(event: Event) -> Json:
    return {"changes": event.changes} if event.changes else {}


def _issue_payload(world: World, event: Event, tail: Json) -> Json:
    assert event.issue is not None
    return {
        "action": event.action,
        "number": event.issue.number,
        **_changes(event),
        "issue": issue_shape(world, event.issue, None),
        **tail,
        "commit_id": "",
    }


def _comment_payload(world: World, event: Event, tail: Json) -> Json:
    assert event.issue is not None
    assert event.comment is not None
    pull = event.issue.pull
    shape: Json = {
        "action": event.action,
        "issue": issue_shape(world, event.issue, None),
        "comment": comment_shape(world, event.comment, None),
        **_changes(event),
        **tail,
        "is_pull": pull is not None,
    }
    if pull:
        shape["pull_request"] = pull_shape(world, event.issue, pull, None, counts=False)
    return shape


def _pull_payload(world: World, event: Event, tail: Json) -> Json:
    assert event.issue is not None
    assert event.issue.pull is not None
    return {
        "action": event.action,
        "number": event.issue.number,
        **_changes(event),
        "pull_request": pull_shape(world, event.issue, event.issue.pull, None),
        "requested_reviewer": None,
        **tail,
        "commit_id": "",
        "review": None,
    }


def _push_payload(world: World, event: Event, sender: Json, tail: Json) -> Json:
    git, extra = world.git(event.repo), event.extra
    rows = [git.commit(sha) for sha in reversed(extra["shas"])]
    commits = [payload_commit_shape(world, event.repo, row, files=True) for row in rows]
    head = payload_commit_shape(world, event.repo, git.commit(extra["after"]), files=True)
    html = f"{world.url}/{event.repo.full_name}"
    return {
        "ref": extra["ref"],
        "before": extra["before"],
        "after": extra["after"],
        "compare_url": f"{html}/compare/{extra['before']}...{extra['after']}",
        "commits": commits,
        "total_commits": len(commits),
        "head_commit": head,
        **tail,
        "pusher": sender,
    }


def _status_payload(world: World, event: Event, tail: Json) -> Json:
    row = event.extra["status"]
    assert isinstance(row, Status)
    shape = status_shape(world, event.repo, row, None)
    commit = payload_commit_shape(world, event.repo, world.git(event.repo).commit(row.sha))
    kept = ("id", "context", "description", "target_url", "created_at", "updated_at")
    shown = {name: shape[name] for name in kept}
    return {**shown, "sha": row.sha, "state": row.state, "commit": commit, **tail}


class HookSender:
    """Sends webhooks of a world while a loop runs. Nothing is ever sent twice."""

    def __init__(self, world: World, faults: Faults) -> None:
        self.world = world
        self.faults = faults
        self.deliveries: list[Delivery] = []
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        world.listeners.append(self.take)

    def start(self) -> None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        self._session = aiohttp.ClientSession(timeout=timeout)

    async def stop(self) -> None:
        """Drop what waits in the queue."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if self._session is not None:
            await self._session.close()
            self._session = None

    def take(self, event: Event) -> None:
        """Queue the event for every hook that wants it; the payload is made now."""
        if self._session is None:
            return
        hooks = [hook for hook in self.world.hooks.values() if wants(hook, event)]
        if not hooks:
            return
        body = msgspec.json.encode(payload_of(self.world, event))
        for hook in hooks:
            self._queue(hook, event, body)

    def _queue(self, hook: Hook, event: Event, body: bytes) -> None:
        number = len(self.deliveries) + 1
        name = str(uuid.uuid5(uuid.NAMESPACE_URL, f"delivery:{number}"))
        headers = delivery_headers(hook, event, name, body, self.world.quirks)
        delivery = Delivery(name, hook.id, event.kind, hook.config["url"], headers, body)
        self.deliveries.append(delivery)
        if self.faults.lose_hooks > 0:
            self.faults.lose_hooks -= 1
            delivery.done.set()
            return
        task = asyncio.get_running_loop().create_task(self._send(hook, delivery))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, hook: Hook, delivery: Delivery) -> None:
        await asyncio.sleep(self.faults.hook_delay_s)
        assert self._session is not None
        try:
            if hook.config.get("content_type") == "form":
                form = {"payload": delivery.body.decode()}
                sent = self._session.post(delivery.url, data=form, headers=delivery.headers)
            else:
                headers = {**delivery.headers, "Content-Type": "application/json"}
                sent = self._session.post(delivery.url, data=delivery.body, headers=headers)
            async with sent as response:
                delivery.status = response.status
        except (aiohttp.ClientError, TimeoutError):
            delivery.status = 0
        finally:
            delivery.done.set()


def delivery_headers(
    hook: Hook, event: Event, name: str, body: bytes, quirks: Quirks
) -> dict[str, str]:
    """Return the headers; the signature is there but empty when the hook has no secret."""
    secret = hook.config.get("secret", "").encode()
    signature = hmac.new(secret, body, hashlib.sha256).hexdigest() if secret else ""
    old_signature = hmac.new(secret, body, hashlib.sha1).hexdigest() if secret else ""
    headers: dict[str, str] = {}
    for family in ("Forgejo", "Gitea", "Gogs") if quirks.forgejo else ("Gitea", "Gogs"):
        headers[f"X-{family}-Delivery"] = name
        headers[f"X-{family}-Event"] = coarse(event.kind)
        headers[f"X-{family}-Event-Type"] = event.kind
        headers[f"X-{family}-Signature"] = signature
    headers["X-GitHub-Delivery"] = name
    headers["X-GitHub-Event"] = coarse(event.kind)
    headers["X-GitHub-Event-Type"] = event.kind
    headers["X-Hub-Signature"] = f"sha1={old_signature}"
    headers["X-Hub-Signature-256"] = f"sha256={signature}"
    if quirks.names_hook_target:
        kind = "repository" if hook.repo_id else "organization"
        headers["X-Gitea-Hook-Installation-Target-Type"] = kind
    if hook.authorization_header:
        headers["Authorization"] = hook.authorization_header
    return headers
