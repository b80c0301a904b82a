"""Every example is tried: configurations load, Python calls what there is, commands parse."""

from __future__ import annotations

import ast
import inspect
import plistlib
import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

import allegro.client.errors
from allegro import DecisionBridge, GiteaBridge, HermesBridge, RedundancyManager, config
from allegro.cli.main import cli
from tests.docs import pages, render


@pytest.mark.parametrize("example", pages.examples("toml"), ids=lambda e: e.place)
def test_configuration_examples_load(example: pages.Example, tmp_path: Path) -> None:
    path = tmp_path / "example.toml"
    path.write_text(example.text)
    load = config.load_lane if "[lane]" in example.text else config.load_house
    load(path)


@pytest.mark.parametrize("example", pages.examples("python"), ids=lambda e: e.place)
def test_python_examples_call_what_there_is(example: pages.Example) -> None:
    tree = ast.parse(example.text)
    bridges = {
        "bridge": GiteaBridge,
        "hermes": HermesBridge,
        "lanes": RedundancyManager,
        "questions": DecisionBridge,
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            if isinstance(owner, ast.Name) and owner.id in bridges:
                _bind(getattr(bridges[owner.id], node.func.attr), node)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("allegro"):
            module = __import__(str(node.module), fromlist=["x"])
            assert all(hasattr(module, alias.name) for alias in node.names)


def _bind(method: object, call: ast.Call) -> None:
    assert callable(method)
    named = {word.arg: None for word in call.keywords if word.arg is not None}
    inspect.signature(method).bind(None, *call.args, **named)


def test_the_client_page_names_every_outcome() -> None:
    text = (render.ROOT / "docs" / "client.md").read_text("utf-8")
    names = [name for name, one in vars(allegro.client.errors).items() if inspect.isclass(one)]
    assert [name for name in names if f"`{name}`" not in text and name != "UserError"] == []


@pytest.mark.parametrize(("place", "line"), pages.commands())
def test_commands_and_options_that_pages_name_exist(place: str, line: str) -> None:
    words = pages.words(line.partition(" | ")[0])
    at = next(n for n, word in enumerate(words) if Path(word).name == "allegro")
    _parse(cli, words[at + 1 :])


def _parse(command: click.Command, words: list[str]) -> None:
    """Parse words as the command line would; missing ones are fine, unknown ones are not."""
    context = click.Context(command, info_name=command.name)
    try:
        command.parse_args(context, list(words))
    except (click.MissingParameter, click.exceptions.NoArgsIsHelpError):
        options = {opt for p in command.params for opt in (*p.opts, *p.secondary_opts)}
        flags = {word for word in words if word.startswith("--")}
        if not isinstance(command, click.Group):
            assert flags <= options | {"--help"}
            return
    except click.exceptions.Exit:
        return
    if not isinstance(command, click.Group):
        return
    name = next((word for word in words if word in command.list_commands(context)), None)
    if name is None:
        unknown = [word for word in words if re.fullmatch(r"[a-z][a-z-]*", word)]
        assert command.invoke_without_command or not unknown, f"no command {unknown}"
        return
    found = command.get_command(context, name)
    assert found is not None
    _parse(found, words[words.index(name) + 1 :])


@pytest.mark.parametrize(
    "path", sorted((render.ROOT / "examples").glob("*.toml")), ids=lambda p: p.name
)
def test_example_files_load(path: Path) -> None:
    (config.load_lane if "[lane]" in path.read_text("utf-8") else config.load_house)(path)


def test_make_targets_that_pages_name_exist() -> None:
    makefile = (render.ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    text = "".join(page.read_text("utf-8") for page in render.pages())
    named = set(re.findall(r"`(?:[A-Z]+=1 )?make ([a-z]+)", text))
    named |= set(re.findall(r"^\$ (?:[A-Z]+=1 )?make ([a-z]+)", text, re.MULTILINE))
    assert named <= targets


def test_the_launchd_sample_is_a_property_list() -> None:
    with (render.ROOT / "examples" / "org.example.allegro.house.plist").open("rb") as file:
        sample = plistlib.load(file)
    assert sample["ProgramArguments"][1] == "house"


@pytest.mark.parametrize("unit", ["lane", "lane-sessions", "council", "house"])
def test_the_units_are_as_closed_as_the_runbook_says(unit: str) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze here")
    verdict = subprocess.run(
        [analyze, "security", "--offline=true", f"examples/{unit}.service"],
        cwd=render.ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    score = re.search(r"Overall exposure level for \S+: ([0-9.]+)", verdict.stdout)
    if score is None:
        pytest.skip("this systemd-analyze cannot judge offline")
    runbook = (render.ROOT / "docs" / "runbook.md").read_text("utf-8")
    noted = re.search(rf"`{unit}.service` \| ([0-9.]+)", runbook)
    assert noted is not None
    assert abs(float(score[1]) - float(noted[1])) <= 0.6  # versions weigh a little differently
