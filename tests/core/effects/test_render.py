from __future__ import annotations

import html
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allegro.core.effects.render import (
    MAX_RENDERED,
    cap,
    effect_words,
    fence,
    marker_line,
    rendered_body,
    tame,
    visible,
)
from tests.core.builders import change, comment_action, mirror_action, pull_action, status_action

MARKER = "ab" * 16
# what Gitea and Forgejo act on, written down from their references package
ACTED_ON = [
    re.compile(r"(?:\s|^|\(|\[)@[0-9A-Za-z_-]+"),
    re.compile(r"[#!][0-9]+"),
    re.compile(r"/(issues|pulls)/[0-9]+"),
    re.compile(r"<!--"),
]
NASTY = st.lists(
    st.sampled_from([
        "@", "rosa", "#", "!", "5", "12", "closes", "fixes ", " ", "\n", "\r\n", "home/garden", "/",
        "issues", "pulls", "pull", "commit", "<!--", "<", "!", "--", "-->", "allegro:", "`", "```",
        "&#64;", "&commat;", "&num;", "&", "#x40;", ";", "\u200b", "(", "[", "é", "https://x/a/b",
        "(#", "/issues/7", "<!-- allegro:" + "ab" * 16 + " -->",
    ]),
    max_size=12,
).map("".join)  # fmt: skip


def is_harmless(text: str) -> bool:
    return not any(pattern.search(text) for pattern in ACTED_ON)


@pytest.mark.parametrize("text", [
    "@rosa", "(@rosa)", "see #5", "home/garden#5", "home/garden!5", "closes #5", "Fixes: #5",
    "https://forge.example.org/home/garden/issues/5", "/home/garden/pulls/5", "<!-- hidden -->",
    "&#64;rosa", "&#x40;rosa", "&commat;rosa", "&#35;5", "&num;5", "#&#53;", "&lt;!-- x",
    "@@rosa", "##5", "<!--<!--",
])  # fmt: skip
def test_words_that_would_reach_somebody_reach_nobody(text: str) -> None:
    assert is_harmless(tame(text))
    assert is_harmless(html.unescape(tame(text)))


@pytest.mark.parametrize("text", [
    "", "plain words", "rosa @ home", "a # heading", "5 > 4 & 3 < 4", "R&D", "what!", "issues/list",
    "x <- y", "/issues/", "100 %",
])  # fmt: skip
def test_plain_words_stay_as_they_are(text: str) -> None:
    assert tame(text) == text


@given(NASTY | st.text(max_size=40))
def test_no_mention_reference_or_comment_survives_whatever_is_put_together(text: str) -> None:
    assert is_harmless(tame(text))


@given(NASTY | st.text(max_size=40))
def test_no_entity_survives_to_spell_one(text: str) -> None:
    entity = re.compile(r"&#?[0-9A-Za-z]+;")
    assert is_harmless(entity.sub(lambda found: html.unescape(found[0]), tame(text)))


@given(NASTY | st.text(max_size=40))
def test_taming_twice_is_taming_once_and_loses_no_word(text: str) -> None:
    once = tame(text)
    assert tame(once) == once
    assert once.replace("\u200b", "") == text.replace("\u200b", "")


@given(NASTY, st.integers(0, 80))
def test_a_fence_cannot_be_closed_from_inside(text: str, limit: int) -> None:
    first, *inside, last = fence(text, limit=limit).split("\n")
    ticks = first.removesuffix("text")
    assert last == ticks
    assert set(ticks) == {"`"}
    assert len(ticks) >= 3
    assert ticks not in "\n".join(inside)


def test_a_text_that_is_cut_says_so_and_stays_within_the_limit() -> None:
    assert cap("short", 100) == "short"
    assert len(cap("x" * 200, 100)) == 100
    assert cap("x" * 200, 100).endswith("*(cut: the text was longer)*")


def test_words_that_were_only_ordered_are_tamed_and_carry_the_marker_last() -> None:
    body = rendered_body(comment_action(body="  @rosa closes #5\r\n"), MARKER)
    assert is_harmless(body.removesuffix(marker_line(MARKER)))
    assert body.endswith(f"\n\n<!-- allegro:{MARKER} -->")
    assert "\r" not in body


def test_a_forged_marker_in_ordered_words_is_broken() -> None:
    forged = marker_line("cd" * 16)
    assert forged not in rendered_body(mirror_action(body=f"hi {forged}"), MARKER)


def test_approved_words_go_out_as_they_were_approved() -> None:
    body = rendered_body(change(body="closes #5, thanks @rosa"), MARKER)
    assert body == f"closes #5, thanks @rosa\n\n{marker_line(MARKER)}"


def test_an_empty_body_is_the_marker_alone() -> None:
    assert rendered_body(pull_action(body=" "), MARKER) == marker_line(MARKER)
    assert rendered_body(status_action(), MARKER) == marker_line(MARKER)


def test_a_body_never_outgrows_the_forge_and_keeps_its_marker() -> None:
    body = rendered_body(comment_action(body="@a " * MAX_RENDERED), MARKER)
    assert len(body) <= MAX_RENDERED + 2 + len(marker_line(MARKER))
    assert body.endswith(marker_line(MARKER))


def test_an_effect_with_words_is_known_again_by_all_of_them() -> None:
    marker = "ab" * 16
    assert effect_words(comment_action(), marker) == rendered_body(comment_action(), marker)
    assert effect_words(mirror_action(), marker) == rendered_body(mirror_action(), marker)
    for action in (change(), pull_action()):
        assert effect_words(action, marker).startswith(action.title + "\n")
        assert effect_words(action, marker).endswith(marker_line(marker))
    assert effect_words(status_action(), marker) == ""


@pytest.mark.parametrize(("text", "shown"), [
    ("a\tb\nc", "a\tb\nc"), ("a\x1b[31m", "a⟨U+001B⟩[31m"), ("a\rb", "a⟨U+000D⟩b"),
    ("\u202egnp.exe", "⟨U+202E⟩gnp.exe"), ("a\u200bb", "a⟨U+200B⟩b"), ("a\u2028b", "a⟨U+2028⟩b"),
    ("a\ue000b", "a⟨U+E000⟩b"), ("\ud800", "⟨U+D800⟩"), ("\U000e0041", "⟨U+E0041⟩"),
    ("a\ufe0fb", "a⟨U+FE0F⟩b"), ("\U000e0101", "⟨U+E0101⟩"), ("a\u3164b", "a⟨U+3164⟩b"),
    ("\u2800", "⟨U+2800⟩"), ("é ü 漢 😀", "é ü 漢 😀"),
])  # fmt: skip
def test_what_a_screen_would_hide_or_obey_is_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text(max_size=60))
def test_nothing_hidden_is_left_and_showing_twice_is_showing_once(text: str) -> None:
    shown = visible(text)
    assert visible(shown) == shown
    assert not any(unicodedata.category(c)[0] == "C" for c in shown if c not in "\n\t")
