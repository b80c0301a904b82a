from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allegro.core.base.errors import Unholdable
from allegro.core.base.untrusted import MAX_NUMBER, Unreadable
from allegro.core.documents.block import MAX_DOCUMENT, Block, block_text, read_block
from allegro.core.effects.render import rendered_body
from tests.bad.values import TEXTS
from tests.core.builders import mirror_action

from .foreign import FOREIGN

IDS = st.text("0123456789abcdefABCDEF._:-", min_size=1, max_size=64)
BLOCKS = st.builds(
    Block,
    document=st.sampled_from(["request", "report"]),
    id=IDS,
    digest=st.just("") | st.text("0123456789abcdef", min_size=64, max_size=64),
    expires_s=st.none() | st.integers(0, MAX_NUMBER - 1),
)
GOOD = Block(document="report", id="r1", digest="a" * 64, expires_s=7)


@given(BLOCKS, FOREIGN, FOREIGN)
def test_a_block_is_read_as_it_was_written(block: Block, before: str, after: str) -> None:
    text = block_text(block)
    assert read_block(text) == block
    assert read_block(text.replace("\n", "\r\n")) == block
    sent = rendered_body(mirror_action(body=f"## Heading\n\n{text}"), "ab" * 16)
    assert read_block(sent) == block
    for whatever in (before, f"{before}\n{text}\n{after}"):
        assert isinstance(read_block(whatever), Block | Unreadable)


@pytest.mark.parametrize(("text", "why"), [
    ("", "no block"), ("words\n```text\nx\n```", "no block"),
    (f"{block_text(GOOD)}\n\n{block_text(GOOD)}", "2 blocks"),
    (f"{block_text(GOOD)}\n{block_text(Block(document='request', id='r2'))}", "2 blocks"),
    ("```allegro\n```", "one line"), ("```allegro\n{}\n{}\n```", "one line"),
    (block_text(GOOD).removesuffix("```"), "does not end"),
    (block_text(GOOD).replace('"id"', ' "id"'), "canonical"),
    (block_text(GOOD).replace('"v":1', '"v":1,"v":1'), "canonical"),
    (block_text(GOOD).replace('"v":1', '"v":2'), ""),
    (block_text(GOOD).replace('"v":1', '"v":1,"w":1'), ""),
    (block_text(GOOD).replace("r1", "r 1"), ""), (block_text(GOOD).replace("a" * 64, "A" * 64), ""),
    (block_text(GOOD).replace("7", "7.5"), ""), (block_text(GOOD).replace("7", "-7"), ""),
    ("    " + block_text(GOOD), ""), ("> " + block_text(GOOD), ""),
    (f"````text\n{block_text(GOOD)}\n````", "no block"), (f"~~~\n{block_text(GOOD)}\n~~~", "no block"),
    (f"{block_text(GOOD)}\n" + "x" * MAX_DOCUMENT, "too long"),
])  # fmt: skip
def test_what_is_no_single_whole_block_is_refused_with_a_reason(text: str, why: str) -> None:
    found = read_block(text)
    assert isinstance(found, Unreadable)
    assert why in found.reason


@pytest.mark.parametrize("value", [None, 5, b"x", [], {}, *(row.value for row in TEXTS)])
def test_reading_raises_nothing(value: Any) -> None:
    assert isinstance(read_block(value), Unreadable)
    if isinstance(value, str):
        assert isinstance(read_block(f"```allegro\n{value}\n```"), Unreadable)


@pytest.mark.parametrize("changes", [
    {"id": ""}, {"id": "a b"}, {"id": "x\n```"}, {"digest": "no"}, {"expires_s": -1},
    {"expires_s": MAX_NUMBER}, {"document": "poem"}, {"id": "\udcff"},
])  # fmt: skip
def test_a_value_that_no_block_holds_is_not_written(changes: dict[str, Any]) -> None:
    with pytest.raises(Unholdable):
        block_text(Block(**{"document": "report", "id": "r1", **changes}))
