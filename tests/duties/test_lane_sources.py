"""How the parts of a lane are put together, checked on its sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.house import parameters

SOURCES = Path(__file__).parents[2] / "src" / "allegro"
FOLDERS = ("lane", "runtime", "link")
STATE = "lane/context/state.py"
MOST = 6

RECORDS = {
    "lane/agent": {"live", "ready"},
    "lane/forge": {"watch", "unit"},
    "lane/models": {"grant", "held"},
    "link": {"ask", "blob", "known", "session"},
}
"""Records that a folder alone makes and keeps: it writes their fields itself."""

TO_MEND: set[str] = set()
"""What does not hold yet. Nothing may be added."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    for folder in FOLDERS:
        for path in sorted((SOURCES / folder).rglob("*.py")):
            yield path.relative_to(SOURCES).as_posix(), ast.parse(path.read_text("utf-8"))


def written(tree: ast.AST) -> Iterator[ast.Attribute]:
    """Yield each attribute that is assigned to on anything but `self`."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self")):
                continue
            case ast.Attribute(ctx=ast.Store()):
                yield node


def is_record_of(place: str, node: ast.Attribute) -> bool:
    value = node.value
    return isinstance(value, ast.Name) and any(
        value.id in names and place.startswith(folder + "/") for folder, names in RECORDS.items()
    )


def test_no_part_of_a_lane_writes_to_an_attribute_of_a_finished_one() -> None:
    found = {
        f"{place} {ast.unparse(node)}"
        for place, tree in modules()
        if place != STATE
        for node in written(tree)
        if not is_record_of(place, node)
    }
    assert found <= TO_MEND


def test_a_constructor_of_a_lane_takes_at_most_six_arguments() -> None:
    found = {
        f"{place} {name.partition('.')[0]}"
        for place, tree in modules()
        for name, _, count in parameters(tree)
        if name.endswith(".__init__") and count > MOST
    }
    assert found <= TO_MEND
