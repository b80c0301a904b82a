"""The scene with the agent: text streams home, a dangerous tool call waits for Timmy, who says no."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from allegro.client.hermes_bridge import HermesBridge, HermesResult, TelemetryEvent
from allegro.core.base.errors import UserError
from allegro.core.protocol.event_types import EventType
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

    def lane_settings(self) -> dict[str, Any]:
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

    async def run(self, step: Callable[..., float]) -> dict[str, Any]:
        """Play the scene; `step` notes each step. Raises UserError when one does not come."""
        sessions = await self._ready()
        tools = bool(sessions["tools"])
        step("agent", f"hermes-agent {sessions['version']}, {self._kind}, {sessions['sandbox']}")
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
        lag_ms = self._lag(await self._sent())
        good = result.state == "completed" and result.denied == (1 if tools else 0)
        step("session", _summary(result, lag_ms), ok=good)
        return {
            "agent": f"hermes-agent {sessions['version']} ({self._kind})",
            "state": result.state,
            "lag_ms": lag_ms,
            "denied": result.denied,
            "tools": tools,
        }

    @property
    def _kind(self) -> str:
        return "real" if self._hermes else "stand-in"

    async def _ready(self) -> dict[str, Any]:
        async def ready() -> dict[str, Any] | None:
            lanes = (await self._stage.status())["lanes"]
            agent = (lanes[0]["detail"] or {}).get("sessions") or {}
            return agent if agent.get("ready") else None

        found = await self._stage.until(ready, "an agent is ready", self._stage.lane, READY_S)
        return dict(found)

    async def _say_no(self, step: Callable[..., float]) -> None:
        async def asked() -> dict[str, Any] | None:
            requests = (await self._stage.client.get("requests"))["requests"]
            waiting = [
                r for r in requests if r["kind"] == "answer_once" and r["state"] == "proposed"
            ]
            return waiting[0] if waiting else None

        request = await self._stage.until(asked, "the agent asks", None, QUESTION_S)
        whole = await self._stage.client.get(f"requests/{request['id']}")
        if whole["notes"].get("command") != DANGER:
            raise UserError(f"the agent asked something else: {whole['notes'].get('command')}")
        step("question", DANGER)
        self._screen.request(whole)
        await self._stage.command("reject", request["id"], "--reason", "the door stays", "--json")
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

    def _lag(self, sent: list[tuple[str, float]]) -> dict[str, float]:
        """Return the lag from the model's piece to the house's archive, measured piece by piece."""
        return lags_ms(self._events, sent)


def lags_ms(events: list[TelemetryEvent], sent: list[tuple[str, float]]) -> dict[str, float]:
    """Return p50, p99 and max of (archived - sent) over all pieces of text, in ms.

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
    lags.sort()
    if not lags:
        return {"p50": 0.0, "p99": 0.0, "max": 0.0}
    return {
        "p50": round(lags[len(lags) // 2], 1),
        "p99": round(lags[min(len(lags) - 1, int(len(lags) * 0.99))], 1),
        "max": round(lags[-1], 1),
    }


def _summary(result: HermesResult, lag_ms: dict[str, float]) -> str:
    took = "" if result.duration_s is None else f" in {result.duration_s:.1f} s"
    return f"{result.state}{took}, lag p50 {lag_ms['p50']} ms, p99 {lag_ms['p99']} ms"
