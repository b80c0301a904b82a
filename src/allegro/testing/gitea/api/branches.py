"""Routes about branches and their protection."""

from __future__ import annotations

import re

from allegro.testing.gitea.git import NO_COMMIT, RefMovedError
from allegro.testing.gitea.http import Reply, Request, answer, empty, fail, not_found
from allegro.testing.gitea.model import Level, Protection

from .code_shapes import PROTECTION_OPTIONS, branch_shape, protection_shape, push_shape
from .routes import Table

table = Table()
P = "/repos/{owner}/{repo}"
_BAD_NAME = re.compile(r"\.\.|[\x00-\x20~^:?*\[\\\x7f]|//|^[/.]|[/.]$|\.lock$|@\{|^@$|/\.")


def check_branch_name(name: str, go_name: str) -> None:
    if _BAD_NAME.search(name) or len(name) > 100:
        fail(422, f"[{go_name}]: GitRefName")


@table.add("GET", f"{P}/branches", "repository")
def list_branches(r: Request) -> Reply:
    git = r.world.git(r.repo)
    word = r.query.get("q", "").lower()
    heads = git.refs("refs/heads")
    rows = sorted((name[11:], sha) for name, sha in heads.items() if word in name[11:].lower())
    return r.listed(
        rows, lambda row: branch_shape(r.world, r.repo, row[0], git.commit(row[1]), r.user)
    )


@table.add("GET", f"{P}/activities/feeds", "repository")
def feeds(r: Request) -> Reply:
    """The newest first; of all activities, this simulator keeps the pushes."""
    return r.listed(
        list(reversed(r.repo.pushes)), lambda row: push_shape(r.world, r.repo, row, r.user)
    )


def _shape(r: Request, name: str, sha: str, status: int = 200) -> Reply:
    row = r.world.git(r.repo).commit(sha)
    return answer(branch_shape(r.world, r.repo, name, row, r.user), status)


@table.add("GET", f"{P}/branches/{{branch}}", "repository")
def one_branch(r: Request) -> Reply:
    name = r.params["branch"]
    sha = r.world.git(r.repo).branch(name)
    if sha is None:
        not_found("branch does not exist [repo_id: 0 name: ]")
    return _shape(r, name, sha)


@table.add("POST", f"{P}/branches", "repository", need=Level.WRITE)
def create_branch(r: Request) -> Reply:
    """An unknown `old_ref_name` and a protected pattern are 500: nobody maps those errors."""
    name = r.required("new_branch_name", "BranchName")
    check_branch_name(name, "BranchName")
    if r.repo.empty:
        not_found("Git Repository is empty.")
    git = r.world.git(r.repo)
    sha = _start(r)
    if git.branch(name) is not None:
        fail(409, "The branch already exists.")
    if git.refs(f"refs/tags/{name}"):
        fail(409, "The branch with the same tag already exists.")
    rule = r.world.rule_for(r.repo, name)
    if rule is not None and not r.world.can_push(r.user, r.repo, name):
        fail(500, r.internal("pre-receive hook declined"))
    try:
        git.move(f"refs/heads/{name}", sha, NO_COMMIT)
    except RefMovedError:
        fail(409, "The branch name conflicts with an existing branch.")
    r.world.branch_moved(r.repo, r.doer, name, None, sha)
    return _shape(r, name, sha, 201)


def _start(r: Request) -> str:
    git = r.world.git(r.repo)
    ref, branch = r.text("old_ref_name"), r.text("old_branch_name")
    if ref:
        sha = git.resolve(ref)
        if sha is None:
            fail(500, r.internal(f"object does not exist [id: {ref}]"))
        return sha
    found = git.branch(branch or r.repo.default_branch)
    if found is None:
        fail(404, "The old branch does not exist")
    return found


@table.add(
    "PUT",
    f"{P}/branches/{{branch}}",
    "repository",
    need=Level.WRITE,
    exists=lambda q: q.has_branch_move,
)
def move_branch(r: Request) -> Reply:
    """Point a branch elsewhere: compare-and-set when `old_commit_id` is given."""
    git, name = r.world.git(r.repo), r.params["branch"]
    new, asked_old = r.required("new_commit_id", "NewCommitID"), r.text("old_commit_id")
    old = git.branch(name)
    if old is None:
        not_found()
    if asked_old and asked_old != old:
        fail(422, f"old commit id mismatch, expected {asked_old}, actual {old}")
    if not r.world.can_push(r.user, r.repo, name):
        fail(403, "pre-receive hook declined")
    if git.resolve(new) != new:
        not_found(f"object does not exist [id: {new}]")
    if not r.flag("force") and not git.contains(old, new):
        fail(422, "not a fast-forward")
    git.move(f"refs/heads/{name}", new, old)
    r.world.branch_moved(r.repo, r.doer, name, old, new)
    return empty()


@table.add("DELETE", f"{P}/branches/{{branch}}", "repository", need=Level.WRITE)
def delete_branch(r: Request) -> Reply:
    name = r.params["branch"]
    if r.world.git(r.repo).branch(name) is None:
        not_found()
    if name == r.repo.default_branch:
        fail(403, "can not delete default branch")
    if r.world.rule_for(r.repo, name) is not None:
        fail(403, "branch protected")
    r.world.delete_branch(r.repo, name, r.doer)
    return empty()


# protection


@table.add("GET", f"{P}/branch_protections", "repository", signed=True, need=Level.ADMIN)
def protections(r: Request) -> Reply:
    return answer([protection_shape(r.world, rule) for rule in r.repo.protections.values()])


def _rule(r: Request) -> Protection:
    found = r.repo.protections.get(r.params["rule"])
    if found is None:
        not_found()
    return found


@table.add("GET", f"{P}/branch_protections/{{rule}}", "repository", signed=True, need=Level.ADMIN)
def one_protection(r: Request) -> Reply:
    return answer(protection_shape(r.world, _rule(r)))


def _logins(r: Request, name: str) -> tuple[str, ...]:
    logins = [str(login).lower() for login in r.items(name)]
    for login in logins:
        if r.world.find_user(login) is None:
            fail(422, f"user does not exist [uid: 0, name: {login}]")
    return tuple(logins)


def _fill(r: Request, rule: Protection) -> None:
    push_users, merge_users = (
        _logins(r, "push_whitelist_usernames"),
        _logins(r, "merge_whitelist_usernames"),
    )
    if r.has("enable_push"):
        rule.enable_push = r.flag("enable_push")
    if r.has("enable_push_whitelist"):
        rule.push_whitelist = rule.enable_push and r.flag("enable_push_whitelist")
    if r.has("push_whitelist_usernames"):
        rule.push_users = push_users
    if r.has("enable_merge_whitelist"):
        rule.merge_whitelist = r.flag("enable_merge_whitelist")
    if r.has("merge_whitelist_usernames"):
        rule.merge_users = merge_users
    rule.options |= {name: r.body[name] for name in PROTECTION_OPTIONS if r.has(name)}
    rule.updated_s = r.world.now_s()


@table.add("POST", f"{P}/branch_protections", "repository", need=Level.ADMIN)
def create_protection(r: Request) -> Reply:
    name = r.text("rule_name") or r.text("branch_name")
    if not name:
        fail(422, "both rule_name and branch_name are empty")
    if name in r.repo.protections:
        fail(403, "Branch protection already exist")
    now_s = r.world.now_s()
    rule = Protection(name, now_s, now_s)
    _fill(r, rule)
    r.repo.protections[name] = rule
    return answer(protection_shape(r.world, rule), 201)


@table.add("PATCH", f"{P}/branch_protections/{{rule}}", "repository", need=Level.ADMIN)
def edit_protection(r: Request) -> Reply:
    rule = _rule(r)
    _fill(r, rule)
    return answer(protection_shape(r.world, rule))


@table.add("DELETE", f"{P}/branch_protections/{{rule}}", "repository", need=Level.ADMIN)
def delete_protection(r: Request) -> Reply:
    del r.repo.protections[_rule(r).rule]
    return empty()
