from __future__ import annotations

import os
from collections import Counter, defaultdict
from typing import Any

import pytest

# before anything of ours is imported: the programs that tests start inherit it
os.environ.setdefault("ALLEGRO_PATIENCE", "4")

# Seconds of test time (all workers together) that a suite may take on a quiet machine with two
# cores, with a quarter to spare; all of them are nine minutes of the eight workers of `make test`.
# Printed, never asserted: what is over is mended by hand.
BUDGET_S = {
    "core": 100, "link": 10, "bad": 450, "duties": 300, "vectors": 5, "docs": 20, "testing": 70,
    "contracts/forge": 260, "contracts/agent": 400, "contracts/council": 150,
    "contracts/channels": 20, "system": 2_550,
}  # fmt: skip
_spent: defaultdict[str, float] = defaultdict(float)
_counted: Counter[str] = Counter()


# Files that take a minute and more, the longest first: begun last, one of them would be left alone.
LONGEST = (
    "system/test_session_attack", "system/test_sessions", "system/test_fleet_members",
    "system/test_units", "system/test_fleet_life", "system/test_sessions_newer",
    "agent/test_runs", "system/test_session_trials", "system/test_fleet_failover",
    "agent/test_check", "bad/test_on_programs", "system/test_local", "agent/test_gateways",
    "agent/test_tools", "system/test_hostile", "system/test_freeze", "system/test_programs",
    "system/test_demo", "system/test_session_disk", "system/test_no_memory",
)  # fmt: skip


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest where files are shared out, so that none is left alone."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _rank(item.nodeid))


def _rank(nodeid: str) -> int:
    """Return a place in the order of files: the longest, then those with real processes."""
    file = nodeid.partition("::")[0].removesuffix(".py")
    for place, name in enumerate(LONGEST):
        if file.endswith(name):
            return place
    return len(LONGEST) + (not file.startswith(("tests/system", "tests/contracts", "tests/bad")))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    suite = _suite(report.nodeid)
    _spent[suite] += report.duration
    _counted[suite] += report.when == "call"


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print what each suite took beside what it may take."""
    if hasattr(config, "workerinput") or sum(_counted.values()) < 1_000:
        return
    terminalreporter.section("seconds a suite took, all workers together (allowed)")
    for suite, spent_s in sorted(_spent.items(), key=lambda one: -one[1]):
        allowed_s = BUDGET_S.get(suite, 0)
        over = "  OVER" if spent_s > allowed_s else ""
        terminalreporter.write_line(
            f"{suite:<18} {spent_s:7.1f} ({allowed_s:>4}) in {_counted[suite]} tests{over}"
        )


def _suite(nodeid: str) -> str:
    parts = nodeid.split("::", maxsplit=1)[0].split("/")[1:-1]
    return "/".join(parts[:2]) if parts[:1] == ["contracts"] else (parts or ["other"])[0]
