"""Runs every case on both simulated forges, and on a real one where the environment names it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from .forge_backends import NO_REAL_FORGE, Server, Site, named_by_address, simulated
from .lane import Lane
from .people import People

BINARY, ADDRESS = "ALLEGRO_GITEA_BIN", "ALLEGRO_GITEA_URL"
SIMULATED = ("gitea", "forgejo")


def has_real_forge() -> bool:
    return bool(os.environ.get(BINARY) or os.environ.get(ADDRESS))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "site" in metafunc.fixturenames:
        where = [*SIMULATED, "real"] if has_real_forge() else list(SIMULATED)
        metafunc.parametrize("site", where, indirect=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not has_real_forge():
        terminalreporter.write_line(f"forge contract: simulated forges only; {NO_REAL_FORGE}")


@pytest.fixture(scope="session")
def real_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A real forge for the whole run: started from a binary and stopped, or named by address."""
    if os.environ.get(ADDRESS):
        yield named_by_address(os.environ)
        return
    folder = tmp_path_factory.mktemp("forge")
    static = os.environ.get("ALLEGRO_GITEA_STATIC")
    server = Server(Path(os.environ[BINARY]), folder, static)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    if request.param == "real":
        yield request.getfixturevalue("real_site")
        return
    async with simulated(request.param, tmp_path / "forge") as made:
        yield made


@pytest.fixture
async def people(site: Site) -> AsyncIterator[People]:
    """The persons; what they made is deleted at the end."""
    async with People(site) as made:
        yield made


@pytest.fixture
async def lane(site: Site, people: People, tmp_path: Path) -> AsyncIterator[Lane]:
    """Our adapter, executor and journal, with both bots' tokens."""
    made = await Lane.open(site, people, tmp_path / "journal.db")
    yield made
    await made.close()
