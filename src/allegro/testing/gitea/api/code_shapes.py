"""Commits, branches, files, pull requests, statuses as the JSON objects Gitea sends."""

from __future__ import annotations

import base64
import json

from allegro.testing.gitea.acts.code import is_draft
from allegro.testing.gitea.git import Changed, CommitRow, Entry, Who
from allegro.testing.gitea.http import API, url_path, when, when_set
from allegro.testing.gitea.model import Issue, Json, Protection, Pull, Push, Repo, Status, User
from allegro.testing.gitea.world import World

from .shapes import assignees_of, issue_html, labels_of, repo_shape, user_shape

UNSIGNED: Json = {
    "verified": False,
    "reason": "gpg.error.not_signed_commit",
    "signature": "",
    "signer": None,
    "payload": "",
}


def repo_url(world: World, repo: Repo) -> str:
    return f"{world.url}{API}/repos/{repo.full_name}"


def _who(world: World, who: Who) -> Json:
    return {"name": who.name, "email": who.email, "date": when(world, who.at_s)}


def _account(world: World, who: Who, viewer: User | None) -> Json | None:
    """The user a commit's address belongs to, None for a stranger."""
    found = next((u for u in world.users.values() if u.email and u.email == who.email), None)
    return user_shape(world, found, viewer) if found else None


def _meta(world: World, repo: Repo, sha: str, created_s: int = 0, word: str = "commits") -> Json:
    url = f"{repo_url(world, repo)}/git/{word}/{sha}"
    return {"url": url, "sha": sha, "created": when(world, created_s)}


def commit_shape(world: World, repo: Repo, row: CommitRow, viewer: User | None) -> Json:
    added = sum(max(0, change.added) for change in row.changed)
    removed = sum(max(0, change.removed) for change in row.changed)
    words = {"A": "added", "D": "removed"}
    url = f"{repo_url(world, repo)}/git/commits/{row.sha}"
    return {
        **_meta(world, repo, row.sha, row.committer.at_s),
        "html_url": f"{world.url}/{repo.full_name}/commit/{row.sha}",
        "commit": {
            "url": url,
            "author": _who(world, row.author),
            "committer": _who(world, row.committer),
            "message": row.message,
            "tree": _meta(world, repo, row.tree, row.committer.at_s, "trees"),
            "verification": UNSIGNED,
        },
        "author": _account(world, row.author, viewer),
        "committer": _account(world, row.committer, viewer),
        "parents": [_meta(world, repo, sha) for sha in row.parents],
        "files": [
            {"filename": change.path, "status": words.get(change.status, "modified")}
            for change in row.changed
        ],
        "stats": {"total": added + removed, "additions": added, "deletions": removed},
    }


def file_commit_shape(world: World, repo: Repo, row: CommitRow) -> Json:
    return {
        **_meta(world, repo, row.sha, row.committer.at_s),
        "html_url": f"{world.url}/{repo.full_name}/commit/{row.sha}",
        "author": _who(world, row.author),
        "committer": _who(world, row.committer),
        "parents": [_meta(world, repo, sha) for sha in row.parents],
        "message": row.message,
        "tree": _meta(world, repo, row.tree, row.committer.at_s, "trees"),
    }


def payload_commit_shape(world: World, repo: Repo, row: CommitRow, *, files: bool = False) -> Json:
    """A commit as branches and webhooks show it; without `files` the path lists are null."""

    def person(who: Who) -> Json:
        account = _account(world, who, None)
        return {
            "name": who.name,
            "email": who.email,
            "username": account["login"] if account else "",
        }

    def paths(status: str) -> list[str] | None:
        return [c.path for c in row.changed if c.status in status] if files else None

    return {
        "id": row.sha,
        "message": row.message,
        "url": f"{world.url}/{repo.full_name}/commit/{row.sha}",
        "author": person(row.author),
        "committer": person(row.committer),
        "verification": UNSIGNED,
        "timestamp": when(world, row.committer.at_s),
        "added": paths("A"),
        "removed": paths("D"),
        "modified": paths("MRTC"),
    }


def branch_shape(world: World, repo: Repo, name: str, row: CommitRow, viewer: User | None) -> Json:
    rule = world.rule_for(repo, name)
    options = rule.options if rule else {}
    return {
        "name": name,
        "commit": payload_commit_shape(world, repo, row),
        "protected": rule is not None,
        "required_approvals": options.get("required_approvals", 0),
        "enable_status_check": options.get("enable_status_check", False),
        "status_check_contexts": options.get("status_check_contexts") or [],
        "user_can_push": world.can_push(viewer, repo, name),
        "user_can_merge": world.can_merge(viewer, repo, name),
        "effective_branch_protection_name": rule.rule if rule else "",
    }


_PROTECTION_LISTS = (
    "push_whitelist_teams",
    "merge_whitelist_teams",
    "approvals_whitelist_username",
    "approvals_whitelist_teams",
    "force_push_allowlist_usernames",
    "force_push_allowlist_teams",
    "bypass_allowlist_usernames",
    "bypass_allowlist_teams",
    "status_check_contexts",
)
_PROTECTION_FLAGS = (
    "push_whitelist_deploy_keys",
    "enable_force_push",
    "enable_force_push_allowlist",
    "force_push_allowlist_deploy_keys",
    "enable_bypass_allowlist",
    "enable_status_check",
    "enable_approvals_whitelist",
    "block_on_rejected_reviews",
    "block_on_official_review_requests",
    "block_on_outdated_branch",
    "dismiss_stale_approvals",
    "ignore_stale_approvals",
    "require_signed_commits",
    "block_admin_merge_override",
)
_PROTECTION_TEXTS = ("protected_file_patterns", "unprotected_file_patterns")
PROTECTION_OPTIONS = (
    *_PROTECTION_LISTS,
    *_PROTECTION_FLAGS,
    *_PROTECTION_TEXTS,
    "required_approvals",
    "priority",
)


def protection_shape(world: World, rule: Protection) -> Json:
    defaults: Json = {name: [] for name in _PROTECTION_LISTS}
    defaults |= dict.fromkeys(_PROTECTION_FLAGS, False)
    defaults |= dict.fromkeys(_PROTECTION_TEXTS, "")
    return {
        **defaults,
        "required_approvals": 0,
        "priority": 1,
        **rule.options,
        "branch_name": rule.rule,
        "rule_name": rule.rule,
        "enable_push": rule.enable_push,
        "enable_push_whitelist": rule.push_whitelist,
        "push_whitelist_usernames": list(rule.push_users),
        "enable_merge_whitelist": rule.merge_whitelist,
        "merge_whitelist_usernames": list(rule.merge_users),
        "created_at": when(world, rule.created_s),
        "updated_at": when(world, rule.updated_s),
    }


def file_shape(
    world: World, repo: Repo, ref: str, entry: Entry, content: bytes | None, last: CommitRow | None
) -> Json:
    """A file or directory entry; `content` None leaves it out as in a directory's listing."""
    path = url_path(entry.path)
    api = repo_url(world, repo)
    html = f"{world.url}/{repo.full_name}"
    kind = {"tree": "dir", "commit": "submodule"}.get(entry.type, "file")
    kind = "symlink" if entry.mode == "120000" else kind
    self_url = f"{api}/contents/{path}?ref={url_path(ref)}"
    git_url = f"{api}/git/{'trees' if kind == 'dir' else 'blobs'}/{entry.sha}"
    html_url = f"{html}/src/branch/{url_path(ref)}/{path}"
    has_content = content is not None and kind == "file"
    shape = {
        "name": entry.path.rpartition("/")[2],
        "path": entry.path,
        "sha": entry.sha,
        "type": kind,
        "size": entry.size,
        "encoding": "base64" if has_content else None,
        "content": base64.b64encode(content or b"").decode() if has_content else None,
        "target": content.decode(errors="replace") if content and kind == "symlink" else None,
        "url": self_url,
        "html_url": html_url,
        "git_url": git_url,
        "download_url": f"{html}/raw/branch/{url_path(ref)}/{path}" if kind == "file" else None,
        "submodule_git_url": None,
        "_links": {"self": self_url, "git": git_url, "html": html_url},
    }
    if last is not None:
        shape["last_commit_sha"] = last.sha
        shape["last_committer_date"] = when(world, last.committer.at_s)
        shape["last_author_date"] = when(world, last.author.at_s)
    return shape


def _branch_info(repo: Json, name: str, ref: str, sha: str) -> Json:
    return {"label": name, "ref": ref, "sha": sha, "repo_id": repo["id"], "repo": repo}


def pull_shape(
    world: World, issue: Issue, pull: Pull, viewer: User | None, *, counts: bool = True
) -> Json:
    """A pull request. Making it begins the mergeable check, as reading it does in Gitea."""
    git, html = world.git(issue.repo), issue_html(world, issue)
    repo = repo_shape(world, issue.repo, viewer)
    base_sha = world.base_commit(issue, pull)
    tip = git.branch(pull.head)  # a branch made anew under the old name counts, as in Gitea
    head_ref = f"refs/pull/{issue.number}/head" if tip is None else pull.head
    changes = git.compare(pull.merge_base, pull.head_sha) if counts and pull.merge_base else ()
    shape: Json = {
        "id": pull.id,
        "url": html,
        "number": issue.number,
        "user": user_shape(world, world.user(issue.user_id), viewer),
        "title": issue.title,
        "body": issue.body,
        "labels": labels_of(world, issue),
        "milestone": None,
        **assignees_of(world, issue, viewer),
        "requested_reviewers": [],
        "requested_reviewers_teams": [],
        "state": "closed" if issue.closed else "open",
        "is_locked": issue.locked,
        "comments": issue.text_comments,
        "html_url": html,
        "diff_url": f"{html}.diff",
        "patch_url": f"{html}.patch",
        "mergeable": not issue.closed and world.check_mergeable(issue, pull),
        "merged": bool(pull.merged_s),
        "merged_at": when_set(world, pull.merged_s),
        "merge_commit_sha": pull.merge_sha or None,
        "merged_by": (
            user_shape(world, world.user(pull.merged_by), viewer) if pull.merged_s else None
        ),
        "allow_maintainer_edit": pull.allow_maintainer_edit,
        "base": _branch_info(repo, pull.base, pull.base, base_sha),
        "head": _branch_info(repo, pull.head, head_ref, tip or pull.head_sha),
        "merge_base": pull.merge_base,
        "due_date": when_set(world, issue.due_s),
        "created_at": when(world, issue.created_s),
        "updated_at": when(world, issue.updated_s),
        "closed_at": when_set(world, issue.closed_s),
        "pin_order": 0,
    }
    if world.quirks.has_draft:
        shape["draft"] = is_draft(issue.title)
    if world.quirks.has_content_version:
        shape["content_version"] = issue.content_version
    if counts:
        shape["additions"] = sum(max(0, change.added) for change in changes)
        shape["deletions"] = sum(max(0, change.removed) for change in changes)
        shape["changed_files"] = len(changes)
        shape["review_comments"] = 0
    return shape


def changed_file_shape(world: World, repo: Repo, sha: str, change: Changed) -> Json:
    words = {"A": "added", "D": "deleted", "R": "renamed", "C": "copied"}
    path, ref = url_path(change.path), f"commit/{sha}"
    html = f"{world.url}/{repo.full_name}"
    shape = {
        "filename": change.path,
        "status": words.get(change.status, "changed"),
        "additions": max(0, change.added),
        "deletions": max(0, change.removed),
        "changes": max(0, change.added) + max(0, change.removed),
        "html_url": f"{html}/src/{ref}/{path}",
        "contents_url": f"{repo_url(world, repo)}/contents/{path}?ref={sha}",
        "raw_url": f"{html}/raw/{ref}/{path}",
    }
    if change.old_path:
        shape["previous_filename"] = change.old_path
    return shape


def push_shape(world: World, repo: Repo, row: Push, viewer: User | None) -> Json:
    """A row of the record of activities, as a push makes it."""
    return {
        "id": row.id,
        "user_id": row.user_id,
        "op_type": "commit_repo",
        "act_user_id": row.user_id,
        "act_user": user_shape(world, world.user(row.user_id), viewer),
        "repo_id": repo.id,
        "repo": repo_shape(world, repo, viewer),
        "comment_id": 0,
        "comment": None,
        "ref_name": f"refs/heads/{row.branch}",
        "is_private": repo.private,
        "content": json.dumps({"HeadCommit": {"Sha1": row.commit}}) if row.commit else "",
        "created": when(world, row.created_s),
    }


def status_shape(world: World, repo: Repo, row: Status, viewer: User | None) -> Json:
    return {
        "id": row.id,
        "status": row.state,
        "target_url": row.target_url,
        "description": row.description,
        "url": f"{repo_url(world, repo)}/statuses/{row.sha}",
        "context": row.context,
        "creator": user_shape(world, world.user(row.creator_id), viewer),
        "created_at": when(world, row.created_s),
        "updated_at": when(world, row.created_s),
    }
