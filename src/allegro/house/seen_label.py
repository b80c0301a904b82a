"""Tells each lane by which label house.toml expects issues to be marked as seen, once a link.

A lane with another label in lane.toml then marks nothing, so that no label of an honest lane is
taken for a thief's. What it names in return is shown to a person and believed by nobody: a stolen
lane could name any label.
"""

from __future__ import annotations

from allegro.core.base.untrusted import read_value
from allegro.core.effects.render import one_line
from allegro.core.health import codes
from allegro.core.health.alerts import RaiseAlert
from allegro.core.protocol.answers.lane import OwnLabel
from allegro.core.protocol.queries import TriageLabel
from allegro.house.ports import Ask
from allegro.runtime.tasks import OneEach

MAX_LABEL = 200


class SeenLabel:
    """`label` is `forge.triage_label` of house.toml."""

    def __init__(self, label: str, alert: RaiseAlert) -> None:
        self._label = label
        self._alert = alert
        self._tasks = OneEach("triage label", self._failed)

    def tell(self, lane: str, ask: Ask) -> None:
        """Begin to tell a lane that has just been linked. One that is older does not understand."""
        self._tasks.begin(lane, lambda: self._tell(lane, ask))

    async def _tell(self, lane: str, ask: Ask) -> None:
        answer = await ask(TriageLabel.name, TriageLabel(label=self._label).params())
        own = read_value(answer, OwnLabel)
        if isinstance(own, OwnLabel) and own.label and own.label != self._label:
            here = one_line(own.label, MAX_LABEL)
            self._alert(codes.LABEL, self._label, lane, here=here)

    def _failed(self, sentence: str) -> None:
        self._alert(codes.TASK_FAILED, "triage label", detail=sentence)

    async def idle(self) -> None:
        """Wait until each lane that is being told was told."""
        await self._tasks.idle()

    async def stop(self) -> None:
        await self._tasks.stop()
