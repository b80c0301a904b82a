"""What is rendered from code is what the pages show."""

from __future__ import annotations

from pathlib import Path

import pytest

from allegro import __version__, config
from tests.docs import render

HINT = "run `make docs`"


@pytest.mark.parametrize(
    "page", render.pages(), ids=lambda p: p.relative_to(render.ROOT).as_posix()
)
def test_generated_blocks_are_what_the_code_renders_now(page: Path) -> None:
    text = page.read_text("utf-8")
    assert render.rendered(text) == text, HINT


def test_every_block_is_shown_somewhere() -> None:
    text = "".join(page.read_text("utf-8") for page in render.pages())
    missing = [name for name in render.BLOCKS if f"<!-- generated: {name} -->" not in text]
    assert missing == []


@pytest.mark.parametrize("name", render.SAMPLES)
def test_sample_configurations_are_what_init_would_write(name: str) -> None:
    assert (render.ROOT / name).read_text("utf-8") == render.SAMPLES[name](), HINT


def test_sample_configurations_load() -> None:
    lane = config.load_lane(render.ROOT / "examples" / "lane.toml")
    house = config.load_house(render.ROOT / "examples" / "house.toml")
    assert lane.link.public_url == "wss://192.0.2.10:7420"
    assert house.requests.home == "timmy/house#1"


def test_the_changelog_tells_of_this_version() -> None:
    assert f"## {__version__}" in (render.ROOT / "CHANGELOG.md").read_text("utf-8")
