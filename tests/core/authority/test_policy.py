from __future__ import annotations

import pytest

from allegro.core.authority.actions.families import kind_of
from allegro.core.authority.policy import TABLE, Needs, needs_of, render_table
from tests.core.builders import EVERY_ACTION


@pytest.mark.parametrize(("kind", "needs"), [
    ("mark_seen", Needs.LEASE), ("comment", Needs.ORDER), ("update_status", Needs.ORDER),
    ("mirror_request", Needs.ORDER), ("propose_change", Needs.APPROVAL),
    ("create_pr", Needs.APPROVAL), ("close_issue", Needs.APPROVAL),
    ("run_session", Needs.ORDER), ("lend_model", Needs.ORDER), ("answer_once", Needs.APPROVAL),
])  # fmt: skip
def test_each_kind_of_action_needs_what_the_rules_say(kind: str, needs: Needs) -> None:
    assert needs_of(kind) is needs


@pytest.mark.parametrize("kind", ["merge", "push", "delete", "", "COMMENT", "comment ", "thaw"])
def test_what_is_not_listed_is_never_allowed(kind: str) -> None:
    assert needs_of(kind) is Needs.NEVER


def test_there_is_a_row_for_each_kind_of_action_and_no_other_kind() -> None:
    assert {row.kind for row in TABLE if row.kind} == {kind_of(action) for action in EVERY_ACTION}


def test_no_action_is_carried_out_while_frozen() -> None:
    assert not any(row.while_frozen for row in TABLE if row.kind)


def test_merge_delete_and_settings_are_never_done_and_have_no_kind() -> None:
    never = {row.act: row.kind for row in TABLE if row.needs is Needs.NEVER}
    assert {"merge", "delete", "settings, hooks, keys, users", "anything unlisted"} <= never.keys()
    assert set(never.values()) == {None}


def test_stopping_needs_nothing_and_thawing_needs_the_sovereign() -> None:
    rows = {row.act: row for row in TABLE}
    assert rows["deny, stop, freeze"].needs is Needs.NOTHING
    assert rows["deny, stop, freeze"].while_frozen
    assert rows["thaw"].needs is Needs.SOVEREIGN


def test_killing_a_session_needs_nothing_even_while_frozen() -> None:
    rows = {row.act: row for row in TABLE}
    assert rows["release a lease, revoke a token, stop or kill a session"].needs is Needs.NOTHING
    assert rows["release a lease, revoke a token, stop or kill a session"].while_frozen


def test_the_page_shows_every_row() -> None:
    lines = render_table().splitlines()
    assert len(lines) == len(TABLE) + 2
    assert lines[:2] == ["| act | needs | while frozen | action kind |", "|---|---|---|---|"]
    assert "| thaw | the sovereign key's signature | yes | – |" in lines
    assert "| merge | never | no | – |" in lines
    assert "| new comment | an order of the house | no | `comment` |" in lines
