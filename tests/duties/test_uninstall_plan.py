"""`allegro uninstall --plan` names everything there is, and touches none of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from allegro.adapters.nats.server import ServerFiles
from allegro.cli.main import cli
from allegro.cli.setup.made import CHANGE_SCOPES, Made, covers, house_things, lane_things
from allegro.config import keys_of, load_house, load_lane
from allegro.core.base.errors import ConfigError
from allegro.core.forge.token_audit import NEEDED_SCOPES
from allegro.core.settings import HouseSettings, LaneSettings
from allegro.house.files import HouseFiles
from allegro.lane.folder.files import LaneFiles

from .test_state_folders import LANES, folder, hashes, open_everything

__all__ = ["folder"]
ROOT = Path(__file__).parents[2]


def things_of(config: Path) -> list[Made]:
    if config.stem == "house":
        return house_things(load_house(config), config)
    return lane_things(load_lane(config), config)


def plan(config: Path) -> dict[str, Any]:
    result = CliRunner().invoke(cli, ["uninstall", "--plan", "--config", str(config), "--json"])
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.output))


async def test_everything_that_real_work_and_an_upgrade_left_on_disk_is_listed(
    folder: Path,
) -> None:
    await open_everything(folder)
    for name in ("house", *LANES):
        things = things_of(folder / f"{name}.toml")
        left = [path for path in (folder / name).rglob("*") if path.is_file()]
        assert len(left) > 8
        assert [path for path in left if not covers(things, path)] == []
        assert covers(things, folder / f"{name}.toml")
        assert not covers(things, folder / name / "a file of somebody else")


@pytest.mark.parametrize("kind", [LaneFiles, HouseFiles, ServerFiles])
def test_every_name_that_the_programs_have_for_a_file_is_listed(folder: Path, kind: Any) -> None:
    config = folder / ("house.toml" if kind is HouseFiles else "ezra.toml")
    state = folder / ("house" if kind is HouseFiles else "ezra")
    files = kind(state / "council" if kind is ServerFiles else state)
    names = [name for name, value in vars(kind).items() if isinstance(value, property)]
    assert names
    things = things_of(config)
    assert [name for name in names if not covers(things, getattr(files, name))] == []


def test_every_file_that_a_setting_names_is_listed(tmp_path: Path) -> None:
    for kind, config in ((LaneSettings, "lane.toml"), (HouseSettings, "house.toml")):
        text = (ROOT / "examples" / config).read_text("utf-8")
        named = []
        for key in keys_of(kind):
            if key.name.endswith("_file") and key.section != "models":
                path = tmp_path / f"{key.section}.{key.name}"
                named.append(path)
                text = re.sub(rf"(\[{key.section}\]\n(?:[^\[].*\n)*?)#?{key.name} = .*",
                              rf'\1{key.name} = "{path}"', text)  # fmt: skip
        written = tmp_path / config
        written.write_text(text, "utf-8")
        things = things_of(written)
        assert [path.name for path in named if not covers(things, path)] == []
        assert named


def test_every_unit_that_ships_is_listed_at_the_place_its_head_names(folder: Path) -> None:
    listed = " ".join(
        one.what + one.remove for name in ("house", "ezra")
        for one in things_of(folder / f"{name}.toml")
    )  # fmt: skip
    units = [*(ROOT / "examples").glob("*.service"), *(ROOT / "examples").glob("*.plist")]
    assert len(units) == 5
    for unit in units:
        head = unit.read_text("utf-8")[:600]
        place = re.search(r"[~/]\S*/(\S+\.(?:service|plist))", head) or re.search(
            r"LaunchAgents/(\S+)", head
        )
        assert place is not None, unit.name
        assert place.group(1) in listed, unit.name


def test_users_folders_and_scopes_are_those_of_the_readme(folder: Path) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    lane = plan(folder / "ezra.toml")["things"]
    listed = " ".join(one["what"] + one["note"] for one in lane)
    for made in re.findall(r"install -d -o allegro -g allegro -m 0700 (\S+) (\S+)", readme)[0]:
        assert made in listed
    assert "useradd --system" in readme
    assert any(one["kind"] == "system user" and one["what"] == "allegro" for one in lane)
    for scope in (*NEEDED_SCOPES, *CHANGE_SCOPES):
        assert f"`{scope}`" in readme
    daily = next(one for one in lane if one["kind"] == "token")
    assert set(NEEDED_SCOPES) <= set(daily["note"].removeprefix("scopes: ").split(", "))
    labels = {one["what"] for one in lane if one["kind"] == "label"}
    assert labels == {"triage/seen", "status/*"}
    assert {"hook", "account", "user", "unit"} <= {one["kind"] for one in lane}


def test_every_thing_names_its_owner_its_maker_and_how_it_goes(folder: Path) -> None:
    for name in ("house", *LANES):
        for one in plan(folder / f"{name}.toml")["things"]:
            assert all(one[field] for field in ("kind", "what", "owner", "by", "remove")), one


def test_a_plan_changes_nothing(folder: Path) -> None:
    before = hashes(folder)
    for name in ("house", "ezra"):
        plan(folder / f"{name}.toml")
        result = CliRunner().invoke(
            cli, ["uninstall", "--plan", "--config", str(folder / f"{name}.toml")]
        )
        assert "Nothing was changed" in result.output
    assert hashes(folder) == before


def test_without_plan_or_configuration_nothing_is_listed(tmp_path: Path) -> None:
    assert CliRunner().invoke(cli, ["uninstall"]).exit_code == 2
    missing = ["uninstall", "--plan", "--config", str(tmp_path / "none.toml")]
    result = CliRunner().invoke(cli, missing, standalone_mode=False)
    assert isinstance(result.exception, ConfigError)
    assert "Name it with --config" in str(result.exception)
