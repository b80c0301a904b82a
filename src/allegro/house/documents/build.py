"""Makes what this wing does, for the house's app: one line there."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from allegro.core.settings import HouseSettings
from allegro.house.documents.comments import Comments
from allegro.house.documents.decisions import Decisions
from allegro.house.documents.left_reports import LeftReports
from allegro.house.documents.mirror import Mirror
from allegro.house.documents.report_issue import ReportIssue
from allegro.house.documents.reports import Reports
from allegro.house.ports import Ask, Ports
from allegro.house.requests.newest_state import ItemPorts
from allegro.house.requests.requests import Requests


class Documents:
    """What shows requests and reports, and the questions. `lanes` asks a lane, and wakes who gives the orders."""

    def __init__(
        self,
        ports: Ports,
        items: ItemPorts,
        requests: Requests,
        settings: HouseSettings,
        lanes: tuple[Ask, Callable[[], None]],
    ) -> None:
        self.comments = Comments(requests, *lanes)
        self.decisions = Decisions(
            ports.ledger, ports.clock, ports.dice, settings.requests.expiry_s
        )
        self._mirror = Mirror(requests, self.decisions, settings.requests, self.comments, items)
        self._reports = Reports(requests, settings.requests, self.comments, items, ports.ledger)

        self.left = LeftReports(self.comments, ports.clock, ports.dice)
        self.report_issue = ReportIssue(settings.report, self.comments, items, ports.ledger)

    def duties(self) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        """Return the duties of a house that acts, by name."""
        return {
            "decisions": self.decisions.run,
            "mirror": self._mirror.run,
            "reports": self._reports.run,
            "report issue": self.report_issue.run,
        }
