"""Routes about issues: lists and their traps, one issue, changes, lock, assignees."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from allegro.testing.gitea.acts.issues import NewIssue
from allegro.testing.gitea.http import Reply, Request, answer, empty, fail
from allegro.testing.gitea.model import Issue, Label, Level, Repo, User

from .routes import Table
from .shapes import issue_shape

table = Table()
P = "/repos/{owner}/{repo}"
Keep = Callable[[Issue], bool]


def _state_filter(r: Request) -> Keep | None:
    """The state that is asked for; the default is OPEN."""
    state = r.query.get("state", "")
    if state == "all":
        return None
    wanted = state == "closed"
    return lambda issue: issue.closed == wanted


def _filters(r: Request) -> list[Keep]:
    """The filters both lists share: state, kind, and the two inclusive whole-second bounds."""
    since, before = r.time_query("since"), r.time_query("before")
    keeps: list[Keep] = []
    if since is not None:
        keeps.append(lambda issue, at_s=since: issue.updated_s >= at_s)  # type: ignore[misc]
    if before is not None:
        keeps.append(lambda issue, at_s=before: issue.updated_s <= at_s)  # type: ignore[misc]
    state = _state_filter(r)
    if state is not None:
        keeps.append(state)
    kind = r.query.get("type", "")
    if kind in ("issues", "pulls"):
        wants_pull = kind == "pulls"
        keeps.append(lambda issue: (issue.pull is not None) == wants_pull)
    word = r.query.get("q", "").strip().lower()
    if word:
        keeps.append(lambda issue: word in issue.title.lower() or word in issue.body.lower())
    return keeps


def _names(r: Request, name: str) -> list[str]:
    return [text.strip() for text in r.query.get(name, "").split(",") if text.strip()]


def _label_filter(r: Request, known: Iterable[Label], *, every: bool) -> Keep | None:
    """Unknown label names are dropped; when none is known the filter vanishes."""
    names = _names(r, "labels")
    ids = {label.id for label in known if label.name in names}
    if not ids:
        return None
    if every:
        return lambda issue: ids.issubset(issue.labels)
    return lambda issue: not ids.isdisjoint(issue.labels)


def _person(r: Request, name: str) -> User | None:
    """The user of a name filter; an unknown name is 404."""
    login = r.query.get(name, "")
    if not login:
        return None
    found = r.world.find_user(login)
    if found is None:
        fail(404, f"user does not exist [uid: 0, name: {login}]")
    return found


def _person_filters(r: Request, created: str, assigned: str, mentioned: str) -> list[Keep]:
    keeps: list[Keep] = []
    author, assignee = _person(r, created), _person(r, assigned)
    if author is not None:
        keeps.append(lambda issue: issue.user_id == author.id)
    if assignee is not None:
        keeps.append(lambda issue: assignee.id in issue.assignees)
    person = _person(r, mentioned)
    if person is not None:
        keeps.append(lambda issue: f"@{person.login}" in issue.body)
    return keeps


def _select(rows: Iterable[Issue], keeps: list[Keep]) -> list[Issue]:
    for keep in keeps:
        rows = filter(keep, rows)
    return list(rows)


def _newest_first(r: Request, rows: list[Issue], sort: str) -> list[Issue]:
    """Created order, newest first; only Forgejo from 11 on knows another."""
    if r.quirks.sorts_issues and sort in ("recentupdate", "leastupdate"):
        latest = sort == "recentupdate"
        return sorted(rows, key=lambda issue: (issue.updated_s, issue.id), reverse=latest)
    return rows


@table.add("GET", f"{P}/issues", "issue")
def list_issues(r: Request) -> Reply:
    keeps = _filters(r) + _person_filters(r, "created_by", "assigned_by", "mentioned_by")
    own = [label for label in r.world.labels.values() if label.repo_id == r.repo.id]
    labelled = _label_filter(r, own, every=True)
    if labelled:
        keeps.append(labelled)
    rows = _select(reversed(r.repo.ordered), keeps)
    rows = _newest_first(r, rows, r.query.get("sort", ""))
    return r.listed(rows, lambda issue: issue_shape(r.world, issue, r.user))


@table.add("GET", "/repos/issues/search", "issue")
def search_issues(r: Request) -> Reply:
    keeps = [_readable(r, _searched(r)), *_filters(r), *_own_filters(r)]
    author = _person(r, "created_by")
    if author is not None:
        keeps.append(lambda issue: issue.user_id == author.id)
    labelled = _label_filter(r, r.world.labels.values(), every=False)
    if labelled:
        keeps.append(labelled)
    rows = _select(reversed(r.world.ordered), keeps)
    return r.listed(rows, lambda issue: issue_shape(r.world, issue, r.user))


def _searched(r: Request) -> list[Repo]:
    login = r.query.get("owner", "")
    owner = r.world.find_user(login) if login else None
    if login and owner is None:
        fail(400, "Owner not found")
    if r.query.get("team"):
        fail(400, "Team not found" if owner else "Owner organisation is required for filtering")
    return [repo for repo in r.world.repos.values() if owner is None or repo.owner is owner]


def _readable(r: Request, repos: list[Repo]) -> Keep:
    public_only = r.token is not None and "public-only" in r.token.scopes
    ids = {
        repo.id
        for repo in repos
        if r.world.level(r.user, repo) >= Level.READ and not (public_only and repo.private)
    }
    return lambda issue: issue.repo.id in ids


def _own_filters(r: Request) -> list[Keep]:
    keeps: list[Keep] = []
    if r.user is not None and r.flag_query("created"):
        keeps.append(lambda issue: issue.user_id == r.doer.id)
    if r.user is not None and r.flag_query("assigned"):
        keeps.append(lambda issue: r.doer.id in issue.assignees)
    if r.user is not None and r.flag_query("mentioned"):
        keeps.append(lambda issue: f"@{r.doer.login}" in issue.body)
    return keeps


# one issue


def people(r: Request, names: list[object], unknown: int) -> list[int]:
    """Return user ids of login names; an unknown one is refused with `unknown`."""
    ids = []
    for name in dict.fromkeys(str(name) for name in names):
        found = r.world.find_user(name)
        if found is None:
            message = f"user does not exist [uid: 0, name: {name}]"
            fail(unknown, r.internal(message) if unknown == 500 else message)
        ids.append(found.id)
    return ids


def asked_assignees(r: Request) -> list[object]:
    single = r.text("assignee")
    return [*r.items("assignees"), *([single] if single else [])]


def _due(r: Request) -> int:
    """Return the end of the day named by `due_date`, as Gitea keeps it; 0 = none."""
    second = r.time("due_date")
    return 0 if second is None else second - second % 86400 + 86399


@table.add("POST", f"{P}/issues", "issue")
def create_issue(r: Request) -> Reply:
    """Without write right, labels and assignees are silently dropped."""
    title = r.required("title", "Title")
    labels = [key for key in r.ids("labels") if key in r.world.known_labels(r.repo)]
    ids = people(r, asked_assignees(r), 422) if r.writes else []
    new = NewIssue(
        title,
        r.text("body"),
        labels=labels if r.writes else [],
        assignees=ids,
        due_s=_due(r) if r.writes else 0,
    )
    issue = r.world.create_issue(r.repo, r.doer, new)
    if r.flag("closed"):
        r.world.set_closed(issue, r.doer, True)
    return answer(issue_shape(r.world, issue, r.user), 201)


@table.add("GET", f"{P}/issues/{{index}}", "issue")
def one_issue(r: Request) -> Reply:
    return answer(issue_shape(r.world, r.issue(), r.user))


def check_version(r: Request, issue: Issue) -> None:
    """Refuse a change made on an older body."""
    asked = r.body.get("content_version")
    if r.quirks.has_content_version and asked is not None and asked != issue.content_version:
        fail(409, "content version mismatch")


@table.add("PATCH", f"{P}/issues/{{index}}", "issue")
def edit_issue(r: Request) -> Reply:
    """Answers 201. Not atomic: title, body, date, assignees, state; earlier ones stay."""
    issue, world = r.issue(), r.world
    if issue.user_id != r.doer.id and not r.writes:
        fail(403, "Forbidden")
    if r.text("title"):
        world.change_title(issue, r.doer, r.text("title"))
    if r.has("body") and r.text("body") != issue.body:
        check_version(r, issue)
        world.change_body(issue, r.doer, r.text("body"))
    if r.writes:
        if r.has("due_date") or r.flag("unset_due_date"):
            world.set_due(issue, r.doer, 0 if r.flag("unset_due_date") else _due(r))
        if r.has("assignees") or r.has("assignee"):
            world.set_assignees(issue, r.doer, people(r, asked_assignees(r), 500))
    _edit_state(r, issue)
    if r.quirks.backdates_issues and r.has("updated_at") and r.level >= Level.ADMIN:
        issue.updated_s = r.time("updated_at") or issue.updated_s
    return answer(issue_shape(world, issue, r.user), 201)


def _edit_state(r: Request, issue: Issue) -> None:
    if not r.has("state"):
        return
    state = r.text("state")
    if state not in ("open", "closed"):
        fail(412, f"unknown state: {state}")
    if issue.pull and issue.pull.merged_s:
        fail(412, "cannot change state of this pull request, it was already merged")
    r.world.set_closed(issue, r.doer, state == "closed")


@table.add("DELETE", f"{P}/issues/{{index}}", "issue", need=Level.ADMIN)
def delete_issue(r: Request) -> Reply:
    r.world.remove_issue(r.issue(), r.doer)
    return empty()


# lock


@table.add(
    "PUT", f"{P}/issues/{{index}}/lock", "issue", need=Level.WRITE, exists=lambda q: q.has_lock
)
def lock(r: Request) -> Reply:
    r.world.set_locked(r.issue(), r.doer, True, r.text("lock_reason"))
    return empty()


@table.add(
    "DELETE", f"{P}/issues/{{index}}/lock", "issue", need=Level.WRITE, exists=lambda q: q.has_lock
)
def unlock(r: Request) -> Reply:
    r.world.set_locked(r.issue(), r.doer, False)
    return empty()


# assignees


def _change_assignees(r: Request, *, add: bool) -> Issue:
    issue = r.issue()
    ids = people(r, r.items("assignees"), 422)
    kept = [key for key in issue.assignees if key not in ids]
    r.world.set_assignees(issue, r.doer, issue.assignees + ids if add else kept)
    return issue


@table.add(
    "POST",
    f"{P}/issues/{{index}}/assignees",
    "issue",
    need=Level.WRITE,
    exists=lambda q: q.has_assignee_endpoints,
)
def add_assignees(r: Request) -> Reply:
    return answer(issue_shape(r.world, _change_assignees(r, add=True), r.user), 201)


@table.add(
    "DELETE",
    f"{P}/issues/{{index}}/assignees",
    "issue",
    need=Level.WRITE,
    exists=lambda q: q.has_assignee_endpoints,
)
def remove_assignees(r: Request) -> Reply:
    return answer(issue_shape(r.world, _change_assignees(r, add=False), r.user))
