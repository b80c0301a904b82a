"""`.gitattributes` is read as git reads it; git itself says what is right."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from allegro.core.attributes import MAX_BYTES, rewritten_by

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
