from __future__ import annotations

from allegro.core.base.errors import ConfigError, EdgeError, JournalFull, Refusal, UserError


def test_a_refusal_reads_as_reason_and_sentence() -> None:
    assert str(Refusal("expired")) == "expired"
    assert str(Refusal("expired", "ask again")) == "expired: ask again"


def test_an_edge_error_says_whether_trying_again_may_help() -> None:
    error = EdgeError("no answer", transient=True, status=503, sent=False, kind="forge")
    assert (error.transient, error.status, error.sent, error.kind) == (True, 503, False, "forge")


def test_an_edge_error_counts_as_sent_unless_the_adapter_knows_better() -> None:
    assert EdgeError("cut", transient=True).sent


def test_a_full_journal_may_have_room_later() -> None:
    error = JournalFull("no room")
    assert (error.transient, error.kind) == (True, "journal_full")


def test_a_configuration_error_tells_every_fault_and_ends_with_2() -> None:
    error = ConfigError(("a: unknown", "b: missing"))
    assert (str(error), error.faults) == ("a: unknown\nb: missing", ("a: unknown", "b: missing"))
    assert (UserError.exit_code, error.exit_code) == (1, 2)
