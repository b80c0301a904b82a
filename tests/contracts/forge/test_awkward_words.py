"""Names and texts that forges trim, escape or refuse: what we find must be what we sent."""

from __future__ import annotations

import pytest

from allegro.core.authority.actions.forge import CommentOnIssue

from .lane import Lane, create, update
from .people import People

TEXTS = {
    "white space": " \n\tcode\n\n  \nend \t\n\n",
    "line ends": "one\r\ntwo\rthree\n",
    "signs": "<b>&amp;</b> 'x' \"y\" \\ ` ``` ~~~ <!-- x -->",
    "languages": "日本語 العربية 🦊 e\u0301 \u200b\u202e\ufeff",
    "references": "closes #1, fixes #2, @allegro, !3",
    "long": "x" * 30_000 + " end",
}


@pytest.mark.parametrize("which", TEXTS)
async def test_a_text_is_found_as_it_was_sent(lane: Lane, people: People, which: str) -> None:
    repo = await people.repository()
    number = await people.issue(repo)
    base = await people.tip(repo)
    change = lane.change(repo, base, create("new.txt", b"new\n"), body=TEXTS[which])
    comment = CommentOnIssue(**lane.pin(repo), issue=number, body=TEXTS[which])
    for action in (change, comment):
        first, second = await lane.order(action), await lane.order(action)
        assert first.type == "action.receipt", first
        assert second.writes == 0
        assert first.data == second.data


@pytest.mark.parametrize(
    "title", ["WIP: a draft", "[x] <b>&amp;'\"\\`", "größe 🦊 日本", "t" * 255]
)
async def test_a_title_is_found_as_it_was_sent(lane: Lane, people: People, title: str) -> None:
    repo = await people.repository()
    base = await people.tip(repo)
    action = lane.change(repo, base, create("new.txt", b"new\n"), title=title)
    first, second = await lane.order(action), await lane.order(action)
    assert first.type == "action.receipt", first
    assert second.writes == 0


@pytest.mark.parametrize("branch", ["a/b/c", "größe/日本", "x&y=1+2%20'\"<>;$(x)#!", "-", "1" * 40])
async def test_a_branch_name_is_found_as_it_was_sent(
    lane: Lane, people: People, branch: str
) -> None:
    repo = await people.repository()
    base = await people.tip(repo)
    action = lane.change(repo, base, create("new.txt", b"new\n"), branch="f" + branch)
    outcome = await lane.order(action)
    assert outcome.type == "action.receipt", outcome
    assert (await lane.order(action)).writes == 0


async def test_paths_are_committed_as_they_were_approved(lane: Lane, people: People) -> None:
    repo = await people.repository()
    base = await people.tip(repo)
    paths = [
        "a/-dash",
        'with "quotes"',
        "per%20cent?&#",
        "a b/c  d",
        "e\u0301/é",
        ".hidden/.x",
        "~",
        "$x",
    ]
    action = lane.change(repo, base, *(create(path, path.encode()) for path in paths))
    first, second = await lane.order(action), await lane.order(action)
    assert first.type == "action.receipt", first
    assert second.writes == 0


@pytest.mark.parametrize("path", [" leading", "trailing ", "a/ b /c"])
async def test_white_space_around_a_name_is_kept_or_refused(
    lane: Lane, people: People, path: str
) -> None:
    repo = await people.repository()
    action = lane.change(repo, await people.tip(repo), create(path, b"x"))
    outcome = await lane.order(action)
    assert outcome.type in {"action.receipt", "action.failed"}, outcome


async def test_a_file_that_stays_as_it_is_may_be_among_the_files(
    lane: Lane, people: People
) -> None:
    repo = await people.repository({"same.txt": "same\n", "d/same.txt": "same\n"})
    base = await people.tip(repo)
    action = lane.change(
        repo,
        base,
        update("same.txt", b"same\n", b"same\n"),
        update("d/same.txt", b"same\n", b"same\n"),
        create("new.txt", b"new\n"),
    )
    first, second = await lane.order(action), await lane.order(action)
    assert first.type == "action.receipt", first
    assert second.writes == 0
