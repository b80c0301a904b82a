from __future__ import annotations

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest where files are shared out, so that none is left alone."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: "tests/system" not in item.nodeid)
