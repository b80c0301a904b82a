"""A bare git repository driven by the `git` program: true ids, trees and diffs, no work tree."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

NO_COMMIT = "0" * 40
_FIELDS = "%x1e" + "%x1f".join(["%H", "%T", "%P", "%an", "%ae", "%at", "%cn", "%ce", "%ct", "%B"])


class GitError(Exception):
    """The git program refused."""


class RefMovedError(Exception):
    """A reference was not at the commit the caller expected."""


@dataclass(frozen=True, slots=True)
class Who:
    """An author or committer at a whole second."""

    name: str
    email: str
    at_s: int


@dataclass(frozen=True, slots=True)
class Changed:
    """One path a commit or a comparison touches; counts are -1 for binary content."""

    path: str
    status: str
    old_path: str
    added: int
    removed: int


@dataclass(frozen=True, slots=True)
class CommitRow:
    sha: str
    tree: str
    parents: tuple[str, ...]
    author: Who
    committer: Who
    message: str
    changed: tuple[Changed, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    mode: str
    type: str
    sha: str
    size: int
    path: str


@dataclass(frozen=True, slots=True)
class Write:
    """One path of a commit to make: content and mode, or content None to delete."""

    path: str
    content: bytes | None
    mode: str = "100644"


def _changes(lines: Sequence[str]) -> tuple[Changed, ...]:
    """Read `--raw --numstat` lines; both lists come in the same order."""
    raw: list[tuple[str, str, str]] = []
    counts: list[tuple[int, int]] = []
    for line in lines:
        if line.startswith(":"):
            meta, *paths = line.split("\t")
            raw.append((meta.split()[-1][0], paths[0], paths[-1]))
        elif line.count("\t") >= 2:
            added, removed, _ = line.split("\t", 2)
            counts.append((-1, -1) if added == "-" else (int(added), int(removed)))
    return tuple(
        Changed(new, status, old if old != new else "", *count)
        for (status, old, new), count in zip(raw, counts, strict=True)
    )


def _quote(path: str) -> str:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _signature(who: Who) -> str:
    name = "".join(c for c in who.name if c not in "<>\n") or "-"
    email = "".join(c for c in who.email if c not in "<> \n")
    return f"{name} <{email}> {who.at_s} +0000"


class Git:
    """One bare repository on disk. Every method may raise `GitError`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[str, CommitRow] = {}

    def _run(
        self,
        *args: str,
        stdin: bytes = b"",
        accept: tuple[int, ...] = (0,),
        index: Path | None = None,
    ) -> bytes:
        if any("\0" in arg for arg in args):
            raise GitError("a name with a zero byte")
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.path),
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_DIR": str(self.path),
            "GIT_LITERAL_PATHSPECS": "1",
            **({"GIT_INDEX_FILE": str(index)} if index else {}),
        }
        done = subprocess.run(
            ["git", "-c", "core.quotePath=false", *args],
            input=stdin,
            capture_output=True,
            check=False,
            env=environment,
        )
        if done.returncode not in accept:
            raise GitError(done.stderr.decode(errors="replace").strip())
        return done.stdout

    def create(self, branch: str) -> None:
        self.path.mkdir(parents=True)
        self._run("init", "--quiet", "--bare", "--template=", f"--initial-branch={branch}")

    def point_head(self, branch: str) -> None:
        self._run("symbolic-ref", "HEAD", f"refs/heads/{branch}")

    def resolve(self, name: str) -> str | None:
        """Return the commit of a branch, tag, full reference or (abbreviated) id, else None."""
        if not name or name.startswith("-") or ".." in name or ":" in name:
            return None
        for candidate in (f"refs/heads/{name}", f"refs/tags/{name}", name):
            out = self._run(
                "rev-parse", "--verify", "--quiet", f"{candidate}^{{commit}}", accept=(0, 1, 128)
            )
            if out:
                return out.decode().strip()
        return None

    def branch(self, name: str) -> str | None:
        return self.refs(f"refs/heads/{name}").get(f"refs/heads/{name}")

    def refs(self, prefix: str) -> dict[str, str]:
        """Return full reference name to object id for all references under a prefix."""
        out = self._run("for-each-ref", "--format=%(objectname) %(refname)", prefix)
        pairs = (line.split(" ", 1) for line in out.decode().splitlines())
        return {name: sha for sha, name in pairs}

    def log(
        self, *revisions: str, limit: int, skip: int = 0, paths: Sequence[str] = ()
    ) -> list[CommitRow]:
        """Return commits newest first, with what each changed."""
        out = self._run(
            "log",
            f"--format={_FIELDS}%x1f",
            "--raw",
            "--numstat",
            "--no-abbrev",
            "--root",
            "-M",
            f"--max-count={limit}",
            f"--skip={skip}",
            *revisions,
            "--",
            *paths,
        )
        return [self._row(text) for text in out.decode(errors="replace").split("\x1e")[1:]]

    def _row(self, text: str) -> CommitRow:
        sha, tree, parents, an, ae, at, cn, ce, ct, message, rest = text.split("\x1f", 10)
        row = CommitRow(
            sha,
            tree,
            tuple(parents.split()),
            Who(an, ae, int(at)),
            Who(cn, ce, int(ct)),
            message,
            _changes(rest.splitlines()),
        )
        self._rows[sha] = row
        return row

    def commit(self, sha: str) -> CommitRow:
        """Return one commit by its full id; commits never change, so they are kept."""
        known = self._rows.get(sha)
        return known if known is not None else self.log(sha, limit=1)[0]

    def count(self, *revisions: str, paths: Sequence[str] = ()) -> int:
        return int(self._run("rev-list", "--count", *revisions, "--", *paths))

    def tree(self, treeish: str, path: str = "", *, recursive: bool = False) -> list[Entry]:
        """List entries below a path. Directories are listed too when recursive."""
        flags = ["-r", "-t"] if recursive else []
        target = f"{treeish}:{path}" if path else treeish
        out = self._run("ls-tree", "-z", "--long", *flags, target)
        entries = []
        for line in out.decode(errors="replace").split("\0")[:-1]:
            meta, name = line.split("\t", 1)
            mode, kind, sha, size = meta.split()
            full = f"{path}/{name}" if path else name
            entries.append(Entry(mode, kind, sha, int(size) if size != "-" else 0, full))
        return entries

    def entry(self, treeish: str, path: str) -> Entry | None:
        """Return what stands at one path of a tree, else None."""
        out = self._run("ls-tree", "-z", "--long", treeish, "--", path.rstrip("/"))
        for line in out.decode(errors="replace").split("\0")[:-1]:
            meta, name = line.split("\t", 1)
            mode, kind, sha, size = meta.split()
            if name == path.rstrip("/"):
                return Entry(mode, kind, sha, int(size) if size != "-" else 0, name)
        return None

    def tree_id(self, name: str) -> str | None:
        """Return the tree of a tree id or of anything `resolve` knows."""
        commit = self.resolve(name)
        out = self._run(
            "rev-parse", "--verify", "--quiet", f"{commit or name}^{{tree}}", accept=(0, 1, 128)
        )
        return out.decode().strip() or None

    def blob(self, sha: str) -> bytes | None:
        try:
            return self._run("cat-file", "blob", sha)
        except GitError:
            return None

    def write_commit(
        self,
        parent: str | None,
        writes: Sequence[Write],
        message: str,
        author: Who,
        committer: Who,
    ) -> str:
        """Store a commit on `parent` that no branch names yet; return its id."""
        text = message.rstrip("\n").encode() + b"\n"
        stream = [f"commit refs/simulator/new\nmark :1\nauthor {_signature(author)}\n".encode()]
        stream.append(f"committer {_signature(committer)}\ndata {len(text)}\n".encode() + text)
        if parent is not None:
            stream.append(f"from {parent}\n".encode())
        for write in writes:
            if write.content is None:
                stream.append(f"D {_quote(write.path)}\n".encode())
            else:
                stream.append(f"M {write.mode} inline {_quote(write.path)}\n".encode())
                stream.append(b"data %d\n" % len(write.content) + write.content + b"\n")
        stream.append(b"get-mark :1\ndone\n")
        out = self._run(
            "fast-import",
            "--quiet",
            "--force",
            "--done",
            stdin=b"".join(stream),
        )
        self._run("update-ref", "-d", "refs/simulator/new")
        return out.decode().strip()

    def commit_tree(self, tree: str, parents: Sequence[str], message: str, who: Who) -> str:
        """Store a commit of a given tree; return its id."""
        lines = [f"tree {tree}", *(f"parent {p}" for p in parents)]
        lines += [f"author {_signature(who)}", f"committer {_signature(who)}", "", message.rstrip()]
        body = ("\n".join(lines) + "\n").encode()
        return (
            self._run("hash-object", "-t", "commit", "-w", "--stdin", stdin=body).decode().strip()
        )

    def patched_tree(self, commit: str, patch: bytes) -> str:
        """Return the tree of a commit with a unified diff applied."""
        index = self.path / "patch.index"
        try:
            self._run("read-tree", commit, index=index)
            self._run("apply", "--cached", "--binary", "-", stdin=patch, index=index)
            return self._run("write-tree", index=index).decode().strip()
        finally:
            index.unlink(missing_ok=True)

    def move(self, ref: str, new: str, old: str) -> None:
        """Point a reference at `new` if it is at `old` (`NO_COMMIT` = must not exist)."""
        try:
            self._run("update-ref", ref, new, old)
        except GitError as failed:
            raise RefMovedError(str(failed)) from failed

    def set(self, ref: str, new: str) -> None:
        self._run("update-ref", ref, new)

    def drop(self, ref: str) -> None:
        self._run("update-ref", "-d", ref)

    def merge_base(self, one: str, other: str) -> str:
        """Return the best common ancestor, or an empty string."""
        return self._run("merge-base", one, other, accept=(0, 1)).decode().strip()

    def contains(self, ancestor: str, descendant: str) -> bool:
        return self.merge_base(ancestor, descendant) == ancestor

    def merged_tree(self, one: str, other: str) -> str | None:
        """Return the tree of a clean merge, None on a conflict."""
        out = self._run("merge-tree", "--write-tree", one, other, accept=(0, 1)).decode()
        lines = out.splitlines()
        return lines[0] if len(lines) == 1 else None

    def compare(self, old: str, new: str) -> tuple[Changed, ...]:
        out = self._run("diff", "--raw", "--numstat", "--no-abbrev", "-M", old, new)
        return _changes(out.decode(errors="replace").splitlines())

    def diff(self, old: str, new: str, *, binary: bool = False) -> bytes:
        return self._run("diff", "-M", *(["--binary"] if binary else []), old, new)

    def patch(self, old: str, new: str) -> bytes:
        return self._run("format-patch", "--stdout", f"{old}..{new}")
