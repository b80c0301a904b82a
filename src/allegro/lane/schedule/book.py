"""Where a lane keeps its scheduled duties: plans in its folder, records in its journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from allegro.core.health.duty_runs import DutyPlan, DutyRun, DutyState
from allegro.lane.context.recorder import Recorder
from allegro.runtime.duty_events import ended_payload, planned_payload

Save = Callable[[dict[str, DutyState]], None]


class LaneBook:
    """The DutyBook port. `known` is what the file held at the start, `save` writes it anew.

    A record written twice has one id, so it comes home once.
    """

    def __init__(self, recorder: Recorder, known: dict[str, DutyState], save: Save) -> None:
        self._recorder = recorder
        self._known = known
        self._save = save
        self._writing = asyncio.Lock()

    async def states(self) -> dict[str, DutyState]:
        return dict(self._known)

    async def keep(self, duty: str, state: DutyState) -> None:
        async with self._writing:
            known = {**self._known, duty: state}
            await asyncio.to_thread(partial(self._save, known))
            self._known = known

    async def record(self, run: DutyRun, plan: DutyPlan) -> None:
        payload = ended_payload(run, plan)
        words = {"result": run.result}
        event = self._recorder.event(payload, words=words, id_=self._id(run))
        await self._recorder.append([event])

    async def announce(self, plan: DutyPlan) -> None:
        await self._recorder.tell(planned_payload(plan))

    def _id(self, run: DutyRun) -> str:
        return self._recorder.named_id(
            "scheduled duty", run.ending, run.duty, f"{run.due_s:.3f}", f"{run.begun_s:.3f}"
        )
