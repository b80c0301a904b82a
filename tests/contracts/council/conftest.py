"""Runs every case on the council in this process, and on three real nats-servers if installed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from allegro.core.base.errors import ConfigError

from .council_backends import Hall, LocalHall

if TYPE_CHECKING:
    from .servers import Servers


def _missing() -> str:
    """Return what the real council lacks here; empty for nothing."""
    try:
        from allegro.adapters.nats.server import find_server  # noqa: PLC0415 (it may be missing)

        find_server("")
    except (ImportError, ConfigError) as error:
        return str(error)
    return ""


MISSING = _missing()
collect_ignore_glob = ["test_nats_*.py"] if MISSING else []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "hall" in metafunc.fixturenames:
        real = [] if MISSING else [pytest.param("nats", marks=pytest.mark.slow)]
        metafunc.parametrize("hall", ["local", *real], indirect=True, scope="module")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if MISSING:
        terminalreporter.write_line(f"council contract: in this process only; {MISSING}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    """Three servers that have found each other, for all cases of a module."""
    from .servers import Servers  # noqa: PLC0415 (it may be missing)

    made = Servers(tmp_path_factory.mktemp("council"))
    try:
        await made.start_all()
        await made.formed()
        yield made
    finally:
        await made.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hall(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Hall]:
    if request.param == "local":
        yield LocalHall()
        return
    from .servers import NatsHall, Servers  # noqa: PLC0415 (it may be missing)

    made = Servers(tmp_path_factory.mktemp("council"))
    try:
        await made.start_all()
        await made.formed()
        yield NatsHall(made)
    finally:
        await made.close()
