"""A state file's form has a number: older ones are stepped forward, newer ones refused.

Every JSON state file holds `schema`, its number. A file without one is of number 1, if it has the
shape that files of number 1 had. `load` steps an older form forward in memory and changes nothing,
so that any program may read it; `bring_forward` steps the file itself, after a copy, and only the
program that holds the folder or the file's lock calls it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import structlog

from allegro.adapters.copies import copies_of, keep_copy, refuse_newer
from allegro.adapters.files import write_state
from allegro.core.base.state_version import newer
from allegro.core.base.untrusted import (
    UNREADABLE,
    Unreadable,
    read_json,
    read_value,
    unreadable,
)

_log = structlog.get_logger()
T = TypeVar("T")
NUMBER = "schema"
MAX_FORM = 10_000
"""A higher number is none: such a file is damaged, not newer."""

Step = Callable[[Any], dict[str, Any]]
"""Takes the decoded JSON of one number and returns that of the next, without its number.

It raises one of UNREADABLE for a value that has not the shape of its number.
"""


class Form(msgspec.Struct, frozen=True):
    """The form of one file: `steps[n - 1]` makes number n + 1 of number n."""

    steps: tuple[Step, ...]

    @property
    def number(self) -> int:
        """The number that this program writes."""
        return len(self.steps) + 1


class Newer(Unreadable, frozen=True):
    """A file of a newer program: readable by that one, and not to be written over by this one."""


def load(path: Path, form: Form, type_: type[T]) -> T | Unreadable | None:
    """Return the value of a state file, whatever its number up to ours; the file stays as it is.

    None when there is no file, Newer (with the sentence to show) for a higher number, Unreadable
    when it is damaged or has the shape of no number.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        return unreadable(error)
    value = _decoded(raw)
    if isinstance(value, Unreadable):
        return value
    number = number_of_form(value)
    if isinstance(number, Unreadable):
        return number
    if number > form.number:
        return Newer(newer(path.name, number, form.number, copies_of(path)))
    if number == form.number:
        return read_json(raw, type_)
    stepped = _stepped(value, number, form)
    if isinstance(stepped, Unreadable):
        return stepped
    return read_json(msgspec.json.encode(stepped), type_)


def save(path: Path, form: Form, value: object, *, survives_power_cut: bool = True) -> None:
    """Write a value, which JSON holds as an object, with its form's number. Raises EdgeError."""
    fields = {NUMBER: form.number, **msgspec.to_builtins(value)}
    write_state(path, fields, survives_power_cut=survives_power_cut)


def bring_forward(path: Path, form: Form) -> bool:
    """Step a file to the number that this program writes, after a copy; say whether it was older.

    A crash at any point leaves the old file or the new one. A missing or damaged file stays as it
    is: whoever loads it says so. Raises ConfigError for a newer file and where no copy can be made,
    EdgeError when the disk refuses the new file; nothing is changed then.
    """
    try:
        raw = path.read_bytes()
    except OSError:
        return False
    value = _decoded(raw)
    number = value if isinstance(value, Unreadable) else number_of_form(value)
    if isinstance(number, Unreadable):
        return False
    refuse_newer(path, number, form.number)
    stepped = _stepped(value, number, form) if number < form.number else None
    if stepped is None or isinstance(stepped, Unreadable):
        return False
    keep_copy(path, number, form.number, len(raw), lambda part: _copy(raw, part))
    write_state(path, stepped)
    _log.info("state.stepped", file=path.name, before=number, now=form.number)
    return True


def number_of_form(value: object) -> int | Unreadable:
    """Return the number of a decoded state file: 1 where it holds none."""
    if not isinstance(value, dict) or NUMBER not in value:
        return 1
    number = value[NUMBER]
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number < MAX_FORM:
        return Unreadable(f"its {NUMBER} is no number")
    return number


def numbered(type_: type[Any]) -> Step:
    """Return the step of a file that only gets a number: its fields must be those of this type."""

    def step(value: Any) -> dict[str, Any]:
        read = read_value(value, type_)
        if isinstance(read, Unreadable) or not isinstance(value, dict):
            raise ValueError(str(read))
        return value

    return step


def _stepped(value: object, number: int, form: Form) -> dict[str, Any] | Unreadable:
    if isinstance(value, dict):
        value = {name: one for name, one in value.items() if name != NUMBER}
    try:
        for step in form.steps[number - 1 :]:
            value = step(value)
    except UNREADABLE as error:
        return unreadable(error)
    return {NUMBER: form.number, **value} if isinstance(value, dict) else Unreadable("no object")


def _decoded(raw: bytes) -> Any:
    return read_json(raw, object)


def _copy(raw: bytes, part: Path) -> None:
    part.write_bytes(raw)
