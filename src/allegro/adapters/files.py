"""Small state in files of their owner: written whole, fsynced, renamed into place."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TypeVar

import msgspec

from allegro.core.base.errors import ConfigError, EdgeError, Unholdable
from allegro.core.base.untrusted import UNREADABLE, Unreadable, read_json, unreadable

T = TypeVar("T")


def write_state(path: Path, value: object, *, survives_power_cut: bool = True) -> None:
    """Replace a JSON file so that a crash leaves the old or the new one, never a part.

    Without `survives_power_cut` that holds for a crash of the program alone, and nothing is waited
    for: for what is written often and may be lost.
    Raises EdgeError when the disk refuses, Unholdable for a value that JSON cannot hold.
    """
    try:
        raw = msgspec.json.format(msgspec.json.encode(value), indent=1)
    except UNREADABLE as error:
        raise Unholdable(f"cannot write {path.name}: {error}") from error
    write_whole(path, raw, survives_power_cut=survives_power_cut)


def write_whole(path: Path, raw: bytes, *, survives_power_cut: bool = True) -> None:
    """Replace a file so that a crash leaves the old or the new one, never a part.

    Raises EdgeError when the disk refuses.
    """
    beside = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(raw)
            file.flush()
            if survives_power_cut:
                os.fsync(file.fileno())
        beside.replace(path)
        if not survives_power_cut:
            return
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        kind = "disk_full" if error.errno == 28 else "disk"
        raise EdgeError(f"cannot write {path.name}: {error}", transient=True, kind=kind) from error


def load_state(path: Path, type_: type[T]) -> T | Unreadable | None:
    """Return the value of a JSON file, None when there is no file, Unreadable when it is damaged."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        return unreadable(error)
    return read_json(raw, type_)


def read_state(path: Path, type_: type[T]) -> T | None:
    """Return the value of a JSON file, None when it is missing or unreadable."""
    value = load_state(path, type_)
    return None if isinstance(value, Unreadable) else value


def _owner_only(path: Path) -> IO[str]:
    """Open a lock file that its owner alone can read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w")


def free_bytes(path: Path) -> int:
    """Return the free bytes of the disk that holds a path, 0 when it cannot be told."""
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return 0


@contextlib.contextmanager
def hold_file(path: Path, what: str, wait_s: float = 30.0) -> Iterator[None]:
    """Hold a lock while a state file is read, changed and written; wait for another holder.

    The lock is advisory (flock) and ends with its process. Raises ConfigError after `wait_s`.
    """
    until_s = time.monotonic() + wait_s
    with _owner_only(path) as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() > until_s:
                    raise ConfigError((f"another command changes {what}; try again",)) from error
                time.sleep(0.02)
        yield


def hold_folder(folder: Path, who: str) -> IO[str]:
    """Hold a state folder until the returned file is closed. Raises ConfigError when it is held."""
    handle = _owner_only(folder / "running.lock")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        handle.close()
        raise ConfigError((f"{who} runs on this state folder; stop it first",)) from error
    return handle
