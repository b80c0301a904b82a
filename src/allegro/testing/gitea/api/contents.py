"""Routes about files: reading them, and commits that write them."""

from __future__ import annotations

from dataclasses import dataclass

from allegro.testing.gitea.acts.code import NewCommit
from allegro.testing.gitea.git import NO_COMMIT, Entry, GitError, RefMovedError, Who, Write
from allegro.testing.gitea.http import (
    Reply,
    Request,
    answer,
    decode_base64,
    fail,
    not_found,
    read_time,
)
from allegro.testing.gitea.model import Json, Level

from .branches import check_branch_name
from .code_shapes import UNSIGNED, file_commit_shape, file_shape
from .routes import Table

table = Table()
P = "/repos/{owner}/{repo}"
_WORDS = {"create": "Add", "update": "Update", "upload": "Update", "delete": "Delete"}


# reading


def _ref(r: Request) -> tuple[str, str]:
    """Return the asked reference and its commit; the default is the default branch."""
    if r.repo.empty:
        not_found("repository is empty")
    ref = r.query.get("ref", "").strip() or r.repo.default_branch
    sha = r.world.git(r.repo).resolve(ref.removeprefix("refs/heads/"))
    if sha is None:
        not_found("unable to find a git ref")
    return ref, sha


@table.add("GET", f"{P}/contents", "repository")
def root_contents(r: Request) -> Reply:
    ref, sha = _ref(r)
    git = r.world.git(r.repo)
    return answer([file_shape(r.world, r.repo, ref, e, None, None) for e in git.tree(sha)])


@table.add("GET", f"{P}/contents/{{filepath}}", "repository")
def contents(r: Request) -> Reply:
    """A file as an object with base64 content, a directory as a list without contents."""
    ref, sha = _ref(r)
    git, path = r.world.git(r.repo), r.params["filepath"].strip("/")
    entry = git.entry(sha, path)
    if entry is None:
        not_found(f"object does not exist [id: , rel_path: {path}]")
    if entry.type == "tree":
        rows = git.tree(sha, path)
        return answer([file_shape(r.world, r.repo, ref, row, None, None) for row in rows])
    return answer(_file(r, ref, sha, entry))


def _file(r: Request, ref: str, sha: str, entry: Entry) -> Json:
    git = r.world.git(r.repo)
    content = git.blob(entry.sha) or b""
    last = git.log(sha, limit=1, paths=[entry.path])
    return file_shape(r.world, r.repo, ref, entry, content, last[0] if last else None)


@table.add("GET", f"{P}/raw/{{filepath}}", "repository")
def raw(r: Request) -> Reply:
    """The bytes of a file; the one answer here that carries an ETag."""
    _, sha = _ref(r)
    git, path = r.world.git(r.repo), r.params["filepath"]
    entry = git.entry(sha, path)
    if entry is None or entry.type != "blob":
        not_found(f"object does not exist [id: , rel_path: {path}]")
    content = git.blob(entry.sha) or b""
    kind = "application/octet-stream" if b"\0" in content else "text/plain; charset=utf-8"
    return Reply(200, None, content, kind, {"ETag": f'"{entry.sha}"'})


# writing


@dataclass(frozen=True, slots=True)
class FileOperation:
    """One file of a commit as the client asked for it."""

    operation: str
    path: str
    content: bytes
    sha: str
    from_path: str


@dataclass(frozen=True, slots=True)
class Target:
    """Where a commit goes: on `base`, under the name `branch`, replacing it when `force`."""

    branch: str
    base: str | None
    force: bool


def _target(r: Request) -> Target:
    """Settle the branches and ask whether the user may push there."""
    git = r.world.git(r.repo)
    old = r.text("branch") or r.repo.default_branch
    new = r.text("new_branch") or old
    for name, field in ((old, "BranchName"), (new, "NewBranchName")):
        check_branch_name(name, field)
    base = git.branch(old)
    if base is None and not r.repo.empty:
        not_found(f"branch does not exist [repo_id: {r.repo.id} name: {old}]")
    force = r.quirks.has_force_push and r.flag("force_push")
    if new != old and not force and git.branch(new) is not None:
        fail(422, f"branch already exists [name: {new}]")
    if not r.world.can_push(r.user, r.repo, new):
        fail(403, f"user cannot commit to repo [user: {r.doer.login.lower()}]")
    return Target(new, base, force)


def _check_path(path: str) -> str:
    parts = path.split("/")
    if not path or any(part in ("", ".", "..", ".git") for part in parts):
        fail(422, f"path contains a malformed path component [path: {path}]")
    if path.startswith("-"):  # git would take it for an option, and nobody maps that error
        fail(500)
    return path


def _check_folders(r: Request, base: str | None, path: str) -> None:
    """Refuse a new file below what is a file at the base, even if the same commit deletes that."""
    parts = path.split("/")
    for depth in range(1, len(parts)):
        folder = "/".join(parts[:depth])
        entry = r.world.git(r.repo).entry(base, folder) if base else None
        if entry is None:
            return
        if entry.type != "tree":
            fail(
                422,
                f"a file exists where you’re trying to create a subdirectory [path: {folder}]",
            )


def _wrong_sha(r: Request, given: str, current: str) -> None:
    message = f"sha does not match [given: {given}, expected: {current}]"
    fail(r.quirks.wrong_sha_status, message)


def _existing(r: Request, base: str | None, ask: FileOperation, path: str) -> Entry:
    """Return the file to change; 404 when it is not there, 422 (Forgejo 409) on another sha."""
    entry = r.world.git(r.repo).entry(base, path) if base else None
    if entry is None:
        not_found(f"repository file does not exist [path: {path}]")
    if not ask.sha and r.quirks.sha_compulsory:
        fail(422, "a SHA or commit ID must be provided")
    if ask.sha and ask.sha != entry.sha:
        _wrong_sha(r, ask.sha, entry.sha)
    return entry


def _writes(r: Request, base: str | None, ask: FileOperation) -> list[Write]:
    path = _check_path(ask.path)
    here = r.world.git(r.repo).entry(base, path) if base else None
    if ask.operation == "create" or (ask.operation == "upload" and here is None):
        if here is not None:
            fail(422, f"repository file already exists [path: {path}]")
        _check_folders(r, base, path)
        return [Write(path, ask.content)]
    if ask.operation == "delete":
        _existing(r, base, ask, path)
        return [Write(path, None)]
    source = ask.from_path or path
    entry = _existing(r, base, ask, source)
    moved = [Write(source, None)] if source != path else []
    content = ask.content
    if ask.operation == "rename" and not content:
        content = r.world.git(r.repo).blob(entry.sha) or b""
    return [*moved, Write(path, content, entry.mode)]


def _identities(r: Request) -> tuple[Who, Who]:
    """Return author and committer: if only one is given it is both, else the user; with dates."""
    given = {name: r.object(name) for name in ("author", "committer")}
    given = {name: who for name, who in given.items() if who.get("name") or who.get("email")}
    dates = r.object("dates")
    made = []
    for name, other in (("author", "committer"), ("committer", "author")):
        who = given.get(name) or given.get(other) or {}
        at_s = read_time(str(dates[name])) if dates.get(name) else r.world.now_s()
        own = r.world.who(r.doer, at_s)
        made.append(Who(str(who.get("name") or own.name), str(who.get("email") or own.email), at_s))
    return made[0], made[1]


def _message(r: Request, asks: list[FileOperation]) -> str:
    text = r.text("message").strip()
    lines = [f"{_WORDS.get(ask.operation, 'Update')} {ask.path}" for ask in asks]
    text = text or "\n".join(lines)
    if r.flag("signoff"):
        text += f"\n\nSigned-off-by: {r.doer.login} <{r.doer.email}>"
    return text


def _commit(r: Request, asks: list[FileOperation]) -> tuple[Json, list[Json | None]]:
    """Make one commit of all operations; return its shapes: commit, and each file or None."""
    target = _target(r)
    writes = [write for ask in asks for write in _writes(r, target.base, ask)]
    author, committer = _identities(r)
    try:
        sha = r.world.store_commit(
            r.repo,
            r.doer,
            target.branch,
            NewCommit(writes, _message(r, asks), author, committer),
            base=target.base,
            force=target.force,
        )
    except RefMovedError as moved:
        fail(500, r.internal(str(moved)))
    git = r.world.git(r.repo)
    files: list[Json | None] = []
    for ask in asks:
        entry = None if ask.operation == "delete" else git.entry(sha, ask.path)
        files.append(_file(r, target.branch, sha, entry) if entry else None)
    return file_commit_shape(r.world, r.repo, git.commit(sha)), files


def _operation(item: object) -> FileOperation:
    if not isinstance(item, dict) or not all(isinstance(v, str | None) for v in item.values()):
        fail(422, "json: cannot unmarshal into Go struct field files")
    texts = {name: value or "" for name, value in item.items()}
    operation = texts.get("operation", "")
    if operation not in ("create", "update", "delete", "upload", "rename"):
        fail(422, "[Operation]: In")
    return FileOperation(
        operation,
        texts.get("path", ""),
        decode_base64(texts.get("content", "")),
        texts.get("sha", ""),
        texts.get("from_path", ""),
    )


@table.add("POST", f"{P}/contents", "repository", need=Level.WRITE)
def change_files(r: Request) -> Reply:
    """Branch and commit in one call. Deleted files show as null."""
    items = r.items("files")
    if not items:
        fail(422, "[Files]: Required")
    commit, files = _commit(r, [_operation(item) for item in items])
    return answer({"commit": commit, "files": files, "verification": UNSIGNED}, 201)


@table.add("POST", f"{P}/diffpatch", "repository", need=Level.WRITE)
def apply_patch(r: Request) -> Reply:
    """Commit a unified diff; the one call that can make an executable file. 500 if it fails."""
    if r.quirks.forgejo:
        r.required("sha", "SHA")
    target, git = _target(r), r.world.git(r.repo)
    if target.base is None:
        not_found("Git Repository is empty.")
    who, _ = _identities(r)
    try:
        tree = git.patched_tree(target.base, r.required("content", "Content").encode())
    except GitError as failed:
        fail(500, r.internal(str(failed)))
    sha = git.commit_tree(tree, [target.base], _message(r, []) or "apply patch", who)
    old = git.branch(target.branch)
    git.move(f"refs/heads/{target.branch}", sha, old or NO_COMMIT)
    r.world.branch_moved(r.repo, r.doer, target.branch, old, sha)
    commit = file_commit_shape(r.world, r.repo, git.commit(sha))
    return answer({"commit": commit, "content": None, "verification": UNSIGNED}, 201)


def _one(r: Request, operation: str) -> FileOperation:
    content = decode_base64(r.text("content"))
    path = r.params["filepath"]
    return FileOperation(operation, path, content, r.text("sha"), r.text("from_path"))


def _one_reply(r: Request, ask: FileOperation, status: int) -> Reply:
    commit, [content] = _commit(r, [ask])
    return answer({"content": content, "commit": commit, "verification": UNSIGNED}, status)


@table.add("POST", f"{P}/contents/{{filepath}}", "repository", need=Level.WRITE)
def create_file(r: Request) -> Reply:
    return _one_reply(r, _one(r, "create"), 201)


@table.add("PUT", f"{P}/contents/{{filepath}}", "repository", need=Level.WRITE)
def put_file(r: Request) -> Reply:
    """Update a file; from Gitea 1.26 on no sha means create."""
    if r.text("sha"):
        return _one_reply(r, _one(r, "update"), 200)
    if not r.quirks.put_creates:
        fail(422, "[SHA]: Required")
    return _one_reply(r, _one(r, "create"), 201)


@table.add("DELETE", f"{P}/contents/{{filepath}}", "repository", need=Level.WRITE)
def delete_file(r: Request) -> Reply:
    r.required("sha", "SHA")
    return _one_reply(r, _one(r, "delete"), 200)
