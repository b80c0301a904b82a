"""Counts what a morning report must say, from the files of archive and ledger alone.

It shares no code with the product: SQLite, JSON and MessagePack are read as they lie on disk, and
nothing of `allegro` is imported. `python -m tests.duties.recount ARCHIVE LEDGER FROM_S TO_S` prints it.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec


def recounted(archive: Path, ledger: Path, from_s: float, to_s: float) -> dict[str, Any]:
    """Return the numbers of one day; times in Unix seconds."""
    events, unreadable = _events(archive, from_s, to_s)
    today = [one for one in events if from_s <= one["at_s"] < to_s]
    found: dict[str, Any] = {"unreadable": unreadable}
    found.update(_forge(events, today, from_s, to_s))
    found.update(_settled(events, from_s, to_s))
    found.update(_sessions(today))
    found.update(_duties(today))
    found["take_overs"] = sum(
        one["type"] == "role.taken" and one["data"]["role"] in ("forge", "hermes") for one in today
    )
    found["gaps"] = _gaps(archive, from_s, to_s)
    found["waiting"] = _waiting(ledger)
    return found


def _events(archive: Path, from_s: float, to_s: float) -> tuple[list[dict[str, Any]], int]:
    db = sqlite3.connect(f"file:{archive}?mode=ro", uri=True)
    rows = db.execute("SELECT lane, type, at_s, stored FROM event ORDER BY row").fetchall()
    db.close()
    events, unreadable = [], 0
    for lane, type_, at_s, stored in rows:
        event = json.loads(stored)
        if not isinstance(event.get("sealed", ""), str) or "!" in event.get("sealed", ""):
            unreadable += type_ in COUNTED and from_s <= at_s < to_s
            continue
        events.append({**event, "lane": lane, "at_s": at_s, "data": event.get("data", {})})
    return events, unreadable


COUNTED = {
    "forge.snapshot.issue", "forge.snapshot.comment", "forge.vanished", "request.settled",
    "session.end", "model.result", "role.taken", "duty.ran", "duty.failed", "duty.missed",
}  # fmt: skip


def _forge(
    events: list[dict[str, Any]], today: list[dict[str, Any]], from_s: float, to_s: float
) -> dict[str, int]:
    issues: set[str] = set()
    pulls: set[str] = set()
    closed: set[str] = set()
    comments: set[str] = set()
    for one in events:
        data, subject = one["data"], one.get("subject", "")
        if one["type"] == "forge.snapshot.issue":
            if from_s <= data["created_s"] < to_s:
                (pulls if data["is_pull"] else issues).add(subject)
            if data["state"] == "closed" and from_s <= data["closed_s"] < to_s:
                closed.add(subject)
        if one["type"] == "forge.snapshot.comment" and from_s <= data["created_s"] < to_s:
            comments.add(subject)
    vanished = {
        one["subject"]
        for one in today
        if one["type"] == "forge.vanished" and one["data"]["vanished"]
    }
    return {
        "issues": len(issues), "pulls": len(pulls), "closed": len(closed),
        "comments": len(comments), "vanished": len(vanished),
    }  # fmt: skip


def _settled(events: list[dict[str, Any]], from_s: float, to_s: float) -> dict[str, Any]:
    newest: dict[str, str] = {}
    for one in events:
        data = one["data"]
        is_own = one["type"] == "request.settled" and one["lane"] == "house"
        if is_own and from_s <= data["settled_s"] < to_s:
            newest[data["request"]] = data["state"]
    return {"settled": dict(Counter(newest.values()))}


def _sessions(today: list[dict[str, Any]]) -> dict[str, Any]:
    ends: dict[tuple[str, str], str] = {}
    calls, cost = 0, 0.0
    for one in today:
        if one["type"] == "session.end":
            ends.setdefault((one["lane"], one["data"]["session"]), one["data"]["state"])
        if one["type"] == "model.result":
            calls += 1
            price = one["data"]["cost_usd"]
            cost += 0.0 if isinstance(price, str) else price
    return {"sessions": dict(Counter(ends.values())), "calls": calls, "cost_usd": round(cost, 6)}


def _duties(today: list[dict[str, Any]]) -> dict[str, int]:
    records = {
        (_owner(one), one["type"], one["data"]["duty"], one["data"]["due_s"] or one["at_s"])
        for one in today
        if one["type"] in ("duty.ran", "duty.failed", "duty.missed")
    }
    kinds = Counter(type_ for _, type_, _, _ in records)
    return {
        "duties_ran": kinds["duty.ran"],
        "duties_bad": kinds["duty.failed"] + kinds["duty.missed"],
    }


def _owner(event: dict[str, Any]) -> str:
    data = event["data"]
    if event["lane"] == "house" and data.get("owner"):
        return str(data["owner"])
    own = "house" if event["lane"] == "house" else f"lane {event['lane']}"
    return f"role {data['role']}" if data["role"] else own


def _gaps(archive: Path, from_s: float, to_s: float) -> int:
    db = sqlite3.connect(f"file:{archive}?mode=ro", uri=True)
    (count,) = db.execute(
        "SELECT COALESCE(SUM(count), 0) FROM gap WHERE at_s >= ? AND at_s < ?", (from_s, to_s)
    ).fetchone()
    db.close()
    return int(count)


def _waiting(ledger: Path) -> list[str]:
    db = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)
    rows = db.execute("SELECT stored FROM request WHERE state = 'proposed'").fetchall()
    db.close()
    requests = [msgspec.msgpack.decode(stored) for (stored,) in rows]
    waiting = [one for one in requests if not one.get("internal")]
    return [one["id"] for one in sorted(waiting, key=lambda one: (one["created_s"], one["id"]))]


if __name__ == "__main__":
    archive_file, ledger_file, from_text, to_text = sys.argv[1:5]
    counts = recounted(Path(archive_file), Path(ledger_file), float(from_text), float(to_text))
    print(json.dumps(counts, indent=1))
