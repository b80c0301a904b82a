"""One good event of each type that the house reads; the drivers bend them."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from tests.core.builders import FORGE

ISSUE = f"{FORGE}/7#3"


class Sample(NamedTuple):
    """Clear facts, words (None for none) and subject of one good event."""

    data: dict[str, Any]
    words: Any = None
    subject: str = ISSUE


def samples(digest: str, order: int, session: str, bot: int, now_s: int) -> dict[str, Sample]:
    """Return good events about an order and a session that their lane really has."""
    mine: dict[str, Any] = {"digest": digest, "order": order}
    talk: dict[str, Any] = {"session": session}
    seen: dict[str, Any] = {
        "repository": 7, "number": 3, "author_id": bot, "created_s": now_s, "updated_s": now_s,
        "content": "keyed",
    }  # fmt: skip
    return {
        "action.intent": Sample({**mine, "step": "comment"}),
        "action.receipt": Sample(
            {**mine, "artifact": 44, "content": "keyed", "commit": "c" * 40, "others": [45]},
            {"url": "https://forge.example.org/x", "branch": "b"},
        ),
        "action.failed": Sample({**mine, "reason": "no"}, "why"),
        "action.conflict": Sample({**mine, "reason": "another's"}, "why"),
        "action.stale": Sample({**mine, "reason": "moved"}, "why"),
        "action.void": Sample({**mine, "reason": "refused", "retry_after_s": 30.0}, "why"),
        "action.unknown": Sample({**mine, "reason": "no answer"}, "why"),
        "action.shadowed": Sample({**mine, "step": "comment"}),
        "forge.snapshot.issue": Sample(
            {**seen, "closed_by": bot, "closed_s": now_s, "is_pull": False}, {"title": "t"}
        ),
        "forge.snapshot.comment": Sample({**seen, "comment": 66}, {"body": "b"}),
        "forge.snapshot.pull": Sample(seen, {"title": "t"}),
        "forge.snapshot.label": Sample({**seen, "label": 5}, subject=f"{ISSUE}/label/5"),
        "forge.snapshot.branch": Sample(
            {**seen, "branch": "keyed", "commit": "c" * 40, "held": "keyed"},
            subject=f"{FORGE}/7/branch/keyed"
        ),
        "forge.snapshot.repository": Sample({"repository": 7}, {"name": "home/garden"}),
        "forge.mark": Sample(
            {"watch": "acme/web", "forge_s": now_s, "wall_s": float(now_s), "date_s": now_s},
            subject="",
        ),
        "audit.done": Sample({"bots": [bot]}),
        "audit.failed": Sample({"reason": "no"}),
        "freeze.added": Sample(
            {}, {"id": "f1", "at_s": 5.0, "by": "chat", "reason": "stop"}, subject=""
        ),
        "chat.deaf": Sample({"channel": "telegram", "why": "no reading"}, subject=""),
        "chat.noted": Sample(
            {"by": "telegram:77", "verb": "approve", "subject": "r:1", "shown": "a" * 16,
             "option": 0},
            subject="",
        ),
        "chat.strangers": Sample({"channel": "telegram", "updates": 3, "senders": 1}, subject=""),
        "freeze.thawed": Sample({"ids": ["f1"]}, subject=""),
        "forge.reconciled": Sample({"repository": 7}),
        "forge.unreachable": Sample({"failures": 3}),
        "forge.recovered": Sample({"failures": 3}),
        "forge.unread": Sample({"watch": "acme/web", "number": 3}),
        "watch.failing": Sample({"watch": "acme/web"}),
        "decision.asked": Sample(
            {"urgency": "low", "options": 2},
            {
                "question": "q", "options": [{"label": "a", "pros": ["p"]}, {"label": "b"}],
                "recommend": 1, "context": "home/garden#1", "urgency": "low", "expires_in_s": 60.0,
                "asked_by": "the house", "key": "k",
            },
        ),
        "duty.failing": Sample({"duty": "beats"}),
        "duty.planned": Sample({"duty": "sweep", "role": "forge", "cron": "0 3 * * *",
                                "grace_s": 3600.0, "due_s": float(now_s)}, subject=""),
        **{
            f"duty.{ending}": Sample(
                {"duty": "sweep", "role": "", "due_s": float(now_s), "begun_s": float(now_s),
                 "duration_s": 1.0, "punctuality": "late", "next_s": float(now_s + 60),
                 "skipped": 1, "figures": {"items": 1.0}, "result": "", "owner": ""},
                {"result": "done"}, subject="",
            )
            for ending in ("ran", "failed", "missed")
        },
        "watch.replaced": Sample({"watch": "acme/web"}),
        "session.accepted": Sample({**talk, "model": "m", "agent": "1", "local": False,
                                    "tools": ["file"], "limit_s": 600}),
        "session.started": Sample({**talk, "run": "run_1"}),
        "session.question": Sample(
            {**talk, "run": "run_1", "number": 1, "until_s": now_s + 60, "refused": False},
            {"command": "rm -rf roses", "description": "delete", "patterns": "rm"},
        ),
        "session.answered": Sample({**talk, "choice": "deny"}),
        "session.end": Sample(
            {**talk, "state": "completed", "duration_s": 3.5, "calls": 2, "tools": 1,
             "questions": 0, "tokens": 5, "cost_usd": 0.5, "forged": 0},
            {"why": "", "output": "done"},
        ),
        "model.result": Sample({**talk, "tokens_in": 1, "tokens_out": 2, "provider": "p"}),
        "role.taken": Sample({"role": "forge", "before": "honest", "why": "expired", "epoch": 2,
                              "silent_s": 5.0, "take_s": 0.1, "act_s": 0.2}),
        "beat.missing": Sample({"lane": "honest"}),
        "beat.back": Sample({"lane": "honest"}),
        "council.lost": Sample({}),
        "alert.told": Sample(
            {"notice": "thief-1", "kind": "alarm", "severity": "P1", "channel": "telegram",
             "codes": ["lane.disk"]},
            {"keys": [["lane.disk", "", ""]]}, subject="",
        ),
        "council.back": Sample({}),
        "council.page_aside": Sample({"lane": "honest"}),
        "lane.beat": Sample({"done": "polled"}),
    }  # fmt: skip


def encoded(id_: str, type_: str, sample: Sample, sealed: bytes = b"") -> dict[str, Any]:
    """Return an event as the JSON object that a lane sends."""
    event: dict[str, Any] = {
        "specversion": "1.0", "id": id_, "type": type_, "source": "lane:thief",
        "time": "2030-01-01T00:00:00Z", "subject": sample.subject, "data": sample.data,
    }  # fmt: skip
    if sealed:
        event["sealed"] = msgspec.to_builtins(sealed)
    return event
