"""The map of the repository, the glossary and the ten trust modules' prose are kept true."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.docs import render

MAP = render.ROOT / "docs" / "architecture.md"
GLOSSARY = render.ROOT / "docs" / "glossary.md"
LEAST_ROWS = 30
FLOORS = ("core", "lane", "house", "adapters", "testing")
PLACE = re.compile(r"`((?:src|tests|docs)/[\w./-]+|pyproject\.toml)`(?: \(([^)|]*)\))?")
NOUNS = """
house lane link gate permit receipt seat freeze thaw council order effect mark watch roster
sovereign forge fleet request approval challenge action digest refusal intent marker journal
archive ledger event session gateway sandbox door question role lease epoch page wing
"""
TRUSTED = (
    "core/authority/gate.py",
    "core/authority/tokens.py",
    "core/authority/lease.py",
    "core/base/sequence.py",
    "core/effects/matching.py",
    "core/forge/marks.py",
    "link/handshake.py",
    "house/orders/arbiter.py",
    "lane/effects/executor.py",
    "adapters/sandbox/boundary.py",
)
SOURCE = render.ROOT / "src" / "allegro"


def the_map() -> str:
    """Return the section of the architecture page that says where things are."""
    text = MAP.read_text("utf-8").partition("\n## Where to find things\n")[2]
    return text.partition("\n## ")[0]


def rows(text: str) -> list[str]:
    """Return the rows of a map that answer a question."""
    return [line for line in text.splitlines() if line.startswith("| ") and "? |" in line]


def wrong_places(text: str, root: Path) -> list[str]:
    """Return the paths that a map names and that do not exist, and names that do not stand there."""
    wrong = []
    for path, about in PLACE.findall(text):
        if not (root / path).exists():
            wrong.append(path)
            continue
        text_there = (root / path).read_text("utf-8") if about else ""
        names = re.findall(r"`(\w+)`", about)
        wrong += [f"{path}: {n}" for n in names if not re.search(rf"\b{n}\b", text_there)]
    return wrong


def folders(source: Path) -> list[str]:
    """Return each top folder of the product, and each wing of its floors."""
    floors = [source / floor for floor in FLOORS]
    inner = [path for floor in floors for path in sorted(floor.iterdir())]
    found = [
        path for path in [*sorted(source.iterdir()), *inner] if (path / "__init__.py").exists()
    ]
    return [path.relative_to(source).as_posix() for path in found]


def unnamed(text: str, names: list[str]) -> list[str]:
    """Return the folders of which a map names neither the folder nor anything in it."""
    return [name for name in names if f"`src/allegro/{name}/" not in text]


def words(text: str) -> list[str]:
    """Return the words a glossary explains, in the order of the page, without the old ones."""
    tables = text.partition("\n## Old words\n")[0]
    cells = re.findall(r"^\| ([^|]+) \|", tables, re.MULTILINE)
    listed = [word for cell in cells for word in cell.split(", ")]
    return [word.strip() for word in listed if word != "word"]


def test_each_path_and_name_on_the_map_exists() -> None:
    assert wrong_places(the_map(), render.ROOT) == []


def test_each_top_folder_and_each_wing_is_on_the_map() -> None:
    assert unnamed(the_map(), folders(SOURCE)) == []


def test_the_map_answers_many_questions_each_with_a_file_to_open_first() -> None:
    asked = rows(the_map())
    assert len(asked) >= LEAST_ROWS
    assert [row for row in asked if len(PLACE.findall(row)) < 1] == []


def test_a_wrong_path_a_wrong_name_and_a_missing_wing_are_found() -> None:
    text = "| Where? | `src/allegro/nowhere.py` | `src/allegro/config.py` (`no_such_name`) |"
    wrong = ["src/allegro/nowhere.py", "src/allegro/config.py: no_such_name"]
    assert wrong_places(text, render.ROOT) == wrong
    assert "lane/forge" in unnamed(text, folders(SOURCE))


def test_each_noun_of_the_product_is_in_the_glossary_once() -> None:
    found = words(GLOSSARY.read_text("utf-8"))
    assert [noun for noun in NOUNS.split() if noun not in found] == []
    assert sorted({word for word in found if found.count(word) > 1}) == []


@pytest.mark.parametrize("module", TRUSTED)
def test_a_module_that_carries_trust_begins_with_what_it_holds_and_why(module: str) -> None:
    text = ast.get_docstring(ast.parse((SOURCE / module).read_text("utf-8"))) or ""
    parts = [f"\n\n{part}" for part in ("Invariant:", "Order", "Must never happen:", "Sources:")]
    assert [part for part in parts if part not in text] == []
    assert len(text.splitlines()) >= 20
    dead = [p for p in re.findall(r"docs/[\w./-]+\.md", text) if not (render.ROOT / p).exists()]
    assert dead == []
