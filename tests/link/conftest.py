from __future__ import annotations

import pytest

from tests.core import profiles


def pytest_configure(config: pytest.Config) -> None:
    profiles.load(config.getoption("--hypothesis-profile", None))
