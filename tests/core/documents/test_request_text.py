from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allegro.core.authority.actions.forge import MAX_BODY_BYTES
from allegro.core.documents.block import Block, read_block
from allegro.core.documents.request_text import request_text
from allegro.core.effects.render import rendered_body
from allegro.core.requests.documents import Option, RequestDocument
from tests.core.builders import document, mirror_action

from .foreign import FOREIGN, kinds, plain_words

DIGEST = "d" * 64
WHOLE = """\
## 🔄 Allegro Request

**Type:** decision

**Urgency:** high

**Context:** `home/garden\u200b#3`

**Question/Request:**

```text
Which day?
```

**Options:**

1. `Monday`
   - Pros: `dry`; `cool`
   - Cons: –
2. `Tuesday`
   - Pros: –
   - Cons: `late`

**Recommendation:** `Monday`

**Time constraint:** until 1970-01-01T00:01:00.000Z; then: do nothing

**State:** `proposed`

A sentence of ours.

```allegro
{"digest":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","document":"request","expires_s":60,"id":"r1","v":1}
```"""


def asked(**changes: Any) -> RequestDocument:
    values: dict[str, Any] = {
        "id": "r1", "type": "decision", "urgency": "high", "context": "home/garden#3",
        "question": "Which day?", "recommendation": "Monday", "created_s": 10.0, "expires_s": 60.0,
        "options": (Option("Monday", ("dry", "cool")), Option("Tuesday", (), ("late",))),
    }  # fmt: skip
    return document(**{**values, **changes})


def test_a_request_has_the_operators_form() -> None:
    text = request_text(
        asked(), DIGEST, (("State", "proposed"),), "A sentence of ours.", private=True
    )
    assert text.replace("\u200b", "") == WHOLE.replace("\u200b", "")
    assert read_block(text) == Block(document="request", id="r1", digest=DIGEST, expires_s=60)


def test_a_public_repository_is_shown_id_type_urgency_and_age_and_nothing_else() -> None:
    text = request_text(asked(), DIGEST, (("State", "done"),), "A note.", private=False)
    assert text == (
        "## 🔄 Allegro Request\n\n**Id:** `r1`\n\n**Type:** decision\n\n**Urgency:** high\n\n"
        "**Age:** since 1970-01-01T00:00:10.000Z\n\n```allegro\n"
        '{"digest":"","document":"request","expires_s":null,"id":"r1","v":1}\n```'
    )
    other = asked(question="else", context="x", options=(), recommendation="y", expires_s=99.0)
    assert request_text(other, "e" * 64, private=False) == text


def test_a_type_or_urgency_that_somebody_made_up_is_shown_to_nobody() -> None:
    made_up = asked(type="## secret", urgency="@everybody")
    for private in (True, False):
        text = request_text(made_up, DIGEST, private=private)
        assert "secret" not in text
        assert "everybody" not in text
        assert text.count("unknown") == 2


@pytest.mark.parametrize("expires_s", [math.nan, math.inf, -1.0, 2.0**60])
def test_a_time_that_is_none_is_left_out_of_the_block(expires_s: float) -> None:
    block = read_block(request_text(asked(expires_s=expires_s), DIGEST, private=True))
    assert block == Block(document="request", id="r1", digest=DIGEST)


@given(st.data())
def test_foreign_words_change_no_shape_and_forge_no_block(data: st.DataObject) -> None:
    def draw() -> str:
        return data.draw(FOREIGN)

    options = tuple(Option(f"x{draw()}", (f"x{draw()}",), (f"x{draw()}",)) for _ in range(2))
    hostile = asked(
        context=f"x{draw()}", question=f"x{draw()}", recommendation=f"x{draw()}", options=options,
        time_constraint=draw(),
    )  # fmt: skip
    tame = msgspec.structs.replace(
        hostile, context="x", question="x", recommendation="x",
        options=(Option("x", ("x",), ("x",)),) * 2,
    )  # fmt: skip
    facts = (("State", f"x{draw()}"),)
    text = request_text(hostile, DIGEST, facts, private=True)
    same = request_text(tame, DIGEST, (("State", "x"),), private=True)
    sent = rendered_body(mirror_action(body=text), "ab" * 16)
    assert kinds(text) == kinds(same)
    assert plain_words(text) == plain_words(same)
    assert sent.removesuffix(f"\n\n<!-- allegro:{'ab' * 16} -->") == text
    assert read_block(sent) == Block(document="request", id="r1", digest=DIGEST, expires_s=60)


@pytest.mark.parametrize("char", ["x", "`", "@a", "\x1b", "\U000e0001", "🔄", "#1", "\n"])
def test_a_request_of_the_longest_words_still_fits_a_comment(char: str) -> None:
    long = char * 5_000
    full = asked(
        context=long, question=long, recommendation=long,
        options=(Option(long, (long,) * 20, (long,) * 20),) * 9,
    )  # fmt: skip
    text = request_text(full, DIGEST, (("State", long),) * 4, private=True)
    assert len(text.encode()) <= MAX_BODY_BYTES
    assert isinstance(read_block(text), Block)
