"""Routes about pull requests."""

from __future__ import annotations

from allegro.testing.gitea.acts.code import MERGE_STYLES, is_draft
from allegro.testing.gitea.acts.issues import NewIssue
from allegro.testing.gitea.git import Changed
from allegro.testing.gitea.http import Reply, Request, answer, empty, fail, not_found
from allegro.testing.gitea.model import Issue, Pull

from .code_shapes import changed_file_shape, pull_shape
from .git import one_commit
from .issues import asked_assignees, check_version, people
from .routes import Table

table = Table()
P = "/repos/{owner}/{repo}"


def _pull(r: Request) -> tuple[Issue, Pull]:
    issue = r.issue()
    if issue.pull is None:
        not_found()
    return issue, issue.pull


def _shape(r: Request, issue: Issue, status: int = 200) -> Reply:
    assert issue.pull is not None
    return answer(pull_shape(r.world, issue, issue.pull, r.user), status)


def _head_branch(r: Request, text: str) -> str:
    """Return the head branch of `branch`, `user:branch` or `owner/repo:branch`."""
    place, colon, branch = text.rpartition(":")
    if colon:
        owner, _, name = place.partition("/")
        if owner.lower() != r.repo.owner.login.lower() or name.lower() not in (
            "",
            r.repo.name.lower(),
        ):
            not_found()
    return branch


@table.add("GET", f"{P}/pulls", "repository")
def list_pulls(r: Request) -> Reply:
    state, base = r.query.get("state", "open"), r.query.get("base_branch", "")
    poster = r.query.get("poster", "")
    rows = [
        (issue, issue.pull)
        for issue in reversed(r.repo.ordered)
        if issue.pull
        and (state == "all" or issue.closed == (state == "closed"))
        and (not base or issue.pull.base == base)
        and (not poster or r.world.user(issue.user_id).login == poster)
    ]
    sort = r.query.get("sort", "")
    if sort in ("recentupdate", "leastupdate"):
        rows.sort(key=lambda row: (row[0].updated_s, row[0].id), reverse=sort == "recentupdate")
    elif sort == "oldest":
        rows.reverse()
    return r.listed(rows, lambda row: pull_shape(r.world, row[0], row[1], r.user, counts=False))


@table.add("POST", f"{P}/pulls", "repository")
def create_pull(r: Request) -> Reply:
    base, title = r.required("base", "Base"), r.required("title", "Title")
    head = _head_branch(r, r.required("head", "Head"))
    git = r.world.git(r.repo)
    if head == base:
        fail(422, "Invalid PullRequest: There are no changes between the head and the base")
    if not r.world.may_open_pull(r.doer, r.repo):
        fail(403, "user should have a permission to create a pull request")
    for name in (base, head):
        if git.branch(name) is None:
            if git.resolve(name) is not None:
                fail(422, f"not a branch: {name}")
            not_found()
    other = r.world.open_pull_of(r.repo, head, base)
    if other is not None and other.pull is not None:
        fail(
            409,
            "pull request already exists for these targets "
            f"[id: {other.pull.id}, issue_id: {other.number}, head_repo_id: {r.repo.id}, "
            f"base_repo_id: {r.repo.id}, head_branch: {head}, base_branch: {base}]",
        )
    labels = [key for key in r.ids("labels") if key in r.world.known_labels(r.repo)]
    ids = people(r, asked_assignees(r), 422)
    issue = r.world.create_pull(
        r.repo,
        r.doer,
        head,
        base,
        NewIssue(title, r.text("body"), labels, ids)
        if r.writes
        else NewIssue(title, r.text("body")),
    )
    assert issue.pull is not None
    issue.pull.allow_maintainer_edit = r.flag("allow_maintainer_edit")
    return _shape(r, issue, 201)


@table.add("GET", f"{P}/pulls/{{index}}", "repository")
def one_pull(r: Request) -> Reply:
    return _shape(r, _pull(r)[0])


@table.add("GET", f"{P}/pulls/{{index}}.diff", "repository")
def pull_diff(r: Request) -> Reply:
    issue, pull = _pull(r)
    git, binary = r.world.git(issue.repo), r.flag_query("binary")
    text = git.diff(pull.merge_base, pull.head_sha, binary=binary)
    return Reply(200, None, text, "text/plain; charset=utf-8")


@table.add("GET", f"{P}/pulls/{{index}}.patch", "repository")
def pull_patch(r: Request) -> Reply:
    issue, pull = _pull(r)
    text = r.world.git(issue.repo).patch(pull.merge_base, pull.head_sha)
    return Reply(200, None, text, "text/plain; charset=utf-8")


@table.add("GET", f"{P}/pulls/{{index}}/files", "repository")
def pull_files(r: Request) -> Reply:
    issue, pull = _pull(r)
    rows = r.world.git(issue.repo).compare(pull.merge_base, pull.head_sha)

    def shape(change: Changed) -> object:
        return changed_file_shape(r.world, r.repo, pull.head_sha, change)

    return r.listed(rows, shape)


@table.add("GET", f"{P}/pulls/{{index}}/commits", "repository")
def pull_commits(r: Request) -> Reply:
    issue, pull = _pull(r)
    rows = r.world.git(issue.repo).log(pull.head_sha, f"^{pull.merge_base}", limit=1000)
    return r.listed(rows, lambda row: one_commit(r, row))


@table.add("GET", f"{P}/pulls/{{index}}/merge", "repository")
def is_merged(r: Request) -> Reply:
    if not _pull(r)[1].merged_s:
        not_found()
    return empty()


@table.add(
    "GET", f"{P}/pulls/{{base}}/{{head}}", "repository", exists=lambda q: q.has_pull_by_branches
)
def pull_by_branches(r: Request) -> Reply:
    """The first request between two branches, whatever its state: perhaps an old closed one."""
    head, base = _head_branch(r, r.params["head"]), r.params["base"]
    for issue in r.repo.ordered:
        if issue.pull and (issue.pull.head, issue.pull.base) == (head, base):
            return _shape(r, issue)
    return not_found()


@table.add("PATCH", f"{P}/pulls/{{index}}", "repository")
def edit_pull(r: Request) -> Reply:
    """Answers 201. Labels are a full set; an unknown assignee is 422 here."""
    issue, pull = _pull(r)
    world = r.world
    if issue.user_id != r.doer.id and not r.writes:
        fail(403, "Forbidden")
    if r.text("title"):
        world.change_title(issue, r.doer, r.text("title"))
    if r.has("body") and r.text("body") != issue.body:
        check_version(r, issue)
        world.change_body(issue, r.doer, r.text("body"))
    if r.writes and (r.has("assignees") or r.has("assignee")):
        world.set_assignees(issue, r.doer, people(r, asked_assignees(r), 422))
    if r.writes and r.has("labels"):
        known = world.known_labels(r.repo)
        labels = [known[key] for key in r.ids("labels") if key in known]
        world.replace_labels(issue, r.doer, labels)
    if r.has("state"):
        _edit_state(r, issue, pull)
    base = r.text("base")
    if base and base != pull.base:
        _retarget(r, issue, pull, base)
    return _shape(r, issue, 201)


def _edit_state(r: Request, issue: Issue, pull: Pull) -> None:
    state = r.text("state")
    if pull.merged_s:
        fail(412, "cannot change state of this pull request, it was already merged")
    if state not in ("open", "closed"):
        fail(412, f"unknown state: {state}")
    r.world.set_closed(issue, r.doer, state == "closed")


def _retarget(r: Request, issue: Issue, pull: Pull, base: str) -> None:
    git = r.world.git(r.repo)
    sha = git.branch(base)
    if sha is None:
        fail(404, f"new base '{base}' not exist")
    if r.world.open_pull_of(r.repo, pull.head, base) is not None:
        fail(409, "pull request already exists for these targets")
    r.world.retarget(issue, r.doer, base)


@table.add("POST", f"{P}/pulls/{{index}}/merge", "repository")
def merge(r: Request) -> Reply:
    """Merge now. 405 = not allowed or not yet; 409 = conflict or head moved."""
    issue, pull = _pull(r)
    style = r.text("Do") or (r.text("do") if r.quirks.reads_lower_case_do else "")
    if style not in MERGE_STYLES:
        fail(422, "[Do]: Required")
    if pull.merged_s or issue.closed:
        fail(405, "")
    if not r.world.can_merge(r.user, r.repo, pull.base):
        fail(405, "User not allowed to merge PR")
    if is_draft(issue.title):
        fail(405, "Work in progress PRs cannot be merged")
    asked = r.text("head_commit_id")
    if asked and asked != pull.head_sha:
        fail(409, "head out of date")
    if not r.world.check_mergeable(issue, pull):
        fail(409 if r.world.in_conflict(pull) else 405, "Please try again later")
    text = r.text("MergeTitleField") or r.text("merge_title_field")
    more = r.text("MergeMessageField") or r.text("merge_message_field")
    try:
        r.world.merge_pull_now(issue, r.doer, style, "\n\n".join(t for t in (text, more) if t))
    except ValueError as refused:
        fail(409, str(refused))
    return empty(200)
