"""Routes about the server, users, tokens, organisations and repositories."""

from __future__ import annotations

import re

from allegro.testing.gitea.http import Reply, Request, answer, empty, fail, not_found
from allegro.testing.gitea.model import LEVELS, Json, Level, Repo, Token, User
from allegro.testing.gitea.quirks import Quirks

from .routes import Table, has_scope
from .shapes import org_shape, repo_shape, token_shape, user_shape

table = Table()
_NAME = re.compile(r"[\w.-]{1,100}")


@table.add("GET", "/version")
def version(r: Request) -> Reply:
    return answer({"version": r.quirks.version})


@table.add("GET", "/settings/api")
def api_settings(r: Request) -> Reply:
    return answer(
        {
            "max_response_items": 50,
            "default_paging_num": 30,
            "default_git_trees_per_page": 1000,
            "default_max_blob_size": 10485760,
            "default_max_response_size": 104857600,
        }
    )


@table.add("GET", "/settings/repository")
def repository_settings(r: Request) -> Reply:
    names = ("mirrors", "http_git", "migrations", "stars", "time_tracking", "lfs")
    return answer({f"{name}_disabled": False for name in names})


@table.add("GET", "/user", "user", signed=True)
def me(r: Request) -> Reply:
    return answer(user_shape(r.world, r.doer, r.doer))


@table.add("GET", "/users/{username}", "user")
def one_user(r: Request) -> Reply:
    found = r.world.find_user(r.params["username"])
    if found is None or (found.private and r.user is None):
        not_found("user redirect does not exist")
    return answer(user_shape(r.world, found, r.user))


# tokens


def _own_tokens(r: Request) -> User:
    """Return the user whose tokens the call is about: oneself, or anybody for an admin."""
    owner = r.world.find_user(r.params["username"])
    if owner is None:
        not_found()
    if owner.id != r.doer.id and not r.doer.admin:
        fail(403, "forbidden")
    return owner


@table.add("GET", "/token", exists=lambda q: q.has_token_endpoint, signed=True)
def this_token(r: Request) -> Reply:
    if r.token is None:
        not_found()
    shape = token_shape(r.world, r.token, with_value=False)
    kept = ("id", "name", "scopes", "created_at", "last_used_at")
    user = {"id": r.doer.id, "login": r.doer.login}
    return answer({**{name: shape[name] for name in kept}, "user": user})


@table.add("DELETE", "/token", exists=lambda q: q.has_token_endpoint)
def revoke_this_token(r: Request) -> Reply:
    if r.token is None:
        not_found()
    r.world.revoke(r.token.value)
    return empty()


@table.add("GET", "/users/{username}/tokens", "user", signed=True)
def list_tokens(r: Request) -> Reply:
    owner = _own_tokens(r)
    rows = [token for token in r.world.tokens.values() if token.user_id == owner.id]
    return r.listed(rows, lambda token: token_shape(r.world, token, with_value=False))


def _may_make_token(quirks: Quirks, made_with: Token | None, scopes: list[str]) -> str:
    """Return why a token may not be made, or an empty text."""
    if made_with is None:
        return ""
    if not quirks.token_from_token:
        return "auth required"
    wider = [scope for scope in scopes if not has_scope(made_with.scopes, scope)]
    return f"scopes exceed those of the token used: {' '.join(wider)}" if wider else ""


@table.add("POST", "/users/{username}/tokens", "user")
def make_token(r: Request) -> Reply:
    owner = _own_tokens(r)
    name = r.required("name", "Name")
    scopes = [str(scope) for scope in r.items("scopes")]
    refusal = _may_make_token(r.quirks, r.token, scopes)
    if refusal:
        fail(401 if refusal == "auth required" else 403, refusal)
    if any(t.user_id == owner.id and t.name == name for t in r.world.tokens.values()):
        fail(400, "access token name has been used already")
    if not scopes:
        fail(400, "access token must have a scope")
    value = r.world.token(owner, scopes, name)
    return answer(token_shape(r.world, r.world.tokens[value], with_value=True), 201)


@table.add("DELETE", "/users/{username}/tokens/{token}", "user")
def delete_token(r: Request) -> Reply:
    owner, wanted = _own_tokens(r), r.params["token"]
    rows = [token for token in r.world.tokens.values() if token.user_id == owner.id]
    found = next((token for token in rows if wanted in (str(token.id), token.name)), None)
    if found is None:
        not_found()
    r.world.revoke(found.value)
    return empty()


# organisations


def org_of(r: Request) -> User:
    found = r.world.find_user(r.params["org"])
    if found is None or found.kind != "org":
        not_found("GetOrgByName")
    inside = r.user is not None and (r.user.admin or r.user.id in found.members)
    if found.private and not inside:
        not_found()
    return found


def owns_org(r: Request, org: User) -> bool:
    return r.doer.admin or org.members.get(r.doer.id, Level.NONE) >= Level.OWNER


@table.add("GET", "/orgs/{org}", "organization")
def one_org(r: Request) -> Reply:
    return answer(org_shape(r.world, org_of(r)))


def _visible(r: Request) -> list[Repo]:
    rows = r.world.repos.values()
    return [repo for repo in rows if r.world.level(r.user, repo) >= Level.READ]


@table.add("GET", "/orgs/{org}/repos", "organization", "repository")
def org_repos(r: Request) -> Reply:
    """Pages first and filters then: a page may be short, or empty, and not be the last."""
    org = org_of(r)
    rows = sorted(
        (repo for repo in r.world.repos.values() if repo.owner is org), key=lambda repo: repo.name
    )
    seen = [repo for repo in r.slice(rows) if r.world.level(r.user, repo) >= Level.READ]
    shown = [repo_shape(r.world, repo, r.user) for repo in seen]
    return answer(shown, 200, r.counted(len(rows)))


@table.add("GET", "/user/repos", "user", "repository", signed=True)
def my_repos(r: Request) -> Reply:
    rows = [
        repo
        for repo in _visible(r)
        if repo.owner is r.doer
        or r.doer.id in repo.collaborators
        or r.doer.id in repo.owner.members
    ]
    return r.listed(rows, lambda repo: repo_shape(r.world, repo, r.user))


# repositories


def _make_repo(r: Request, owner: User) -> Reply:
    name = r.required("name", "Name")
    if not _NAME.fullmatch(name):
        fail(422, "[Name]: AlphaDashDot")
    branch = r.text("default_branch") or "main"
    try:
        repo = r.world.create_repo(
            owner, name, private=r.flag("private"), default_branch=branch, doer=r.doer
        )
    except ValueError as taken:
        fail(409, str(taken))
    repo.description = r.text("description")
    if r.flag("auto_init"):
        r.world.commit(repo, branch, {"README.md": f"# {name}\n"}, r.doer, "Initial commit")
    return answer(repo_shape(r.world, repo, r.user), 201)


@table.add("POST", "/user/repos", "user", "repository")
def make_own_repo(r: Request) -> Reply:
    return _make_repo(r, r.doer)


@table.add("POST", "/orgs/{org}/repos", "organization", "repository")
def make_org_repo(r: Request) -> Reply:
    org = org_of(r)
    if not owns_org(r, org):
        fail(403, "user should be a member of organization with permission to create repos")
    return _make_repo(r, org)


@table.add("GET", "/repos/{owner}/{repo}", "repository")
def one_repo(r: Request) -> Reply:
    return answer(repo_shape(r.world, r.repo, r.user))


@table.add("GET", "/repositories/{id}", "repository")
def repo_by_id(r: Request) -> Reply:
    found = r.world.repos.get(int(r.params["id"]))
    if found is None or r.world.level(r.user, found) < Level.READ:
        not_found()
    if r.token is not None and "public-only" in r.token.scopes and found.private:
        fail(403, "token scope is limited to public repos")
    return answer(repo_shape(r.world, found, r.user))


@table.add("PATCH", "/repos/{owner}/{repo}", "repository", need=Level.ADMIN, archived_ok=True)
def edit_repo(r: Request) -> Reply:
    repo, world = r.repo, r.world
    name = r.text("name")
    if name and name != repo.name:
        _rename(r, name)
    if r.has("description"):
        repo.description = r.text("description")
    if r.has("private"):
        repo.private = r.flag("private")
    if r.has("has_issues"):
        repo.has_issues = r.flag("has_issues")
    if r.has("has_pull_requests"):
        repo.has_pulls = r.flag("has_pull_requests")
    branch = r.text("default_branch")
    if branch and branch != repo.default_branch:
        if world.git(repo).branch(branch) is None and not repo.empty:
            fail(422, f"branch does not exist [repo_id: {repo.id} name: {branch}]")
        repo.default_branch = branch
        world.git(repo).point_head(branch)
    if r.has("archived") and r.flag("archived") != repo.archived:
        world.archive(repo, r.flag("archived"))
    repo.updated_s = world.now_s()
    return answer(repo_shape(world, repo, r.user))


def _rename(r: Request, name: str) -> None:
    taken = r.world.find_repo(r.repo.owner.login, name)
    if taken is not None and taken is not r.repo:
        fail(422, f"repo name is already taken [name: {name}]")
    r.world.rename_repo(r.repo, name)


@table.add("DELETE", "/repos/{owner}/{repo}", "repository", archived_ok=True)
def delete_repo(r: Request) -> Reply:
    if r.level < Level.OWNER:
        fail(403, "Must have owner rights")
    r.world.remove_repo(r.repo, r.doer)
    return empty()


# collaborators


@table.add("GET", "/repos/{owner}/{repo}/collaborators", "repository", signed=True)
def collaborators(r: Request) -> Reply:
    rows = [r.world.user(key) for key in r.repo.collaborators]
    return r.listed(rows, lambda user: user_shape(r.world, user, r.user))


def _collaborator(r: Request) -> User:
    found = r.world.find_user(r.params["collaborator"])
    if found is None:
        fail(422, "user does not exist")
    return found


_COLLABORATOR = "/repos/{owner}/{repo}/collaborators/{collaborator}"


@table.add("GET", _COLLABORATOR, "repository", signed=True)
def is_collaborator(r: Request) -> Reply:
    if _collaborator(r).id not in r.repo.collaborators:
        not_found()
    return empty()


@table.add("PUT", _COLLABORATOR, "repository", need=Level.ADMIN, archived_ok=True)
def put_collaborator(r: Request) -> Reply:
    permission = r.text("permission") or "write"
    if permission not in ("read", "write", "admin"):
        fail(422, "[Permission]: In")
    r.world.add_collaborator(r.repo, _collaborator(r), permission)
    return empty()


@table.add("DELETE", _COLLABORATOR, "repository", need=Level.ADMIN, archived_ok=True)
def delete_collaborator(r: Request) -> Reply:
    r.world.remove_collaborator(r.repo, _collaborator(r))
    return empty()


@table.add("GET", f"{_COLLABORATOR}/permission", "repository", signed=True)
def collaborator_permission(r: Request) -> Reply:
    found = r.world.find_user(r.params["collaborator"])
    if found is None:
        not_found()
    if found is not r.doer and r.level < Level.ADMIN:
        fail(403, "Only admins can query all permissions")
    level = r.world.level(found, r.repo)
    word = next((w for w, value in LEVELS.items() if value == level), "none")
    shape: Json = {"permission": word, "role_name": word}
    return answer({**shape, "user": user_shape(r.world, found, r.user)})
