"""People, repositories, issues as the JSON objects Gitea sends."""

from __future__ import annotations

from allegro.testing.gitea.acts.code import is_draft
from allegro.testing.gitea.http import API, when, when_set
from allegro.testing.gitea.model import (
    Comment,
    Hook,
    Issue,
    Json,
    Label,
    Level,
    Reaction,
    Repo,
    Token,
    User,
)
from allegro.testing.gitea.world import World


def user_shape(world: World, user: User, viewer: User | None) -> Json:
    """A user with the undocumented `username` twin; private fields only for self and admins."""
    close = viewer is not None and (viewer.admin or viewer.id == user.id)
    return {
        "id": user.id,
        "login": user.login,
        "login_name": "",
        "source_id": 0,
        "full_name": user.full_name,
        "email": user.email if close else f"{user.login.lower()}@noreply.localhost",
        "avatar_url": f"{world.url}/avatars/{user.id}",
        "html_url": f"{world.url}/{user.login}",
        "language": "en-US" if close else "",
        "is_admin": close and user.admin,
        "last_login": when(world, user.created_s if close else 0),
        "created": when(world, user.created_s),
        "restricted": False,
        "active": close,
        "prohibit_login": False,
        "location": "",
        "website": "",
        "description": "",
        "visibility": "private" if user.private else "public",
        "followers_count": 0,
        "following_count": 0,
        "starred_repos_count": 0,
        "username": user.login,
    }


def org_shape(world: World, org: User) -> Json:
    return {
        "id": org.id,
        "name": org.login,
        "full_name": org.full_name,
        "email": "",
        "avatar_url": f"{world.url}/avatars/{org.id}",
        "description": "",
        "website": "",
        "location": "",
        "visibility": "private" if org.private else "public",
        "repo_admin_change_team_access": False,
        "username": org.login,
    }


def token_shape(world: World, token: Token, *, with_value: bool) -> Json:
    """A token; its secret is told once, when it is made."""
    return {
        "id": token.id,
        "name": token.name,
        "sha1": token.value if with_value else "",
        "token_last_eight": token.value[-8:],
        "scopes": list(token.scopes),
        "created_at": when(world, token.created_s),
        "last_used_at": when(world, token.used_s),
    }


_REPO_DEFAULTS: Json = {
    "fork": False,
    "template": False,
    "mirror": False,
    "size": 0,
    "language": "",
    "link": "",
    "original_url": "",
    "website": "",
    "stars_count": 0,
    "forks_count": 0,
    "watchers_count": 1,
    "release_counter": 0,
    "has_code": True,
    "has_wiki": False,
    "has_projects": False,
    "projects_mode": "all",
    "has_releases": True,
    "has_packages": False,
    "has_actions": False,
    "ignore_whitespace_conflicts": False,
    "allow_merge_commits": True,
    "allow_rebase": True,
    "allow_rebase_explicit": True,
    "allow_squash_merge": True,
    "allow_fast_forward_only_merge": True,
    "allow_rebase_update": True,
    "allow_merge_update": True,
    "allow_manual_merge": False,
    "autodetect_manual_merge": False,
    "default_delete_branch_after_merge": False,
    "default_merge_style": "merge",
    "default_update_style": "merge",
    "default_allow_maintainer_edit": False,
    "avatar_url": "",
    "internal": False,
    "mirror_interval": "",
    "object_format_name": "sha1",
    "mirror_updated": "0001-01-01T00:00:00Z",
    "topics": [],
    "licenses": None,
}


def permissions_shape(level: Level) -> Json:
    return {
        "admin": level >= Level.ADMIN,
        "push": level >= Level.WRITE,
        "pull": level >= Level.READ,
    }


def repo_shape(world: World, repo: Repo, viewer: User | None) -> Json:
    html = f"{world.url}/{repo.full_name}"
    return {
        **_REPO_DEFAULTS,
        "id": repo.id,
        "owner": user_shape(world, repo.owner, viewer),
        "name": repo.name,
        "full_name": repo.full_name,
        "description": repo.description,
        "empty": repo.empty,
        "private": repo.private,
        "html_url": html,
        "url": f"{world.url}{API}/repos/{repo.full_name}",
        "languages_url": f"{world.url}{API}/repos/{repo.full_name}/languages",
        "ssh_url": f"git@localhost:{repo.full_name}.git",
        "clone_url": f"{html}.git",
        "open_issues_count": repo.open_issues,
        "open_pr_counter": repo.open_pulls,
        "default_branch": repo.default_branch,
        "archived": repo.archived,
        "archived_at": when(world, repo.archived_s) if repo.archived else "1970-01-01T00:00:00Z",
        "created_at": when(world, repo.created_s),
        "updated_at": when(world, repo.updated_s),
        "branch_count": repo.branch_count,
        "has_issues": repo.has_issues,
        "has_pull_requests": repo.has_pulls,
        "internal_tracker": {
            "enable_time_tracker": True,
            "allow_only_contributors_to_track_time": True,
            "enable_issue_dependencies": True,
        },
        "permissions": permissions_shape(world.level(viewer, repo)),
    }


def label_shape(world: World, label: Label) -> Json:
    if label.repo_id:
        place = f"repos/{world.repos[label.repo_id].full_name}"
    else:
        place = f"orgs/{world.user(label.org_id).login}"
    return {
        "id": label.id,
        "name": label.name,
        "exclusive": label.exclusive,
        "is_archived": label.archived,
        "color": label.color,
        "description": label.description,
        "url": f"{world.url}{API}/{place}/labels/{label.id}",
    }


def labels_of(world: World, issue: Issue) -> list[Json]:
    """Labels come by name."""
    rows = sorted((world.labels[key] for key in issue.labels), key=lambda label: label.name)
    return [label_shape(world, label) for label in rows]


def assignees_of(world: World, issue: Issue, viewer: User | None) -> Json:
    """`assignee` and `assignees`; nobody is null, not an empty list."""
    people = [user_shape(world, world.user(key), viewer) for key in issue.assignees]
    return {"assignee": people[0] if people else None, "assignees": people or None}


def issue_html(world: World, issue: Issue) -> str:
    word = "pulls" if issue.pull else "issues"
    return f"{world.url}/{issue.repo.full_name}/{word}/{issue.number}"


def issue_shape(world: World, issue: Issue, viewer: User | None) -> Json:
    """An issue, or a pull request seen as one (then `pull_request` is not null)."""
    repo, pull, quirks = issue.repo, issue.pull, world.quirks
    shape: Json = {
        "id": issue.id,
        "url": f"{world.url}{API}/repos/{repo.full_name}/issues/{issue.number}",
        "html_url": issue_html(world, issue),
        "number": issue.number,
        "user": user_shape(world, world.user(issue.user_id), viewer),
        "original_author": "",
        "original_author_id": 0,
        "title": issue.title,
        "body": issue.body,
        "ref": "",
        "assets": [],
        "labels": labels_of(world, issue),
        "milestone": None,
        **assignees_of(world, issue, viewer),
        "state": "closed" if issue.closed else "open",
        "is_locked": issue.locked,
        "comments": issue.text_comments,
        "created_at": when(world, issue.created_s),
        "updated_at": when(world, issue.updated_s),
        "closed_at": when_set(world, issue.closed_s),
        "due_date": when_set(world, issue.due_s),
        "time_estimate": 0,
        "pull_request": None,
        "repository": {
            "id": repo.id,
            "name": repo.name,
            "owner": repo.owner.login,
            "full_name": repo.full_name,
        },
        "pin_order": 0,
    }
    if pull:
        shape["pull_request"] = {
            "merged": bool(pull.merged_s),
            "merged_at": when_set(world, pull.merged_s),
            "draft": is_draft(issue.title),
            "html_url": issue_html(world, issue),
        }
    if quirks.has_content_version:
        shape["content_version"] = issue.content_version
    if quirks.has_projects:
        shape["projects"] = []
    return shape


def _comment_links(world: World, row: Comment) -> Json:
    html = issue_html(world, row.issue)
    return {
        "html_url": f"{html}#issuecomment-{row.id}",
        "pull_request_url": html if row.issue.pull else "",
        "issue_url": "" if row.issue.pull else html,
    }


def comment_shape(world: World, row: Comment, viewer: User | None) -> Json:
    return {
        "id": row.id,
        **_comment_links(world, row),
        "user": user_shape(world, world.user(row.user_id), viewer),
        "original_author": "",
        "original_author_id": 0,
        "body": row.body,
        "assets": [],
        "created_at": when(world, row.created_s),
        "updated_at": when(world, row.updated_s),
    }


def timeline_shape(world: World, row: Comment, viewer: User | None) -> Json:
    """A row of the time line: a comment, or an event with its `type` and author."""
    label = world.labels.get(row.label_id)
    person = world.user(row.assignee_id) if row.assignee_id else None
    referring = world.issues.get(row.ref_issue_id)
    commented = world.comments.get(row.ref_comment_id)
    return {
        "id": row.id,
        "type": row.type,
        **_comment_links(world, row),
        "user": user_shape(world, world.user(row.user_id), viewer),
        "body": row.body,
        "created_at": when(world, row.created_s),
        "updated_at": when(world, row.updated_s),
        "old_project_id": 0,
        "project_id": 0,
        "old_milestone": None,
        "milestone": None,
        "tracked_time": None,
        "old_title": row.old_title,
        "new_title": row.new_title,
        "old_ref": "",
        "new_ref": "",
        "ref_issue": issue_shape(world, referring, viewer) if referring else None,
        "ref_comment": comment_shape(world, commented, viewer) if commented else None,
        "ref_action": "none",
        "ref_commit_sha": row.ref_sha,
        "review_id": 0,
        "label": label_shape(world, label) if label else None,
        "assignee": user_shape(world, person, viewer) if person else None,
        "assignee_team": None,
        "removed_assignee": row.removed,
        "resolve_doer": None,
        "dependent_issue": None,
    }


def reaction_shape(world: World, row: Reaction, viewer: User | None) -> Json:
    return {
        "user": user_shape(world, world.user(row.user_id), viewer),
        "content": row.content,
        "created_at": when(world, row.created_s),
    }


def hook_shape(world: World, hook: Hook) -> Json:
    """A webhook; its secret is never told."""
    config: Json = {k: v for k, v in hook.config.items() if k != "secret"}
    return {
        "id": hook.id,
        "type": "gitea",
        "name": hook.name,
        "branch_filter": hook.branch_filter,
        "config": config,
        "events": list(hook.events),
        "authorization_header": hook.authorization_header,
        "active": hook.active,
        "updated_at": when(world, hook.updated_s),
        "created_at": when(world, hook.created_s),
    }
