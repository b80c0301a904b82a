"""Pages hang together: links lead somewhere, named files exist, nothing private slips in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs import pages, render, wrap

PAGES = render.pages()
OURS = [*PAGES, *sorted(path for path in (render.ROOT / "examples").iterdir() if path.is_file())]
FORBIDDEN = re.compile(
    r"(?<![\w.])/(?:work|opt|root|mnt)\b|pypi\.|pythonhosted|proxy\.golang|registry\.npm|"
    r"[\w.+-]+@(?!example\.)[\w-]+\.[a-z]{2,}\b",
    re.IGNORECASE,
)
MAX_README_WORDS = 2_200


def _named(path: Path) -> str:
    return path.relative_to(render.ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=_named)
def test_relative_links_lead_somewhere(page: Path) -> None:
    dead = [link for link in _links(pages.prose(page)) if not _leads(page, link)]
    assert dead == []


@pytest.mark.parametrize("page", PAGES, ids=_named)
def test_files_that_pages_name_exist(page: Path) -> None:
    named = re.findall(r"`((?:tests|src|examples|docs|bench|scripts)/[\w./-]+)`", pages.prose(page))
    assert [name for name in named if not (render.ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=_named)
def test_tests_that_pages_name_exist(page: Path) -> None:
    for name, test in re.findall(r"`(tests/[\w./-]+)::(\w+)`", pages.prose(page)):
        assert f"def {test}(" in (render.ROOT / name).read_text("utf-8"), f"{name}::{test}"


@pytest.mark.parametrize("path", OURS, ids=_named)
def test_nothing_private_is_told(path: Path) -> None:
    assert FORBIDDEN.findall(path.read_text("utf-8")) == []


def test_every_page_is_reached_from_the_readme() -> None:
    reached, todo = set[Path](), [render.ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in reached:
            continue
        reached.add(page)
        for link in _links(pages.prose(page)):
            target = (page.parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target.exists():
                todo.append(target)
    assert set(PAGES) - reached == set()


def test_the_readme_is_short() -> None:
    text = (render.ROOT / "README.md").read_text("utf-8")
    assert len(text.split()) <= MAX_README_WORDS


@pytest.mark.parametrize("page", wrap.pages(), ids=_named)
def test_prose_keeps_to_the_width_where_a_space_allows_it(page: Path) -> None:
    assert wrap.too_long(page.read_text("utf-8")) == [], "run `python -m tests.docs.wrap`"


def test_wrapping_moves_words_and_changes_none() -> None:
    prose = "- " + "some words in a list item that is `a span with blanks` long " * 4 + "- 1. end"
    table = "| " + "a cell " * 40 + "|"
    page = f"# Title\n\n{prose}\n\n{table}\n```\n{prose}\n```\n"
    after = wrap.wrapped(page)
    assert after.split() == page.split()
    assert after.endswith(f"{table}\n```\n{prose}\n```\n")
    assert max(len(line) for line in after.split("\n\n")[1].splitlines()) <= wrap.WIDTH
    assert wrap.wrapped(after) == after
    assert wrap.too_long(prose) == [prose]


def _links(text: str) -> list[str]:
    found: list[str] = re.findall(r"\]\(([^)\s]+)\)", text)
    return [link for link in found if not link.startswith(("http://", "https://"))]


def _leads(page: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    if not target.exists():
        return False
    return not anchor or anchor in _anchors(target)


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings
    }
