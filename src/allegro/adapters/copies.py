"""Copies of stores and state files beside them, made before a step to a newer form."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from allegro.adapters.files import free_bytes
from allegro.core.base.errors import ConfigError
from allegro.core.base.state_version import MAX_COPIES, copy_name, newer, uncopied
from allegro.core.base.untrusted import whole_number

SPARE_BYTES = 100_000_000
"""So much of the disk stays free behind a copy: a lane with less stops acting."""


def refuse_newer(path: Path, number: int, known: int) -> None:
    """Raise ConfigError with a sentence where a file's number is above the one that is known."""
    if number > known:
        raise ConfigError((newer(path.name, number, known, copies_of(path)),))


def copies_of(path: Path) -> list[int]:
    """Return the numbers of the copies beside a file, oldest first."""
    found = (whole_number(one.name.rpartition("-")[2]) for one in path.parent.glob(_pattern(path)))
    return sorted(number for number in found if number is not None)


def keep_copy(
    path: Path, number: int, known: int, size: int, write: Callable[[Path], None]
) -> Path:
    """Copy a file of this number beside itself, in place of an older copy of the same number.

    `write` writes the copy to the path it is given, `size` is about how many bytes that takes, and
    `known` the number that the step leads to. A crash leaves no copy, or a whole one. Of all copies
    the newest MAX_COPIES are kept. Raises ConfigError, with a sentence, where it cannot be made.
    """
    beside = path.with_name(copy_name(path.name, number))
    part = beside.with_name(beside.name + ".new")
    free = free_bytes(path.parent)
    if free < size + SPARE_BYTES:
        need = f"{(size + SPARE_BYTES) / 1e6:,.0f} MB must be free"
        why = f"{need} on the disk of {path.parent}, and {free / 1e6:,.0f} MB are"
        raise ConfigError((uncopied(path.name, number, known, why),))
    try:
        part.unlink(missing_ok=True)
        part.touch(mode=0o600)
        write(part)
        _sync(part)
        part.replace(beside)
        _sync(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise ConfigError((uncopied(path.name, number, known, str(error)),)) from error
    for old in copies_of(path)[:-MAX_COPIES]:
        path.with_name(copy_name(path.name, old)).unlink(missing_ok=True)
    return beside


def _pattern(path: Path) -> str:
    return copy_name(path.name, 0)[:-1] + "*"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
