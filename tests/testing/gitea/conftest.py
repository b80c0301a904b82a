from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from allegro.testing.gitea import GiteaSimulator
from allegro.testing.gitea.quirks import Flavour

from .forge import Clock, Forge
from .oracle import Oracle

MakeForge = Callable[..., Awaitable[Forge]]


@pytest.fixture
async def make_forge(tmp_path: Path) -> AsyncIterator[MakeForge]:
    """Start forges of a flavour and version; at the end the oracle must have found nothing."""
    made: list[Forge] = []

    async def make(flavour: Flavour = "gitea", version: str | None = None) -> Forge:
        clock, oracle = Clock(), Oracle(current=flavour == "gitea" and version is None)
        if flavour == "forgejo":
            oracle.extra_query = frozenset({"sort"})
        directory = tmp_path / str(len(made))
        simulator = GiteaSimulator(
            directory, flavour=flavour, version=version, clock=clock, observer=oracle.observe
        )
        forge = Forge(simulator, clock, oracle)
        await forge.start()
        made.append(forge)
        return forge

    yield make
    for forge in made:
        await forge.stop()
    assert [problem for forge in made for problem in forge.oracle.problems] == []


@pytest.fixture
async def forge(make_forge: MakeForge) -> Forge:
    return await make_forge()


@pytest.fixture
async def forgejo(make_forge: MakeForge) -> Forge:
    return await make_forge("forgejo")
