"""What nobody but its owner may see of a fleet: keys of the council, wherever they might show."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from .fleet_life import Life

_OWN = {"user.nk", "council.key"}
_PUBLIC = {  # no secret in them, and their folders are closed
    "running.lock", "running.json", "nats.log", "link.crt", "council.crt", "members.pem",
}  # fmt: skip


def secrets_of(fleet: Life) -> dict[str, bytes]:
    """Return each lane's nkey seed and a line from the middle of its council key."""
    found = {}
    for name, lane in fleet.lanes.items():
        found[f"{name} seed"] = lane.server.seed.read_bytes().strip()
        lines = lane.server.key.read_bytes().splitlines()
        found[f"{name} key"] = lines[len(lines) // 2]
    return found


def shown_in(folder: Path, secrets: Mapping[str, bytes]) -> list[str]:
    """Return where a secret stands that should not: other files, command lines, environments."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in _OWN]
    return [
        f"{what} in {path}"
        for path in (*files, *_processes())
        for what, secret in secrets.items()
        if secret in _read(path)
    ]


def loose_files(fleet: Life) -> list[str]:
    """Return folders of lanes and house that others could enter, and files they could then read."""
    folders = [lane.folder for lane in fleet.lanes.values()] + [fleet.folder / "house"]
    return [
        f"{path.relative_to(fleet.folder)} {stat.filemode(path.lstat().st_mode)}"
        for folder in folders
        for path in (folder, *folder.rglob("*"))
        if path.lstat().st_mode & 0o077 and path.name not in _PUBLIC and path.suffix != ".ports"
    ]


def _processes() -> Iterator[Path]:
    for process in Path("/proc").glob("[0-9]*"):
        yield from (process / "cmdline", process / "environ")


def _read(path: Path) -> bytes:
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""
