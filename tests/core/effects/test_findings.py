from __future__ import annotations

import hashlib
from typing import Any

import pytest

from allegro.core.effects.findings import (
    Absent,
    Conflict,
    Present,
    Stale,
    WriteStep,
    diff_trees,
    expected_before,
    expected_changes,
    judge_close,
    judge_comments,
    judge_commit,
    judge_mirror,
    judge_pulls,
    judge_status,
    newest_foreign,
    parents_of,
)
from allegro.core.forge.issues import TimelineEntry, TreeEntry
from tests.core.builders import (
    BASE,
    BOT,
    BOTS,
    HUMAN,
    change,
    close,
    comment,
    file_change,
    issue,
    pull,
)

MARKER = "ab" * 16
LINE = f"<!-- allegro:{MARKER} -->"
BODY = f"done\n\n{LINE}"


def blob_id(raw: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(raw) + raw).hexdigest()


def test_a_comment_of_ours_with_exactly_the_words_is_present() -> None:
    found = judge_comments(BODY, MARKER, [comment(1, "hi"), comment(2, BODY, BOT)], BOTS)
    assert found == Present(2)


def test_line_ends_and_outer_space_that_forges_change_are_the_same_words() -> None:
    there = comment(2, BODY.replace("\n", "\r\n") + "\n", BOT)
    assert judge_comments(BODY, MARKER, [there], BOTS) == Present(2)


def test_further_copies_are_found_and_named() -> None:
    copies = [comment(n, BODY, BOT) for n in (2, 3, 4)]
    assert judge_comments(BODY, MARKER, copies, BOTS) == Present(2, others=(3, 4))


def test_a_stranger_who_copies_words_and_marker_proves_nothing() -> None:
    assert judge_comments(BODY, MARKER, [comment(2, BODY, HUMAN)], BOTS) == Absent(
        WriteStep.COMMENT
    )


def test_our_marker_with_other_words_is_a_conflict() -> None:
    edited = comment(2, f"something else\n\n{LINE}", BOT)
    assert isinstance(judge_comments(BODY, MARKER, [edited], BOTS), Conflict)


def test_a_request_s_home_is_made_once_then_edited() -> None:
    old = comment(2, f"old words\n\n{LINE}", BOT)
    assert judge_mirror(BODY, MARKER, [], BOTS) == Absent(WriteStep.COMMENT)
    assert judge_mirror(BODY, MARKER, [old], BOTS) == Absent(WriteStep.EDIT, target=2)
    copy = comment(5, f"old words\n\n{LINE}", BOT)
    assert judge_mirror(BODY, MARKER, [comment(2, BODY, BOT), copy], BOTS) == Present(
        2, others=(5,)
    )


def test_a_stranger_s_marker_is_no_home_to_be_edited() -> None:
    assert judge_mirror(BODY, MARKER, [comment(2, f"x {LINE}", HUMAN)], BOTS) == Absent(
        WriteStep.COMMENT
    )


def find_pull(*pulls: Any) -> Any:
    return judge_pulls(
        title="Water the roses", body="words", base="main", head_commit="b" * 40, pulls=pulls, bots=BOTS
    )  # fmt: skip


def test_the_approved_pull_request_is_present_and_its_copies_are_named() -> None:
    copy = pull(number=9, url="https://forge.example.org/home/garden/pulls/9")
    assert find_pull(copy, pull()) == Present(8, pull().url, "b" * 40, (9,))


def test_no_pull_request_at_all_is_absent() -> None:
    assert find_pull() == Absent(WriteStep.PULL)


@pytest.mark.parametrize("changes", [
    {"author_id": HUMAN}, {"title": "Other"}, {"body": "other"}, {"base": "release"},
    {"head_commit": "c" * 40},
])  # fmt: skip
def test_a_pull_request_in_our_place_that_differs_in_anything_is_a_conflict(changes: Any) -> None:
    assert isinstance(find_pull(pull(**changes)), Conflict)


def test_a_change_expects_each_file_by_mode_and_blob() -> None:
    action = change(files=(
        file_change(),
        file_change(path="run.sh", operation="update", mode="100755", before="c" * 40),
        file_change(path="old", operation="delete", before="d" * 40, content=None),
    ))  # fmt: skip
    blob = blob_id(b"print(1)\n")
    assert expected_changes(action) == {
        "src/app.py": ("100644", blob), "run.sh": ("100755", blob), "old": None,
    }  # fmt: skip
    assert expected_before(action) == {
        "src/app.py": None, "run.sh": ("100755", "c" * 40), "old": ("100644", "d" * 40),
    }  # fmt: skip


def test_a_commit_must_be_the_approved_change_on_the_approved_base_and_nothing_more() -> None:
    action = change()
    right = {"src/app.py": ("100644", blob_id(b"print(1)\n"))}
    assert judge_commit(action, [BASE], right) is None
    assert isinstance(judge_commit(action, ["c" * 40], right), Conflict)
    assert isinstance(judge_commit(action, [BASE, "c" * 40], right), Conflict)
    assert isinstance(judge_commit(action, [], right), Conflict)
    assert isinstance(
        judge_commit(action, [BASE], {**right, "extra": ("100644", "e" * 40)}), Conflict
    )
    assert isinstance(
        judge_commit(action, [BASE], {"src/app.py": ("100755", right["src/app.py"][1])}), Conflict
    )
    assert isinstance(judge_commit(action, [BASE], {}), Conflict)


def closed_by(*authors: int) -> list[TimelineEntry]:
    return [TimelineEntry(n, "close", author, "x", n) for n, author in enumerate(authors)]


def test_an_issue_that_stands_as_approved_is_closed_next() -> None:
    assert judge_close(close(), issue(), [], [], BOTS) == Absent(WriteStep.CLOSE)


def test_our_own_comments_do_not_move_an_issue() -> None:
    assert judge_close(close(), issue(), [comment(9, "done", BOT)], [], BOTS) == Absent(
        WriteStep.CLOSE
    )


def test_an_issue_closed_by_us_last_is_done() -> None:
    shut = issue(state="closed")
    assert judge_close(close(), shut, [], closed_by(HUMAN, BOT), BOTS) == Present(3, shut.url)


@pytest.mark.parametrize("closers", [(), (HUMAN,), (BOT, HUMAN)])
def test_an_issue_closed_by_somebody_else_is_stale(closers: tuple[int, ...]) -> None:
    assert isinstance(
        judge_close(close(), issue(state="closed"), [], closed_by(*closers), BOTS), Stale
    )


def test_a_lock_or_label_after_the_close_does_not_hide_who_closed() -> None:
    lines = [*closed_by(BOT), TimelineEntry(9, "label", HUMAN, "x", 9)]
    assert isinstance(judge_close(close(), issue(state="closed"), [], lines, BOTS), Present)


@pytest.mark.parametrize("now", [
    None, issue(title="Other"), issue(body="pleas"), issue(body="please "),
])  # fmt: skip
def test_an_issue_that_is_gone_or_edited_is_stale(now: Any) -> None:
    assert isinstance(judge_close(close(), now, [], [], BOTS), Stale)


def test_a_conversation_that_went_on_is_stale() -> None:
    seen = hashlib.sha256(b"wait").hexdigest()
    action = close(newest_comment=4, newest_comment_sha256=seen)
    there = [comment(4, "wait")]
    assert judge_close(action, issue(), there, [], BOTS) == Absent(WriteStep.CLOSE)
    assert isinstance(judge_close(action, issue(), [*there, comment(5, "no!")], [], BOTS), Stale)
    assert isinstance(judge_close(action, issue(), [comment(4, "wait!")], [], BOTS), Stale)
    assert isinstance(judge_close(action, issue(), [], [], BOTS), Stale)
    assert isinstance(judge_close(close(), issue(), there, [], BOTS), Stale)


def test_the_newest_foreign_comment_goes_by_time_then_id() -> None:
    told = [
        comment(1, "a", created_s=5),
        comment(3, "b", created_s=7),
        comment(2, "c", created_s=7),
    ]
    newest = newest_foreign([*told, comment(9, "ours", BOT, created_s=99)], BOTS)
    assert newest is not None
    assert newest.id == 3
    assert newest_foreign([], BOTS) is None


@pytest.mark.parametrize(("labels", "finding"), [
    (("status/done",), Present), (("bug", "status/done"), Present), ((), Absent),
    (("status/ready",), Absent), (("status/done", "status/ready"), Absent),
])  # fmt: skip
def test_a_status_is_there_only_when_it_is_the_only_one(
    labels: tuple[str, ...], finding: type
) -> None:
    assert isinstance(judge_status(issue(labels=labels), "status/done"), finding)


def test_a_status_on_an_issue_that_is_gone_is_stale() -> None:
    assert isinstance(judge_status(None, "status/done"), Stale)


def test_two_listings_differ_where_mode_or_content_differ() -> None:
    def entry(mode: str = "100644", sha: str = "a") -> TreeEntry:
        return TreeEntry("x", mode, "blob", sha)

    before = {"same": entry(), "gone": entry(), "mode": entry(), "text": entry()}
    after = {"same": entry(), "new": entry(), "mode": entry("100755"), "text": entry(sha="b")}
    assert list(diff_trees(before, after)) == ["gone", "mode", "new", "text"]
    assert diff_trees(before, after)["gone"] == (entry(), None)
    assert diff_trees(before, before) == {}


def test_the_folders_above_a_path_are_named_from_the_outermost() -> None:
    assert parents_of("a/b/c.txt") == ("a", "a/b")
    assert parents_of("c.txt") == ()


def test_the_words_of_a_forge_and_of_an_action_may_end_their_lines_differently() -> None:
    told = comment(2, "one\ntwo", BOT)
    assert judge_comments("one\r\ntwo\r\n", MARKER, [told], BOTS) == Present(2)


def test_a_status_that_is_there_names_its_issue_and_one_that_is_not_its_next_write() -> None:
    there = issue(labels=("status/done",))
    assert judge_status(there, "status/done") == Present(3, there.url)
    assert judge_status(issue(), "status/done") == Absent(WriteStep.LABEL)


def test_a_difference_between_listings_shows_both_sides() -> None:
    old, new = TreeEntry("x", "100644", "blob", "a"), TreeEntry("x", "100644", "blob", "b")
    assert diff_trees({"x": old}, {"x": new, "y": new}) == {"x": (old, new), "y": (None, new)}


def test_each_finding_against_an_effect_says_what_stands_there() -> None:
    closed, told = issue(state="closed"), comment(4, "wait")
    findings = [
        judge_comments(BODY, MARKER, [comment(2, f"else {LINE}", BOT)], BOTS),
        find_pull(pull(title="Other")),
        judge_commit(change(), [], {}),
        judge_commit(change(), [BASE], {}),
        judge_close(close(), None, [], [], BOTS),
        judge_close(close(), closed, [], closed_by(HUMAN), BOTS),
        judge_close(close(), issue(title="Other"), [], [], BOTS),
        judge_close(close(), issue(), [told], [], BOTS),
        judge_status(None, "status/done"),
    ]
    assert findings == [
        Conflict("a comment of ours carries this marker with other words"),
        Conflict("pull request 8 on our branch is not the approved one"),
        Conflict("the commit on our branch does not stand on the approved base commit"),
        Conflict("the commit on our branch does not hold exactly the approved files"),
        Stale("the issue is gone"),
        Stale("somebody else closed it"),
        Stale("title or text changed since the approval"),
        Stale("the conversation went on since the approval"),
        Stale("the issue is gone"),
    ]
