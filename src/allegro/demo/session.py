"""The scene with the agent: text streams home, a dangerous tool call waits for Timmy, who says no."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import aiohttp

from allegro.client.hermes_bridge import HermesBridge, HermesResult, TelemetryEvent
from allegro.core.base.errors import UserError
from allegro.core.protocol.answers.lane import LaneSessions
from allegro.core.protocol.event_types import EventType
from allegro.demo.report import Lags, SessionScene, lags_of
from allegro.demo.screen import Screen
from allegro.scratch.processes import Process, Stage, free_port
from allegro.testing.agents import make_stand_in
from allegro.testing.models import play

MODEL = "house-model"
READY_S = 60.0
QUESTION_S = 30.0
DANGER = "rm -rf /srv/front-door"
_ADVICE = (
    "The door creaks because its upper hinge is dry and carries all the weight at night, when the "
    "wood shrinks. Oil both hinges, tighten the two lower screws, and it will be quiet by tomorrow. "
    "Nothing has to be cleared away for that."
)
_END = {"say": _ADVICE, "by_word": True, "gap_ms": 20}
_TAG = "Why does the front door creak?"
_PLAY = play(
    {
        "say": "Let me look at the hinge first.",
        "by_word": True,
        "gap_ms": 20,
        "tool": "terminal",
        "arguments": {"command": "echo the hinge is dry"},
    },
    {
        "say": "It is dry. I would rather clear everything and begin anew.",
        "by_word": True,
        "gap_ms": 20,
        "tool": "terminal",
        "arguments": {"command": DANGER},
    },
    _END,
    tag=_TAG,
)
_PLAY_WITHOUT = play(_END, tag=_TAG)


class Scene:
    """`hermes` is the environment of a real Hermes Agent, None for the stand-in."""

    def __init__(self, stage: Stage, screen: Screen, hermes: Path | None) -> None:
        self._stage = stage
        self._screen = screen
        self._hermes = hermes
        self._models = Process("models", stage.folder)
        self._port = free_port()
        self._has_sandbox = shutil.which("bwrap") is not None
        self._events: list[TelemetryEvent] = []

    def lane_settings(self) -> dict[str, object]:
        """Return the lane's settings for this scene; makes the stand-in where it is needed."""
        folder = self._hermes or self._stage.folder / "stand-in"
        if self._hermes is None:
            make_stand_in(folder)
        rung = {
            "model": MODEL,
            "provider": "stub",
            "upstream": "stub",
            "local": True,
            "base_url": f"http://127.0.0.1:{self._port}/v1",
        }
        return {
            "hermes.gateways": 1,
            "hermes.folder": str(folder.absolute()),
            "hermes.tools": ["terminal"] if self._has_sandbox else [],
            "models.rungs": [rung],
        }

    async def start(self) -> None:
        await self._models.start(
            [sys.executable, "-m", "allegro.testing.models", "--port", str(self._port)]
        )

    async def stop(self) -> None:
        await self._models.end()

    async def run(self, step: Callable[..., float]) -> SessionScene:
        """Play the scene; `step` notes each step. Raises UserError when one does not come."""
        agent = await self._ready()
        tools, named = bool(agent.tools), f"hermes-agent {agent.version}"
        step("agent", f"{named}, {self._kind}, {agent.sandbox}")
        async with HermesBridge(self._stage.socket) as bridge:
            id_ = await bridge.begin_session(_PLAY if tools else _PLAY_WITHOUT)
            watching = asyncio.create_task(self._watch(id_))
            try:
                if tools:
                    await self._say_no(step)
                result = await bridge.result(id_, wait_s=QUESTION_S)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(watching), 3.0)
            finally:
                watching.cancel()
        lags = lags_ms(self._events, await self._sent())
        good = result.state == "completed" and result.denied == (1 if tools else 0)
        step("session", _summary(result, lags), ok=good)
        return SessionScene(f"{named} ({self._kind})", result.state, lags, result.denied, tools)

    @property
    def _kind(self) -> str:
        return "real" if self._hermes else "stand-in"

    async def _ready(self) -> LaneSessions:
        async def ready() -> LaneSessions | None:
            detail = (await self._stage.client.status()).lanes[0].detail
            agent = detail.sessions if detail is not None else None
            return agent if agent is not None and agent.ready else None

        found: LaneSessions = await self._stage.until(
            ready, "an agent is ready", self._stage.lane, READY_S
        )
        return found

    async def _say_no(self, step: Callable[..., float]) -> None:
        house = self._stage.client

        async def asked() -> str:
            requests = (await house.requests()).requests
            waiting = (r.id for r in requests if (r.kind, r.state) == ("answer_once", "proposed"))
            return next(waiting, "")

        id_ = await self._stage.until(asked, "the agent asks", None, QUESTION_S)
        request = await house.request(id_)
        if request.notes.get("command") != DANGER:
            raise UserError(f"the agent asked something else: {request.notes.get('command')}")
        step("question", DANGER)
        self._screen.request(request)
        await self._stage.command("reject", request.id, "--reason", "the door stays", "--json")
        step("denied", "the tool call is blocked, the session goes on")

    async def _watch(self, session: str) -> None:
        """Show text and tools as they come home."""
        async with HermesBridge(self._stage.socket) as bridge:
            async for event in bridge.stream_telemetry(session):
                self._events.append(event)
                self._screen.live(event)
                if event.type == EventType.SESSION_END:
                    return

    async def _sent(self) -> list[tuple[str, float]]:
        url = f"http://127.0.0.1:{self._port}/_sim/sent"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return [(str(text), float(at_s)) for text, at_s in await response.json()]


def lags_ms(events: list[TelemetryEvent], sent: list[tuple[str, float]]) -> Lags:
    """Return (archived - sent) over all pieces of text.

    `sent` are (piece, Unix s) in the order they left the model. Pieces that were joined into one
    event all count, with that event's time.
    """
    lags: list[float] = []
    waiting = list(sent)
    for event in events:
        if event.type != EventType.SESSION_DELTA or not isinstance(event.words, dict):
            continue
        text = str(event.words.get("text", ""))
        while waiting and waiting[0][0] in text:
            piece, at_s = waiting.pop(0)
            text = text.partition(piece)[2]
            lags.append(max(0.0, (event.archived_s - at_s) * 1000))
    return lags_of(lags)


def _summary(result: HermesResult, lags: Lags) -> str:
    took = "" if result.duration_s is None else f" in {result.duration_s:.1f} s"
    return f"{result.state}{took}, lag p50 {lags.p50} ms, p99 {lags.p99} ms"
