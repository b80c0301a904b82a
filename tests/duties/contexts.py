"""The context of a lane for tests: its ports in virtual time, whatever of them a test names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from allegro.core.authority.gate import Permit
from allegro.core.base.errors import Refusal
from allegro.core.ports import Clock, Dress, Journal
from allegro.core.settings import ForgeSettings, LaneIdentity, LaneSettings
from allegro.lane.context import Context
from allegro.lane.context.ports import Ports
from allegro.lane.context.recorder import Recorder
from allegro.lane.context.state import LaneState
from allegro.lane.effects.executor import Executor
from allegro.lane.folder.files import LaneFiles
from allegro.testing.virtual import FakeForge, PlainSealer, SeededDice, VirtualClock


def context_of(
    state: LaneState,
    recorder: Recorder,
    clock: Clock,
    settings: LaneSettings | ForgeSettings,
    **ports: Any,
) -> Context:
    """Return a context; `ports` replace those of a lane whose forge is in memory."""
    if isinstance(settings, ForgeSettings):
        settings = LaneSettings(LaneIdentity("a", "state"), settings)
    forge = FakeForge(VirtualClock()) if "reader" not in ports else None
    journal: Journal = recorder.journal
    held: dict[str, Any] = {
        "clock": clock, "dice": SeededDice(1), "journal": journal, "sealer": PlainSealer(),
        "reader": forge, "writer": forge, **ports,
    }  # fmt: skip
    return Context(
        settings, LaneFiles(Path(settings.lane.state_dir)), Ports(**held), state, recorder
    )


class Carrying:
    """Carries out forge orders with an executor that is there from the start, or with none."""

    def __init__(self, executor: Executor | None = None) -> None:
        self._executor = executor

    def may_begin(self) -> Refusal | None:
        return None if self._executor else Refusal("forge_unreachable", "")

    async def carry_out(self, permit: Permit, dress: Dress) -> None:
        assert self._executor is not None
        await self._executor.carry_out(permit, dress)

    async def set_aside(self, permit: Permit, error: BaseException) -> None:
        assert self._executor is not None
        await self._executor.set_aside(permit, error)
