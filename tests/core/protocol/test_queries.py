"""Every query has one name, typed parameters and a line of meaning; no name stands elsewhere."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from allegro.core.protocol.queries import (
    ANSWERS,
    QUERIES,
    AskChange,
    Asked,
    Look,
    ModelBegin,
    QueryName,
    Rest,
)

SOURCE = Path(__file__).parents[3] / "src" / "allegro"
NAMES = {name.value for name in QueryName}
ASKERS = {"ask", "_ask", "ask_lane", "_ask_lane", "asked", "_next", "Query"}
TABLES = {"methods", "own_facts"}
"""Where a lane keeps which function answers which query."""


def literals(source: str) -> Iterator[str]:
    """Yield query names that stand as text where a query is asked, answered or compared."""
    for node in ast.walk(ast.parse(source)):
        for value in _places(node):
            if isinstance(value, ast.Constant) and value.value in NAMES:
                yield str(value.value)


def _places(node: ast.AST) -> list[ast.expr | None]:
    if isinstance(node, ast.Call):
        tables = [one.value for one in node.keywords if one.arg in TABLES]
        found = [key for one in tables if isinstance(one, ast.Dict) for key in one.keys]
        return found + (list(node.args) if _name(node.func) in ASKERS else [])
    if isinstance(node, ast.AnnAssign) and _name(node.target) in TABLES:
        return node.value.keys if isinstance(node.value, ast.Dict) else []
    if isinstance(node, ast.FunctionDef) and node.name == "answers":
        returned = [one.value for one in ast.walk(node) if isinstance(one, ast.Return)]
        return [key for one in returned if isinstance(one, ast.Dict) for key in one.keys]
    if isinstance(node, ast.Compare) and _name(node.left) == "method":
        return list(node.comparators)
    return []


def _name(node: ast.expr) -> str:
    return getattr(node, "attr", getattr(node, "id", ""))


def test_no_query_name_is_a_literal_outside_its_table() -> None:
    stray = {
        path.relative_to(SOURCE).as_posix(): found
        for path in SOURCE.rglob("*.py")
        if (found := list(literals(path.read_text("utf-8"))))
    }
    assert stray == {}


@pytest.mark.parametrize("planted", [
    'link.ask("look", {})',
    'self._lanes.ask_lane(lane, "fleet", {})',
    'self.methods: T = {"look": self._look}',
    'Desk(own_facts={"status": f})',
    'def answers(self):\n    return {"deny": self._deny}',
    'query.method != "look"',
])  # fmt: skip
def test_the_source_test_finds_a_planted_literal(planted: str) -> None:
    assert len(list(literals(planted))) == 1


def test_a_word_that_only_sounds_like_a_query_is_passed_over() -> None:
    assert list(literals('show("status"); {"sessions": 5}; group.command("doctor")')) == []


def test_each_query_has_exactly_one_type_with_a_line_of_meaning() -> None:
    assert set(QUERIES) == set(QueryName)
    for name, query in QUERIES.items():
        about = query.__doc__ or ""
        assert about, name
        assert not about.startswith(query.__name__ + "("), name
    assert set(ANSWERS) <= set(QueryName)


@pytest.mark.parametrize(("query", "params"), [
    (
        AskChange(repository="a/b", base="", paths=("x",), deleted=()),
        {"repository": "a/b", "base": "", "paths": ["x"], "deleted": []},
    ),
    (Look(action=b"{}", branch="", marker="m"), {"action": b"{}", "branch": "", "marker": "m"}),
    (Look(content="d", branch="b", marker="m"), {"content": "d", "branch": "b", "marker": "m"}),
    (
        ModelBegin(path="/v1/models", authorization="", body=b""),
        {"path": "/v1/models", "authorization": "", "body": b""},
    ),
    (
        Rest(lane="a", role="forge", seconds=5.0, to=""),
        {"lane": "a", "role": "forge", "seconds": 5.0, "to": ""},
    ),
])  # fmt: skip
def test_the_parameters_are_sent_as_they_always_were(query: Asked, params: object) -> None:
    assert query.params() == params
