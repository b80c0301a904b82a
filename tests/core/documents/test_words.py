from __future__ import annotations

import pytest
from hypothesis import given

from allegro.core.documents.words import NOTHING, linked, phrase, quoted
from allegro.core.effects.render import tame

from .foreign import FOREIGN, PIECES, kinds, plain_words

PAGE = "https://forge.example.org/home/garden/pulls/44"


@pytest.mark.parametrize("words", PIECES)
def test_a_phrase_is_one_code_span_whatever_it_holds(words: str) -> None:
    shown = phrase(f"x{words}y")
    assert kinds(f"Label: {shown} end") == [
        "paragraph_open", "inline", "text", "code_inline", "text", "paragraph_close",
    ]  # fmt: skip
    assert "\n" not in shown
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in shown)


@given(FOREIGN)
def test_no_foreign_word_stands_outside_its_code_span(words: str) -> None:
    shown = f"Label: {phrase(words)}"
    assert plain_words(shown).strip() in {"Label:", f"Label: {NOTHING}"}
    assert tame(shown) == shown


@given(FOREIGN)
def test_a_quoted_text_is_one_fenced_block(words: str) -> None:
    shown = quoted(words)
    assert kinds(shown) in (["fence"], ["paragraph_open", "inline", "text", "paragraph_close"])
    assert plain_words(shown) in {"", NOTHING}


def test_no_words_are_a_dash_and_many_are_cut() -> None:
    assert (phrase(" \n\t"), quoted("\r\n ")) == (NOTHING, NOTHING)
    assert phrase("x" * 300, 200) == f"`{'x' * 199}…`"
    assert len(quoted("y" * 5_000)) < 2_100


def test_words_with_ticks_stand_between_longer_ones() -> None:
    assert phrase("a `b` ``c``") == "``` a `b` ``c`` ```"


def test_a_link_leads_to_its_page_and_is_no_reference_for_the_forge() -> None:
    shown = linked("pull request 44", PAGE)
    assert shown == "[pull request 44](https://forge.example.org/home/garden/pulls/./44)"
    assert tame(shown) == shown
    assert linked("comment 7", "http://127.0.0.1:3000/a/b/issues/3#issuecomment-7") == (
        "[comment 7](http://127.0.0.1:3000/a/b/issues/./3#issuecomment-7)"
    )


@pytest.mark.parametrize(("name", "address"), [
    ("a](https://evil.example)[b", PAGE), ("@rosa", PAGE), ("a\nb", PAGE), ("", PAGE),
    ("name", "javascript:alert(1)"), ("name", "https://a.example/x)y"), ("name", ""),
    ("name", "https://a.example/x y"), ("name", "https://u:p@a.example/x"), ("name", PAGE + "?q=1"),
    ("name", "https://a.example/x\n## y"), ("name", "/a/b/issues/3"), ("name", "https://a.example"),
])  # fmt: skip
def test_what_is_not_plain_is_no_link(name: str, address: str) -> None:
    assert linked(name, address) == phrase(name)
    assert "link_open" not in kinds(linked(name, address))
