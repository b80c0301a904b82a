"""Valid values to start from; each test changes the one thing it is about."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from allegro.adapters.crypto.signatures import SigningKey, verify
from allegro.core.authority.actions.agent import AnswerOnce, LendModel, RunSession, SessionAction
from allegro.core.authority.actions.families import action_bytes, action_digest
from allegro.core.authority.actions.family import Action
from allegro.core.authority.actions.forge import (
    CloseIssue,
    CommentOnIssue,
    CreatePullRequest,
    FileChange,
    ForgeAction,
    MarkSeen,
    MirrorRequest,
    ProposeChange,
    RepositoryRef,
    UpdateStatus,
)
from allegro.core.authority.freeze import FreezeSet
from allegro.core.authority.gate import Permit, Presented, Situation, Trust, judge_order
from allegro.core.authority.tokens import Approval, Order, fingerprint, issue_token
from allegro.core.base.errors import Refusal
from allegro.core.forge.issues import Comment, Issue, PullRequest, Repository
from allegro.core.requests.documents import Option, RequestDocument

FORGE = "forge.example.org"
PIN: dict[str, Any] = {
    "id": "abcdefgh12345678",
    "forge": FORGE,
    "repository": RepositoryRef(7, "home/garden"),
}
GARDEN = Repository(7, "home/garden")
BASE = "a" * 40
BOT, HUMAN = 900, 5
BOTS = frozenset({BOT})


def key_of(name: str) -> SigningKey:
    return SigningKey.from_bytes(hashlib.sha256(f"test key {name}".encode()).digest())


SOVEREIGN, HOUSE, LANE = key_of("sovereign"), key_of("house"), key_of("lane")
RECOVERY, STRANGER = key_of("recovery"), key_of("stranger")
TRUST = Trust(
    fleet="fleet", lane=fingerprint(LANE.public), sovereign=SOVEREIGN.public, sovereign_number=1,
    house=HOUSE.public, house_number=1, recovery=RECOVERY.public, seat=1,
)  # fmt: skip


def file_change(**changes: Any) -> FileChange:
    values: dict[str, Any] = {
        "path": "src/app.py", "operation": "create", "mode": "100644", "before": None,
        "content": base64.b64encode(b"print(1)\n").decode(),
    }  # fmt: skip
    return FileChange(**{**values, **changes})


def change(**changes: Any) -> ProposeChange:
    values: dict[str, Any] = {
        **PIN, "base": "main", "base_commit": BASE, "branch": "roses", "title": "Water the roses",
        "body": "because", "files": (file_change(),), "allow_ci_paths": False,
    }  # fmt: skip
    return ProposeChange(**{**values, **changes})


def pull_action(**changes: Any) -> CreatePullRequest:
    values: dict[str, Any] = {
        **PIN, "base": "main", "base_commit": BASE, "head": "roses", "head_commit": "b" * 40,
        "title": "Water the roses", "body": "", "ci_paths": (),
    }  # fmt: skip
    return CreatePullRequest(**{**values, **changes})


def close(**changes: Any) -> CloseIssue:
    values: dict[str, Any] = {
        **PIN, "issue": 3, "title": "Water the roses",
        "body_sha256": hashlib.sha256(b"please").hexdigest(), "newest_comment": None,
        "newest_comment_sha256": None,
    }  # fmt: skip
    return CloseIssue(**{**values, **changes})


def comment_action(**changes: Any) -> CommentOnIssue:
    return CommentOnIssue(**{**PIN, "issue": 3, "body": "done", **changes})


def status_action(**changes: Any) -> UpdateStatus:
    return UpdateStatus(**{**PIN, "issue": 3, "status": "done", **changes})


def mirror_action(**changes: Any) -> MirrorRequest:
    return MirrorRequest(**{**PIN, "issue": 3, "request": "r1", "body": "a question", **changes})


def seen_action(**changes: Any) -> MarkSeen:
    return MarkSeen(**{**PIN, "issue": 3, "label": "triage/seen", "status": "pending", **changes})


def run_session(**changes: Any) -> RunSession:
    return RunSession(**{"id": PIN["id"], "prompt": "Water the roses", **changes})


def answer_once(**changes: Any) -> AnswerOnce:
    values: dict[str, Any] = {
        "id": PIN["id"], "lane": TRUST.lane, "session": "s" * 16, "run": "run_1", "number": 1,
        "question": "c" * 64,
    }  # fmt: skip
    return AnswerOnce(**{**values, **changes})


def lend_model(**changes: Any) -> LendModel:
    return LendModel(**{"id": PIN["id"], "model": "gpt-5", **changes})


EVERY_FORGE_ACTION: tuple[ForgeAction, ...] = (
    change(), pull_action(), close(), comment_action(), status_action(), mirror_action(),
    seen_action(),
)  # fmt: skip
EVERY_SESSION_ACTION: tuple[SessionAction, ...] = (run_session(), answer_once(), lend_model())
EVERY_ACTION: tuple[Action, ...] = (*EVERY_FORGE_ACTION, *EVERY_SESSION_ACTION)


def situation(**changes: Any) -> Situation:
    values: dict[str, Any] = {
        "freezes": FreezeSet(), "boot_s": 101.0, "now_s": 1_000_000.0, "clock_trusted": True,
        "room": True, "safe_mode": False, "forge": FORGE, "refused_repositories": {},
    }  # fmt: skip
    return Situation(**{**values, **changes})


def order_for(action: Action, **changes: Any) -> str:
    values: dict[str, Any] = {
        "aud": "fleet", "lane": TRUST.lane, "challenge": "c1", "number": 4,
        "digest": action_digest(action_bytes(action)), "seat": 1, "ttl_s": 20,
    }  # fmt: skip
    return issue_token(Order(**{**values, **changes}), "house:1", HOUSE.sign)


def approval_for(action: Action, **changes: Any) -> str:
    values: dict[str, Any] = {
        "aud": "fleet", "digest": action_digest(action_bytes(action)), "exp": 1_000_060,
        "iat": 999_990, "seat": 1,
    }  # fmt: skip
    return issue_token(Approval(**{**values, **changes}), "sovereign:1", SOVEREIGN.sign)


def judged(
    action: Action, *, at: Situation | None = None, made_s: float | None = 100.0
) -> Permit | Refusal:
    """Judge an action that was honestly approved and ordered."""
    shown = Presented(order_for(action), action_bytes(action), approval_for(action))
    return judge_order(
        shown, TRUST, at or situation(), take_challenge=lambda _: made_s, verify=verify
    )


def issue(**changes: Any) -> Issue:
    values: dict[str, Any] = {
        "repository": GARDEN, "id": 30, "number": 3, "title": "Water the roses", "body": "please",
        "state": "open", "author_id": HUMAN, "author": "rosa", "labels": (), "assignees": (),
        "comment_count": 0, "created_s": 500, "updated_s": 500,
        "url": "https://forge.example.org/home/garden/issues/3",
    }  # fmt: skip
    return Issue(**{**values, **changes})


def comment(id_: int, body: str, author_id: int = HUMAN, created_s: int = 600) -> Comment:
    return Comment(id_, author_id, "name", body, created_s, created_s)


def pull(**changes: Any) -> PullRequest:
    values: dict[str, Any] = {
        "number": 8, "url": "https://forge.example.org/home/garden/pulls/8", "state": "open",
        "title": "Water the roses", "body": "words", "author_id": BOT, "base": "main",
        "head": "roses", "head_commit": "b" * 40,
    }  # fmt: skip
    return PullRequest(**{**values, **changes})


def document(**changes: Any) -> RequestDocument:
    values: dict[str, Any] = {
        "id": "r1", "type": "approval", "urgency": "medium", "context": "home/garden#3",
        "question": "Close it?", "options": (Option("yes"), Option("no")), "recommendation": "yes",
        "time_constraint": "none", "created_s": 10.0, "expires_s": 20.0,
    }  # fmt: skip
    return RequestDocument(**{**values, **changes})


def refused(answer: object, reason: str) -> bool:
    """Say whether this is a refusal for that reason, with a sentence for a person."""
    return isinstance(answer, Refusal) and answer.reason == reason and bool(answer.detail)
