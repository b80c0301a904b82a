"""A small disk of a lane's own, which a test fills. Needs root and the right to mount."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

DISK_MB = 24
NO_DISK = "a disk of its own needs root and the right to mount"
ON_DISK = {"journal.min_free_mb": 1}


@cache
def can_mount() -> bool:
    """Try it: root in a container may not mount."""
    if os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as place:
        try:
            with small_disk(Path(place) / "disk"):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[None]:
    """Mount a disk of `DISK_MB` there until the end of the block."""
    place.mkdir(parents=True)
    options = f"size={DISK_MB}m,mode=0700"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def fill(folder: Path) -> Path:
    """Write until the disk is full; return the file that fills it."""
    file = folder / "filler"
    with file.open("wb", buffering=0) as out:
        try:
            while out.write(bytes(65_536)):
                pass
        except OSError:
            pass
    return file
