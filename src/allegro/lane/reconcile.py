"""The full comparison: what still exists is never missed, what vanished is told (G1)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable

from allegro.core.errors import EdgeError
from allegro.core.issues import Comment, Issue, Repository
from allegro.core.marks import Window
from allegro.core.ports import ForgeReader
from allegro.lane.collect import MAX_PASSES, collect
from allegro.lane.recorder import Recorder
from allegro.lane.taking import Notes, Taking

CHUNK = 500


async def reconcile(
    reader: ForgeReader,
    recorder: Recorder,
    taking: Taking,
    repo: Repository,
    page_size: Callable[[], Awaitable[int]],
) -> None:
    """List everything a repository has, journal what is new or changed, tell what is gone.

    Raises EdgeError; what was journalled until then stays.
    """
    collected = await collect(
        lambda window, page: reader.repository_issues(repo, window, page),
        Window(0, None),
        page_size=await page_size(),
    )
    comments = await _all_comments(reader, repo, await page_size())
    pending: Notes = ([], [])
    for issue in collected.issues:
        _merge(pending, taking.issue(issue))
        await _pull(reader, taking, repo, issue, pending)
        _merge(pending, taking.comments(repo, issue.number, comments.get(issue.number, ())))
        if len(pending[0]) >= CHUNK:
            await _flush(recorder, taking, pending)
    gone = await _gone(reader, taking, repo, {issue.number for issue in collected.issues})
    for subject, number in gone:
        _merge(pending, taking.comments(repo, number, ()))  # they went with their issue
        _merge(pending, taking.vanished(repo.id, subject, number))
    data = {"repository": repo.id, "issues": len(collected.issues), "vanished": len(gone)}
    pending[0].append(recorder.event("forge.reconciled", data=data))
    await _flush(recorder, taking, pending)
    taking.completed(repo.id)


async def _all_comments(
    reader: ForgeReader, repo: Repository, page_size: int
) -> dict[int, list[Comment]]:
    """Read all comments, in passes until one saw as many as it began with.

    A comment deleted meanwhile lets another jump over the page that is read next; taken for
    vanished it would be told as what it is not.
    """
    by_issue: dict[int, dict[int, Comment]] = defaultdict(dict)
    for _ in range(MAX_PASSES):
        first = found = await reader.repository_comments(repo, 0, 1)
        seen: set[int] = set()
        page = 1
        while found.comments:
            for number, comment in found.comments:
                seen.add(comment.id)
                by_issue[number][comment.id] = comment
            if 0 <= found.total <= page * page_size:
                break
            page += 1
            found = await reader.repository_comments(repo, 0, page)
        if len(seen) >= first.total:
            return {number: list(comments.values()) for number, comments in by_issue.items()}
    raise EdgeError("the forge's comments move faster than they can be read", transient=True)


async def _pull(
    reader: ForgeReader, taking: Taking, repo: Repository, issue: Issue, pending: Notes
) -> None:
    if issue.is_pull_request and pending[0] and pending[0][-1].data.get("number") == issue.number:
        pull = await reader.pull(repo, issue.number)
        if pull is not None:
            _merge(pending, taking.pull(repo, pull, issue))


async def _gone(
    reader: ForgeReader, taking: Taking, repo: Repository, listed: set[int]
) -> list[tuple[str, int]]:
    gone = []
    for subject in taking.known(repo.id):
        number = int(subject.rsplit("#", 1)[1])
        if number not in listed and await reader.issue(repo, number) is None:
            gone.append((subject, number))
    return gone


async def _flush(recorder: Recorder, taking: Taking, pending: Notes) -> None:
    events, versions = pending
    await recorder.append(list(events), None, list(versions))
    taking.keep(versions)
    events.clear()
    versions.clear()


def _merge(pending: Notes, more: Notes) -> None:
    pending[0].extend(more[0])
    pending[1].extend(more[1])
