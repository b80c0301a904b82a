"""Runs every case on both stand-ins, and on each real Hermes Agent that is installed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.portion import WHOLE

from allegro.adapters.hermes.gateway import HermesGateway

from .agent_backends import NO_REAL_AGENT, REAL, STAND_INS, Place, real_python


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "place" in metafunc.fixturenames:
        kinds = [*STAND_INS, *(kind for kind in REAL if real_python(kind))]
        if metafunc.module.__name__.endswith("test_gateways") and not WHOLE:
            kinds = [kind for kind in kinds if kind != "newer"]  # a start for each case
        metafunc.parametrize("place", kinds, indirect=True, scope="module")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for kind in REAL:
        if real_python(kind) is None:
            terminalreporter.write_line(f"agent contract without {kind}; {NO_REAL_AGENT}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Place]:
    made = Place(request.param, tmp_path_factory.mktemp("agent"))
    await made.open()
    yield made
    await made.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(place: Place) -> AsyncIterator[HermesGateway]:
    """One gateway for all cases of a module that leave it as it was."""
    made = await place.start()
    yield made
    await made.close("")


@pytest.fixture
def tools(place: Place) -> None:
    """Say that a case needs tools, which need a sandbox."""
    if not place.sandbox.holds:
        pytest.skip(f"no tools without a sandbox: {place.sandbox.reason}")


@pytest.fixture
def quick_retries(place: Place) -> None:
    """Say that a case waits for retries, which take the real Hermes long."""
    if place.is_real:
        pytest.skip("the real Hermes waits for seconds between its tries")
