from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allegro.core.base.events import (
    SHED_ORDER,
    Event,
    Shed,
    content_id,
    decode_event,
    encode_event,
)
from allegro.core.protocol.event_types import shed_class


def event() -> Event:
    return Event(
        "e1", "action.intent", "lane/a", "2026-01-01T00:00:00.000Z", data={"n": 1}, sealed=b"x"
    )


@pytest.mark.parametrize("kind", [
    "action.intent", "action.receipt", "request.made", "freeze.added", "journal.gap", "session.end",
    "session.question",
])  # fmt: skip
def test_what_proves_an_effect_is_never_shed(kind: str) -> None:
    assert shed_class(kind) is Shed.RESERVED
    assert Shed.RESERVED not in SHED_ORDER


def test_words_go_first_then_tools_metrics_and_snapshots() -> None:
    shed = [
        shed_class(t)
        for t in ("session.delta", "session.tool.use", "lane.metric", "forge.snapshot")
    ]
    assert tuple(shed) == SHED_ORDER
    assert list(shed) == sorted(shed, reverse=True)


def test_a_kind_nobody_named_is_kept() -> None:
    assert shed_class("forge.issue") is Shed.KEPT
    assert shed_class("lane.beat") is Shed.METRIC


def test_an_event_survives_its_stored_form_which_is_a_cloudevent() -> None:
    raw = encode_event(event())
    assert decode_event(raw) == event()
    assert json.loads(raw)["specversion"] == "1.0"


@pytest.mark.parametrize("raw", [
    b"", b"{}", b"[]", b"\xff", b'{"id":"a","type":"t","source":"s","time":"t","sealed":"%"}',
    b'{"id":"","type":"t","source":"s","time":"t"}', b'{"id":"a","type":"","source":"s","time":"t"}',
    b'{"id":"a","type":"t","source":"s","time":"t","specversion":"0.3"}',
    b'{"id":"a\xff","type":"t","source":"s","time":"t"}',
    b'{"id":"a","type":"t","source":"s","time":"t","data":{"a":' + b"[" * 100_000,
])  # fmt: skip
def test_what_is_no_event_is_told_as_such(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not an event"):
        decode_event(raw)


@given(st.binary(max_size=60))
def test_any_bytes_are_an_event_or_a_value_error(raw: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert decode_event(raw).id


def test_every_lane_names_a_version_alike_and_a_return_differently() -> None:
    first = content_id(b"fleet secret", "forge/7#3", "hash")
    assert first == content_id(b"fleet secret", "forge/7#3", "hash")
    assert len(first) == 40
    assert len({
        first, content_id(b"fleet secret", "forge/7#3", "hash", 1),
        content_id(b"fleet secret", "forge/7#3", "hash", 0, 1),
        content_id(b"other", "forge/7#3", "hash"), content_id(b"fleet secret", "forge/7#4", "hash"),
    }) == 5  # fmt: skip
