from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .fleet_fixture import Theatre, open_theatre


@pytest.fixture
async def theatre(tmp_path: Path) -> AsyncIterator[Theatre]:
    """A paired, running, linked fleet."""
    async with open_theatre(tmp_path / "play") as opened:
        yield opened
