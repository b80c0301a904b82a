"""The README's own commands make a house and a lane, and pair them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from allegro import config
from allegro.cli.main import cli
from tests.docs import pages

SETUP = re.compile(r"allegro (?P<words>(?:init|pair) .*)")


class Walk:
    """A person who follows the README in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.line = ""
        self.lanes = 0
        secret = folder / "passphrase"
        secret.write_text("correct horse battery staple\n")
        self._runner = CliRunner(
            env={"ALLEGRO_PASSPHRASE_FILE": str(secret), "XDG_STATE_HOME": str(folder / "state")}
        )

    def follow(self, words: str) -> str:
        """Run one command with its paths moved below the folder; keep the line it prints.

        Each lane that is made is another machine.
        """
        self.lanes += words.startswith("init lane")
        home = words.replace("~/.config/allegro", str(self.folder / "home"))
        moved = home.replace("/etc/allegro", str(self.folder / f"etc{self.lanes}"))
        given = [
            self.line if word.startswith(("allegro-lane:", "allegro-house:")) else word
            for word in pages.words(moved)
        ]
        if given[:2] == ["init", "lane"]:
            given += ["--state-dir", str(self.folder / f"lane{self.lanes}")]
        result = self._runner.invoke(cli, given)
        assert result.exit_code == 0, (words, result.output, result.exception)
        printed = re.search(r"^allegro-(?:lane|house):\S+$", result.output, re.MULTILINE)
        self.line = printed[0] if printed else self.line
        return result.output


@pytest.fixture
def screens(tmp_path: Path) -> list[str]:
    typed = [line for one in pages.examples("console") for line in pages.typed(one.text)]
    walk = Walk(tmp_path)
    return [walk.follow(match["words"]) for line in typed if (match := SETUP.search(line))]


def test_following_the_readme_ends_with_the_same_six_words_on_both_screens(
    screens: list[str],
) -> None:
    words = [
        found[1]
        for output in screens
        if (found := re.search(r"^words: (.+)$", output, re.MULTILINE))
    ]
    assert len(words) == 2
    assert words[0] == words[1]
    assert len(words[0].split()) == 6


@pytest.mark.usefixtures("screens")
def test_following_the_readme_writes_configurations_that_load(tmp_path: Path) -> None:
    lane = config.load_lane(tmp_path / "etc1" / "lane.toml")
    agent = config.load_lane(tmp_path / "etc2" / "lane.toml")
    house = config.load_house(tmp_path / "home" / "house.toml")
    assert agent.serves_sessions
    assert lane.forge.watch == ("timmy/house", "org:workshop")
    assert house.requests.home == "timmy/house#1"
