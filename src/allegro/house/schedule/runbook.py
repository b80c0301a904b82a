"""The weekly check of the runbook: each code that can fire here leads to a section that is there."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from allegro.core.health.codes import CODES, Code, agent, fleet, forge
from allegro.runtime.scheduled_duty import DutyResult

SHOWN = 10


class InUse(msgspec.Struct, frozen=True):
    """Which parts of a fleet this configuration has."""

    forge: bool
    agent: bool
    council: bool


def anchors_of(page: str) -> set[str]:
    """Return the anchors of the headings of a Markdown page, as GitHub and Gitea make them."""
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).strip().replace(" ", "-") for one in headings}


def can_fire(in_use: InUse) -> list[Code]:
    """Return the codes that can fire with these parts; those of parts that are off cannot."""
    off: set[str] = set()
    for area, is_on in ((forge, in_use.forge), (agent, in_use.agent), (fleet, in_use.council)):
        if not is_on:
            off |= {one.code for one in vars(area).values() if isinstance(one, Code)}
    return [one for one in CODES.values() if one.code not in off]


def judged(codes: Iterable[Code], page: str) -> DutyResult:
    """Return which of these codes lead to no section of the page."""
    anchors, wanted = anchors_of(page), list(codes)
    lost = [one for one in wanted if one.runbook not in anchors]
    figures = {"codes": len(wanted), "sections": len(anchors), "missing": len(lost)}
    if lost:
        named = ", ".join(f"{one.code} (#{one.runbook})" for one in lost[:SHOWN])
        words = f"{len(lost)} of {len(wanted)} codes lead to no section of the runbook: {named}"
        return DutyResult(words, figures, is_good=False)
    words = f"each of the {len(wanted)} codes that can fire here leads to one of {len(anchors)} sections"
    return DutyResult(words, figures)


class RunbookCheck:
    """Reads the page anew each time. `page` raises EdgeError where there is none."""

    def __init__(self, page: Callable[[], Awaitable[str]], in_use: Callable[[], InUse]) -> None:
        self._page = page
        self._in_use = in_use

    async def run(self) -> DutyResult:
        return judged(can_fire(self._in_use()), await self._page())
