from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import pytest
from msgspec import Meta

from allegro.config import commented, load_house, load_lane, load_zone
from allegro.core.base.errors import ConfigError
from allegro.core.settings import HouseSettings, LaneSettings, OrderSettings

LANE: dict[str, Any] = {
    "lane": {"name": "allegro", "state_dir": "state"},
    "forge": {
        "url": "https://forge.example.org", "token_file": "token", "watch": ["org:home"],
        "bots": ["allegro-bot"],
    },
}  # fmt: skip


def sections(settings: type) -> list[type]:
    found = [settings]
    for kind in get_type_hints(settings).values():
        for part in (kind, *getattr(kind, "__args__", ())):
            if isinstance(part, type) and issubclass(part, msgspec.Struct):
                found += sections(part)
    return found


def test_a_short_file_is_enough() -> None:
    lane = msgspec.convert(LANE, LaneSettings)
    assert lane.forge.poll_s == 5.0
    house = msgspec.convert({"house": {"name": "home", "state_dir": "state"}}, HouseSettings)
    assert (house.orders.ttl_s, house.orders.settle_s) == (20, 30)


def test_every_listener_is_off_by_default() -> None:
    lane = msgspec.convert(LANE, LaneSettings)
    assert (lane.link.listen, lane.webhook.listen, lane.status.listen) == ("", "", "")


@pytest.mark.parametrize(("section", "key", "value"), [
    ("lane", "name", "Allegro"), ("lane", "name", ""), ("forge", "url", "ftp://forge.example.org"),
    ("forge", "poll_s", 0.1), ("forge", "poll_s", float("nan")), ("forge", "timeout_s", 16.0),
])  # fmt: skip
def test_a_value_out_of_range_is_refused(section: str, key: str, value: Any) -> None:
    wrong = {**LANE, section: {**LANE[section], key: value}}
    with pytest.raises(msgspec.ValidationError, match=key):
        msgspec.convert(wrong, LaneSettings)


@pytest.mark.parametrize(("name", "url", "told"), [
    ("", "https://Forge.example.org/", "forge.example.org"), ("home", "https://f.example.org", "home"),
    ("", "http://forge.example.org/git/", "forge.example.org/git"),
])  # fmt: skip
def test_a_forge_is_named_in_digests_by_configuration_or_address(
    name: str, url: str, told: str
) -> None:
    lane = msgspec.convert(
        {**LANE, "forge": {**LANE["forge"], "name": name, "url": url}}, LaneSettings
    )
    assert lane.forge_name == told


def test_an_order_lives_no_longer_than_the_gate_allows() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"ttl_s": 61}, OrderSettings)


@pytest.mark.parametrize("section", dict.fromkeys(sections(LaneSettings) + sections(HouseSettings)))
def test_every_key_says_what_it_is(section: type) -> None:
    for name, kind in get_type_hints(section, include_extras=True).items():
        metas = [m for m in getattr(kind, "__metadata__", ()) if isinstance(m, Meta)]
        if section not in {LaneSettings, HouseSettings}:
            assert any(meta.description for meta in metas), f"{section.__name__}.{name}"


def test_a_lane_serves_sessions_where_it_has_gateways() -> None:
    lane = msgspec.convert(LANE, LaneSettings)
    with_gateways = msgspec.convert({**LANE, "hermes": {"gateways": 1}}, LaneSettings)
    assert (lane.serves_sessions, with_gateways.serves_sessions) == (False, True)


@pytest.mark.parametrize(("key", "value", "wanted"), [
    ("lane.name", '"Al Legro"', "a-z 0-9 -"), ("forge.url", '"ftp://x"', "https://"),
    ("council.listen", '"here it is"', "host:port"), ("forge.poll_s", '"fast"', "seconds"),
])  # fmt: skip
def test_a_wrong_value_is_told_in_words_with_its_line(
    tmp_path: Path, key: str, value: str, wanted: str
) -> None:
    file = tmp_path / "lane.toml"
    section, _, name = key.partition(".")
    file.write_text(f"# a lane\n[{section}]\n{name} = {value}\n", "utf-8")

    with pytest.raises(ConfigError) as told:
        load_lane(file)

    fault = next(line for line in told.value.faults if key in line)
    assert fault.startswith("lane.toml:3")
    assert wanted in fault
    assert "regex" not in fault


def test_a_wrong_value_of_a_rung_is_told_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "lane.toml"
    file.write_text('[[models.rungs]]\nmodel = "m"\nprovider = "No Good"\nbase_url = "https://x"\n')

    with pytest.raises(ConfigError, match=r"\[0\]\.provider: .*its name in records, a-z"):
        load_lane(file)


def test_the_file_of_the_other_program_is_named_in_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "house.toml"
    file.write_text('[house]\nname = "home"\nstate_dir = "state"\n[orders]\n')
    with pytest.raises(ConfigError, match="is the configuration of a house; name that of a lane"):
        load_lane(file)


@pytest.mark.parametrize(
    ("section", "key", "value", "words"),
    [
        ("owner", "timezone", "Europe/Berlln", "is no zone"),
        ("owner", "timezone", "../../../etc/passwd", "is no zone"),
        ("owner", "timezone", "Europe", "is no zone"),
        ("owner", "timezone", "", "is no zone"),
        ("owner", "quiet", "22-7", "two times of day"),
        ("house", "hours", "25:00-07:00", "two times of day"),
        ("house", "expected", "sometimes", "sometimes"),
        ("house", "expected", "hours", "name the hours"),
    ],
)
def test_a_zone_or_a_window_that_is_none_is_named(
    tmp_path: Path, section: str, key: str, value: str, words: str
) -> None:
    path = tmp_path / "house.toml"
    values = {"house.name": "home", "house.state_dir": "x", f"{section}.{key}": value}
    path.write_text(commented(HouseSettings, values))

    with pytest.raises(ConfigError) as caught:
        load_house(path)

    assert words in str(caught.value)
    assert f"{section}." in str(caught.value)


def test_the_zone_of_the_owner_is_read_from_the_pinned_rules() -> None:
    zone = load_zone("America/New_York")

    assert datetime.datetime(2026, 7, 1, 12, tzinfo=zone).utcoffset() == datetime.timedelta(
        hours=-4
    )
