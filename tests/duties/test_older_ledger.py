"""A ledger that an earlier allegro wrote opens, and covers what that one wrote on the forge.

`ledger_of_schema_0.sql` is what a played demo left: a change, a comment, a status, two versions of
a request's home, a session and a question that was denied.
"""

from __future__ import annotations

import datetime
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from allegro.adapters.sqlite.ledger import SqliteLedger, open_ledger
from allegro.core.effects.matching import BotWrite, Matched, Unmatched, judge
from allegro.core.effects.receipts import branch_at
from allegro.core.health.alarm import step
from allegro.core.health.alert_state import Inputs, Rules
from allegro.core.health.kept import KeptAlerts

FILE = Path(__file__).with_name("ledger_of_schema_0.sql")
REPOSITORY = "127.0.0.1:13071/11"
ISSUE = REPOSITORY + "#1"
HEAD = "85cd32c304db6a02c5c8a40d7ac099a92427d5d7"


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[SqliteLedger]:
    path = tmp_path / "ledger.db"
    connection = sqlite3.connect(path)
    connection.executescript(FILE.read_text())
    (id_,) = connection.execute(
        "SELECT request FROM receipt WHERE kind = 'comment' AND artifact = 5005"
    ).fetchone()
    connection.execute("INSERT INTO receipt VALUES ('close', ?, 1, '', ?)", (ISSUE, id_))
    connection.commit()
    connection.close()
    opened = open_ledger(path)
    yield opened
    await opened.close()


async def test_all_that_an_older_ledger_held_is_there(ledger: SqliteLedger) -> None:
    assert ledger.damaged == ()
    kinds = sorted(f"{r.kind} {r.state.value}" for r in ledger.requests.values())
    assert kinds == [
        "answer_once rejected", "comment done", "mirror_request done", "mirror_request done",
        "propose_change done", "run_session done", "update_status done",
    ]  # fmt: skip
    assert (await ledger.freezes()).is_thawed
    assert await ledger.strings("bots") == ("2", "3")
    assert [(await ledger.place(name)).row for name in ("followed", "fleet")] == [5149, 5149]
    assert len(await ledger.sessions()) == 1
    assert await ledger.next_number("order") == 7


@pytest.mark.parametrize(("kind", "target", "artifact", "content", "is_ours"), [
    ("comment", ISSUE, 5005, "3aabcaf7a9d18aee486b1c12750c3fde537b0041", True),
    ("comment", ISSUE, 5003, "dfda1081ceffade6a5b3d5f6a18eb38b01737f42", True),
    ("comment", ISSUE, 5006, "another's words", False),
    ("pull_request", REPOSITORY, 2, "00fee67c360ea7d44d221023de9ff2775c466190", True),
    ("branch", REPOSITORY, 0, branch_at("oil-the-door-5d6a8708f2cf", HEAD), True),
    ("branch", REPOSITORY, 0, branch_at("oil-the-door-5d6a8708f2cf", "c" * 40), False),
    ("label", ISSUE, 1_795_906_684, "status/review", True),
    ("label", ISSUE, 1_795_999_999, "status/review", False),
    ("close", ISSUE, 1_795_906_684, "", True),
    ("close", ISSUE, 1_795_999_999, "", False),
])  # fmt: skip
async def test_what_was_written_before_is_covered_and_nothing_else(
    ledger: SqliteLedger, kind: str, target: str, artifact: int, content: str, is_ours: bool
) -> None:
    write = BotWrite("e", kind, target, artifact, content, seen_s=2e9, fresh=True)
    found = judge(
        write, await ledger.receipts_for(target), open_order=False, journals_home=True, now_s=2e9
    )
    assert found == (Matched() if is_ours else Unmatched())


async def test_a_sentence_of_an_older_ledger_stays_readable_with_the_code_other(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.db"
    connection = sqlite3.connect(path)
    connection.executescript(FILE.read_text())
    connection.executescript("""
        DROP TABLE IF EXISTS alert;
        CREATE TABLE alert (
          urgency TEXT NOT NULL, lane TEXT NOT NULL, sentence TEXT NOT NULL, first_s REAL NOT NULL,
          last_s REAL NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (urgency, lane, sentence));
        INSERT INTO alert VALUES ('critical', 'a', 'made under our name', 1.0, 2.0, 3);
        INSERT INTO alert VALUES ('low', '', 'b is back', 4.0, 5.0, 1);
        PRAGMA user_version = 2;
    """)
    connection.close()
    opened = open_ledger(path)
    kept = await opened.alerting()
    await opened.close()
    assert isinstance(kept, KeptAlerts)
    found = kept.alerts.alerts
    assert [(one.code, one.severity, one.sentence, one.count) for one in found] == [
        ("other", "P0", "made under our name", 3), ("other", "P3", "b is back", 1),
    ]  # fmt: skip
    again = open_ledger(path)
    assert await again.alerting() == kept
    await again.close()
    done = step(kept.alerts, Inputs(), Rules(datetime.UTC), 100.0)
    assert done.notices == (), "nobody is called for what was shown before"
