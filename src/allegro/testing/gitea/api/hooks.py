"""Routes about webhooks of repositories and organisations."""

from __future__ import annotations

from urllib.parse import urlsplit

from allegro.testing.gitea.http import Reply, Request, answer, empty, fail, not_found
from allegro.testing.gitea.model import Event, Hook, Level, User

from .accounts import org_of, owns_org
from .routes import Table
from .shapes import hook_shape

table = Table()
P = "/repos/{owner}/{repo}"
_TYPES = ("gitea", "forgejo", "gogs", "slack", "discord", "dingtalk", "telegram", "msteams")


def _check_config(config: dict[str, str], *, complete: bool) -> None:
    url = config.get("url", "")
    if (complete or "url" in config) and urlsplit(url).scheme not in ("http", "https"):
        fail(422, "Invalid url")
    kind = config.get("content_type", "")
    if (complete or "content_type" in config) and kind not in ("json", "form"):
        fail(422, "Invalid content type")


def _create(r: Request, *, owner_id: int = 0, repo_id: int = 0) -> Reply:
    """Make a webhook. It is off unless `active`; without events it tells pushes only."""
    if r.text("type") not in _TYPES:
        fail(422, f"Invalid hook type: {r.text('type')}")
    config = {str(k): str(v) for k, v in r.object("config").items()}
    _check_config(config, complete=True)
    now_s = r.world.now_s()
    hook = Hook(
        r.world.next_id("hook"),
        owner_id,
        repo_id,
        config,
        tuple(str(event) for event in r.items("events")) or ("push",),
        r.flag("active"),
        r.text("branch_filter") or "*",
        r.text("authorization_header"),
        now_s,
        now_s,
        r.text("name"),
    )
    r.world.hooks[hook.id] = hook
    return answer(hook_shape(r.world, hook), 201)


def _edit(r: Request, hook: Hook) -> Reply:
    config = {str(k): str(v) for k, v in r.object("config").items()}
    _check_config(config, complete=False)
    hook.config |= config
    if r.has("events"):
        hook.events = tuple(str(event) for event in r.items("events")) or ("push",)
    hook.active = r.flag("active", hook.active)
    hook.branch_filter = r.text("branch_filter", hook.branch_filter)
    hook.authorization_header = r.text("authorization_header", hook.authorization_header)
    hook.name = r.text("name", hook.name)
    hook.updated_s = r.world.now_s()
    return answer(hook_shape(r.world, hook))


def _delete(r: Request, hook: Hook) -> Reply:
    del r.world.hooks[hook.id]
    return empty()


def _list(r: Request, *, owner_id: int = 0, repo_id: int = 0) -> Reply:
    place = (owner_id, repo_id)
    rows = [hook for hook in r.world.hooks.values() if (hook.owner_id, hook.repo_id) == place]
    return r.listed(rows, lambda hook: hook_shape(r.world, hook))


def _own(r: Request, *, owner_id: int = 0, repo_id: int = 0) -> Hook:
    hook = r.world.hooks.get(int(r.params["id"]))
    if hook is None or (hook.owner_id, hook.repo_id) != (owner_id, repo_id):
        not_found()
    return hook


# of a repository


@table.add("GET", f"{P}/hooks", "repository", signed=True, need=Level.ADMIN)
def repo_hooks(r: Request) -> Reply:
    return _list(r, repo_id=r.repo.id)


@table.add("POST", f"{P}/hooks", "repository", need=Level.ADMIN, archived_ok=True)
def create_repo_hook(r: Request) -> Reply:
    return _create(r, repo_id=r.repo.id)


@table.add("GET", f"{P}/hooks/{{id}}", "repository", signed=True, need=Level.ADMIN)
def one_repo_hook(r: Request) -> Reply:
    return answer(hook_shape(r.world, _own(r, repo_id=r.repo.id)))


@table.add("PATCH", f"{P}/hooks/{{id}}", "repository", need=Level.ADMIN, archived_ok=True)
def edit_repo_hook(r: Request) -> Reply:
    return _edit(r, _own(r, repo_id=r.repo.id))


@table.add("DELETE", f"{P}/hooks/{{id}}", "repository", need=Level.ADMIN, archived_ok=True)
def delete_repo_hook(r: Request) -> Reply:
    return _delete(r, _own(r, repo_id=r.repo.id))


@table.add("POST", f"{P}/hooks/{{id}}/tests", "repository", need=Level.ADMIN, archived_ok=True)
def test_repo_hook(r: Request) -> Reply:
    """Send a push event to this hook alone, whatever it asks for."""
    hook = _own(r, repo_id=r.repo.id)
    sha = r.world.git(r.repo).branch(r.repo.default_branch) or ""
    ref = f"refs/heads/{r.repo.default_branch}"
    extra = {"ref": ref, "before": sha, "after": sha, "shas": [sha], "only_hook": hook.id}
    r.world.emit(Event("push", "", r.repo, r.doer, extra=extra))
    return empty()


# of an organisation


def _org(r: Request) -> User:
    org = org_of(r)
    if not owns_org(r, org):
        fail(403, "Must be an organization owner")
    return org


@table.add("GET", "/orgs/{org}/hooks", "organization", signed=True)
def org_hooks(r: Request) -> Reply:
    return _list(r, owner_id=_org(r).id)


@table.add("POST", "/orgs/{org}/hooks", "organization")
def create_org_hook(r: Request) -> Reply:
    return _create(r, owner_id=_org(r).id)


@table.add("GET", "/orgs/{org}/hooks/{id}", "organization", signed=True)
def one_org_hook(r: Request) -> Reply:
    return answer(hook_shape(r.world, _own(r, owner_id=_org(r).id)))


@table.add("PATCH", "/orgs/{org}/hooks/{id}", "organization")
def edit_org_hook(r: Request) -> Reply:
    return _edit(r, _own(r, owner_id=_org(r).id))


@table.add("DELETE", "/orgs/{org}/hooks/{id}", "organization")
def delete_org_hook(r: Request) -> Reply:
    return _delete(r, _own(r, owner_id=_org(r).id))
