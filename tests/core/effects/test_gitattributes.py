"""`.gitattributes` is read as git reads it; git itself says what is right."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from allegro.core.effects.gitattributes import MAX_BYTES, rewritten_by

PATHS = (
    "a.bin", "b.txt", "dir/a.bin", "dir/sub/a.bin", "dir/sub/deep/x.bin", "media/film.mp4",
    "media/[x].bin", "sp ace.bin", "Grüße.bin", "dir/.hidden", "a.b.bin", "x",
)  # fmt: skip
PATTERNS = (
    "*", "*.bin", "a.bin", "/a.bin", "dir/*.bin", "dir/**", "**/a.bin", "dir/**/x.bin", "*.b*n",
    "a?bin", "[ab].*", "[!a]*.bin", "[a-c]*", "\\[x\\].bin", "dir/", "media/*", '"sp ace.bin"', "sub/a.bin",
    "**", "*/*.bin", "Gr*.bin", "dir/sub/**/x.bin", "x", "a.*.bin", "*.*.*",
)  # fmt: skip
WORDS = (
    "filter=lfs", "-filter", "!filter", "filter", "filter=other", "text", "-text", "big",
    "filter=lfs diff=lfs merge=lfs -text", "-big",
)  # fmt: skip
MACRO = "[attr]big filter=lfs -text\n"


def by_git(folder: Path, paths: tuple[str, ...]) -> dict[str, bool]:
    asked = "\0".join(paths).encode()
    told = subprocess.run(
        ["git", "check-attr", "-z", "--stdin", "filter"], cwd=folder, input=asked,
        capture_output=True, check=True,
    ).stdout.decode()  # fmt: skip
    words = told.split("\0")
    return {words[at]: words[at + 2] == "lfs" for at in range(0, len(words) - 2, 3)}


@pytest.mark.parametrize("seed", range(8))
def test_what_is_under_lfs_is_what_git_says(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    files: dict[str, bytes] = {}
    for folder in ("", "dir", "dir/sub", "media"):
        lines = [
            f"{dice.choice(PATTERNS)} {dice.choice(WORDS)}\n" for _ in range(dice.randrange(4))
        ]
        text = (MACRO if not folder else "") + "# a comment\n\n" + "".join(lines)
        place = tmp_path / folder
        place.mkdir(parents=True, exist_ok=True)
        (place / ".gitattributes").write_text(text)
        files[f"{folder}/.gitattributes".lstrip("/")] = text.encode()
    expected = by_git(tmp_path, PATHS)
    assert {path: bool(rewritten_by(path, files)) for path in PATHS} == expected, files


def test_the_reason_names_the_file_that_says_so() -> None:
    files = {".gitattributes": b"*.bin -filter\n", "dir/.gitattributes": b"*.bin filter=lfs\n"}
    assert rewritten_by("a.bin", files) == ""
    assert rewritten_by("dir/a.bin", files).startswith("dir/.gitattributes puts it under")


def test_a_file_that_is_too_large_to_be_read_counts_as_a_reason() -> None:
    assert "too large" in rewritten_by("a", {".gitattributes": bytes(MAX_BYTES + 1)})
    many = b"*.bin filter=lfs\n" * 501
    assert "too large" in rewritten_by("a", {".gitattributes": many})


def test_a_pattern_of_many_stars_is_matched_at_once() -> None:
    line = b"*a" * 2_000 + b" filter=lfs\n"
    assert rewritten_by("a" * 499 + "b", {".gitattributes": line * 20}) == ""
    deep = b"**/" * 2_000 + b"x filter=lfs\n"
    assert rewritten_by("/".join("abcdefgh" * 30), {".gitattributes": deep}) == ""


def test_bytes_that_are_no_text_are_no_rule() -> None:
    for raw in (
        b"",
        b"[attr]a b\n[attr]b a\n* a\n",
        b"\xff\xfe\x00",
        b'"unclosed filter=lfs\n',
        b"[attr]\n",
        b"\\ filter=lfs\n",
    ):
        assert rewritten_by("a.bin", {".gitattributes": raw}) == ""


def under_lfs(path: str, **files: str) -> bool:
    """Say whether a path is under LFS; files are named by their folder, `top` is the topmost."""
    named = {
        ("" if folder == "top" else f"{folder}/") + ".gitattributes": text.encode()
        for folder, text in files.items()
    }
    return bool(rewritten_by(path, named))


@pytest.mark.parametrize(("pattern", "path", "matches"), [
    ("a.bin", "a.bin", True), ("a.bin", "dir/a.bin", True), ("/a.bin", "dir/a.bin", False),
    ("/a.bin", "a.bin", True), ("dir/a.bin", "x/dir/a.bin", False), ("dir/*", "dir/sub/a", False),
    ("dir/*", "dir/a", True), ("dir/", "dir/a", False), ("a/", "a", False), ("dir/**", "dir/x/y", True),
    ("dir/**", "dir", False), ("**/a", "a", True), ("**/a", "x/y/a", True), ("a/**/b", "a/b", True),
    ("a/**/b", "a/x/y/b", True), ("a/**/b", "a/x/y/c", False), ("a/b", "a/b/c", False), ("a/b/c", "a/b", False),
    ("*", "x", True), ("a*c", "abbc", True), ("a*c", "abbd", False), ("a*b*c", "aXbYbZc", True),
    ("*a", "ba", True), ("*a", "ab", False), ("a**", "abc", True), ("a?c", "abc", True), ("a?c", "ac", False),
    ("[ab]", "b", True), ("[ab]", "c", False), ("[!ab]", "c", True), ("[!ab]", "a", False),
    ("[^ab]", "b", False), ("[a-c]x", "bx", True), ("[a-c]x", "dx", False), ("[a-c]", "c", True),
    ("[a-c]", "a", True), ("[-a]", "-", True), ("[a-]", "-", True), ("[xa-c]", "b", True), ("[a-cx]", "x", True),
    ("[]a]", "]", True), ("[a", "[a", True), ("[a", "a", False), ("x[ab]y[cd]", "xbyd", True),
    ("\\*", "*", True), ("\\*", "x", False), ("a\\", "a", False), ("\\a\\b", "ab", True),
    ("a/**/", "a/b", False), ("**/", "a", False), ("/", "a", False), ("X/a", "X/a", True), ("X/a", "a", False),
    ("dir/**", "dir/x", True), ("a*", "a", True), ("\\ab", "ab", True), ("[a]", "a", True), ("[a]", "xa]", False),
    ("[xya-c]", "-", False), ("a.b", "a", False), ("a", "a.b", False), ("Ab", "ab", False),
])  # fmt: skip
def test_a_pattern_matches_as_gitignore_says(pattern: str, path: str, matches: bool) -> None:
    assert under_lfs(path, top=f"{pattern} filter=lfs\n") is matches


@pytest.mark.parametrize(("words", "lfs"), [
    ("filter=lfs", True), ("text filter=lfs -diff", True), ("filter=lfs filter=other", False),
    ("filter=other filter=lfs", True), ("filter=lfs -filter", False), ("filter=lfs !filter", False),
    ("-filter filter=lfs", True), ("filter", False), ("filter=", False), ("filter=lfs=x", False),
    ("filter=LFS", False), ("diff=lfs", False), ("", False),
])  # fmt: skip
def test_the_last_word_about_an_attribute_counts(words: str, lfs: bool) -> None:
    assert under_lfs("a", top=f"a {words}\n") is lfs


@pytest.mark.parametrize(("text", "lfs"), [
    ("a filter=lfs\na -filter\n", False), ("a -filter\na filter=lfs\n", True), ("  \ta   filter=lfs", True),
    ("#a filter=lfs\n", False), ("a filter=lfs\r\n", True), ('"a" filter=lfs\n', True), ('"b" filter=lfs\n', False),
    ('"a filter=lfs\n', False), ("\n\na filter=lfs\n", True), ("* text\na filter=lfs\n", True),
])  # fmt: skip
def test_lines_are_read_in_their_order(text: str, lfs: bool) -> None:
    assert under_lfs("a", top=text) is lfs


def test_the_nearest_file_decides_and_others_do_not_count() -> None:
    assert under_lfs("dir/a", top="a -filter\n", dir="a filter=lfs\n")
    assert not under_lfs("dir/a", top="a filter=lfs\n", dir="a -filter\n")
    assert under_lfs("dir/a", top="a filter=lfs\n", dir="b -filter\n")
    assert not under_lfs("a", dir="a filter=lfs\n")
    assert under_lfs("dir/sub/a", dir="sub/a filter=lfs\n")
    assert not under_lfs("dir/sub/a", dir="dir/sub/a filter=lfs\n")


def test_a_macro_of_the_topmost_file_counts_in_every_file() -> None:
    macro = "[attr]big filter=lfs -text\n"
    assert under_lfs("a", top=macro + "a big\n")
    assert under_lfs("dir/a", top=macro, dir="a big\n")
    assert not under_lfs("dir/a", top="", dir=macro + "a big\n")
    assert not under_lfs("a", top=macro + "a -big\n")
    assert not under_lfs("a", top=macro + "a big=yes\n")
    assert not under_lfs("a", top=macro + "a big -filter\n")
    assert under_lfs("a", top="[attr]huge big\n" + macro + "a huge\n")


def test_a_file_of_attributes_is_read_up_to_its_bounds() -> None:
    rule = b"a filter=lfs\n"
    small = {"dir/.gitattributes": rule + b"#" * (MAX_BYTES - len(rule))}
    reason = "dir/.gitattributes puts it under filter=lfs, so the forge would store a pointer instead of it"
    assert rewritten_by("dir/a", small) == reason
    large = {"dir/.gitattributes": small["dir/.gitattributes"] + b"#"}
    assert rewritten_by("dir/a", large) == "dir/.gitattributes is too large to be read"
    assert rewritten_by("a", {".gitattributes": b"b text\n" * 500}) == ""
    many = {".gitattributes": b"b text\n" * 501}
    assert rewritten_by("a", many) == ".gitattributes is too large to be read"


def test_bytes_that_are_no_utf_8_hide_no_other_line() -> None:
    assert rewritten_by("a", {".gitattributes": b"\xff text\na filter=lfs\n"})


def test_a_comment_is_no_pattern() -> None:
    assert not under_lfs("#a", top="#a filter=lfs\n")
    assert under_lfs("#a", top='"#a" filter=lfs\n')
