"""The table of health codes is whole, and nothing outside it raises an alert or states a fact."""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator
from functools import cache

import pytest

from allegro.core.health import codes
from allegro.core.health.codes import CODES, Code, Severity, code_of
from allegro.core.health.codes.code import ESCALATIONS, GRACE_S, Escalation, Way, grace_of
from tests.docs.render import ROOT
from tests.docs.test_pages import _anchors

SOURCE = ROOT / "src" / "allegro"
ANCHORS = _anchors(ROOT / "docs" / "runbook.md")
NAMES = {name: one for name, one in vars(codes).items() if isinstance(one, Code)}
UNNAMED = {
    "VERSION",
    "HOUSE_SEAT",
    "HOUSE_KEYS",
    "SOVEREIGN_KEY",
    "LEDGER_DAMAGED",
    "TASK_FAILED",
    "SET_ASIDE",
    "ARCHIVE_REJECTED",
    "EVENT_UNREADABLE",
    "FREEZE_UNSAVED",
    "FREEZE_THAWED_BEFORE",
    "LANES",
    "LANE_LINK_HOUSE_BEHIND",
    "LANE_LINK_SEAT",
    "LANE_LINK_KEYS",
    "LANE_LINK_PROTOCOL",
    "LANE_DUTY",
    "SAFE_MODE",
    "DEAD_MAN",
    "FAILURE_DOMAIN",
    "COUNCIL",
    "COUNCIL_BACK",
    "COUNCIL_PAGE",
    "PEER",
    "ROLE_TAKEN",
    "ROLE_HANDED_OVER",
    "ROLE_VACANT",
    "ROLE_HELD",
    "FAILOVER_REPORTED",
    "FORGE_BACK",
    "WATCH_REPLACED",
    "WEBHOOK",
    "SHADOW",
    "LABEL",
    "TOKEN_IDENTITY",
    "TOKEN_REACH",
    "CHANGE_TOKEN",
    "CHANGE_TOKEN_REACH",
    "PROTECTION",
    "BOTS",
    "BOTS_TOO_MANY",
    "WRITE_FLOOD",
    "WRITE_ALTERED",
    "WRITE_DOUBLED",
    "WRITE_TOO_OLD",
    "REQUEST_FAILING",
    "REQUEST_STUCK",
    "REQUEST_STALE",
    "REQUEST_CONFLICT",
    "RECEIPT_SECOND",
    "RECEIPT_LATE",
    "RECEIPT_CONTENT",
    "RENEWED_DONE",
    "HERMES_APPROVALS",
    "FORGED",
    "QUESTION_UNREADABLE",
    "QUESTION_DENIED",
    "QUESTION_UNASKED",
}
RAISES = re.compile(r"\b_?(?:alert|alarm|raise_alert|_news|_stop)\Z")


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_a_code_says_how_bad_it_is_what_to_do_and_where_to_read_on(code: Code) -> None:
    assert re.fullmatch(r"[a-z_]+(\.[a-z_]+)*", code.code)
    assert code.severity in Severity
    assert code.title
    assert code.fix.endswith(".")
    assert code.runbook in ANCHORS


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_a_code_can_keep_what_its_severity_promises(code: Code) -> None:
    assert 0 <= code.grace_s <= code.escalation.within_s
    assert code.cooldown_s > 0
    if code.severity is Severity.P0:
        assert code.escalation == Escalation(0.0, 300.0, Way.EVERY)
    else:
        assert code.grace_s < code.escalation.within_s


def test_the_promises_of_the_severities_are_those_of_the_specification() -> None:
    within_s = {one.value: ESCALATIONS[one].within_s for one in Severity}
    assert within_s == {"P0": 0.0, "P1": 15 * 60.0, "P2": 3600.0, "P3": 24 * 3600.0}


def test_a_row_may_have_numbers_of_its_own_which_hold_for_its_own_severity_alone() -> None:
    code = Code("x", "x", Severity.P2, "x.", "x", own_grace_s=7.0, own_cooldown_s=8.0)
    assert (code.grace_s, code.cooldown_s) == (7.0, 8.0)
    assert grace_of(code, Severity.P3) == GRACE_S[Severity.P3]


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_a_code_that_ends_others_names_codes_of_the_table_and_is_no_alarm(code: Code) -> None:
    assert set(code.clears) <= set(CODES)
    assert code.severity is Severity.P3 or not code.clears


def test_no_two_codes_have_one_name() -> None:
    assert len(CODES) == len(NAMES)


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_a_code_depends_on_one_of_the_table_and_never_on_itself(code: Code) -> None:
    seen = set()
    while code.depends_on:
        assert code.code not in seen
        seen.add(code.code)
        code = CODES[code.depends_on]


# these name codes as examples, not because of what states them
EXAMPLES = {
    "test_codes.py",
    "render.py",
    "test_alarm.py",
    "test_alert_acts.py",
    "machine.py",
    "alert_world.py",
    "stolen_world.py",
}
TESTS = "\n".join(
    path.read_text("utf-8")
    for path in sorted((ROOT / "tests").rglob("*.py"))
    if path.name not in EXAMPLES
)


@pytest.mark.parametrize(("name", "code"), NAMES.items(), ids=NAMES)
def test_a_code_is_named_by_a_test_of_what_states_it(name: str, code: Code) -> None:
    """New codes are. Those of before have tests that name no code; the list only shrinks."""
    is_named = re.search(rf"codes\.{name}\b", TESTS) or f'"{code.code}"' in TESTS
    assert bool(is_named) != (name in UNNAMED)


def test_a_name_of_a_newer_program_is_other() -> None:
    assert code_of("from.a.newer") is codes.OTHER


@cache
def _trees() -> list[tuple[str, ast.AST]]:
    found: list[tuple[str, ast.AST]] = []
    for path in SOURCE.rglob("*.py"):
        name = path.relative_to(SOURCE).as_posix()
        if not name.startswith("core/health/codes/"):
            found.append((name, ast.parse(path.read_text("utf-8"))))
    return found


def _named() -> set[str]:
    """Return every name that the sources take from the table."""
    return {
        node.attr
        for _, tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "codes"
        and node.attr.isupper()
    }


def test_every_code_is_named_by_what_states_it() -> None:
    assert _named() - set(NAMES) == {"CODES"} & _named()
    assert set(NAMES) - _named() - {"OTHER"} == set()


def _calls() -> Iterator[tuple[str, ast.Call]]:
    for name, tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield name, node


def _callee(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _is_code(node: ast.expr) -> bool:
    """Whether an argument is a code of the table, or a value of type Code: never a sentence."""
    if isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp):
        return False
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return node.value.id != "codes" or node.attr in NAMES
    return isinstance(node, ast.Name | ast.Call | ast.IfExp)


def test_no_fact_is_made_without_a_code() -> None:
    facts = [(name, call) for name, call in _calls() if _callee(call) == "Fact"]
    assert len(facts) > 50
    assert [name for name, call in facts if not call.args or not _is_code(call.args[0])] == []


def test_no_alert_of_the_house_is_a_free_sentence() -> None:
    raised = [
        (name, call)
        for name, call in _calls()
        if name.startswith("house/") and RAISES.match(_callee(call)) and call.args
    ]
    assert len(raised) > 30
    assert [name for name, call in raised if not _is_code(call.args[0])] == []


def _fields(code: Code) -> set[str]:
    parsed = string.Formatter().parse(code.alert)
    return {name for _, name, _, _ in parsed if name} - {"subject", "lane"}


def test_every_value_of_a_sentence_is_given_where_its_alert_is_raised() -> None:
    """A template's values are the keywords of a call that names its code."""
    given: dict[str, set[str]] = {}
    for name, call in _calls():
        if name.startswith("house/") and call.args and isinstance(call.args[0], ast.Attribute):
            named = call.args[0].attr
            given.setdefault(named, set()).update(word.arg for word in call.keywords if word.arg)
    through_a_name = {
        "RECEIPT_SECOND",
        "LANE_HEARTBEAT",
        "LANE_SILENT",
        "ROLE_TAKEN",
        "ROLE_HANDED_OVER",
    }
    missing = {
        name: _fields(code) - given.get(name, set())
        for name, code in NAMES.items()
        if code.alert and name not in through_a_name
    }
    assert {name: fields for name, fields in missing.items() if fields} == {}
