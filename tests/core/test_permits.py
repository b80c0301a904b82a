"""Rules about the source itself: who may make a Permit, who may import what."""

from __future__ import annotations

import ast
import contextlib
import gc
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import allegro.core.authority.gate as gate_module

GATE = Path(gate_module.__file__)
CORE = GATE.parents[1]
PACKAGE = CORE.parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
WRITERS = sorted((PACKAGE / "adapters").rglob("writer.py"))
WRITING_VERBS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
# the kill-point runner starts a real lane
RUNNER_MAY_IMPORT = {"allegro.lane.app", "allegro.lane.context.ports", "allegro.config"}
# the nodes that a permit can be made with: `wrong_with_permits` has a case for each, and no other
RULED = frozenset({ast.Name, ast.Attribute, ast.Constant, ast.alias, ast.Call, ast.ClassDef})
ALLOWED_IN_CORE = frozenset({"cronsim", "msgspec", "rfc8785"}) | sys.stdlib_module_names


class Facts(NamedTuple):
    """What the rules want to know of one file, wherever in the file it stands."""

    imports: tuple[str, ...]
    texts: frozenset[str]
    wrong: frozenset[str]


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Keep the collector from looking through 200,000 new nodes again and again: half the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def walked(tree: ast.Module) -> list[ast.AST]:
    """Return what `ast.walk` does, but operators and contexts, in half of its time."""
    found: list[ast.AST] = [tree]
    for node in found:  # it grows meanwhile
        for name in node._fields:
            part = getattr(node, name, None)
            if isinstance(part, list):
                found += [one for one in part if isinstance(one, ast.AST)]
            elif isinstance(part, ast.AST) and part._fields:
                found.append(part)
    return found


@cache
def facts_of(path: Path) -> Facts:
    """Parse and walk a file once for all rules; its tree is not kept."""
    imports: list[str] = []
    texts: set[str] = set()
    wrong: set[str] = set()
    with uncollected():
        for node in walked(tree_of(path)):
            if type(node) in RULED and (told := wrong_with_permits(node)) is not None:
                wrong.add(told)
            if isinstance(node, ast.Constant):
                if isinstance(node.value, str):
                    texts.add(node.value)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                imports += imported(node, path)
    return Facts(tuple(imports), frozenset(texts), frozenset(wrong))


def imported(node: ast.Import | ast.ImportFrom, path: Path) -> list[str]:
    """Return the full names that a statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    package = list(path.relative_to(PACKAGE.parent).parts[: -node.level or None])
    base = ".".join(package) + "." if node.level else ""
    return [f"{base}{node.module or ''}.{alias.name}" for alias in node.names]


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


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


def test_the_quick_walk_leaves_out_nothing_that_a_rule_looks_at() -> None:
    for path in (GATE, Path(__file__)):
        tree = tree_of(path)
        whole = [node for node in ast.walk(tree) if node._fields]
        assert {id(node) for node in whole} <= {id(node) for node in walked(tree)}


def wrong_with_permits(node: ast.AST) -> str | None:
    """Say how a piece of source outside the gate comes by a permit it was not given."""
    match node:
        case ast.Name(id="_SENTINEL") | ast.Attribute(attr="_SENTINEL"):
            return "names the sentinel"
        case ast.Constant(value="_SENTINEL") | ast.alias(name="_SENTINEL"):
            return "names the sentinel"
        case ast.Call(func=ast.Name(id="Permit") | ast.Attribute(attr="Permit")):
            return "makes a permit"
        case ast.alias(name="Permit", asname=str()):
            return "renames Permit"
        case ast.ClassDef() if "Permit" in {
            getattr(b, "id", getattr(b, "attr", "")) for b in node.bases
        }:
            return "inherits from Permit"
        case ast.Attribute(value=ast.Name(id="permit"), ctx=ast.Store() | ast.Del()):
            return "changes a permit"
    return None


def test_no_module_but_the_gate_can_make_a_permit() -> None:
    found = {
        (name_of(path), wrong) for path in SOURCES if path != GATE for wrong in facts_of(path).wrong
    }
    assert found == set()


@pytest.mark.parametrize("source", [
    "gate._SENTINEL", "from allegro.core.authority.gate import _SENTINEL", "getattr(gate, '_SENTINEL')",
    "Permit(s, a, d, 1, 2.0)", "gate.Permit(s, a, d, 1, 2.0)", "class Other(Permit): pass",
    "from allegro.core.authority.gate import Permit as Pass", "permit.action = other",
])  # fmt: skip
def test_the_search_for_made_permits_finds_each_way_to_make_one(source: str) -> None:
    found = [node for node in ast.walk(ast.parse(source)) if wrong_with_permits(node)]
    assert found
    assert all(type(node) in RULED for node in found)


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


# these speak HTTP to agents and model providers; that they know no forge is tested below
NO_FORGE = {"adapters/hermes/wire.py", "adapters/providers/openai.py", "lane/models/loans.py"}


@pytest.mark.parametrize("name", sorted(NO_FORGE))
def test_what_speaks_to_agents_and_models_knows_no_forge(name: str) -> None:
    path = PACKAGE / name
    assert not [one for one in facts_of(path).imports if "gitea" in one]
    assert not [text for text in facts_of(path).texts if "/repos" in text]


def test_no_adapter_or_duty_of_a_lane_writes_to_a_forge_beside_the_writers() -> None:
    found = {
        name_of(path)
        for folder in ("adapters", "lane", "link")
        for path in sorted((PACKAGE / folder).rglob("*.py"))
        if path not in WRITERS and name_of(path) not in NO_FORGE
        if facts_of(path).texts & WRITING_VERBS
    }
    assert found == set()


def test_core_imports_core_the_standard_library_and_two_more() -> None:
    found = {
        (name_of(path), name)
        for path in sorted(CORE.rglob("*.py"))
        for name in facts_of(path).imports
        if not name.startswith("allegro.core.") and name.partition(".")[0] not in ALLOWED_IN_CORE
    }
    assert found == set()


@pytest.mark.parametrize("folder", ["client", "testing"])
def test_client_and_testing_import_core_and_themselves_alone(folder: str) -> None:
    found = set()
    for path in sorted((PACKAGE / folder).rglob("*.py")):
        allowed = {"allegro.core", f"allegro.{folder}", "allegro.__version__"}
        if path == PACKAGE / "testing" / "lane.py":
            allowed |= RUNNER_MAY_IMPORT
        for name in facts_of(path).imports:
            ours = name.partition(".")[0] == "allegro"
            if ours and not any(name == ok or name.startswith(f"{ok}.") for ok in allowed):
                found.add((name_of(path), name))
    assert found == set()


def test_the_sovereign_key_is_loaded_only_where_a_person_runs_a_command() -> None:
    """Named in the package that signs, in commands, and in the players of demo and drill."""
    allowed = ("sovereign/", "cli/", "demo/", "drill/")
    named = {
        path.relative_to(PACKAGE).as_posix()
        for path in SOURCES
        if "load_sovereign_key" in path.read_text(encoding="utf-8")
    }
    assert "sovereign/keystore.py" in named
    assert {name for name in named if not name.startswith(allowed)} == set()
