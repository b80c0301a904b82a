"""What an effect is called at home: the name of its words, its address, its receipts."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest

from allegro.core.authority.actions.families import kind_of
from allegro.core.authority.actions.family import Action
from allegro.core.effects.matching import Receipt
from allegro.core.effects.receipts import (
    address_of,
    branch_at,
    branch_receipts,
    commit_name,
    content_of,
    label_receipts,
    ordered_commit_name,
    words_name,
)
from tests.core.builders import (
    BASE,
    change,
    close,
    comment_action,
    file_change,
    mirror_action,
    pull_action,
    run_session,
    seen_action,
    status_action,
)

SECRET = b"s" * 32
PAGE = "https://forge.example.org/home/garden"


def by_hand(text: str) -> str:
    """The name as the design writes it: HMAC over a purpose, then each part with its length."""
    raw = text.encode()
    words = b"content" + len(raw).to_bytes(8, "big") + raw
    return hmac.new(SECRET, words, hashlib.sha256).hexdigest()[:40]


def test_the_name_of_words_is_keyed_and_the_same_however_lines_end() -> None:
    assert words_name(SECRET, "one\ntwo") == by_hand("one\ntwo")
    assert words_name(SECRET, "  one\r\ntwo \r\n") == by_hand("one\ntwo")
    assert words_name(SECRET, "one\ntwo") != words_name(b"t" * 32, "one\ntwo")


def test_the_name_of_an_action_is_that_of_the_words_a_poll_shows() -> None:
    assert content_of(comment_action(), "m1", SECRET) == by_hand("done\n\n<!-- allegro:m1 -->")
    assert content_of(mirror_action(), "m2", SECRET) == by_hand("a question\n\n<!-- allegro:m2 -->")
    assert content_of(comment_action(), "m1", SECRET) != content_of(comment_action(), "m2", SECRET)


@pytest.mark.parametrize("action", [close(), status_action(), seen_action()], ids=kind_of)
def test_an_action_without_words_has_no_name_of_them(action: Action) -> None:
    assert content_of(action, "m1", SECRET) == ""


@pytest.mark.parametrize(("action", "page"), [
    (change(), "/pulls/8"), (pull_action(), "/pulls/8"), (comment_action(), "/issues/3#issuecomment-8"),
    (mirror_action(), "/issues/3#issuecomment-8"), (close(), "/issues/3"), (status_action(), "/issues/3"),
    (seen_action(), "/issues/3"),
])  # fmt: skip
def test_an_effect_s_address_is_made_at_home_from_its_ids(action: Action, page: str) -> None:
    assert address_of(action, 8, "https://forge.example.org/else/where/1") == PAGE + page
    assert address_of(action, 8, "https://forge.example.org/x:1") == PAGE + page
    assert address_of(action, 8, "http://forge.example.org/x") == f"http{PAGE[5:]}{page}"


@pytest.mark.parametrize("said", [
    "https://other.example.org/home/garden/pulls/9", "https://forge.example.org", "http://[::1]/x",
])  # fmt: skip
def test_an_address_elsewhere_is_kept_as_the_lane_said_it(said: str) -> None:
    assert address_of(change(), 8, said) == said


def test_a_forge_s_name_is_the_same_in_capitals() -> None:
    assert address_of(change(), 8, "https://FORGE.example.org/x") == f"{PAGE}/pulls/8"


@pytest.mark.parametrize("said", ["", "javascript:1", "https://a b", "ftp://forge.example.org/x"])
def test_what_is_no_address_is_none(said: str) -> None:
    assert address_of(change(), 8, said) == ""


def test_without_an_artifact_the_lane_s_word_stands() -> None:
    said = "https://forge.example.org/x"
    assert address_of(change(), 0, said) == said
    assert address_of(change(), 1, said) == f"{PAGE}/pulls/1"


def test_what_is_not_done_on_a_forge_has_no_address() -> None:
    with pytest.raises(TypeError):
        address_of(run_session(), 8, "https://forge.example.org/x")


def test_a_status_is_covered_until_it_was_settled() -> None:
    expected = (Receipt("label", "forge/7#3", 5_000, "status/done", "r1"),)
    assert label_receipts("r1", "forge/7#3", status_action(), 5_000.9) == expected


@pytest.mark.parametrize(("commit", "covered"), [
    ("c" * 40, [BASE, "c" * 40]), ("0" * 40, ["0" * 40, BASE]), (BASE, [BASE]), ("", [BASE]),
])  # fmt: skip
def test_a_branch_is_covered_at_its_base_and_with_its_one_commit(
    commit: str, covered: list[str]
) -> None:
    receipts = branch_receipts("r1", "forge/7", change(), "allegro/roses", commit)
    assert receipts == tuple(
        Receipt("branch", "forge/7", 0, f"allegro/roses@{one}", "r1") for one in covered
    )


def test_a_branch_at_a_commit_has_a_name_of_bounded_length() -> None:
    named: Any = branch_at("b" * 301, "c" * 65)
    assert named == "b" * 300 + "@" + "c" * 64


def test_a_commit_is_named_by_its_parents_and_by_each_path_with_what_stands_there() -> None:
    name = commit_name(SECRET, ["p1", "p2"], {"b": ("100644", "x"), "a": None})
    assert name == by_hand('[["p1","p2"],[["a"],["b","100644","x"]]]')


def test_the_commit_of_a_change_is_named_by_what_differs_from_its_base() -> None:
    blob = "b917a726c93f902e43291d9009d6488385133b67"  # git hash-object of "print(1)\n"
    files = (
        file_change(), file_change(path="same", operation="update", before=blob),
        file_change(path="old", operation="delete", before="d" * 40, content=None),
    )  # fmt: skip
    held = f'[["{BASE}"],[["old"],["src/app.py","100644","{blob}"]]]'
    assert ordered_commit_name(SECRET, change(files=files)) == by_hand(held)
