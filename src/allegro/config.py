"""TOML to settings, or every fault at once; and the commented file that `init` writes."""

from __future__ import annotations

import difflib
import importlib.resources
import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints
from zoneinfo import ZoneInfo

import msgspec

from allegro.config_checks import all_lane_faults, house_faults
from allegro.core.base.errors import ConfigError
from allegro.core.base.untrusted import UNREADABLE, Unreadable, read_value, unreadable
from allegro.core.settings import HouseSettings, LaneSettings

S = TypeVar("S", LaneSettings, HouseSettings)


class Key(msgspec.Struct, frozen=True):
    """One setting as the definitions tell it."""

    section: str
    name: str
    type: Any
    about: str
    default: Any
    required: bool


def keys_of(settings: type[msgspec.Struct]) -> list[Key]:
    """Return every setting of a program in the order of its definition."""
    found = []
    for section in msgspec.structs.fields(settings):
        struct = section.type
        hints = get_type_hints(struct, include_extras=True)
        found += [
            Key(
                section=section.name,
                name=field.name,
                type=hints[field.name],
                about=_about(hints[field.name], field.default),
                default=field.default,
                required=field.required,
            )
            for field in msgspec.structs.fields(struct)
        ]
    return found


def load_lane(path: Path) -> LaneSettings:
    """Read lane.toml. Raises ConfigError with every fault."""
    return _load(path, LaneSettings, lambda lane: all_lane_faults(lane, load_zone))


def load_house(path: Path) -> HouseSettings:
    """Read house.toml. Raises ConfigError with every fault."""
    return _load(path, HouseSettings, lambda house: house_faults(house, load_zone))


def load_zone(name: str) -> ZoneInfo:
    """Return a zone by its IANA name, from the pinned package `tzdata`, the same on every machine.

    Raises ConfigError for a name that is none.
    """
    parts = name.split("/")
    if not all(re.fullmatch(r"[A-Za-z0-9_+-]+", part) for part in parts):
        raise ConfigError((f"{name!r} is no zone; name one as in Europe/Berlin",))
    place = importlib.resources.files("tzdata").joinpath("zoneinfo", *parts)
    try:
        with place.open("rb") as file:
            return ZoneInfo.from_file(file, key=name)
    except (OSError, ValueError) as error:
        raise ConfigError((f"{name!r} is no zone; name one as in Europe/Berlin",)) from error


def read_secret(path: Path) -> str:
    """Return the one line of a secret file. Refused when others could read it."""
    secret = read_private(path).strip()
    if not secret or "\n" in secret or not secret.isprintable():
        raise ConfigError((f"{path.name}: must hold exactly one line, the secret",))
    return secret


def read_private(path: Path) -> str:
    """Return the whole text of a file that only its owner can read. Raises ConfigError."""
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise ConfigError((f"{path.name}: others can read this secret; chmod 600 it",))
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError((f"{path.name}: cannot read the secret: {error}",)) from error


def commented(settings: type[msgspec.Struct], values: Mapping[str, object]) -> str:
    """Return a TOML file with every setting explained; what is not in `values` is commented out.

    `values` is keyed by section.name.
    """
    lines: list[str] = []
    section = ""
    for key in keys_of(settings):
        if key.section != section:
            section = key.section
            lines += ["", f"[{section}]"]
        lines.append(f"# {key.about}")
        dotted = f"{key.section}.{key.name}"
        if dotted in values:
            lines.append(f"{key.name} = {toml_value(values[dotted])}")
        else:
            lines.append(f"#{key.name} = {toml_value('' if key.required else key.default)}")
    return "\n".join(lines).lstrip() + "\n"


def reference(settings: type[msgspec.Struct]) -> str:
    """Return the Markdown reference of a program's settings."""
    lines: list[str] = []
    section = ""
    for key in keys_of(settings):
        if key.section != section:
            section = key.section
            lines += ["", f"### `[{section}]`", "", "| key | default | meaning |", "|---|---|---|"]
        default = "required" if key.required else f"`{toml_value(key.default)}`"
        lines.append(f"| `{key.name}` | {default} | {key.about.replace('|', '/')} |")
    return "\n".join(lines).lstrip() + "\n"


def _load(path: Path, settings: type[S], more: Callable[[S], list[tuple[str, str]]]) -> S:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigError((f"{path}: cannot be read: {why}",)) from error
    try:
        table = tomllib.loads(text)
    except UNREADABLE as error:  # TOMLDecodeError is a ValueError; nested deep is a RecursionError
        raise ConfigError((f"{path.name}: not TOML: {unreadable(error)}",)) from error
    lines = _Lines(path.name, text)
    faults = _faults(table, settings, lines)
    if faults:
        raise ConfigError(_other_program(path, table, settings) or tuple(faults))
    loaded = read_value(table, settings)
    if isinstance(loaded, Unreadable):
        raise ConfigError((f"{path.name}: {loaded}",))
    faults = [lines.fault(*fault) for fault in more(loaded)]
    if faults:
        raise ConfigError(tuple(faults))
    return loaded


def _other_program(
    path: Path, table: Mapping[str, object], settings: type[msgspec.Struct]
) -> tuple[str, ...]:
    """Return one sentence where a lane was given a house's file or the other way round."""
    sections = {key.section for key in keys_of(settings)}
    for given, wanted in (("lane", "house"), ("house", "lane")):
        if given in table and wanted not in table and wanted in sections:
            return (f"{path} is the configuration of a {given}; name that of a {wanted} here",)
    return ()


class _Lines:
    """Finds the line on which a key stands, for messages."""

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._at: dict[str, int] = {}
        section = ""
        for number, line in enumerate(text.splitlines(), 1):
            if header := re.match(r"\s*\[{1,2}([^\[\]]+)\]", line):
                section = header[1].strip()
                self._at.setdefault(section, number)
            elif key := re.match(r"\s*([A-Za-z0-9_-]+)\s*=", line):
                self._at.setdefault(f"{section}.{key[1]}", number)

    def fault(self, dotted: str, message: str) -> str:
        section = dotted.split(".", maxsplit=1)[0]
        line = self._at.get(dotted) or self._at.get(section)
        place = f"{self._name}:{line}" if line else self._name
        return f"{place}  {dotted}  {message}"


def _faults(
    table: Mapping[str, object], settings: type[msgspec.Struct], lines: _Lines
) -> list[str]:
    keys = keys_of(settings)
    sections = {key.section for key in keys}
    faults = []
    for section, content in table.items():
        if section not in sections:
            faults.append(lines.fault(section, f"unknown section{_near(section, sections)}"))
        elif not isinstance(content, dict):
            faults.append(lines.fault(section, "must be a section like [" + section + "]"))
        else:
            faults += _section_faults(section, content, keys, lines)
    present = {
        f"{section}.{name}"
        for section, content in table.items()
        if isinstance(content, dict)
        for name in content
    }
    faults += [
        lines.fault(f"{key.section}.{key.name}", f"missing  ({key.about})")
        for key in keys
        if key.required and f"{key.section}.{key.name}" not in present
    ]
    return faults


def _section_faults(
    section: str, content: Mapping[str, object], keys: list[Key], lines: _Lines
) -> list[str]:
    known = {key.name: key for key in keys if key.section == section}
    faults = []
    for name, value in content.items():
        key = known.get(name)
        if key is None:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?  ({known[near[0]].about})" if near else ""
            faults.append(lines.fault(f"{section}.{name}", f"unknown key{hint}"))
            continue
        read = read_value(value, key.type)
        if isinstance(read, Unreadable):
            faults.append(lines.fault(f"{section}.{name}", _words(read, key)))
    return faults


def _words(error: Unreadable, key: Key) -> str:
    """Return what is wrong with a value and what is wanted, in words instead of a pattern."""
    reason, _, place = error.reason.partition(" - at `$")
    at = place.rstrip("`")
    about = _inner_about(key.type, at.rpartition(".")[2]) if "." in at else key.about
    if "matching regex" in reason:
        reason = "does not have the form it must have"
    return f"{at + ': ' if at else ''}{reason}  ({about})"


def _inner_about(type_: Any, name: str) -> str:
    """Return what a field means of the struct somewhere inside a type."""
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        return _about(get_type_hints(type_, include_extras=True)[name], msgspec.NODEFAULT)
    return next(filter(None, (_inner_about(part, name) for part in get_args(type_))), "")


def _near(word: str, known: set[str]) -> str:
    near = difflib.get_close_matches(word, known, 1)
    return f"; did you mean [{near[0]}]?" if near else f"; known are {', '.join(sorted(known))}"


def _about(annotation: Any, default: Any) -> str:
    parts, low, high = "", None, None
    if get_origin(annotation) is Annotated:
        for meta in get_args(annotation)[1:]:
            parts = meta.description or parts
            low, high = (meta.ge if meta.ge is not None else low), (meta.le or high)
    if low is not None or high is not None:
        parts += f", {low:g} to {high:g}" if high is not None else f", at least {low:g}"
    if default is not msgspec.NODEFAULT:
        parts += f", default {toml_value(default)}"
    return parts


def toml_value(value: Any) -> str:
    """Return a value as TOML writes it, on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {toml_value(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return f"{value:g}" if isinstance(value, float) and value != int(value) else str(value)
