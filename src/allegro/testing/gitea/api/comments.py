"""Routes about comments, the time line, reactions."""

from __future__ import annotations

from allegro.testing.gitea.http import Reply, Request, answer, empty, fail, not_found
from allegro.testing.gitea.model import Comment, Reaction

from .routes import Table
from .shapes import comment_shape, reaction_shape, timeline_shape

table = Table()
P = "/repos/{owner}/{repo}"
REACTIONS = ("+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes")


def _between(r: Request, rows: list[Comment]) -> list[Comment]:
    """Keep rows by their own `updated` second, both ends inclusive, so that edits show."""
    since, before = r.time_query("since"), r.time_query("before")
    if since is not None:
        rows = [row for row in rows if row.updated_s >= since]
    if before is not None:
        rows = [row for row in rows if row.updated_s <= before]
    return rows


@table.add("GET", f"{P}/issues/{{index}}/comments", "issue")
def issue_comments(r: Request) -> Reply:
    """Everything, always: page and limit are ignored."""
    issue = r.issue(r.quirks.missing_issue_status)
    rows = _between(r, [row for row in issue.timeline if row.type == "comment"])
    shapes = [comment_shape(r.world, row, r.user) for row in rows]
    return answer(shapes, 200, r.counted(len(rows), link=False))


@table.add("GET", f"{P}/issues/comments", "issue")
def repo_comments(r: Request) -> Reply:
    """Comments of issues and pull requests, oldest first; a count but no Link."""
    rows = _between(r, r.repo.comments)
    return r.listed(rows, lambda row: comment_shape(r.world, row, r.user), link=False)


@table.add("POST", f"{P}/issues/{{index}}/comments", "issue")
def create_comment(r: Request) -> Reply:
    body = r.required("body", "Body")
    issue = r.issue(r.quirks.missing_issue_status)
    if issue.locked and not r.writes and not r.doer.admin:
        fail(403, "You cannot comment on a locked issue.")
    row = r.world.add_comment(issue, r.doer, body)
    return answer(comment_shape(r.world, row, r.user), 201)


def _comment(r: Request) -> Comment:
    row = r.world.comments.get(int(r.params["id"]))
    if row is None or row.issue.repo is not r.repo:
        not_found()
    return row


def _own_comment(r: Request) -> Comment:
    row = _comment(r)
    if row.user_id != r.doer.id and not r.writes:
        fail(403, "Forbidden")
    return row


@table.add("GET", f"{P}/issues/comments/{{id}}", "issue")
def one_comment(r: Request) -> Reply:
    row = _comment(r)
    if row.type != "comment":
        return empty()
    return answer(comment_shape(r.world, row, r.user))


@table.add("PATCH", f"{P}/issues/comments/{{id}}", "issue")
def edit_comment(r: Request) -> Reply:
    body = r.required("body", "Body")
    row = _own_comment(r)
    if row.type != "comment":
        return empty()
    r.world.change_comment(row, r.doer, body)
    return answer(comment_shape(r.world, row, r.user))


@table.add("DELETE", f"{P}/issues/comments/{{id}}", "issue")
def delete_comment(r: Request) -> Reply:
    row = _own_comment(r)
    if row.type != "comment":
        fail(400, "")
    r.world.remove_comment(row, r.doer)
    return empty()


@table.add("GET", f"{P}/issues/{{index}}/timeline", "issue")
def timeline(r: Request) -> Reply:
    """One page of everything that happened; an empty page is JSON `null`.

    X-Total-Count is the count of this page only.
    """
    issue = r.issue(r.quirks.missing_issue_status)
    rows = r.slice(_between(r, issue.timeline))
    shapes = [timeline_shape(r.world, row, r.user) for row in rows]
    return answer(shapes or None, 200, {"X-Total-Count": str(len(rows))})


# reactions


def _react(r: Request, rows: list[Reaction]) -> Reply:
    content = r.text("content")
    if content not in REACTIONS:
        fail(403, f"'{content}' is not an allowed reaction")
    row, fresh = r.world.react(rows, r.doer, content)
    return answer(reaction_shape(r.world, row, r.user), 201 if fresh else 200)


def _unreact(r: Request, rows: list[Reaction]) -> Reply:
    r.world.unreact(rows, r.doer, r.text("content"))
    return empty(r.quirks.reaction_delete_status)


@table.add("GET", f"{P}/issues/{{index}}/reactions", "issue")
def issue_reactions(r: Request) -> Reply:
    return r.listed(r.issue().reactions, lambda row: reaction_shape(r.world, row, r.user))


@table.add("POST", f"{P}/issues/{{index}}/reactions", "issue")
def react_to_issue(r: Request) -> Reply:
    return _react(r, r.issue().reactions)


@table.add("DELETE", f"{P}/issues/{{index}}/reactions", "issue")
def unreact_to_issue(r: Request) -> Reply:
    return _unreact(r, r.issue().reactions)


@table.add("GET", f"{P}/issues/comments/{{id}}/reactions", "issue")
def comment_reactions(r: Request) -> Reply:
    return answer([reaction_shape(r.world, row, r.user) for row in _comment(r).reactions])


@table.add("POST", f"{P}/issues/comments/{{id}}/reactions", "issue")
def react_to_comment(r: Request) -> Reply:
    return _react(r, _comment(r).reactions)


@table.add("DELETE", f"{P}/issues/comments/{{id}}/reactions", "issue")
def unreact_to_comment(r: Request) -> Reply:
    return _unreact(r, _comment(r).reactions)
