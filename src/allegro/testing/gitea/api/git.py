"""Routes about git objects: commits, trees, blobs, references, comparisons, statuses."""

from __future__ import annotations

import base64

from allegro.testing.gitea.acts.code import NewStatus
from allegro.testing.gitea.git import CommitRow
from allegro.testing.gitea.http import Reply, Request, answer, fail, not_found
from allegro.testing.gitea.model import Json, Level, Status

from .code_shapes import commit_shape, repo_url, status_shape
from .routes import Table
from .shapes import repo_shape

table = Table()
P = "/repos/{owner}/{repo}"
TREE_PAGE = 1000
STATES = ("pending", "success", "error", "failure", "warning")
_WORST_FIRST = ("error", "failure", "warning", "pending", "success", "skipped")


def one_commit(r: Request, row: CommitRow, *, detailed: bool = True) -> Json:
    """A commit; `stat`, `files` and `verification` can be asked away."""
    shape = commit_shape(r.world, r.repo, row, r.user)
    if not r.flag_query("stat", detailed):
        shape["stats"] = None
    if not r.flag_query("files", detailed):
        shape["files"] = None
    if not r.flag_query("verification", detailed):
        shape["commit"]["verification"] = None
    return shape


@table.add("GET", f"{P}/git/commits/{{sha}}", "repository")
def git_commit(r: Request) -> Reply:
    git, name = r.world.git(r.repo), r.params["sha"]
    sha = git.resolve(name)
    if sha is None:
        not_found(f"commit does not exist [id: {name}]")
    return answer(one_commit(r, git.commit(sha)))


@table.add("GET", f"{P}/commits", "repository")
def commits(r: Request) -> Reply:
    if r.repo.empty:
        fail(409, "Git Repository is empty.")
    git = r.world.git(r.repo)
    start = r.query.get("sha") or r.repo.default_branch
    sha = git.resolve(start)
    if sha is None:
        not_found(f"commit does not exist [id: {start}]")
    without = git.resolve(r.query.get("not", ""))
    revisions = [sha, *([f"^{without}"] if without else [])]
    paths = [r.query["path"]] if r.query.get("path") else []
    total = git.count(*revisions, paths=paths)
    rows = git.log(*revisions, limit=r.limit, skip=(r.page - 1) * r.limit, paths=paths)
    return answer([one_commit(r, row) for row in rows], 200, r.counted(total))


@table.add("GET", f"{P}/git/trees/{{sha}}", "repository")
def git_tree(r: Request) -> Reply:
    """A tree by the id of a tree, a commit or a reference; `truncated` = more pages."""
    git, world = r.world.git(r.repo), r.world
    sha = git.tree_id(r.params["sha"])
    if sha is None:
        fail(400, f"object does not exist [id: {r.params['sha']}]")
    rows = git.tree(sha, recursive=r.flag_query("recursive"))
    asked = r.number_query("per_page")
    size = TREE_PAGE if asked <= 0 else min(asked, TREE_PAGE)
    start = (r.page - 1) * size
    url = repo_url(world, r.repo)
    entries = [
        {
            "path": row.path,
            "mode": row.mode,
            "type": row.type,
            "size": row.size,
            "sha": row.sha,
            "url": f"{url}/git/{'trees' if row.type == 'tree' else 'blobs'}/{row.sha}",
        }
        for row in rows[start : start + size]
    ]
    return answer(
        {
            "sha": sha,
            "url": f"{url}/git/trees/{sha}",
            "tree": entries,
            "truncated": len(rows) > start + size,
            "page": r.page,
            "total_count": len(rows),
        }
    )


@table.add("GET", f"{P}/git/blobs/{{sha}}", "repository")
def git_blob(r: Request) -> Reply:
    sha = r.params["sha"]
    content = r.world.git(r.repo).blob(sha)
    if content is None:
        fail(400, f"object does not exist [id: {sha}]")
    return answer(
        {
            "content": base64.b64encode(content).decode(),
            "encoding": "base64",
            "url": f"{repo_url(r.world, r.repo)}/git/blobs/{sha}",
            "sha": sha,
            "size": len(content),
        }
    )


def _references(r: Request, prefix: str) -> Reply:
    """All references that begin so; none is 404."""
    url = repo_url(r.world, r.repo)
    found = r.world.git(r.repo).refs("refs/")
    rows = [(name, sha) for name, sha in found.items() if name.startswith(prefix)]
    if not rows:
        not_found()
    return r.listed(
        rows,
        lambda row: {
            "ref": row[0],
            "url": f"{url}/git/{row[0]}",
            "object": {"type": "commit", "sha": row[1], "url": f"{url}/git/commits/{row[1]}"},
        },
        link=False,
    )


@table.add("GET", f"{P}/git/refs", "repository")
def git_refs(r: Request) -> Reply:
    return _references(r, "refs/")


@table.add("GET", f"{P}/git/refs/{{gitref}}", "repository")
def git_refs_under(r: Request) -> Reply:
    return _references(r, f"refs/{r.params['gitref']}")


@table.add("GET", f"{P}/compare/{{basehead}}", "repository")
def compare(r: Request) -> Reply:
    """Commits of the head that the base has not; `output=diff` gives text."""
    git, words = r.world.git(r.repo), r.params["basehead"]
    base_name, dots, head_name = words.partition("...")
    if not dots:
        base_name, _, head_name = words.partition("..")
    base = git.resolve(base_name or r.repo.default_branch)
    head = git.resolve(head_name or r.repo.default_branch)
    if base is None or head is None:
        not_found()
    merge_base = git.merge_base(base, head)
    if r.query.get("output") == "diff":
        return Reply(200, None, git.diff(merge_base or base, head), "text/plain; charset=utf-8")
    rows = git.log(head, f"^{base}", limit=1000)
    return answer({"total_commits": len(rows), "commits": [one_commit(r, row) for row in rows]})


# statuses


@table.add("POST", f"{P}/statuses/{{sha}}", "repository", need=Level.WRITE)
def create_status(r: Request) -> Reply:
    """Append a status; an unknown commit is 500."""
    state, sha = r.text("state"), r.params["sha"]
    allowed = (*STATES, "skipped") if r.quirks.skipped_status else STATES
    if state not in allowed:
        fail(400, f"unknown state: {state}")
    found = r.world.git(r.repo).resolve(sha)
    if found is None:
        fail(500, r.internal(f"object does not exist [id: {sha}]"))
    context = r.text("context") or "default"
    new = NewStatus(state, context, r.text("description"), r.text("target_url"))
    row = r.world.add_status(r.repo, r.doer, found, new)
    return answer(status_shape(r.world, r.repo, row, r.user), 201)


def _statuses(r: Request, ref: str) -> tuple[str, list[Status]]:
    sha = r.world.git(r.repo).resolve(ref)
    if sha is None:
        not_found()
    return sha, r.repo.statuses.get(sha, [])


def _list_statuses(r: Request, ref: str) -> Reply:
    _, rows = _statuses(r, ref)
    wanted = r.query.get("state", "")
    kept = [row for row in reversed(rows) if not wanted or row.state == wanted]
    return r.listed(kept, lambda row: status_shape(r.world, r.repo, row, r.user))


@table.add("GET", f"{P}/statuses/{{sha}}", "repository")
def statuses(r: Request) -> Reply:
    return _list_statuses(r, r.params["sha"])


@table.add("GET", f"{P}/commits/{{ref}}/statuses", "repository")
def ref_statuses(r: Request) -> Reply:
    return _list_statuses(r, r.params["ref"])


@table.add("GET", f"{P}/commits/{{ref}}/status", "repository")
def combined_status(r: Request) -> Reply:
    """The newest status of each context and the worst of them; without any, state is empty."""
    sha, rows = _statuses(r, r.params["ref"])
    newest = list({row.context: row for row in rows}.values())
    states = {row.state for row in newest}
    worst = next((state for state in _WORST_FIRST if state in states), "")
    url = f"{repo_url(r.world, r.repo)}/commits/{sha}"
    shapes = [status_shape(r.world, r.repo, row, r.user) for row in r.slice(newest)]
    shape = {
        "state": "failure" if worst == "error" else worst,
        "sha": sha,
        "total_count": len(newest),
        "statuses": shapes or None,
        "repository": repo_shape(r.world, r.repo, r.user),
        "commit_url": url,
        "url": f"{url}/status",
    }
    return answer(shape, 200, r.counted(len(newest)))
