"""Rules about the source itself: who may make a Permit, who may import what."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import allegro.core.gate as gate_module

CORE = Path(gate_module.__file__).parent
PACKAGE = CORE.parent
GATE = CORE / "gate.py"
SOURCES = sorted(PACKAGE.rglob("*.py"))
WRITERS = sorted((PACKAGE / "adapters").rglob("writer.py"))
WRITING_VERBS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
ALLOWED_IN_CORE = frozenset({"msgspec", "rfc8785"}) | sys.stdlib_module_names


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(path: Path) -> Iterator[str]:
    """Yield the full name of all that a file imports, wherever in the file it does so."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = list(path.relative_to(PACKAGE.parent).parts[: -node.level or None])
            base = ".".join(package) + "." if node.level else ""
            yield from (f"{base}{node.module or ''}.{alias.name}" for alias in node.names)


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def names_in(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.alias):
            found.add(node.name.rpartition(".")[2])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return found


def calls_in(node: ast.AST) -> set[str]:
    found: set[str] = set()
    for call in ast.walk(node):
        if isinstance(call, ast.Call):
            function = call.func
            found.add(
                function.attr
                if isinstance(function, ast.Attribute)
                else getattr(function, "id", "")
            )
    return found


def test_the_sources_are_found() -> None:
    assert len(SOURCES) > 50
    assert WRITERS


@pytest.mark.parametrize("path", [p for p in SOURCES if p != GATE], ids=name_of)
def test_no_module_but_the_gate_can_make_a_permit(path: Path) -> None:
    assert "_SENTINEL" not in names_in(path)
    assert "Permit" not in calls_in(tree_of(path))


def test_no_module_makes_a_permit_from_another_or_under_another_name() -> None:
    for path in SOURCES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef):
                bases = {getattr(base, "id", getattr(base, "attr", "")) for base in node.bases}
                assert "Permit" not in bases, f"{name_of(path)} inherits from Permit"
            if isinstance(node, ast.alias) and node.name == "Permit":
                assert node.asname in {None, "Permit"}, f"{name_of(path)} renames Permit"
            if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store):
                owner = getattr(getattr(node, "value", None), "id", "")
                assert owner != "permit", f"{name_of(path)} changes a permit"


def test_the_gate_makes_permits_in_its_two_judges_alone() -> None:
    makers = {
        node.name
        for node in tree_of(GATE).body
        if isinstance(node, ast.FunctionDef) and "Permit" in calls_in(node)
    }
    assert makers == {"judge_order", "judge_leased"}


def methods_of(path: Path) -> Iterator[ast.AsyncFunctionDef | ast.FunctionDef]:
    for node in tree_of(path).body:
        if isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, ast.AsyncFunctionDef | ast.FunctionDef):
                    yield method


@pytest.mark.parametrize("path", WRITERS, ids=name_of)
def test_what_a_writer_offers_takes_a_permit_first(path: Path) -> None:
    offered = [method for method in methods_of(path) if not method.name.startswith("_")]
    assert offered
    for method in offered:
        first = method.args.args[1]
        assert isinstance(first.annotation, ast.Name), method.name
        assert first.annotation.id == "Permit", method.name


@pytest.mark.parametrize("path", WRITERS, ids=name_of)
def test_a_writer_module_offers_no_function_beside_its_class(path: Path) -> None:
    functions = [
        node.name
        for node in tree_of(path).body
        if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)
    ]
    assert all(name.startswith("_") for name in functions)


def verbs_in(node: ast.AST) -> set[str]:
    texts = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
    return {str(text) for text in texts} & WRITING_VERBS


@pytest.mark.parametrize("path", WRITERS, ids=name_of)
def test_every_way_to_a_write_begins_at_a_method_with_a_permit(path: Path) -> None:
    methods = {method.name: method for method in methods_of(path)}
    writing = {name for name, method in methods.items() if verbs_in(method)}
    assert writing
    for _ in methods:
        writing |= {name for name, method in methods.items() if calls_in(method) & writing}
    assert {name for name in writing if not name.startswith("_")} == {"perform"}


def test_no_adapter_or_duty_of_a_lane_writes_to_a_forge_beside_the_writers() -> None:
    for folder in ("adapters", "lane", "link"):
        for path in sorted((PACKAGE / folder).rglob("*.py")):
            if path not in WRITERS:
                assert not verbs_in(tree_of(path)), name_of(path)


@pytest.mark.parametrize("path", sorted(CORE.rglob("*.py")), ids=name_of)
def test_core_imports_core_the_standard_library_and_two_more(path: Path) -> None:
    for name in imports_of(path):
        top = name.partition(".")[0]
        assert name.startswith("allegro.core.") or top in ALLOWED_IN_CORE, name


@pytest.mark.parametrize(
    "path",
    [p for folder in ("client", "testing") for p in sorted((PACKAGE / folder).rglob("*.py"))],
    ids=name_of,
)
def test_client_and_testing_import_core_and_themselves_alone(path: Path) -> None:
    own = f"allegro.{path.relative_to(PACKAGE).parts[0]}"
    allowed = {"allegro.core", own}
    if path == PACKAGE / "testing" / "lane.py":
        allowed |= {"allegro.lane.app", "allegro.config"}
    for name in imports_of(path):
        if name.partition(".")[0] == "allegro" and name != "allegro.__version__":
            assert any(name == ok or name.startswith(f"{ok}.") for ok in allowed), name
