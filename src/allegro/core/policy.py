"""The one table of what each act needs. There is no other place that decides this."""

from __future__ import annotations

import enum

import msgspec


class Needs(enum.Enum):
    """What must be shown before an act may happen."""

    NOTHING = "nothing"
    LEASE = "the role's lease"
    ORDER = "an order of the house"
    APPROVAL = "the sovereign's approval of the exact content, and an order"
    SOVEREIGN = "the sovereign key's signature"
    NEVER = "never"


class Row(msgspec.Struct, frozen=True):
    """One row: `kind` is an action's kind where the act is carried out through the gate."""

    act: str
    needs: Needs
    while_frozen: bool
    kind: str | None = None


def _row(act: str, needs: Needs, *, frozen: bool = False, kind: str | None = None) -> Row:
    return Row(act, needs, frozen, kind)


TABLE: tuple[Row, ...] = (
    _row("read, poll, look", Needs.NOTHING, frozen=True),
    _row("journal, health, metrics, alert", Needs.NOTHING, frozen=True),
    _row("deny, stop, freeze", Needs.NOTHING, frozen=True),
    _row("release a lease, revoke a token, stop or kill a session", Needs.NOTHING, frozen=True),
    _row("restart of a unit on the lane's own host within budget", Needs.NOTHING),
    _row("seen label and own status label at triage", Needs.LEASE, kind="mark_seen"),
    _row("edit of an own known comment; failover note", Needs.LEASE),
    _row("new comment", Needs.ORDER, kind="comment"),
    _row("status label", Needs.ORDER, kind="update_status"),
    _row("mirror of a request", Needs.ORDER, kind="mirror_request"),
    _row("session", Needs.ORDER, kind="run_session"),
    _row("model endpoint", Needs.ORDER, kind="lend_model"),
    _row("change with its pull request", Needs.APPROVAL, kind="propose_change"),
    _row("pull request from an existing branch", Needs.APPROVAL, kind="create_pr"),
    _row("close", Needs.APPROVAL, kind="close_issue"),
    _row("tool answer `once`", Needs.APPROVAL, kind="answer_once"),
    _row("label in a foreign namespace", Needs.APPROVAL),
    _row("configuration change or restore", Needs.APPROVAL),
    _row("thaw", Needs.SOVEREIGN, frozen=True),
    _row("standing order", Needs.SOVEREIGN),
    _row("rotation, revocation, pairing, seat", Needs.SOVEREIGN, frozen=True),
    _row("merge", Needs.NEVER),
    _row("push to a default or protected branch", Needs.NEVER),
    _row("delete", Needs.NEVER),
    _row("settings, hooks, keys, users", Needs.NEVER),
    _row("acting as the sovereign", Needs.NEVER),
    _row("anything unlisted", Needs.NEVER),
)

_BY_KIND = {row.kind: row for row in TABLE if row.kind is not None}


def needs_of(kind: str) -> Needs:
    """Return what an action of this kind needs; what is not listed is never allowed (S7)."""
    row = _BY_KIND.get(kind)
    return Needs.NEVER if row is None else row.needs


def allowed_while_frozen(kind: str) -> bool:
    row = _BY_KIND.get(kind)
    return row is not None and row.while_frozen


def render_table() -> str:
    """Return the table as Markdown, as the policy page shows it."""
    lines = ["| act | needs | while frozen | action kind |", "|---|---|---|---|"]
    lines += [
        f"| {row.act} | {row.needs.value} | {'yes' if row.while_frozen else 'no'} | "
        f"{'`' + row.kind + '`' if row.kind else '–'} |"
        for row in TABLE
    ]
    return "\n".join(lines) + "\n"
