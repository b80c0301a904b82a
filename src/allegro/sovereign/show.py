"""Draws a request: what is signed, computed from the very bytes that are signed (S10)."""

from __future__ import annotations

import difflib
import itertools
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from allegro.core.agent.sessions import asked_of, prompt_of, question_digest
from allegro.core.authority.actions.agent import AnswerOnce, LendModel, RunSession
from allegro.core.authority.actions.families import (
    action_bytes,
    action_digest,
    family_of,
    kind_of,
    parse_action,
)
from allegro.core.authority.actions.family import Action
from allegro.core.authority.actions.forge import (
    FORGE_TYPES,
    CloseIssue,
    CommentOnIssue,
    CreatePullRequest,
    FileChange,
    ProposeChange,
    UpdateStatus,
    ci_paths,
    git_blob_id,
    is_ci_path,
)
from allegro.core.base.canonical import sha256_hex
from allegro.core.base.errors import Refusal, UserError
from allegro.core.base.timestamps import rfc3339
from allegro.core.effects.render import one_line, visible
from allegro.core.protocol.answers.requests import RequestAnswer

MAX_DIFF_LINES = 400
MAX_COMPARED_LINES = 100_000
MAX_HEAD = 4_000
NO_NEWLINE = "\\ no newline at the end of the file"
_STYLE = {"+": "green", "-": "red", "@": "cyan"}


def checked_action(view: RequestAnswer) -> tuple[bytes, Action]:
    """Return the bytes of a request and what they say. Raises UserError when they disagree.

    Nothing but these bytes is shown as what would be signed: not the digest that was sent
    along, nor a summary.
    """
    raw = view.action
    if action_digest(raw) != view.digest:
        raise UserError("the house sent a digest that is not the digest of the action: refused")
    action = parse_action(raw)
    if isinstance(action, Refusal):
        raise UserError(f"the action cannot be read: {action}")
    return raw, action


def draw(view: RequestAnswer, console: Console) -> None:
    """Draw one request as a box."""
    _, action = checked_action(view)
    head = Table.grid(padding=(0, 2))
    head_rows = _head(view, action)
    if view.noted:
        head_rows.append(("noted", f"{view.noted}; needs your signature"))
    for name, value in head_rows:
        head.add_row(Text(name, style="dim"), Text(one_line(value, MAX_HEAD)))
    parts: list[Any] = [head]
    warnings = _warnings(action, view)
    if warnings:
        lines = ("! " + one_line(line, MAX_HEAD) for line in warnings)
        parts.append(Text("\n".join(lines), style="bold yellow"))
    parts += _content(action, view)
    title = f"{one_line(view.id)}  {one_line(view.state)}"
    console.print(Panel(Group(*parts), title=Text(title), title_align="left", border_style="cyan"))


def _head(view: RequestAnswer, action: Action) -> list[tuple[str, str]]:
    document = view.document
    rows = [("act", kind_of(action)), ("where", _where(action))]
    match action:
        case RunSession():
            tools = "the lane's" if action.tools is None else ", ".join(action.tools) or "none"
            rows += [
                ("model", action.model or "the lane's default"),
                ("tools", tools),
                ("network", "also beside foreign text" if action.network else "as configured"),
                ("limit", f"{action.limit_s} s"),
                ("issue", action.issue or "none"),
            ]
        case LendModel():
            limits = f"for {action.lives_s} s, {action.max_tokens} tokens at most"
            rows.append(("model", f"{action.model} {limits}"))
        case AnswerOnce():
            rows.append(("question", f"{action.number} of run {action.run}"))
        case ProposeChange():
            rows += [
                ("branch", f"{action.branch}-… → {action.base} at {action.base_commit[:12]}"),
                ("title", action.title),
            ]
        case CreatePullRequest():
            rows += [
                ("branch", f"{action.head} at {action.head_commit[:12]} → {action.base}"),
                ("title", action.title),
            ]
        case UpdateStatus():
            rows.append(("status", f"#{action.issue} → {action.status}"))
        case CloseIssue() | CommentOnIssue():
            rows.append(("issue", f"#{action.issue}"))
    rows += [
        ("digest", view.digest),
        ("asked", f"{document.question}"),
        ("urgency", f"{document.urgency}, expires {rfc3339(document.expires_s)}"),
        ("advice", document.recommendation),
    ]
    return rows


def _where(action: Action) -> str:
    match action:
        case RunSession() | LendModel():
            return f"session {action.id}, on whichever lane is free"
        case AnswerOnce():
            return f"session {action.session} on lane {action.lane}"
        case _ if isinstance(action, FORGE_TYPES):
            return f"{action.repository.name} (id {action.repository.id}) on {action.forge}"
        case _:
            return family_of(action).subject(action)


def _warnings(action: Action, view: RequestAnswer) -> list[str]:
    found = []
    if touched := ci_paths(action):
        found.append(f"can make the forge run code: {', '.join(map(visible, touched))}")
    hidden = [
        name
        for name, text in (
            ("title", getattr(action, "title", "")),
            ("text", getattr(action, "body", "")),
        )
        if visible(text) != text
    ]
    if hidden:
        found.append(f"hidden characters in {' and '.join(hidden)}; shown as ⟨U+…⟩")
    if isinstance(action, CloseIssue):
        found += _close_warnings(action, view)
    if isinstance(action, AnswerOnce) and not _question_stands(action, view):
        found.append("the command shown below is not the question that is signed")
    return found


def _close_warnings(action: CloseIssue, view: RequestAnswer) -> list[str]:
    notes = view.notes
    if sha256_hex(notes.get("body", "").encode()) != action.body_sha256:
        return ["the text shown below is not the text that is signed"]
    return []


def _question_stands(action: AnswerOnce, view: RequestAnswer) -> bool:
    asked = asked_of(view.notes)
    digest = question_digest(action.session, action.run, action.number, asked)
    return digest == action.question


def _content(action: Action, view: RequestAnswer) -> list[Any]:
    match action:
        case ProposeChange():
            bases = view.bases
            files = (_file(action, change, bases) for change in action.files)
            return [*_frame("text of the pull request", action.body), *files]
        case CloseIssue():
            notes = view.notes
            return _frame(action.title, notes.get("body", ""))
        case AnswerOnce():
            asked = asked_of(view.notes)
            return [*_frame("command", asked.command), *_frame("reason given", asked.description)]
        case RunSession():
            turns = [_frame(f"earlier, {turn.role}", turn.text) for turn in action.history]
            rules = _frame("instructions", action.instructions)
            return [*rules, *itertools.chain(*turns), *_frame("prompt", prompt_of(action))]
        case LendModel():
            return []
        case _ if isinstance(action, FORGE_TYPES):
            return _frame("text", getattr(action, "body", ""))
        case _:  # a family that this page does not know better: nothing of it is signed unseen
            return _frame("action", action_bytes(action).decode())


def _frame(title: str, text: str) -> list[Any]:
    """Return a foreign text in a box of its own: no line of it can pass for one of ours."""
    if not text:
        return []
    shown = Text(visible(text))
    return [Panel(shown, title=Text(one_line(title, 80)), title_align="left", border_style="dim")]


def _file(action: ProposeChange, change: FileChange, bases: dict[str, bytes | None]) -> Panel:
    mark = "  CI" if is_ci_path(change.path) else ""
    title = f"{change.operation} {one_line(change.path, MAX_HEAD)} ({change.mode}){mark}"
    text = Text()
    for line in diff_lines(action, change, bases.get(change.path)):
        text.append(line + "\n", style=_STYLE.get(line[:1], ""))
    text.rstrip()
    return Panel(text, title=Text(title, style="bold"), title_align="left", border_style="dim")


def diff_lines(action: ProposeChange, change: FileChange, base: bytes | None) -> list[str]:
    """Return a unified diff against the approved base, or why there is none.

    The base content counts only when its git id is the one in the signed bytes.
    """
    before = base or b""
    if change.before is not None:
        if base is None:
            return ["(what stands there now is too large to show)"]
        if git_blob_id(before, like=action.base_commit) != change.before:
            return ["! what the lane gave as the present content is NOT what is signed against"]
    try:
        old, new = before.decode("utf-8"), change.raw().decode("utf-8")
    except UnicodeDecodeError:
        return [
            f"(binary: {len(before)} → {len(change.raw())} bytes, sha256 {sha256_hex(change.raw())})"
        ]
    if old.count("\n") + new.count("\n") > MAX_COMPARED_LINES:
        return [f"(too many lines to compare; the new file's sha256 {sha256_hex(change.raw())})"]
    compared = difflib.unified_diff(_lines(old), _lines(new), "base", "change", lineterm="")
    lines = [visible(line) for line in compared][2:]
    if len(lines) > MAX_DIFF_LINES:
        lines = [*lines[:MAX_DIFF_LINES], f"… {len(lines) - MAX_DIFF_LINES} more lines"]
    return lines or ["(mode only)"]


def _lines(text: str) -> list[str]:
    """Return lines as git counts them: only a line feed ends one, everything else is shown."""
    *lines, last = text.split("\n")
    return [*lines, last, NO_NEWLINE] if last else lines
