"""The morning report's place on the forge: one comment a day, or a week, in one issue.

The policy table lets no program open an issue (`anything unlisted` is never done), and a bot that opens
one freezes the fleet as a thief would. So a person opens the issue once, names it in `report.issue`, and
each day's report is one comment in it, edited in place where the report is built again.
"""

from __future__ import annotations

import asyncio
import datetime
from typing import Literal

import msgspec

from allegro.core.authority.actions.forge import MAX_BODY_BYTES
from allegro.core.base.untrusted import Unreadable, read_json
from allegro.core.documents.report_text import REPORT_HEADING
from allegro.core.documents.subject import Subject, public_text
from allegro.core.requests.lifecycle import State
from allegro.core.settings import ReportSettings
from allegro.core.stores import Ledger
from allegro.house.documents.comments import Comments, issue_named
from allegro.house.requests.newest_state import Homes, ItemPorts

HELD = 8
"""So many days' or weeks' reports are held to be shown, the newest ones."""
_KEPT = "morning reports"
_CUT = "\n\n*(cut: the report at home is longer)*"


class Published(msgspec.Struct, frozen=True):
    """The newest report of one day or week. `day` is the last one that it is about."""

    period: str
    day: datetime.date
    at_s: float
    text: str


class Delivery(msgspec.Struct, frozen=True):
    """How far a report is. `url` leads to its comment once it is shown; `detail` says why not."""

    state: Literal["off", "none", "waiting", "shown", "failed"]
    url: str = ""
    detail: str = ""


class ReportIssue:
    """Takes reports, and asks for their comments. What was taken is on disk and outlives a kill."""

    def __init__(
        self, settings: ReportSettings, comments: Comments, ports: ItemPorts, ledger: Ledger
    ) -> None:
        self._settings = settings
        self._home = issue_named(settings.issue)
        self._comments = comments
        self._clock = ports.clock
        self._ledger = ledger
        self._held: dict[str, Published] = {}
        self._taking = asyncio.Lock()
        self._homes = Homes("report issue", self._show, ports)

    @property
    def waiting(self) -> int:
        """How many reports are not asked for yet."""
        return self._homes.waiting

    async def publish(self, day: datetime.date, markdown: str) -> None:
        """Show a report of this day in the configured issue; nothing where none is configured.

        `day` counts in the owner's zone. The words are the reporter's own: what others wrote must stand
        in code spans already (`core/documents/words`). Taken again with other words, the comment is
        edited; a report of an earlier day never replaces that of a later one. Durable when it
        returns. Raises EdgeError of the ledger.
        """
        if self._home is None:
            return
        text = markdown.encode("utf-8", "replace").decode()
        async with self._taking:
            await self._resume()
            await self._take(day, text)

    async def _take(self, day: datetime.date, text: str) -> None:
        period = self.period(day)
        held = self._held.get(period)
        if held is not None and (held.day > day or (held.day == day and held.text == text)):
            return
        newest = {**self._held, period: Published(period, day, self._clock.now_s(), text)}
        kept = dict(sorted(newest.items())[-HELD:])
        lines = tuple(msgspec.json.encode(one).decode() for one in kept.values())
        await self._ledger.set_strings(_KEPT, lines)
        self._held = kept
        if period in kept:
            self._homes.put(period)

    def period(self, day: datetime.date) -> str:
        """Return the day or the ISO week that a day's report is shown under."""
        year, week, _ = day.isocalendar()
        return f"{year}-W{week:02}" if self._settings.per == "week" else day.isoformat()

    async def delivery(self, day: datetime.date) -> Delivery:
        """Return how far the report of this day is, also after a restart. Raises EdgeError."""
        if self._home is None:
            return Delivery("off", detail="report.issue names no issue")
        await self._resume()
        held = self._held.get(self.period(day))
        if held is None or held.day < day:
            return Delivery("none", detail="no report was built for this day")
        asked = self._comments.last(name_of(held.period))
        if asked is None or asked.created_s < held.at_s:
            return Delivery("waiting", detail="not asked for yet")
        if asked.state is State.DONE:
            return Delivery("shown", asked.url)
        return Delivery("failed" if asked.is_final else "waiting", detail=asked.detail)

    async def run(self) -> None:
        """Ask for comments until cancelled; what an earlier start took is asked for first.

        Raises EdgeError of the ledger.
        """
        if self._home is None:
            return
        await self._resume()
        for held in self._held.values():
            if not self._comments.is_shown_since(name_of(held.period), held.at_s):
                self._homes.put(held.period)
        await self._homes.run()

    async def _resume(self) -> None:
        if self._held:
            return
        for line in await self._ledger.strings(_KEPT):
            held = read_json(line, Published)
            if not isinstance(held, Unreadable):
                self._held[held.period] = held

    async def _show(self, period: str) -> None:
        held = self._held.get(period)
        if held is None or self._home is None:
            return
        await self._comments.show(
            name_of(period), self._home, lambda private: _text(held, private=private)
        )


def name_of(period: str) -> str:
    """Return the name of a period's comment, of which its marker is computed."""
    return f"morning report {period}"


def _text(held: Published, *, private: bool) -> str:
    if private:
        return _fitting(held.text)
    about = Subject(id=held.period, type="review", urgency="low", since_s=held.at_s)
    return public_text(REPORT_HEADING, about, "report")


def _fitting(text: str) -> str:
    """Return at most as many bytes as a comment may have, cut after a paragraph."""
    raw, most = text.encode("utf-8", "replace"), MAX_BODY_BYTES - len(_CUT.encode())
    if len(raw) <= MAX_BODY_BYTES:
        return raw.decode() or "–"
    beginning = raw[:most].decode("utf-8", "ignore")
    return (beginning.rpartition("\n\n")[0] or beginning) + _CUT
