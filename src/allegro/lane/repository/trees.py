"""Reads one repository's commits and directories for one look or order, each of them once.

What git names by its content cannot change under its name, so holding it weakens no look.
"""

from __future__ import annotations

import posixpath

from allegro.core.base.errors import EdgeError
from allegro.core.effects.findings import Leaf, diff_trees, parents_of
from allegro.core.forge.issues import Repository, TreeEntry
from allegro.core.ports import Commit, ForgeReader

MAX_DIRECTORIES = 3_000
CI_DIRECTORIES = (".gitea", ".forgejo", ".github/workflows")

Directory = dict[str, TreeEntry]


class Trees:
    """One repository's commits and trees. All reads raise EdgeError."""

    def __init__(self, reader: ForgeReader, repo: Repository) -> None:
        self._reader = reader
        self._repo = repo
        self._commits: dict[str, Commit] = {}
        self._directories: dict[str, Directory] = {}
        self._is_large = False

    async def commit(self, commit: str) -> Commit | None:
        held = self._commits.get(commit)
        if held is None:
            found = await self._reader.commit(self._repo, commit)
            if found is None:
                return None
            held = self._commits[commit] = found
        return held

    async def open(self, tree: str) -> None:
        """Read a whole tree with one request, where the forge gives it on one page."""
        if self._is_large or tree in self._directories:
            return
        entries = await self._reader.whole_tree(self._repo, tree)
        if entries is None:
            self._is_large = True
            return
        ids = {"": tree} | {path: e.sha for path, e in entries.items() if e.type == "tree"}
        found: dict[str, Directory] = {path: {} for path in ids}
        for path, entry in entries.items():
            parent, name = posixpath.split(path)
            if parent in found:
                found[parent][name] = TreeEntry(name, entry.mode, entry.type, entry.sha)
        self._directories |= {ids[path]: directory for path, directory in found.items()}

    async def directory(self, tree: str) -> Directory:
        """Return one directory by the id of its tree, not what is below it."""
        held = self._directories.get(tree)
        if held is None:
            held = self._directories[tree] = await self._reader.tree(self._repo, tree)
        return held

    async def entry(self, tree: str, path: str) -> TreeEntry | None:
        """Return what stands at a path below a tree, a directory too; None for nothing."""
        at = tree
        *folders, name = path.split("/")
        for folder in folders:
            found = (await self.directory(at)).get(folder)
            if found is None or found.type != "tree":
                return None
            at = found.sha
        return (await self.directory(at)).get(name)

    async def leaf(self, tree: str, path: str) -> Leaf:
        """Return (mode, id) of what stands at a path below a tree, None for nothing."""
        found = await self.entry(tree, path)
        return None if found is None else (found.mode, found.sha)

    async def obstacle(self, tree: str, path: str) -> str:
        """Return the first part of a path that is a file or link where a folder must be, or ""."""
        for parent in parents_of(path):
            found = await self.entry(tree, parent)
            if found is None:
                return ""
            if found.type != "tree":
                return parent
        return ""

    async def changes(self, before: str, after: str) -> dict[str, Leaf]:
        """Return every path that differs between two trees with what stands there after.

        Reads only directories whose ids differ. Raises EdgeError beyond MAX_DIRECTORIES.
        """
        found: dict[str, Leaf] = {}
        todo: list[tuple[str, str | None, str | None]] = [("", before, after)]
        read = 0
        while todo:
            prefix, one, two = todo.pop()
            read += 1
            if read > MAX_DIRECTORIES:
                raise EdgeError("the change is too large to check", transient=False)
            held = await self.directory(one) if one else {}
            now = await self.directory(two) if two else {}
            for name, (left, right) in diff_trees(held, now).items():
                path = prefix + name
                left_tree = left.sha if left and left.type == "tree" else None
                right_tree = right.sha if right and right.type == "tree" else None
                if left_tree or right_tree:
                    todo.append((path + "/", left_tree, right_tree))
                if right is not None and not right_tree:
                    found[path] = (right.mode, right.sha)
                elif left is not None and not left_tree:
                    found[path] = None
        return found

    async def ci_changes(self, before: str, after: str) -> tuple[str, ...]:
        """Return the CI folders that differ between two commits."""
        one, two = await self.commit(before), await self.commit(after)
        if one is None or two is None:
            raise EdgeError("a commit cannot be read", transient=False, kind="not_found")
        return tuple(
            [
                folder
                for folder in CI_DIRECTORIES
                if await self.leaf(one.tree, folder) != await self.leaf(two.tree, folder)
            ]
        )
