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
    """One row: `kind` is an action's kind where the act is carried out through the gate.

    The gate lets nothing through while frozen, so no row with a kind is allowed then.
    """

    act: str
    needs: Needs
    while_frozen: bool = False
    kind: str | None = None


TABLE: tuple[Row, ...] = (
    Row("read, poll, look", Needs.NOTHING, while_frozen=True),
    Row("journal, health, metrics, alert", Needs.NOTHING, while_frozen=True),
    Row("deny, stop, freeze", Needs.NOTHING, while_frozen=True),
    Row(
        "release a lease, revoke a token, stop or kill a session", Needs.NOTHING, while_frozen=True
    ),
    Row("restart of a unit on the lane's own host within budget", Needs.NOTHING),
    Row("seen label and own status label at triage", Needs.LEASE, kind="mark_seen"),
    Row("edit of an own known comment; failover note", Needs.LEASE),
    Row("new comment", Needs.ORDER, kind="comment"),
    Row("status label", Needs.ORDER, kind="update_status"),
    Row("mirror of a request, report", Needs.ORDER, kind="mirror_request"),
    Row("session", Needs.ORDER, kind="run_session"),
    Row("model endpoint", Needs.ORDER, kind="lend_model"),
    Row("change with its pull request", Needs.APPROVAL, kind="propose_change"),
    Row("pull request from an existing branch", Needs.APPROVAL, kind="create_pr"),
    Row("close", Needs.APPROVAL, kind="close_issue"),
    Row("tool answer `once`", Needs.APPROVAL, kind="answer_once"),
    Row("label in a foreign namespace", Needs.APPROVAL),
    Row("configuration change or restore", Needs.APPROVAL),
    Row("thaw", Needs.SOVEREIGN, while_frozen=True),
    Row("standing order", Needs.SOVEREIGN),
    Row("rotation, revocation, pairing, seat", Needs.SOVEREIGN, while_frozen=True),
    Row("merge", Needs.NEVER),
    Row("push to a default or protected branch", Needs.NEVER),
    Row("delete", Needs.NEVER),
    Row("settings, hooks, keys, users", Needs.NEVER),
    Row("acting as the sovereign", Needs.NEVER),
    Row("anything unlisted", Needs.NEVER),
)

_BY_KIND = {row.kind: row for row in TABLE if row.kind is not None}


def needs_of(kind: str) -> Needs:
    """Return what an action of this kind needs; what is not listed is never allowed (S7)."""
    row = _BY_KIND.get(kind)
    return Needs.NEVER if row is None else row.needs


def render_table() -> str:
    """Return the table as Markdown, as the policy page shows it."""
    lines = ["| act | needs | while frozen | action kind |", "|---|---|---|---|"]
    lines += [
        f"| {row.act} | {row.needs.value} | {'yes' if row.while_frozen else 'no'} | "
        f"{'`' + row.kind + '`' if row.kind else '–'} |"
        for row in TABLE
    ]
    return "\n".join(lines) + "\n"
