"""Reports that programs and people leave of what they carried out: a drill, a task of their own."""

from __future__ import annotations

from allegro.core.base.canonical import sha256_hex
from allegro.core.base.errors import EdgeError
from allegro.core.documents.report_text import report_text
from allegro.core.documents.subject import Subject
from allegro.core.effects.render import one_line
from allegro.core.ports import Clock, Dice
from allegro.core.protocol.answers.decisions import ReportLeft
from allegro.core.protocol.asked import LeaveReport
from allegro.core.requests.documents import ReportDocument
from allegro.core.requests.index import program_of
from allegro.house.documents.comments import Comments, issue_named
from allegro.house.requests.asking import asker


class LeftReports:
    """Asks for the comment of a report at once; once it answered, an order will write it."""

    def __init__(self, comments: Comments, clock: Clock, dice: Dice) -> None:
        self._comments = comments
        self._clock = clock
        self._dice = dice

    async def leave(self, wish: LeaveReport) -> ReportLeft:
        """Leave a report. Raises EdgeError: transient where no lane can be asked; nothing is kept."""
        home = issue_named(wish.issue)
        if home is None:
            raise EdgeError("issue must be like owner/name#12", transient=False, kind="bad_issue")
        id_ = self._id(wish)
        report = ReportDocument(
            task=wish.task,
            status=wish.status,
            duration_s=wish.duration_s,
            results=wish.results,
            artifacts=wish.artifacts,
            telemetry=wish.telemetry,
            next_steps=wish.next_steps,
        )
        about = Subject(id=id_, type="review", urgency="low", since_s=self._clock.now_s())
        await self._comments.show(
            f"left report {id_}", home, lambda private: report_text(report, about, private=private)
        )
        return ReportLeft(id=id_, issue=one_line(wish.issue))

    def _id(self, wish: LeaveReport) -> str:
        """Return a report's id: the same for one key of one program, else a new one."""
        if not wish.key:
            return self._dice.token(10).hex()
        named = f"{program_of(asker(wish.asked_by))}\0{wish.key}"
        return sha256_hex(named.encode("utf-8", "replace"))[:20]
