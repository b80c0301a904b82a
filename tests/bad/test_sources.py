"""Bytes from outside are read by `core.untrusted` alone; digits are never read by `int` unguarded."""

from __future__ import annotations

import re
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "allegro"

_DECODE = re.compile(
    r"msgspec\.(json|msgpack)\.decode\(|json\.loads\(|msgspec\.convert\(|\.isdigit\("
)

# Where a decoder stands by itself, with the reason. Everything else is a fault: use read_json,
# read_msgpack, read_value or whole_number.
ALLOWED = {
    "core/base/untrusted.py": "the readers themselves",
    "adapters/hermes/plugin.py": "runs inside the agent, without our package",
    "adapters/sandbox/inside.py": "runs inside the sandbox, without our package",
}
# Not yet moved: this list only shrinks.
LEFT: set[str] = set()
_PLAYERS = ("testing/", "scratch/", "demo/", "drill/")  # they read what our own programs print


def _files() -> dict[str, str]:
    found = {}
    for path in SOURCE.rglob("*.py"):
        name = path.relative_to(SOURCE).as_posix()
        if not name.startswith(_PLAYERS):
            found[name] = path.read_text("utf-8")
    return found


def test_foreign_bytes_are_decoded_in_one_place() -> None:
    stray = {name for name, text in _files().items() if _DECODE.search(text)}
    assert stray - set(ALLOWED) <= LEFT


def test_the_list_of_what_is_left_holds_no_name_that_is_done() -> None:
    files = _files()
    assert {name for name in LEFT if name not in files or not _DECODE.search(files[name])} == set()


_LOGS = re.compile(r"_log\.\w+\((?:[^()]|\([^()]*\))*\bevent=")


def test_no_log_line_names_a_field_event() -> None:
    """The first argument of a log call is called `event` itself: naming it again raises."""
    assert [name for name, text in _files().items() if _LOGS.search(text)] == []


_BROAD = re.compile(r"except (?:Base)?Exception\b")


def test_no_duty_of_the_house_catches_every_exception() -> None:
    """The supervised loop does, and an app: a bug that a duty swallows is seen by nobody."""
    broad = {name for name, text in _files().items() if _BROAD.search(text)}
    duties = {name for name in broad if name.startswith(("house/", "core/", "link/"))}
    assert {name for name in duties if not name.rpartition("/")[2].startswith("app")} == set()
