"""What can be asked on the house's socket: a method for each path, the type of each answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

from allegro.client.errors import BadRequest
from allegro.client.socket import HouseSocket, named, unreadable_answer
from allegro.core.base.untrusted import Unreadable, read_value
from allegro.core.forge.issues import Issue
from allegro.core.measures.answers import MeasuresAnswer
from allegro.core.protocol.answers.alerts import (
    AlertActAnswer,
    AlertsAnswer,
    MaintenanceAnswer,
)
from allegro.core.protocol.answers.decisions import DecisionAnswer, DecisionsAnswer, ReportLeft
from allegro.core.protocol.answers.duties import DutiesAnswer, DutyRunAnswer
from allegro.core.protocol.answers.fleet import (
    FleetAnswer,
    HealthAnswer,
    LaneOffer,
    ReportedAnswer,
    RestAnswer,
)
from allegro.core.protocol.answers.house import (
    AsideAnswer,
    BringAnswer,
    DoctorAnswer,
    GapsAnswer,
    IssuesAnswer,
    ReloadAnswer,
    ResumeAnswer,
    ShownEvent,
    StatusAnswer,
    StopAnswer,
    ThawAnswer,
    read_status_answer,
)
from allegro.core.protocol.answers.requests import RequestAnswer, RequestsAnswer
from allegro.core.protocol.answers.sessions import (
    LoanAnswer,
    RevokedAnswer,
    SessionAnswer,
    SessionsAnswer,
    StoppedAnswer,
)
from allegro.core.protocol.asked import (
    GiveAnswer,
    Happened,
    LeaveReport,
    LetRest,
    NewLoan,
    NewMaintenance,
    NewSession,
    Question,
    Reason,
    RunDuty,
    Signed,
    StopAll,
)
from allegro.core.protocol.queries import AskIssue
from allegro.core.reports.answers import ReportAnswer
from allegro.core.requests.decisions import NewDecision
from allegro.core.requests.proposals import Proposal

T = TypeVar("T")


class HouseClient(HouseSocket):
    """Use as an async context manager. Every method raises HouseUnreachable, BadRequest, NotNow.

    An id may be the beginning of one, of 8 characters at least; a request is also named by its
    digest. Times to wait are seconds.
    """

    # --- the house -----------------------------------------------------------------------------

    async def status(self) -> StatusAnswer:
        answer = read_status_answer(await self.get("status"))
        if isinstance(answer, Unreadable):
            raise unreadable_answer("status", answer)
        return answer

    async def doctor(self) -> DoctorAnswer:
        return await self.read(DoctorAnswer, "doctor")

    async def stop(self, reason: str, by: str) -> StopAnswer:
        """Freeze every lane, now."""
        return await self.send(StopAnswer, "stop", StopAll(reason, by))

    async def thaw(self, token: str) -> ThawAnswer:
        return await self.send(ThawAnswer, "thaw", Signed(token))

    async def bring(self, token: str) -> BringAnswer:
        """Bring a signed thing to every linked lane."""
        return await self.send(BringAnswer, "bring", Signed(token))

    async def reload(self) -> ReloadAnswer:
        """Let the house read its keys, its seat and its lanes again."""
        return await self.send(ReloadAnswer, "reload")

    async def set_aside(self) -> AsideAnswer:
        return await self.read(AsideAnswer, "aside")

    async def resume(self, lane: str) -> ResumeAnswer:
        """Let orders go to a lane again."""
        return await self.send(ResumeAnswer, f"lanes/{named(lane)}/resume", {})

    async def measures(self, window_s: float = 7 * 86_400.0) -> MeasuresAnswer:
        """Return every figure over the `window_s` seconds before now."""
        return await self.read(MeasuresAnswer, "measures", window_s=window_s)

    async def report(
        self, day: str | None = None, *, form: str = "md", weekly: bool = False
    ) -> ReportAnswer:
        """Return the morning report of a day (`2026-11-28`), None for yesterday.

        `form` is md, txt, html or json.
        """
        wanted: dict[str, str | int] = {"form": form, "weekly": int(weekly)}
        if day is not None:
            wanted["day"] = day
        return await self.read(ReportAnswer, "report", **wanted)

    async def duties(self) -> DutiesAnswer:
        """Return every scheduled duty of the house and of its lanes."""
        return await self.read(DutiesAnswer, "duties")

    async def run_duty(self, name: str) -> DutyRunAnswer:
        """Run a scheduled duty now, at each owner that has it; `NAME@OWNER` names one.

        One that takes longer than 45 s runs on and is returned as running.
        """
        return await self.send(DutyRunAnswer, "duties/run", RunDuty(name))

    async def alerts(self) -> AlertsAnswer:
        return await self.read(AlertsAnswer, "alerts")

    async def act_on_alert(self, name: str, act: str, **body: float) -> AlertActAnswer:
        """Do `ack`, `snooze` (`for_s`), `useful` or `noise` to alerts by id, code or notice."""
        return await self.send(AlertActAnswer, f"alerts/{named(name)}/{named(act)}", body)

    async def begin_maintenance(self, new: NewMaintenance) -> MaintenanceAnswer:
        """Hold back the alerts that are named; the answer has the window's id."""
        return await self.send(MaintenanceAnswer, "maintenance", new)

    async def end_maintenance(self, window: str) -> MaintenanceAnswer:
        return await self.send(MaintenanceAnswer, f"maintenance/{named(window)}/end", {})

    # --- requests ------------------------------------------------------------------------------

    async def requests(self) -> RequestsAnswer:
        return await self.read(RequestsAnswer, "requests")

    async def request(self, id_: str) -> RequestAnswer:
        return await self.read(RequestAnswer, f"requests/{named(id_)}")

    async def propose(self, proposal: Proposal | Mapping[str, object]) -> RequestAnswer:
        """Ask for an act; a mapping has the fields of a `Proposal`."""
        return await self.send(RequestAnswer, "requests", proposal)

    async def wait_for_request(self, id_: str, timeout_s: float) -> RequestAnswer:
        """Return a request once it is settled, or as it is after so long."""
        path = f"requests/{named(id_)}/wait"
        return await self.read(RequestAnswer, path, timeout_s=timeout_s)

    async def note_shown(self, id_: str) -> RequestAnswer:
        return await self.send(RequestAnswer, f"requests/{named(id_)}/shown")

    async def approve(self, id_: str, token: str) -> RequestAnswer:
        return await self.send(RequestAnswer, f"requests/{named(id_)}/approve", Signed(token))

    async def reject(self, id_: str, reason: str) -> RequestAnswer:
        return await self.send(RequestAnswer, f"requests/{named(id_)}/reject", Reason(reason))

    async def withdraw(self, id_: str) -> RequestAnswer:
        return await self.send(RequestAnswer, f"requests/{named(id_)}/withdraw", {})

    async def leave_report(self, report: LeaveReport) -> ReportLeft:
        """Leave the report of a task in the issue it was asked in. NotNow: no lane, nothing kept."""
        return await self.send(ReportLeft, "reports", report)

    # --- questions with options ------------------------------------------------------------------

    async def decisions(self) -> DecisionsAnswer:
        return await self.read(DecisionsAnswer, "decisions")

    async def decision(self, id_: str) -> DecisionAnswer:
        return await self.read(DecisionAnswer, f"decisions/{named(id_)}")

    async def put_decision(self, new: NewDecision) -> DecisionAnswer:
        return await self.send(DecisionAnswer, "decisions", new)

    async def wait_for_decision(self, id_: str, timeout_s: float) -> DecisionAnswer:
        """Return a question once it ended, or as it is after so long."""
        path = f"decisions/{named(id_)}/wait"
        return await self.read(DecisionAnswer, path, timeout_s=timeout_s)

    async def note_decision_shown(self, id_: str) -> DecisionAnswer:
        return await self.send(DecisionAnswer, f"decisions/{named(id_)}/shown")

    async def answer_decision(self, id_: str, answer: GiveAnswer) -> DecisionAnswer:
        return await self.send(DecisionAnswer, f"decisions/{named(id_)}/answer", answer)

    async def withdraw_decision(self, id_: str) -> DecisionAnswer:
        return await self.send(DecisionAnswer, f"decisions/{named(id_)}/withdraw")

    # --- the archive, and what lanes read now ----------------------------------------------------

    async def shown_events(self, **wanted: str | int) -> AsyncIterator[ShownEvent]:
        """Yield archived events as `events` does, each as its type."""
        async for raw in self.events(**wanted):
            event = read_value(raw, ShownEvent)
            if isinstance(event, Unreadable):
                raise unreadable_answer("events", event)
            yield event

    async def gaps(self) -> GapsAnswer:
        return await self.read(GapsAnswer, "gaps")

    async def issues(self, repository: str, since_s: float = 0.0) -> IssuesAnswer:
        return await self.read(IssuesAnswer, "issues", repository=repository, since_s=since_s)

    async def issue(self, repository: str, number: int) -> Issue:
        """Return an issue as it stands now, read through a lane."""
        query = AskIssue(repository=repository, number=number)
        answer = await self.post("ask", Question(query.name, query.params()))
        issue = read_value(answer, Issue)
        if isinstance(issue, Unreadable):
            raise BadRequest(f"the lane's answer is no issue: {issue}")
        return issue

    # --- sessions and lent models ----------------------------------------------------------------

    async def sessions(self, limit: int) -> SessionsAnswer:
        return await self.read(SessionsAnswer, "sessions", limit=limit)

    async def session(self, id_: str) -> SessionAnswer:
        return await self.read(SessionAnswer, f"sessions/{named(id_)}")

    async def begin_session(self, session: NewSession) -> SessionAnswer:
        return await self.send(SessionAnswer, "sessions", session)

    async def wait_for_session(self, id_: str, timeout_s: float) -> SessionAnswer:
        """Return a session once it ended, or as it is after so long."""
        path = f"sessions/{named(id_)}/wait"
        return await self.read(SessionAnswer, path, timeout_s=timeout_s)

    async def stop_session(self, id_: str) -> StoppedAnswer:
        return await self.send(StoppedAnswer, f"sessions/{named(id_)}/stop")

    async def lend(self, loan: NewLoan) -> LoanAnswer:
        return await self.send(LoanAnswer, "loans", loan)

    async def revoke_loan(self, id_: str) -> RevokedAnswer:
        return await self.send(RevokedAnswer, f"loans/{named(id_)}/revoke")

    # --- the fleet -------------------------------------------------------------------------------

    async def fleet(self) -> FleetAnswer:
        return await self.read(FleetAnswer, "fleet")

    async def offer(self, lane: str) -> LaneOffer:
        return await self.read(LaneOffer, f"fleet/offer/{named(lane)}")

    async def lane_health(self, lane: str) -> HealthAnswer:
        return await self.read(HealthAnswer, f"fleet/health/{named(lane)}")

    async def let_rest(self, wish: LetRest) -> RestAnswer:
        return await self.send(RestAnswer, "fleet/rest", wish)

    async def report_failover(self, happened: Happened) -> ReportedAnswer:
        return await self.send(ReportedAnswer, "fleet/happened", happened)


async def ask_house(socket: Path | None, question: Callable[[HouseClient], Awaitable[T]]) -> T:
    """Ask the house on this socket one thing, such as `HouseClient.status`."""
    async with HouseClient(socket) as house:
        return await question(house)
