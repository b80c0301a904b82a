"""One comment on an issue follows a session: its report, with no word of a model in it (H8)."""

from __future__ import annotations

from functools import partial

from allegro.core.authority.actions.agent import MODEL_NAME
from allegro.core.base.errors import EdgeError
from allegro.core.documents.report_text import report_text
from allegro.core.documents.subject import Subject
from allegro.core.requests.documents import ReportDocument, Telemetry
from allegro.core.stores import Ledger, SessionRecord
from allegro.house.agent.sessions import Sessions
from allegro.house.documents.comments import Comments, issue_named, reports_since
from allegro.house.requests.newest_state import Homes, ItemPorts
from allegro.house.requests.requests import Requests


class Progress:
    """Keeps the comment of each session that names an issue at its newest state."""

    def __init__(
        self,
        sessions: Sessions,
        requests: Requests,
        comments: Comments,
        ports: ItemPorts,
        ledger: Ledger,
    ) -> None:
        self._requests = requests
        self._comments = comments
        self._clock = ports.clock
        self._ledger = ledger
        self._homes = Homes("progress", self._show, ports)
        self._shown: dict[str, str] = {}
        self._newest: dict[str, SessionRecord] = {}
        sessions.on_change(self._changed)

    def _changed(self, record: SessionRecord) -> None:
        if record.issue and self._shown.get(record.id) != record.state:
            self._shown[record.id] = record.state
            self._newest[record.id] = record
            self._homes.put(record.id)

    async def run(self) -> None:
        """Show states as they come; a forge that cannot be asked now is asked again.

        An end of which the program did not live to ask for the comment is shown first. Raises
        EdgeError of the ledger.
        """
        since_s = await reports_since(self._ledger, self._clock.now_s())
        for record in await self._ledger.sessions():
            ended_s = record.ended_s if record.end else float("inf")
            if ended_s >= since_s and not self._comments.is_shown_since(record.id, ended_s):
                self._changed(record)
        await self._homes.run()

    async def _show(self, id_: str) -> None:
        record = self._newest[id_]
        home = issue_named(record.issue)
        if home is None:
            raise EdgeError(f"{record.issue[:100]!r} names no issue", transient=False)
        subject = self._subject(record)
        await self._comments.show(record.id, home, partial(progress_text, record, subject))
        if record.end and self._newest.get(id_) is record:
            del self._newest[id_], self._shown[id_]

    def _subject(self, record: SessionRecord) -> Subject:
        request = self._requests.find_exact(record.id)
        if request is None:
            return subject_of_session(record)
        return Subject(
            id=record.id,
            type=request.document.type,
            urgency=request.document.urgency,
            since_s=request.created_s,
            digest=request.digest,
            expires_s=request.document.expires_s,
        )


def subject_of_session(record: SessionRecord) -> Subject:
    """Return what the report of a session is about whose request left memory."""
    return Subject(id=record.id, type="review", urgency="medium", since_s=record.began_s)


def progress_text(record: SessionRecord, subject: Subject, private: bool) -> str:
    """Return the comment of a session: facts of the house and numbers, no word of a model."""
    return report_text(session_report(record), subject, private=private)


def session_report(record: SessionRecord) -> ReportDocument:
    """Return how a session stands, or ended, as its report document (C7)."""
    ended, completed = bool(record.end), record.end == "completed"
    named = bool(MODEL_NAME.fullmatch(record.model))  # a lane's word
    results = [record.end or record.state, f"on lane {record.lane}"]
    results += [f"model {record.model}"] if named else []
    results += [f"{record.tokens} tokens", f"{record.tools} tool calls"] if ended else []
    return ReportDocument(
        task=f"session {record.id} for {record.issue}",
        status=_status(record),
        duration_s=record.duration_s,
        results=tuple(results),
        artifacts=(),
        telemetry=Telemetry(1, float(completed) if ended else None, record.duration_s),
        next_steps=_next_steps(record),
    )


def _status(record: SessionRecord) -> str:
    if record.end:
        return "complete" if record.end == "completed" else "failed"
    return "blocked" if record.state == "waiting" else "in-progress"


def _next_steps(record: SessionRecord) -> tuple[str, ...]:
    if record.end:
        return (f"read it at the house: allegro session {record.id}",)
    if record.state == "waiting":
        return ("answer it at the house: allegro requests; a comment here is no answer",)
    return ()
