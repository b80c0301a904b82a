"""Counts the house from syntax trees: `python -m tests.house`, or `make house`.

Reads sources only, imports nothing of ours. Each line is a count beside its limit, a row of LIMITS;
`tests/docs/test_counts.py` fails the build where one is passed.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import sys
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
LANE = "allegro.lane"
Function = ast.FunctionDef | ast.AsyncFunctionDef
Graph = dict[str, set[str]]


class Source(NamedTuple):
    """One module of the product: its dotted name, its package, its text and tree."""

    name: str
    package: str
    path: Path
    text: str
    tree: ast.Module


class Limit(NamedTuple):
    """The most a count may be: the target, and the number of today where that is more.

    `held` is a ratchet: it is what the sources hold now, may only be made smaller, and goes once the
    target is reached. None: the target is reached and holds.
    """

    target: int
    held: int | None = None

    @property
    def most(self) -> int:
        """The number beyond which the build fails."""
        return self.target if self.held is None else self.held

    def __str__(self) -> str:
        return f"limit {self.target}" + ("" if self.held is None else f", held at {self.held}")


LIMITS = {
    "files in the largest wing": Limit(14),
    "wings with more than 14 files": Limit(0),
    "circles of imports": Limit(0),
    "arrows on the lane's floor": Limit(40),
    "`told` as a name": Limit(0),
    "`dict[str, Any]`": Limit(60),
    "`fmt: skip`": Limit(80),
    "functions with more than 5 parameters": Limit(15, held=40),
    "constructors with more than 6": Limit(0),
    "functions with more than 8": Limit(0),
    "modules over 300 lines": Limit(12, held=25),
}
"""The limit of each count; a count without a row is only reported."""


class Count(NamedTuple):
    """One number, and where the worst places are."""

    what: str
    number: int
    places: tuple[str, ...] = ()

    @property
    def limit(self) -> Limit | None:
        return LIMITS.get(self.what)

    @property
    def is_over(self) -> bool:
        """Whether it is more than it may be."""
        return self.limit is not None and self.number > self.limit.most


def sources(root: Path) -> list[Source]:
    """Parse every module below `src/allegro`."""
    found = []
    for path in sorted((root / "src").rglob("*.py")):
        parts = path.relative_to(root / "src").with_suffix("").parts
        package = parts[:-1]
        name = ".".join(package if path.name == "__init__.py" else parts)
        text = path.read_text("utf-8")
        found.append(Source(name, ".".join(package), path, text, ast.parse(text)))
    return found


# --- imports ----------------------------------------------------------------------------------------
def imports(all_of_them: Iterable[Source]) -> Graph:
    """Return module → our modules that it imports, wherever in the file: lazily and for types too."""
    listed = list(all_of_them)
    known = {one.name for one in listed}
    return {one.name: set(_targets(one, known)) - {one.name} for one in listed}


def _targets(one: Source, known: set[str]) -> Iterator[str]:
    for node in ast.walk(one.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, one.package)
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                if whole in known:
                    yield whole
                elif base in known:
                    yield base


def _base(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    parts = parts[: len(parts) - node.level + 1]
    return ".".join([*parts, node.module] if node.module else parts)


def circles(graph: Graph) -> list[list[str]]:
    """Return the groups of modules that reach each other (Tarjan, without recursion)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []
    for root in sorted(graph):
        if root in index:
            continue
        index[root] = low[root] = len(index)
        stack.append(root)
        work = [(root, iter(sorted(graph[root])))]
        while work:
            node, rest = work[-1]
            for after in rest:
                if after not in index:
                    index[after] = low[after] = len(index)
                    stack.append(after)
                    work.append((after, iter(sorted(graph.get(after, ())))))
                    break
                if after in stack:
                    low[node] = min(low[node], index[after])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    group = stack[stack.index(node) :]
                    del stack[stack.index(node) :]
                    if len(group) > 1:
                        found.append(sorted(group))
    return found


def floor_of(graph: Graph, folder: str) -> Graph:
    """Return the arrows between what stands directly in a folder: its modules and its wings."""
    arrows: Graph = defaultdict(set)
    for before, targets in graph.items():
        for after in targets:
            ends = [_room(name, folder) for name in (before, after)]
            if ends[0] and ends[1] and ends[0] != ends[1]:
                arrows[ends[0]].add(ends[1])
    return arrows


def _room(module: str, folder: str) -> str:
    return (
        module.removeprefix(f"{folder}.").split(".")[0] if module.startswith(f"{folder}.") else ""
    )


def implied(arrows: Mapping[str, set[str]]) -> set[tuple[str, str]]:
    """Return the arrows whose end is reached by a longer way too: nobody would draw them."""
    found = set()
    for before, targets in arrows.items():
        for after in targets:
            seen, todo = {before}, [one for one in targets if one != after]
            while todo:
                here = todo.pop()
                if here == after:
                    found.add((before, after))
                    break
                if here not in seen:
                    seen.add(here)
                    todo += arrows.get(here, ())
    return found


# --- names and shapes -------------------------------------------------------------------------------
def identifiers(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Return every identifier of a tree and its line, as often as it stands there."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield name, line
            case ast.keyword(arg=str(name)):
                yield name, line
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
            ):
                yield name, line
            case ast.alias(name=name, asname=asname):
                yield asname or name.rpartition(".")[2], line
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                yield name, line
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                yield from ((name, line) for name in names)


def has_word(identifier: str, word: str) -> bool:
    """Whether an identifier is this word or has it between underscores or capitals."""
    parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", identifier)
    return word in {part.lower() for part in parts}


def loose_dicts(tree: ast.AST) -> list[int]:
    """Return the lines with the type `dict[str, Any]`."""
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(
                value=ast.Name(id="dict" | "Dict"),
                slice=ast.Tuple(
                    elts=[ast.Name(id="str"), ast.Name(id="Any") | ast.Attribute(attr="Any")]
                ),
            ):
                found.append(node.lineno)
    return found


def skips(text: str) -> int:
    """Return how many comments keep the formatter from its work."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return sum(
        t.type == tokenize.COMMENT and bool(re.search(r"fmt:\s*(skip|off)", t.string))
        for t in tokens
    )


def parameters(tree: ast.Module) -> Iterator[tuple[str, int, int]]:
    """Return (name, line, parameters) of each function; `self` and `cls` are not counted."""
    for owner in ast.walk(tree):
        for node in ast.iter_child_nodes(owner):
            if isinstance(node, Function):
                given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                count = len(given) + bool(node.args.vararg) + bool(node.args.kwarg)
                method = isinstance(owner, ast.ClassDef) and not any(
                    isinstance(one, ast.Name) and one.id == "staticmethod"
                    for one in node.decorator_list
                )
                name = f"{owner.name}.{node.name}" if isinstance(owner, ast.ClassDef) else node.name
                yield name, node.lineno, count - bool(method and given)


# --- the list ---------------------------------------------------------------------------------------
def counts(root: Path) -> list[Count]:
    """Return every count of the house, in the order in which it is printed."""
    found = sources(root)
    where = {one.name: one.path.relative_to(root).as_posix() for one in found}
    graph = imports(found)
    wings = Counter(one.path.parent for one in found if one.path.name != "__init__.py")
    folders = [f"{path.relative_to(root).as_posix()} {size}" for path, size in wings.most_common()]
    rings = circles(graph)
    arrows = floor_of(graph, LANE)
    total = sum(map(len, arrows.values()))
    unseen = implied(arrows)
    exact: Counter[str] = Counter()
    within: Counter[str] = Counter()
    loose: Counter[str] = Counter()
    unformatted: Counter[str] = Counter()
    long: dict[str, int] = {}
    many: dict[str, int] = {}
    for one in found:
        place = where[one.name]
        names = [name for name, _ in identifiers(one.tree)]
        exact[place] = names.count("told")
        within[place] = sum(has_word(name, "told") for name in names)
        loose[place] = len(loose_dicts(one.tree))
        unformatted[place] = skips(one.text)
        long[place] = len(one.text.splitlines())
        for name, line, count in parameters(one.tree):
            many[f"{place}:{line} {name}"] = count
    over = {size: _most({k: v for k, v in many.items() if v > size}) for size in (5, 6, 8)}
    long = {place: lines for place, lines in long.items() if lines > 300}
    return [
        Count("modules", len(found)),
        Count("files in the largest wing", max(wings.values()), tuple(folders[:12])),
        Count("wings with more than 14 files", sum(size > 14 for size in wings.values())),
        Count("circles of imports", len(rings), tuple(" <-> ".join(ring) for ring in rings)),
        Count("arrows on the lane's floor", total),
        Count("the same without those that a longer way implies", total - len(unseen)),
        Count("`told` as a name", exact.total(), _most(exact)),
        Count("names with the word `told` in them", within.total(), _most(within)),
        Count("`dict[str, Any]`", loose.total(), _most(loose)),
        Count("`fmt: skip`", unformatted.total(), _most(unformatted)),
        Count("functions with more than 5 parameters", len(over[5]), over[5]),
        Count("constructors with more than 6", sum("__init__" in one for one in over[6])),
        Count("functions with more than 8", len(over[8]), over[8]),
        Count("modules over 300 lines", len(long), _most(long)),
    ]


def _most(places: Mapping[str, int]) -> tuple[str, ...]:
    ordered = sorted(places.items(), key=lambda one: (-one[1], one[0]))
    return tuple(f"{place} {number}" for place, number in ordered if number)


def table(found: Iterable[Count]) -> str:
    """Return the counts as a table for a page."""
    lines = ["| count | now | limit |", "|---|---:|---|"]
    lines += [
        f"| {one.what} | {one.number} | {one.limit or '–'} |".replace("limit ", "") for one in found
    ]
    return "\n".join(lines) + "\n"


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.house", description=__doc__)
    parser.add_argument("--where", action="store_true", help="name the places, worst first")
    parser.add_argument("--markdown", action="store_true", help="print the table of the page")
    parser.add_argument("--root", type=Path, default=ROOT, help="another checkout to count")
    given = parser.parse_args(words)
    found = counts(given.root)
    if given.markdown:
        sys.stdout.write(table(found))
        return 0
    for one in found:
        limit = f"({one.limit}{', OVER' if one.is_over else ''})" if one.limit else ""
        sys.stdout.write(f"{one.number:6}  {one.what} {limit}\n")
        if given.where:
            sys.stdout.writelines(f"          {place}\n" for place in one.places)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
