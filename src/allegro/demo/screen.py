"""The play as a person sees it: a timeline, a request in a box, a last line with the sums."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from allegro.client.hermes_bridge import TelemetryEvent
from allegro.client.session_lines import step_line, text_piece
from allegro.core.effects.render import visible
from allegro.core.protocol.answers.requests import RequestAnswer
from allegro.core.protocol.event_types import EventType
from allegro.demo.report import DemoReport, Tried
from allegro.sovereign.show import draw

_STEPS = {
    "forge": "a forge with one repository",
    "pair": "house and lane are paired",
    "link": "the house dials the lane",
    "issue": "a person opens an issue",
    "home": "the issue is known at the house",
    "triage": "the lane marks it as seen",
    "request": "Timmy's agent asks for a change",
    "approve": "Timmy approves exactly that",
    "pull_request": "the pull request is open, with real commits",
    "report": "the report is on the issue",
    "agent": "an agent is ready on the lane",
    "question": "it wants something dangerous and waits for Timmy",
    "denied": "Timmy says no",
    "session": "the session is over; the lane forgets it",
    "cut": "the link is cut; the world goes on",
    "drain": "the link is back; everything is home, in order",
    "thief": "a thief with the house key tries six bad things",
}


_INDENT = "           "
LINE = 76


class Screen:
    """Prints steps as they happen. Silent for --json."""

    def __init__(self, *, quiet: bool) -> None:
        self._column = 0
        width = None if sys.stdout.isatty() else 96
        self.console = Console(quiet=quiet, highlight=False, width=width)

    def title(self, text: str) -> None:
        self.console.print(Text(text, style="bold"))

    def step(self, name: str, at_s: float, took_s: float, detail: str) -> None:
        self._break()
        line = Text()
        line.append(f"{at_s:6.2f} s  ", style="dim")
        line.append("✓ ", style="green")
        line.append(_STEPS.get(name, name))
        if detail:
            line.append(f"  {detail}", style="cyan")
        line.append(f"  ({took_s * 1000:.0f} ms)", style="dim")
        self.console.print(line)

    def request(self, request: RequestAnswer) -> None:
        draw(request, self.console)

    def live(self, event: TelemetryEvent) -> None:
        """Show an agent's text and tools as they come home."""
        text, _ = step_line(event)
        if event.type == EventType.SESSION_DELTA:
            self._write(text_piece(event))
        elif (
            event.type in {EventType.SESSION_TOOL_BEGAN, EventType.SESSION_TOOL_ENDED}
            and text.strip()
        ):
            self._break()
            self.console.print(Text(_INDENT + visible(text.strip())[:80], style="dim"))
        elif event.type in {EventType.SESSION_QUESTION, EventType.SESSION_END}:
            self._break()

    def _write(self, text: str) -> None:
        """Write a piece of text where the line is, and begin a new line where it is full."""
        for word in visible(text).split():
            if self._column + len(word) > LINE:
                self._break()
            if not self._column:
                self.console.print(Text(_INDENT, style="dim"), end="")
            self.console.print(Text(word + " ", style="magenta"), end="")
            self._column += len(word) + 1

    def _break(self) -> None:
        if self._column:
            self.console.print()
        self._column = 0

    def refused(self, tried: Sequence[Tried]) -> None:
        for one in tried:
            good = one.ok
            line = Text("           ")
            line.append("✗ " if good else "! ", style="green" if good else "red")
            line.append(f"{one.case:<28}")
            line.append(f"refused: {one.reason}" if good else f"NOT as expected: {one.reason!r}")
            self.console.print(line)

    def sums(self, report: DemoReport) -> None:
        events, session, outage = report.events, report.session, report.outage
        verdict = "all as it should be" if report.ok else "NOT as it should be"
        refused = sum(one.ok for one in report.refused)
        sentence = (
            f"\n{verdict}: {events.archived} of {events.sent} events home, "
            f"{events.lost} lost, {events.duplicated} doubled, "
            f"lag p50 {events.lag_ms.p50} ms, p99 {events.lag_ms.p99} ms · "
            f"pull request {report.pull_request.after_approval_s} s after the approval · "
            f"{outage.backlog} events drained in {outage.sync_s} s · "
            f"{refused} of {len(report.refused)} bad things refused · "
            f"agent session {session.state}, {session.denied} tool call denied, "
            f"lag p99 {session.lag_ms.p99} ms"
        )
        self.console.print(Text(sentence, style="bold green" if report.ok else "bold red"))
