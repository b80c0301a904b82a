"""Reads the `.gitattributes` files that say something about some paths of a tree."""

from __future__ import annotations

from collections.abc import Iterable

from allegro.core.effects.findings import parents_of
from allegro.core.effects.gitattributes import MAX_BYTES, NAME
from allegro.core.forge.issues import Repository
from allegro.core.ports import ForgeReader
from allegro.lane.repository.trees import Trees

MAX_FILES = 50


async def attributes_for(
    reader: ForgeReader, repo: Repository, trees: Trees, tree: str, paths: Iterable[str]
) -> dict[str, bytes]:
    """Return the contents by path; one that is too large or not readable holds MAX_BYTES + 1.

    A tree without such files costs no request beyond its directories. Raises EdgeError.
    """
    folders = sorted({folder for path in paths for folder in ("", *parents_of(path))}, key=len)
    found: dict[str, bytes] = {}
    for folder in folders:
        name = f"{folder}/{NAME}" if folder else NAME
        entry = await trees.entry(tree, name)
        if entry is None or entry.type != "blob":
            continue
        content = None if len(found) >= MAX_FILES else await reader.blob(repo, entry.sha)
        found[name] = bytes(MAX_BYTES + 1) if content is None else content
    return found
