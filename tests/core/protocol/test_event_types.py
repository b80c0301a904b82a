"""Every event has one name, one payload and one line of meaning; no name stands elsewhere."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allegro.core.base.events import Event
from allegro.core.protocol.event_types import EventType
from allegro.core.protocol.payloads.actions import ActionIntent, ActionReceipt, ActionVoid
from allegro.core.protocol.payloads.base import OtherEvent, Payload, own_event
from allegro.core.protocol.payloads.fleet import BeatMissing
from allegro.core.protocol.payloads.lane import JournalGap
from allegro.core.protocol.payloads.polls import AuditDone, ForgeVanished, SnapshotIssue
from allegro.core.protocol.payloads.reading import PAYLOADS, read_payload
from allegro.core.protocol.payloads.sessions import ModelResult, SessionEnd, SessionQuestion

SOURCE = Path(__file__).parents[3] / "src" / "allegro"
NAMES = {type_.value for type_ in EventType}


def literals(source: str) -> Iterator[str]:
    """Yield event types that stand as text in a module: not in docstrings, not as a log's name."""
    tree = ast.parse(source)
    passed = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            passed.add(id(node.value))
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "_log"
            and node.args
        ):
            passed.add(id(node.args[0]))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in NAMES and id(node) not in passed:
            yield str(node.value)


def test_no_event_type_is_a_literal_outside_its_table() -> None:
    stray = {
        path.relative_to(SOURCE).as_posix(): found
        for path in SOURCE.rglob("*.py")
        if (found := list(literals(path.read_text("utf-8")))) and path.parent.name != "codes"
    }  # a health code may have the name of an event that states it
    assert set(stray) == {"core/protocol/event_types.py"}


def test_the_source_test_finds_a_planted_literal_and_passes_over_a_log_line() -> None:
    planted = 'async def f(r):\n    """role.taken"""\n    await r.tell("role.taken")\n'
    assert list(literals(planted)) == ["role.taken"]
    assert list(literals('_log.info("role.taken", role="forge")\n')) == []
    assert list(literals('_log.info("role", event_type="role.taken")\n')) == ["role.taken"]


def test_each_event_type_has_exactly_one_payload_with_a_line_of_meaning() -> None:
    assert set(PAYLOADS) == set(EventType)
    for type_, payload in PAYLOADS.items():
        assert payload.type_ is type_
        about = payload.__dict__.get("__doc__") or ""
        assert about, payload
        assert not about.startswith(payload.__name__ + "("), payload


def test_no_two_payloads_claim_one_type() -> None:
    found = [one for one in _subclasses(Payload) if "type_" in one.__dict__]
    assert len(found) == len(EventType)


def _subclasses(of: type[Payload]) -> Iterator[type[Payload]]:
    for one in of.__subclasses__():
        yield one
        yield from _subclasses(one)


# What the releases before this table wrote, in their order of fields.
STORED: list[tuple[Payload, bytes]] = [
    (
        ActionIntent(digest="d", order=1, kind="comment", repository=7, number=0, step="comment",
                     epochs={}),
        (b'{"digest":"d","order":1,"kind":"comment","repository":7,"number":0,"step":"comment",'
        b'"epochs":{}}'),
    ),
    (
        ActionIntent(digest="d", order=1, kind="run_session", step="run", session="s", local=True,
                     epochs={"forge": 2}),
        (b'{"digest":"d","order":1,"kind":"run_session","step":"run","session":"s","local":true,'
        b'"epochs":{"forge":2}}'),
    ),
    (
        ActionIntent(digest="d", kind="mark_seen", repository=7, number=3, epochs={}),
        b'{"digest":"d","kind":"mark_seen","repository":7,"number":3,"epochs":{}}',
    ),
    (
        ActionReceipt(digest="d", order=1, kind="comment", repository=7, number=3, artifact=44,
                      commit="", others=(45,), content="k"),
        (b'{"digest":"d","order":1,"kind":"comment","repository":7,"number":3,"artifact":44,'
        b'"commit":"","others":[45],"content":"k"}'),
    ),
    (
        ActionReceipt(digest="d", order=1, kind="run_session", artifact=0, session="s"),
        b'{"digest":"d","order":1,"kind":"run_session","artifact":0,"session":"s"}',
    ),
    (
        ActionVoid(digest="d", order=1, kind="comment", repository=7, number=3, reason="refused",
                   retry_after_s=0.0),
        (b'{"digest":"d","order":1,"kind":"comment","repository":7,"number":3,"reason":"refused",'
        b'"retry_after_s":0.0}'),
    ),
    (
        SnapshotIssue(repository=7, number=3, state="open", updated_s=5, created_s=4, author_id=9,
                      is_pull=False, comments=0, issue_id=8, closed_s=0),
        (b'{"repository":7,"number":3,"state":"open","updated_s":5,"created_s":4,"author_id":9,'
        b'"is_pull":false,"comments":0,"issue_id":8,"closed_s":0}'),
    ),
    (
        ForgeVanished(repository=7, number=0, vanished=True, updated_s=5),
        b'{"repository":7,"number":0,"vanished":true,"updated_s":5}',
    ),
    (
        ForgeVanished(repository=7, vanished=True, updated_s=5),
        b'{"repository":7,"vanished":true,"updated_s":5}',
    ),
    (
        AuditDone(repositories=0, comment_only=0, bots=()),
        b'{"repositories":0,"comment_only":0,"bots":[]}',
    ),
    (
        BeatMissing(lane="a", silent_s=1.5, linked=False),
        b'{"lane":"a","silent_s":1.5,"linked":false}',
    ),
    (
        JournalGap(reason="full", shed=3, count=2, first=1, last=2),
        b'{"reason":"full","class":3,"count":2,"first":1,"last":2}',
    ),
    (
        SessionQuestion(number=1, run="r", question="q", until_s=5.0, session="s"),
        b'{"number":1,"run":"r","question":"q","until_s":5.0,"session":"s"}',
    ),
    (SessionEnd(state="lost", session="s"), b'{"state":"lost","session":"s"}'),
    (
        ModelResult(call=1, provider="p", asked="a", used="u", rung=0, source="measured",
                    result="ok", tokens_in=0, tokens_out=0, tokens="told", cost_usd=0.0,
                    latency_ms=1.0, first_ms=None, session="s"),
        (b'{"call":1,"provider":"p","asked":"a","used":"u","rung":0,"source":"measured",'
        b'"result":"ok","tokens_in":0,"tokens_out":0,"tokens":"told","cost_usd":0.0,'
        b'"latency_ms":1.0,"first_ms":null,"session":"s"}'),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("payload", "stored"), STORED)
def test_a_payload_is_stored_as_it_always_was(payload: Payload, stored: bytes) -> None:
    assert msgspec.json.encode(payload.clear()) == stored


@pytest.mark.parametrize(("payload", "stored"), STORED)
def test_a_stored_payload_is_read_back(payload: Payload, stored: bytes) -> None:
    event = Event("e", payload.type_, "lane:a", "t", data=msgspec.json.decode(stored))
    assert read_payload(event) == payload


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(EventType)), st.data())
def test_no_clear_part_is_too_odd_to_be_read(type_: EventType, data: st.DataObject) -> None:
    fields = [one.encode_name for one in msgspec.structs.fields(PAYLOADS[type_])]
    odd = data.draw(st.dictionaries(st.sampled_from(fields), _JSON)) if fields else {}
    found = read_payload(Event("e", type_, "lane:a", "t", data=odd))
    assert type(found) is PAYLOADS[type_]


def test_a_field_that_cannot_be_read_is_blank_and_hides_no_other() -> None:
    odd = {"digest": "d", "order": "five", "artifact": -1, "commit": "c" * 40, "others": [1, "x"]}
    found = read_payload(Event("e", "action.receipt", "lane:a", "t", data=odd))
    assert found == ActionReceipt(digest="d", commit="c" * 40)


def test_a_type_of_a_later_release_is_read_as_another_event() -> None:
    found = read_payload(Event("e", "chat.message", "lane:a", "t", data={"n": 1}))
    assert found == OtherEvent("chat.message")


def test_an_event_of_the_house_is_named_by_its_payload() -> None:
    event = own_event(AuditDone(repositories=1, comment_only=0, bots=(5,)), id_="e", now_s=0.0)
    assert (event.type, event.source, event.data["bots"]) == ("audit.done", "house", [5])
    assert type(event.type) is str
