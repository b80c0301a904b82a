"""The forge's adapter on raw answers: waits, secrets, sizes, short pages and odd items."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import pytest

from allegro.adapters.gitea.headers import UNMEASURED_S
from allegro.adapters.gitea.reader import GiteaReader
from allegro.adapters.gitea.redaction import blotted
from allegro.core.base.errors import EdgeError
from allegro.core.forge.issues import Repository
from allegro.core.forge.marks import Window
from tests.bad.raw_forge import Asked, RawForge, Said, said

TOKEN = "4f1c0a9be7d25836c1f04b7ae98d3325f6710c2d"
GARDEN = Repository(1, "home/garden")
ALL = Window(0, None)


def issue_of(number: int, **changes: object) -> dict[str, object]:
    return {
        "id": 100 + number, "number": number, "title": f"issue {number}", "body": "",
        "state": "open", "user": {"id": 5, "login": "rosa"}, "comments": 0,
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
        "repository": {"id": 1, "full_name": "home/garden"}, **changes,
    }  # fmt: skip


def plain(asked: Asked) -> Said | None:
    if asked.path == "/version":
        return said({"version": "1.27.0"})
    return said({"max_response_items": 50}) if asked.path == "/settings/api" else None


def answering(more: Callable[[Asked], Said]) -> Callable[[Asked], Said]:
    return lambda asked: plain(asked) or more(asked)


def reader_of(forge: RawForge) -> GiteaReader:
    return GiteaReader(forge.client(TOKEN))


async def test_nothing_is_sent_before_the_time_the_forge_asked_for() -> None:
    now_s = 1000.0
    async with RawForge(lambda _: said({"message": "slow down"}, 429, Retry_After="120")) as forge:
        http = forge.client(TOKEN, lambda: now_s)
        with pytest.raises(EdgeError) as first:
            await http.call("GET", "/version")
        for now_s in (1001.0, 1119.0):
            with pytest.raises(EdgeError, match="asked us to wait") as later:
                await http.call("POST", "/repos/home/garden/issues", body={})
            assert (later.value.sent, later.value.transient) == (False, True)
            assert later.value.retry_after_s == pytest.approx(1120.0 - now_s)
        now_s = 1121.0
        with pytest.raises(EdgeError, match="429"):
            await http.call("GET", "/version")
    assert first.value.retry_after_s == 120.0
    assert len(forge.asked) == 2


@pytest.mark.parametrize("host", ["a..b", f"{'a' * 64}.example", "."])
async def test_a_redirect_to_what_is_no_host_is_a_failed_connection(host: str) -> None:
    async with RawForge(lambda _: Said(b"", 301, {"Location": f"http://{host}/x"})) as forge:
        with pytest.raises(EdgeError) as found:
            await GiteaReader(forge.client(TOKEN)).repository("home/garden")
    assert (found.value.transient, found.value.kind) == (True, "connection")


async def test_a_wait_of_a_year_is_an_hour() -> None:
    now_s = 0.0
    async with RawForge(lambda _: said({}, 503, Retry_After="31536000")) as forge:
        http = forge.client(TOKEN, lambda: now_s)
        with pytest.raises(EdgeError, match="503"):
            await http.call("GET", "/version")
        now_s = 3601.0
        with pytest.raises(EdgeError, match="503"):
            await http.call("GET", "/version")


SPELLINGS = {
    "as it is": TOKEN,
    "in capitals": TOKEN.upper(),
    "a part": f"token ...{TOKEN[7:16]}...",
    "spread": "-".join(TOKEN[n : n + 4] for n in range(0, 40, 4)),
    "over lines": "\n".join(TOKEN),
    "backwards": TOKEN[::-1],
    "base64": base64.b64encode(TOKEN.encode()).decode(),
    "base64 of basic": base64.b64encode(f"bot:{TOKEN}".encode()).decode(),
    "base32": base64.b32encode(b"x" + TOKEN.encode()).decode(),
    "hexadecimal": TOKEN.encode().hex(),
    "percent": "".join(f"%{ord(c):02X}" for c in TOKEN),
    "escapes": "".join(f"\\u{ord(c):04x}" for c in TOKEN),
    "entities": "".join(f"&#{ord(c)};" for c in TOKEN),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_no_error_carries_the_token_that_was_sent(spelling: str) -> None:
    words = f"access token does not exist [sha: {SPELLINGS[spelling]}]"
    async with RawForge(lambda _: said({"message": words}, 401)) as forge:
        http = forge.client("the daily one, another")
        with pytest.raises(EdgeError) as raised:
            await http.call("GET", "/user", token=TOKEN)
    text = str(raised.value)
    assert "access token does not exist" in text
    assert "[secret]" in text
    assert_no_part_is_in(text, SPELLINGS[spelling])


def assert_no_part_is_in(text: str, spelling: str) -> None:
    squeezed = "".join(c for c in text if c.isalnum()).lower()
    whole = "".join(c for c in spelling.removeprefix("token") if c.isalnum()).lower()
    parts = {whole[n : n + 16] for n in range(max(1, len(whole) - 15))}
    assert [part for part in parts if part in squeezed] == []


def test_other_words_stay_as_they_are() -> None:
    words = "token does not have at least one of required scope(s): [write:issue]"
    assert blotted(words, [TOKEN]) == words
    commit = "c0ffee0c0ffee0c0ffee0c0ffee0c0ffee0c0ffee"
    assert blotted(commit, [TOKEN]) == commit


async def test_an_answer_that_repeats_the_token_is_kept_without_it() -> None:
    async with RawForge(lambda _: said({"version": f"1.27.0 {TOKEN}"})) as forge:
        reader = reader_of(forge)
        assert TOKEN not in (await reader.server()).version


async def test_a_token_that_no_header_can_hold_is_said_and_not_sent() -> None:
    async with RawForge(lambda _: said({})) as forge:
        http = forge.client(TOKEN)
        with pytest.raises(EdgeError, match="odd signs") as raised:
            await http.call("GET", "/user", token="a\r\nHost: elsewhere")
    assert not raised.value.sent
    assert forge.asked == []


def repositories(hidden: set[int], linked: bool) -> Callable[[Asked], Said]:
    """List 60 repositories, paged first and filtered then, as Gitea does."""

    def answer(asked: Asked) -> Said:
        ids = range(1, 61)[(asked.page - 1) * asked.limit : asked.page * asked.limit]
        shown = [{"id": n, "full_name": f"home/r{n}"} for n in ids if n not in hidden]
        last = asked.page * asked.limit >= 60
        link = '<x?page=1>; rel="first"' + ("" if last else ', <x?page=9>; rel="next"')
        headers = {"X-Total-Count": "60"} | ({"Link": link} if linked else {})
        return Said(json.dumps(shown).encode(), 200, headers)

    return answering(answer)


@pytest.mark.parametrize("linked", [True, False])
@pytest.mark.parametrize("hidden", [{4}, set(range(1, 51)), set()])
async def test_a_page_made_short_by_what_we_may_not_see_is_not_the_last(
    linked: bool, hidden: set[int]
) -> None:
    if not linked and len(hidden) == 50:
        pytest.skip("an empty page without a Link header is the end")
    async with RawForge(repositories(hidden, linked)) as forge:
        found = await reader_of(forge).organisation_repositories("home")
    assert {repo.id for repo in found} == set(range(1, 61)) - hidden
    assert len(forge.asked) <= 5


async def test_a_list_that_never_ends_is_given_up() -> None:
    def answer(asked: Asked) -> Said:
        return said([{"id": asked.page, "full_name": "home/r"}], Link='<x>; rel="next"')

    async with RawForge(answering(answer)) as forge:
        with pytest.raises(EdgeError, match="more than 200 pages"):
            await reader_of(forge).organisation_repositories("home")


async def test_a_list_that_gives_the_same_page_again_and_again_ends() -> None:
    same = said([{"id": 1, "full_name": "home/r"}], Link='<x>; rel="next"')
    async with RawForge(answering(lambda _: same)) as forge:
        assert len(await reader_of(forge).organisation_repositories("home")) == 1
    assert len(forge.asked) == 4


async def test_one_odd_issue_is_named_and_the_others_are_read() -> None:
    issues = [issue_of(1), issue_of(2, comments=2**70), issue_of(3, title=None), issue_of(4)]
    async with RawForge(answering(lambda _: said(issues, X_Total_Count="4"))) as forge:
        page = await reader_of(forge).repository_issues(GARDEN, ALL, 1)
    assert [issue.number for issue in page.issues] == [1, 4]
    assert [(one.repository, one.number) for one in page.unread] == [(1, 2), (1, 3)]
    assert (page.count, page.total) == (4, 4)


@pytest.mark.parametrize("url", ["http://x/home/garden/issues/²", "http://x/" + "9" * 5000, ""])
async def test_a_comment_of_no_known_issue_is_named_by_its_own_id(url: str) -> None:
    comment = {"id": 7, "body": "x", "user": {"id": 5}, "issue_url": url}
    async with RawForge(answering(lambda _: said([comment]))) as forge:
        page = await reader_of(forge).repository_comments(GARDEN, 0, 1)
    assert page.comments == ()
    assert [one.id for one in page.unread] == [7]


async def test_an_issue_that_is_too_large_by_itself_is_known_by_its_number() -> None:
    large = issue_of(9)
    large["body"] = "x" * 25 * 1024 * 1024
    async with RawForge(answering(lambda _: Said(json.dumps([large]).encode()))) as forge:
        reader = reader_of(forge)
        with pytest.raises(EdgeError, match=r"GET /repos/home/garden/issues: .*too large"):
            await reader.repository_issues(GARDEN, ALL, 1)
        page = await reader.repository_issues(GARDEN, ALL, 1, limit=1)
    assert [(one.repository, one.number) for one in page.unread] == [(1, 9)]
    assert "open it in the browser" in page.unread[0].reason


def comment_of(number: int) -> dict[str, object]:
    return {
        "id": number, "body": f"comment {number}", "user": {"id": 5},
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip


@pytest.mark.parametrize("linked", [True, False])
async def test_comments_that_a_forge_gives_in_pages_are_all_read(linked: bool) -> None:
    """These forges give them all at once; one that does not must not make us write twice."""

    def answer(asked: Asked) -> Said:
        at = (asked.page - 1) * 20
        more = {"Link": '<x>; rel="next"'} if linked and at + 20 < 50 else {}
        shown = [comment_of(number) for number in range(1, 51)][at : at + 20]
        return said(shown, **more, **({} if linked else {"X-Total-Count": "50"}))

    async with RawForge(answering(answer)) as forge:
        found = await reader_of(forge).comments(GARDEN, 3)
    assert [comment.id for comment in found or ()] == list(range(1, 51))


async def test_comments_that_a_forge_counts_and_does_not_show_cost_two_questions_more() -> None:
    few = said([comment_of(1), comment_of(2)], X_Total_Count="9")
    async with RawForge(answering(lambda _: few)) as forge:
        found = await reader_of(forge).comments(GARDEN, 3)
    assert len(found or ()) == 2
    assert len(forge.asked) == 2 + 3


async def test_a_history_without_an_end_is_not_taken_for_all_of_it() -> None:
    def answer(asked: Asked) -> Said:
        entry = {"id": asked.page, "type": "comment", "created_at": "2026-01-01T00:00:00Z"}
        return said([entry])

    async with RawForge(answering(answer)) as forge:
        with pytest.raises(EdgeError, match="more than 200 pages"):
            await reader_of(forge).timeline(GARDEN, 3)


async def test_an_empty_page_of_pull_requests_before_others_is_not_the_end() -> None:
    pull = {
        "id": 4, "number": 4, "state": "open", "title": "t", "body": "", "user": {"id": 5},
        "base": {"ref": "main"}, "head": {"ref": "b"}, "updated_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip

    def answer(asked: Asked) -> Said:
        if asked.path == "/version":
            return said({"version": "1.21.11"})
        if asked.page == 1:
            return said([], Link='<x>; rel="next"')
        return said([pull] if asked.page == 2 else [], Link='<x>; rel="prev"')

    async with RawForge(answering(answer)) as forge:
        found = await reader_of(forge).pulls_between(GARDEN, "a/main", "b")
    assert found == ()
    assert max(asked.page for asked in forge.asked) == 2


async def test_a_page_of_activities_says_how_old_it_is_and_whether_another_follows() -> None:
    rows = [
        {"op_type": "comment_issue", "created": "2026-01-01T00:00:30Z", "act_user_id": 5},
        {"op_type": "commit_repo", "created": "2026-01-01T00:00:10Z", "act_user_id": 6,
         "ref_name": "refs/heads/b", "content": json.dumps({"HeadCommit": {"Sha1": "c" * 40}})},
        {"op_type": 2**70},
    ]  # fmt: skip
    async with RawForge(answering(lambda _: said(rows))) as forge:
        page = await reader_of(forge).pushes(GARDEN, 1)
    assert [(push.branch, push.author_id) for push in page.pushes] == [("b", 6)]
    assert (page.oldest_s, page.unread, page.more) == (1_767_225_610, 1, True)
    async with RawForge(answering(lambda _: said([]))) as forge:
        assert not (await reader_of(forge).pushes(GARDEN, 2)).more


async def test_a_date_to_wait_until_is_obeyed_though_the_answer_tells_no_date() -> None:
    now_s = 1000.0
    later = {"Retry-After": "Fri, 01 Jan 2038 00:00:00 GMT", "Date": ""}
    async with RawForge(lambda _: Said(b"{}", 429, later)) as forge:
        http = forge.client(TOKEN, lambda: now_s)
        with pytest.raises(EdgeError, match="429") as found:
            await http.call("GET", "/version")
    assert found.value.retry_after_s == UNMEASURED_S
