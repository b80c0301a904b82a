"""The archive on the house's API: events, gaps, issues as they came home, and what was set aside."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from aiohttp import web

from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.base.events import Event, decode_event
from allegro.core.base.untrusted import (
    MAX_NAME,
    MAX_NUMBER,
    UNREADABLE,
    Unreadable,
    number_of,
    read_value,
    unreadable,
)
from allegro.core.effects.render import one_line
from allegro.core.forge.issues import Issue
from allegro.core.protocol.answers.house import (
    AsideAnswer,
    EventsEnd,
    Gap,
    GapsAnswer,
    IssuesAnswer,
    ResumeAnswer,
    ShownAside,
    ShownEvent,
)
from allegro.core.protocol.event_types import EventType
from allegro.core.stores import Archive, Archived, WorkBook
from allegro.house.api.http import answer_json, number_in, refused, seconds_in, sentence
from allegro.house.archive.suspended import Suspended
from allegro.runtime.tasks import Soon

SHOWN = 200
"""So many of the newest items that were set aside are shown."""
FOLLOW_S = 15.0
BATCH = 500


class _Wanted(msgspec.Struct, frozen=True):
    """Which events a caller wants."""

    limit: int
    prefix: str
    subject: str | None
    follow: bool


class ArchiveApi:
    """Routes and nothing else. `open_words` opens what a lane sealed into an event."""

    def __init__(self, archive: Archive, open_words: Callable[[Event], Any]) -> None:
        self._archive = archive
        self._open_words = open_words
        self._grew = asyncio.Condition()
        self._wakes = Soon("followers")

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/events", self._events),
            web.get("/v1/gaps", self._gaps),
            web.get("/v1/issues", self._issues),
        ]

    def archived(self) -> None:
        """Wake whoever follows events."""
        self._wakes.begin("news", self._wake())

    async def _wake(self) -> None:
        async with self._grew:
            self._grew.notify_all()

    async def _gaps(self, _: web.Request) -> web.Response:
        gaps = tuple(
            Gap(
                lane=lane,
                journal=journal,
                first=first,
                last=last,
                count=count,
                shed=shed,
                reason=reason,
                at_s=at_s,
            )
            for lane, journal, first, last, count, shed, reason, at_s in await self._archive.gaps()
        )
        return answer_json(GapsAnswer(gaps=gaps))

    # --- issues ------------------------------------------------------------------------------

    async def _issues(self, request: web.Request) -> web.Response:
        """The newest version of each issue of a repository, as archived.

        One that cannot be read hides no other: `unreadable` counts them.
        """
        name = request.query.get("repository", "")
        since_s = int(seconds_in(request, "since_s", 0.0, most=MAX_NUMBER - 1))
        repository = await self._repository_id(name)
        stored = await self._archive.objects(repository, since_s, EventType.FORGE_SNAPSHOT_ISSUE)
        read = [_issue(self._words_of(raw)) for raw in stored]
        issues = tuple(issue for issue in read if isinstance(issue, Issue))
        unread = sum(isinstance(issue, Unreadable) for issue in read)
        return answer_json(IssuesAnswer(issues, unread))

    async def _repository_id(self, name: str) -> int:
        for raw in await self._archive.newest_of_type(EventType.FORGE_SNAPSHOT_REPOSITORY):
            words = self._words_of(raw)
            if isinstance(words, dict) and words.get("name") == name:
                return number_of(decode_event(raw).data.get("repository"))
        why = (
            f"{name[:MAX_NAME]} is not known here: is it in forge.watch of a lane, and has a poll"
            " come home?"
        )
        raise EdgeError(why, transient=False, kind="not_found")

    def _words_of(self, raw: bytes) -> Any:
        """Return the words of a stored event, None when it has none, or Unreadable."""
        try:
            event = decode_event(raw)
            words = self._open_words(event)
        except UNREADABLE as error:  # a lane's bytes
            return unreadable(error)
        return Unreadable("cannot be opened") if event.sealed and words is None else words

    # --- events ------------------------------------------------------------------------------

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Events as JSON lines, oldest first; `follow=1` goes on until the caller hangs up.

        The last line says that it is the last: `{"end": …}` or `{"error": …}`, each with `after`.
        """
        after = number_in(request, "after", 0)
        if "last" in request.query:
            after = max(0, await self._archive.last_row() - number_in(request, "last", 0))
        wanted = _Wanted(
            limit=number_in(request, "limit", MAX_NUMBER - 1),
            prefix=request.query.get("prefix", ""),
            subject=request.query.get("subject"),
            follow=request.query.get("follow") == "1",
        )
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        try:
            async for archived in self._stream(after, wanted):
                after = archived.row
                await response.write(self._line(archived) + b"\n")
            is_limit = wanted.limit < MAX_NUMBER - 1
            last = EventsEnd(after, end="limit" if is_limit else "all")
        except EdgeError as error:
            last = EventsEnd(after, error=sentence(error))
        await response.write(msgspec.json.encode(last) + b"\n")
        await response.write_eof()
        return response

    async def _stream(self, after: int, wanted: _Wanted) -> AsyncIterator[Archived]:
        left = wanted.limit
        while left > 0:
            batch = await self._archive.events(
                after, min(BATCH, left), prefix=wanted.prefix, subject=wanted.subject
            )
            for archived in batch:
                after = archived.row
                yield archived
            left -= len(batch)
            if not batch:
                if not wanted.follow:
                    return
                async with self._grew:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._grew.wait(), FOLLOW_S)

    def _line(self, archived: Archived) -> bytes:
        """Return one event as a line; a lane's bytes that are none are shown as such."""
        try:
            return msgspec.json.encode(self.opened(archived))
        except UNREADABLE as error:
            why = unreadable(error).reason
            shown = msgspec.structs.replace(_row(archived), type="unreadable", unreadable=why)
            return msgspec.json.encode(shown)

    def opened(self, archived: Archived) -> ShownEvent:
        """Return an archived event with its words opened. Raises ValueError where it is none."""
        event = decode_event(archived.stored)
        return msgspec.structs.replace(
            _row(archived),
            id=event.id,
            type=event.type,
            subject=event.subject,
            time=event.time,
            data=event.data,
            words=self._open_words(event),
        )


class AsideApi:
    """Routes and nothing else. `kick` lets orders be looked at again."""

    def __init__(self, book: WorkBook, suspended: Suspended, kick: Callable[[], None]) -> None:
        self._book = book
        self._suspended = suspended
        self._kick = kick

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/aside", self._show),
            web.post("/v1/lanes/{lane}/resume", self._resume),
        ]

    async def _show(self, _: web.Request) -> web.Response:
        aside = await self._book.all_set_aside()
        items = tuple(
            ShownAside(one.duty, one.item, one.lane, one.reason, one.at_s) for one in aside[-SHOWN:]
        )
        suspended = self._suspended.described()
        return answer_json(AsideAnswer(count=len(aside), items=items, suspended=suspended))

    async def _resume(self, request: web.Request) -> web.Response:
        lane = request.match_info["lane"]
        if not await self._suspended.lift(lane):
            why = f"no lane {one_line(lane, 64)} is suspended: no orders wait for it"
            return refused(Refusal("not_found", why))
        self._kick()
        return answer_json(ResumeAnswer(lane))


def _row(archived: Archived) -> ShownEvent:
    return ShownEvent(row=archived.row, lane=archived.lane, archived_s=archived.at_s)


def _issue(words: Any) -> Issue | Unreadable | None:
    """Return an archived issue, None where its lane sealed none."""
    return words if isinstance(words, Unreadable | None) else read_value(words, Issue)
