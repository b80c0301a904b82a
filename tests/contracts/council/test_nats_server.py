"""Which nats-server is run, and what its own words about its health mean."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from allegro.adapters.nats.monitor import is_store_broken
from allegro.adapters.nats.server import (
    Server,
    ServerFiles,
    find_server,
    make_seed,
    public_of,
)
from allegro.adapters.nats.settings import Serving, render
from allegro.core.authority.tokens import Member
from allegro.core.base.errors import ConfigError, EdgeError


def _script(path: Path, does: str) -> str:
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    "says",
    ["nats-server: v2.9.10", "nats-server: v2.13.99", "nats-server: v1.99.0"],
)
def test_a_server_older_than_2_14_is_refused_by_its_version(tmp_path: Path, says: str) -> None:
    with pytest.raises(ConfigError) as raised:
        find_server(_script(tmp_path / "old", f"echo '{says}'"))
    assert raised.value.faults == (f"council.server  is {says}; 2.14 or newer is needed",)


@pytest.mark.parametrize("says", ["nats-server: v2.14.0", "nats-server: v2.100.0-beta", "v3.0.0"])
def test_a_server_of_2_14_or_newer_is_taken(tmp_path: Path, says: str) -> None:
    path = _script(tmp_path / "new", f"echo '{says}'")
    assert find_server(path) == path


@pytest.mark.parametrize(
    ("does", "words"),
    [
        ("echo hello", "is hello; 2.14"),
        ("exit 3", "is silent; 2.14"),
        ("head -c 100 /dev/zero | tr '\\0' 'x'", "is " + "x" * 80 + "; 2.14"),
        ("printf '\\377\\376'", "; 2.14"),
    ],
)
def test_a_server_that_prints_nonsense_is_refused(tmp_path: Path, does: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        find_server(_script(tmp_path / "odd", does))
    assert words in error.value.faults[0]


def test_a_missing_server_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        find_server(str(tmp_path / "nowhere"))
    assert raised.value.faults[0].startswith("council.server  cannot be run:")
    plain = tmp_path / "no-program"
    plain.write_text("data")
    with pytest.raises(ConfigError):
        find_server(str(plain))


def test_the_installed_server_is_new_enough() -> None:
    assert Path(find_server("")).name == "nats-server"


async def test_a_server_that_ends_at_once_is_told_with_its_last_line(tmp_path: Path) -> None:
    server = Server(ServerFiles(tmp_path), _script(tmp_path / "ends", "echo one; echo why; exit 1"))
    with pytest.raises(EdgeError, match="did not start: why"):
        await server.start(1)
    assert not server.is_running


async def test_a_server_that_never_says_where_it_is_is_ended_in_time(tmp_path: Path) -> None:
    server = Server(ServerFiles(tmp_path), _script(tmp_path / "hangs", "exec sleep 60"))
    with pytest.raises(EdgeError, match="it said nothing"):
        await server.start(1, within_s=0.3)
    assert not server.is_running


def test_a_seed_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "user.nk"
    seed = make_seed(path, bytes(range(32)))
    assert make_seed(path, bytes(32)) == seed
    assert path.stat().st_mode & 0o077 == 0
    assert [file.name for file in path.parent.iterdir()] == ["user.nk"]
    assert public_of(seed).startswith("U")


# as nats-server 2.15.1 says it
HEALTH = {
    '{"status":"ok"}': False,
    '{"status":"unavailable","error":"JetStream is still recovering meta layer"}': False,
    '{"status":"unavailable","error":"JetStream is not current with the meta leader"}': False,
    '{"status":"unavailable","error":"JetStream has not established contact with a meta leader"}': False,
    '{"status":"unavailable","error":"JetStream stream \'COUNCIL \\u003e KV_allegro\' is not current: group node unhealthy"}': False,
    '{"status":"unavailable","error":"JetStream not enabled (10076)"}': True,
}


@contextmanager
def _monitor(says: str) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if '"ok"' in says else 503)
            self.end_headers()
            self.wfile.write(says.encode())

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("says", "broken"), HEALTH.items())
def test_only_a_store_that_was_given_up_counts_as_broken(says: str, broken: bool) -> None:
    with _monitor(says) as address:
        assert is_store_broken(address) is broken


def test_a_monitor_that_does_not_answer_is_no_broken_store() -> None:
    with _monitor("") as address:
        pass
    assert not is_store_broken(address)


def test_a_lane_may_write_the_registers_of_the_roles_and_its_own_page_and_nothing_else(
    tmp_path: Path,
) -> None:
    me = Member("a" * 32, "a", "192.0.2.1:1", "", "")
    other = Member("b" * 32, "b", "192.0.2.2:1", "", "")
    serving = Serving(fleet="f" * 32, number=1, listen="192.0.2.1:1", public="U" * 56, disk_mb=64)
    settings = json.loads(render(ServerFiles(tmp_path), me, (other,), serving))
    (user,) = settings["accounts"]["LANE_a"]["users"]
    keys = {one for one in user["permissions"]["publish"]["allow"] if one.startswith("$KV.")}
    assert keys == {"$KV.allegro.role.forge", "$KV.allegro.role.hermes", "$KV.allegro.page.a"}


def test_of_two_servers_only_one_dials_the_other(tmp_path: Path) -> None:
    members = [Member(name * 32, name, f"192.0.2.{n}:1", "", "") for n, name in enumerate("abcde")]
    pairs = []
    for me in members:
        others = [member for member in members if member is not me]
        serving = Serving(fleet="f" * 32, number=1, listen=me.address, public="U" * 56, disk_mb=64)
        settings = json.loads(render(ServerFiles(tmp_path), me, others, serving))
        routes = settings["cluster"]["routes"]
        assert len(set(routes)) == len(others)
        dialled = {route.rpartition("//")[2].rpartition("@")[2] for route in routes}
        pairs += [(me.name, one.name) for one in others if one.address in dialled]
    assert len(pairs) == 10
    assert all((second, first) not in pairs for first, second in pairs)
