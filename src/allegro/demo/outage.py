"""The scene with the outage: the link is cut, the world goes on, everything comes home in order."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable

from allegro.adapters.clock import SystemClock
from allegro.demo.report import Outage
from allegro.scratch.forge_users import People
from allegro.scratch.processes import Forge, Stage
from allegro.scratch.relay import Relay

BACKLOG_SIMULATED = 5_000
BACKLOG_REAL = 1_000
ISSUES_FOR_BACKLOG = 10
_CLOCK = SystemClock()


class OutageScene:
    """`home` returns how many comments came home; `is_real` says that the forge is no simulator.

    `sent` is how many comments were written meanwhile, `cut_at` from when to when the link was cut
    (Unix s), infinity for what has not been yet.
    """

    def __init__(
        self, stage: Stage, relay: Relay, home: Callable[[], int], *, is_real: bool
    ) -> None:
        self._stage = stage
        self._relay = relay
        self._home = home
        self._is_real = is_real
        self.sent = 0
        self.cut_at: tuple[float, float] = (float("inf"), float("inf"))

    async def run(self, people: People, forge: Forge, step: Callable[..., float]) -> Outage:
        """Cut the link, let the world write, mend it, and time until all is home."""
        self._relay.cut()
        self.cut_at = (_CLOCK.now_s(), float("inf"))
        backlog = BACKLOG_REAL if self._is_real else BACKLOG_SIMULATED
        before = self._home()
        await self._write_comments(people, forge, backlog)
        self.sent += backlog
        await self._taken(backlog)
        step("cut", f"{backlog} comments are written meanwhile")
        self._relay.mend()
        began_s = time.monotonic()

        def all_home() -> bool:
            return self._home() >= before + backlog

        await self._stage.until(all_home, "the backlog comes home", within_s=60)
        sync_s = round(time.monotonic() - began_s, 3)
        self.cut_at = (self.cut_at[0], _CLOCK.now_s())
        step("drain", f"{backlog} events in {sync_s} s")
        return Outage(backlog, sync_s)

    async def _write_comments(self, people: People, forge: Forge, count: int) -> None:
        numbers = [
            await people.open_issue(forge.repository, f"Room {n}", "What is to be done here?")
            for n in range(ISSUES_FOR_BACKLOG)
        ]
        texts = [(numbers[n % ISSUES_FOR_BACKLOG], f"note {n}: still fine") for n in range(count)]
        if not self._is_real:
            acts = [
                {
                    "act": "comment",
                    "args": {
                        "repo": forge.repository,
                        "number": number,
                        "user": "timmy",
                        "body": body,
                    },
                }
                for number, body in texts
            ]
            await self._stage.simulate_many(acts)
            return
        for number, body in texts:
            await people.comment(forge.repository, number, body)

    async def _taken(self, backlog: int) -> None:
        """Wait until the lane has them on its own disk: while it is cut off, nobody else knows."""
        journal = self._stage.folder / "lane" / "journal.db"

        def on_disk() -> bool:
            with contextlib.closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as db:
                row = db.execute("SELECT COUNT(*) FROM entry WHERE subject LIKE '%/comment/%'")
                return int(row.fetchone()[0]) >= backlog

        await self._stage.until(on_disk, "the lane journals the backlog", within_s=60)
