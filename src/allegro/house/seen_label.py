"""Tells each lane by which label house.toml expects issues to be marked as seen, once a link.

A lane with another label in lane.toml then marks nothing, so that no label of an honest lane is
taken for a thief's. What it names in return is shown to a person and believed by nobody: a stolen
lane could name any label.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from allegro.core.base.untrusted import text_of
from allegro.core.effects.render import one_line
from allegro.core.protocol.queries import TriageLabel
from allegro.runtime.duties import OneEach

MAX_LABEL = 200

Ask = Callable[[str, dict[str, Any]], Awaitable[Any]]


class Tell(Protocol):
    def __call__(self, urgency: str, sentence: str, /, lane: str) -> None: ...


class SeenLabel:
    """`label` is `forge.triage_label` of house.toml."""

    def __init__(self, label: str, alert: Tell) -> None:
        self._label = label
        self._alert = alert
        self._tasks = OneEach("triage label", lambda sentence: alert("high", sentence, lane=""))

    def tell(self, lane: str, ask: Ask) -> None:
        """Begin to tell a lane that has just been linked. One that is older does not understand."""
        self._tasks.begin(lane, lambda: self._tell(lane, ask))

    async def _tell(self, lane: str, ask: Ask) -> None:
        answer = await ask(TriageLabel.name, TriageLabel(label=self._label).params())
        label = answer.get("label") if isinstance(answer, dict) else None
        other = text_of(label, MAX_LABEL)
        if other and other != self._label:
            self._alert(
                "high", f"lane {lane} marks no issue as seen: forge.triage_label is"
                f" {one_line(other, MAX_LABEL)!r} in lane.toml and {self._label!r} in house.toml;"
                " write the same into both, and restart the one you changed", lane=lane,
            )  # fmt: skip

    async def idle(self) -> None:
        """Wait until each lane that is being told was told."""
        await self._tasks.idle()

    async def stop(self) -> None:
        await self._tasks.stop()
