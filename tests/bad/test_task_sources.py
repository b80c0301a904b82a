"""Long-living work runs in `runtime.duties`; where a task is made by hand, it is said who watches it.

A bare task that raises dies unseen, or ends the program with all else in it.
"""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "allegro"
MADE_BY = {"create_task", "ensure_future", "TaskGroup", "run_in_executor", "Thread"}
PLAYERS = ("testing/", "demo/", "drill/", "cli/")

# Where tasks are made by hand: how often, and who sees what they raise.
ALLOWED = {
    "runtime/duties.py": (2, "the helpers themselves"),
    "runtime/tasks.py": (2, "the helpers themselves"),
    "runtime/scheduled_duty.py": (2, "its result is read in the same function, or when it ends late"),
    "adapters/sqlite/connection.py": (1, "its thread answers every caller, whatever happens in it"),
    "adapters/hermes/gateway.py": (
        4, "a bug of its watchers ends the process; the stream's is the session's end",
    ),
    "adapters/sandbox/inside.py": (2, "runs inside the sandbox, without our package"),
    "adapters/hermes/stream_lines.py": (1, "awaited in the same function"),
    "house/requests/newest_state.py": (1, "a pause, after which its id is put back, however it ends"),
    "house/lanes.py": (1, "runs `keep_running`"),
    "house/orders/arbiter.py": (1, "`_carried` looks at its result: the request is postponed"),
    "lane/tokens/auditor.py": (2, "pauses, awaited in the same function"),
    "lane/uplink/dispatch.py": (1, "`ended` looks at its result: the order is set aside"),
    "lane/models/loans.py": (2, "read by `next`, and dropped where nobody asks"),
    "lane/agent/following.py": (1, "the reader of a session: whatever it raises is the session's end"),
    "link/dial.py": (3, "their results are raised where the link ends, and it begins again"),
    "link/connection.py": (2, "a group of one connection, which ends with it"),
}  # fmt: skip


def made_in(text: str) -> int:
    """Count the places of a module that make a task or a thread."""
    if not any(word in text for word in MADE_BY):
        return 0
    calls = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
    names = (call.func for call in calls)
    return sum(
        (name.attr if isinstance(name, ast.Attribute) else getattr(name, "id", "")) in MADE_BY
        for name in names
    )


def counts() -> dict[str, int]:
    found = {}
    for path in SOURCE.rglob("*.py"):
        name = path.relative_to(SOURCE).as_posix()
        if not name.startswith(PLAYERS) and (count := made_in(path.read_text("utf-8"))):
            found[name] = count
    return found


def test_a_task_is_made_by_hand_only_where_somebody_sees_what_it_raises() -> None:
    assert counts() == {name: count for name, (count, _) in ALLOWED.items()}


def test_each_of_these_places_says_who_sees_it() -> None:
    assert all(len(reason) > 15 for _, reason in ALLOWED.values())


def test_a_planted_loop_in_a_bare_task_is_found() -> None:
    planted = (
        "import asyncio\nclass A:\n    def go(self):\n        asyncio.create_task(self.run())\n"
    )
    assert made_in(planted) == 1
    assert made_in("self._duties.begin('forge', self._forge)\n") == 0
