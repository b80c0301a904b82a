"""Every answer, frame and datagram of an agent, bent: the lane lives and each session ends once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from allegro.adapters.hermes import frames, telemetry, wire
from allegro.adapters.hermes.existing import ExistingGateway, ExistingHermes
from allegro.adapters.hermes.position import Place
from allegro.adapters.hermes.wire import HermesWire
from allegro.core.agent.sessions import AgentEvent, Ended, Gap, TextDelta, ToolBegan
from allegro.core.base.errors import EdgeError
from allegro.core.base.events import Event
from allegro.core.base.untrusted import Unreadable, plain
from allegro.core.ports import GatewaySpec
from tests.core.builders import run_session
from tests.duties.agents import Stage, until

from .raw_hermes import GOOD, RawHermes, frame, good
from .values import HEADERS, TEXTS, WHOLE_BODIES, bent_json, bent_values, sample

COMMON = {"run_id": "run_1", "timestamp": 1795000000.5, "seq": 3}
USAGE = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
END = {"output": "ok", "usage": USAGE, "completed": True, "partial": False,
       "turn_exit_reason": "max_iterations", "runtime": {"provider": "custom", "model": "m1"}}  # fmt: skip
FRAMES: dict[str, dict[str, Any]] = {
    "message.delta": {"delta": "ok"},
    "message.interim": {"text": "let me see", "already_streamed": False},
    "approval.request": {
        "command": "rm -rf roses", "description": "delete", "pattern_keys": ["rm"],
        "request_id": "q1", "choices": ["once", "deny"],
    },
    "approval.responded": {"choice": "deny", "resolved": 1},
    "tool.started": {"tool": "terminal", "preview": "ls"},
    "tool.completed": {"tool": "terminal", "duration": 0.5, "error": False, "preview": "x"},
    "subagent.start": {"goal": "look", "subagent_id": "s1"},
    "subagent.complete": {"status": "completed", "subagent_id": "s1", "preview": "x"},
    "run.steered": {"accepted": True},
    "run.completed": END,
    "run.failed": {**END, "error": {"message": "boom"}},
    "run.cancelled": END,
    "run.interrupted": END,
}  # fmt: skip
DATAGRAMS: dict[str, dict[str, Any]] = {
    "pre_tool_call": {
        "tool_name": "terminal", "tool_call_id": "c1", "args": {"command": "ls", "n": [1]},
    },
    "post_tool_call": {
        "tool_name": "terminal", "tool_call_id": "c1", "duration_ms": 5, "status": "ok",
        "error_message": None, "result": "x", "exit_code": 0,
    },
    "post_api_request": {"model": "m1", "response_model": "m1", "usage": USAGE},
}  # fmt: skip
COVERS = (*FRAMES, *DATAGRAMS, *GOOD)
ENDS = {f"run.{name}" for name in ("completed", "failed", "cancelled", "interrupted")}
STATES = {"run.completed": "completed", "run.failed": "failed", "run.cancelled": "stopped",
          "run.interrupted": "lost"}  # fmt: skip
TOLD = [name for name in FRAMES if name not in ENDS]
WIRES = ("old", "new")
SAMPLE = int(os.environ.get("ALLEGRO_BENT", "12"))  # `make trials` plays all of them


def document(name: str) -> dict[str, Any]:
    return {"event": name, **COMMON, **FRAMES[name]}


def one_line_each(name: str) -> Iterator[tuple[str, bytes]]:
    """Yield every bent form of a frame that one line of a stream can hold."""
    for case, raw in bent_json(document(name)):
        yield case, raw.replace(b"\n", b" ").replace(b"\r", b" ")


def test_every_frame_datagram_and_call_has_cases() -> None:
    assert set(FRAMES) == set(frames.READERS)
    assert set(DATAGRAMS) == set(telemetry.READERS)
    source = Path(wire.__file__).read_text()
    calls = re.findall(r'_call\(\s*"([A-Z]+)",\s*f?"([^"]+)"', source)
    shown = {f"{method} {re.sub(r'{[a-z]+}/?', '', path)}" for method, path in calls}
    assert shown == set(GOOD)
    assert set(COVERS) >= shown


# --- one by one, every form ------------------------------------------------------------------------


def holds(event: AgentEvent) -> bool:
    """Say whether an event can be journalled and sent as it is."""
    value = msgspec.json.decode(msgspec.json.encode(event))
    return not isinstance(plain(value, depth=200), Unreadable)


@pytest.mark.parametrize("name", FRAMES)
def test_every_frame_is_an_event_that_can_be_kept_or_a_gap(name: str) -> None:
    for case, raw in bent_json(document(name)):
        for number in (None, 3):
            found = frames.read_object(raw)
            events = list(Place().take(number, found))
            assert all(holds(event) for event in events), case
            if isinstance(found, Unreadable):
                assert any(isinstance(event, Gap) for event in events), case


def test_a_reader_without_its_guard_is_found() -> None:
    def planted(raw: bytes) -> TextDelta:
        told = json.loads(raw)
        return TextDelta(told["delta"][:10])

    broken = 0
    for _, raw in bent_json(document("message.delta")):
        try:
            holds(planted(raw))
        except Exception:  # noqa: BLE001 (whatever it raises is what is looked for)
            broken += 1
    assert broken > 20


@pytest.mark.parametrize("name", DATAGRAMS)
async def test_every_datagram_is_heard_or_a_gap_and_the_next_is_heard(
    name: str, tmp_path: Path
) -> None:
    heard: list[AgentEvent] = []
    door = telemetry.Telemetry(tmp_path / "door", lambda event, _: heard.append(event))
    door.open()
    unread = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as agent:
        agent.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        agent.connect(str(tmp_path / "door"))
        for case, raw in bent_json({"hook": name, "at_s": 5.0, **DATAGRAMS[name]}):
            agent.send(raw)
            door.read()
            unread += isinstance(frames.read_object(raw), Unreadable)
            agent.send(json.dumps({"hook": "pre_tool_call", "tool_name": case[:200]}).encode())
            door.read()
            assert isinstance(heard[-1], ToolBegan), case
            assert heard[-1].tool == case[:200]
    assert all(holds(event) for event in heard)
    assert sum(isinstance(event, Gap) for event in heard) == 1
    assert door.unread == unread
    door.close()


# --- the real adapter and the real duty ---------------------------------------------------------------


class Host:
    """The host of a Hermes by URL, for a stage; its wire is what is attacked."""

    is_ours = False
    sandbox_trouble = ""

    def __init__(self, hermes: RawHermes, stage: Stage) -> None:
        self._real = ExistingHermes(stage.settings, lambda: "k" * 32)
        self._hermes = hermes

    async def start(self, spec: GatewaySpec) -> ExistingGateway:
        return await self._real.start(spec)


class Lane:
    """A lane's session duty before a raw Hermes. `run` carries one session to its end."""

    def __init__(self, hermes: RawHermes) -> None:
        self.hermes = hermes
        self.stage = Stage(tools=(), url=hermes.url)
        self.stage.gateways._host = Host(hermes, self.stage)
        self._numbers = iter(range(10**6))

    async def run(self, stream: bytes, last: str = "completed") -> tuple[str, list[str], str]:
        """Return the state of the one end, the types told, and the text told.

        `last` is what the status of the run says to who asks.
        """
        self.hermes.stream = stream
        status = {**GOOD["GET /v1/runs/"], "status": last}
        self.hermes.answers["GET /v1/runs/"] = json.dumps(status).encode()
        return await self.carry_out()

    async def carry_out(self) -> tuple[str, list[str], str]:
        session = f"session{next(self._numbers):09d}"
        before = len(self.stage.page.events)
        await self.stage.sessions.carry_out(self.stage.permit(run_session(id=session, tools=())))
        mine = self._of(session, before)
        async with asyncio.timeout(60):
            while any(one.type == "action.receipt" for one in mine) and (
                not any(one.type == "session.end" for one in mine)
            ):
                await asyncio.sleep(0.003)
                mine = self._of(session, before)
        types = [one.type for one in mine]
        ends = [one for one in mine if one.type == "session.end"]
        text = "".join(
            msgspec.json.decode(one.sealed)["text"] for one in mine if one.type == "session.delta"
        )
        assert len(ends) <= 1
        return (str(ends[0].data["state"]) if ends else "", types, text)

    def _of(self, session: str, after: int) -> list[Event]:
        events = self.stage.page.events[after:]
        return [one for one in events if one.data.get("session") == session]

    async def works(self) -> None:
        """Run a good session: whatever was before, the lane serves."""
        self.hermes.answers.clear()
        done = frame(json.dumps(document("message.delta")).encode()) + frame(
            json.dumps(document("run.completed")).encode()
        )
        assert (await self.run(done))[0] == "completed"


@pytest_asyncio.fixture
async def lane() -> AsyncIterator[Lane]:
    hermes = RawHermes()
    await hermes.start()
    made = Lane(hermes)
    duty = asyncio.create_task(made.stage.gateways.run())
    yield made
    assert not duty.done()
    duty.cancel()
    await asyncio.wait({duty})
    await hermes.stop()


def numbered(raws: list[bytes], kind: str, first: int = 0) -> bytes:
    """Return a stream of frames; on the new wire each has its number."""
    return b"".join(
        frame(raw, None if kind == "old" else number) for number, raw in enumerate(raws, first)
    )


@pytest.mark.parametrize("kind", WIRES)
@pytest.mark.parametrize("name", TOLD)
async def test_a_stream_of_bent_frames_is_read_to_its_end(lane: Lane, name: str, kind: str) -> None:
    cases = sample(one_line_each(name), 12 * SAMPLE, seed=len(name))
    raws = [raw for _, raw in cases if b'"run.' not in raw]
    good_delta = json.dumps({"event": "message.delta", "delta": "after it all"}).encode()
    end = json.dumps({"event": "run.completed", "output": "after it all"}).encode()
    state, types, text = await lane.run(numbered([*raws, good_delta, end], kind))
    assert state == "completed"
    assert text.endswith("after it all")
    if any(isinstance(frames.read_object(raw), Unreadable) for raw in raws):
        assert "telemetry.gap" in types
    await lane.works()


@pytest.mark.parametrize("kind", WIRES)
@pytest.mark.parametrize("name", sorted(ENDS))
async def test_a_bent_end_is_one_end_and_a_true_one(lane: Lane, name: str, kind: str) -> None:
    for case, raw in sample(one_line_each(name), SAMPLE, seed=len(name)):
        state, types, _ = await lane.run(numbered([raw], kind), name.removeprefix("run."))
        ends = {STATES[name], *([STATES[other] for other in ENDS if other.encode() in raw])}
        assert state in ends, case
        assert types.count("session.end") == 1, case
    await lane.works()


SSE = {
    **{f"id {row.name}": b"id: " + row.value.encode("utf-8", "replace").replace(b"\r", b"").replace(b"\n", b"") + b"\n"
       for row in (*TEXTS, *HEADERS)},
    "no end of line": b"data: {", "carriage returns": b"data: {}\r\rdata: {}\r",
    "zero bytes": b"\x00" * 1_000 + b"\n", "empty data": b"data:\n\ndata: \n\n",
    "another field": b"event: x\nretry: 5\nfoo\n:\n", "long comment": b":" + b"x" * 200_000 + b"\n",
    "no UTF-8": b"data: \xff\xfe\n\nid: \xff\n", "a long line": b"data: " + b"x" * 5_000_000 + b"\n",
}  # fmt: skip


@pytest.mark.parametrize("kind", WIRES)
async def test_a_stream_of_odd_lines_ends_as_its_run_did(lane: Lane, kind: str) -> None:
    for case, raw in SSE.items():
        delta = json.dumps({"event": "message.delta", "delta": "ok"}).encode()
        end = json.dumps({"event": "run.completed", "output": "ok"}).encode()
        state, _, _ = await lane.run(raw + numbered([delta, end], kind))
        assert state == "completed", case
    await lane.works()


@pytest.mark.parametrize("name", [name for name in GOOD if name.startswith("GET")])
async def test_a_bent_answer_is_a_value_or_an_edge_error(lane: Lane, name: str) -> None:
    hermes = HermesWire(lane.hermes.url, "k" * 32)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "GET /health": hermes.is_up, "GET /v1/capabilities": hermes.learn,
        "GET /v1/toolsets": hermes.toolsets, "GET /v1/models": hermes.models,
        "GET /v1/runs/": lambda: hermes.state("run_1"),
        "GET /api/sessions/": lambda: hermes.tally("s1"),
    }  # fmt: skip
    for case, raw in bent_json(GOOD[name]):
        lane.hermes.answers[name] = raw
        with contextlib.suppress(EdgeError):
            assert json.dumps(msgspec.to_builtins(await calls[name]())), case
    await hermes.close()
    await lane.works()


async def test_a_bent_answer_to_a_begin_begins_nothing_twice_and_ends_once(lane: Lane) -> None:
    for case, raw in sample(bent_json(GOOD["POST /v1/runs"]), 2 * SAMPLE, seed=3):
        lane.hermes.answers["POST /v1/runs"] = raw
        begun = lane.hermes.asked.count("POST /v1/runs")
        lane.hermes.stream = frame(json.dumps(document("run.completed")).encode())
        state, types, _ = await lane.carry_out()
        assert state in {"completed", "lost"}, case
        assert types.count("session.end") == 1, case
        assert lane.hermes.asked.count("POST /v1/runs") == begun + 1
    await lane.works()


@pytest.mark.parametrize("name", ["POST /v1/runs/approval", "POST /v1/runs/stop"])
async def test_a_bent_answer_to_an_answer_or_a_stop_is_no_other_error(
    lane: Lane, name: str
) -> None:
    hermes = HermesWire(lane.hermes.url, "k" * 32)
    lane.hermes.answers = {}
    for status in (200, 404, 409, 500):
        lane.hermes.statuses[name] = status
        for row in WHOLE_BODIES:
            lane.hermes.answers[name] = row.value
            with contextlib.suppress(EdgeError):
                if name.endswith("stop"):
                    await hermes.stop("run_1")
                else:
                    await hermes.answer("run_1", "deny")
    await hermes.close()
    lane.hermes.statuses.clear()
    await lane.works()


# --- numbers on the stream ---------------------------------------------------------------------------


def delta(text: str) -> bytes:
    return json.dumps({"event": "message.delta", "delta": text}).encode()


DONE = json.dumps({"event": "run.completed", "output": "not what was told"}).encode()


def gaps_of(types: list[str]) -> int:
    return types.count("telemetry.gap")


async def test_a_hole_in_the_numbers_is_a_gap_and_no_words_need_be_compared(lane: Lane) -> None:
    whole = numbered([delta("a"), delta("b"), DONE], "new")
    assert gaps_of((await lane.run(whole))[1]) == 0
    holed = frame(delta("a"), 0) + frame(delta("d"), 3) + frame(DONE, 4)
    state, types, text = await lane.run(holed)
    assert (state, gaps_of(types), text) == ("completed", 1, "ad")
    gap = next(one for one in lane.stage.page.events[::-1] if one.type == "telemetry.gap")
    assert "1 to 2" in msgspec.json.decode(gap.sealed)["reason"]


async def test_what_is_told_twice_is_journalled_once(lane: Lane) -> None:
    twice = frame(delta("a"), 0) + frame(delta("b"), 1)
    _, _, text = await lane.run(twice + twice + frame(DONE, 2))
    assert text == "ab"


@pytest.mark.parametrize("first", [0, 1])
async def test_numbers_may_begin_with_nought_or_one(lane: Lane, first: int) -> None:
    _, types, _ = await lane.run(numbered([delta("a"), DONE], "new", first))
    assert gaps_of(types) == 0


async def test_a_cut_stream_with_numbers_is_opened_again_behind_the_last_one(lane: Lane) -> None:
    lane.hermes.stream = frame(delta("a"), 0) + frame(delta("b"), 1)

    async def rest() -> None:
        await until(lambda: lane.hermes.asked.count("GET /v1/runs/events") == 1)
        lane.hermes.stream = frame(delta("b"), 1) + frame(delta("c"), 2) + frame(DONE, 3)

    later = asyncio.create_task(rest())
    _, types, text = await lane.carry_out()
    await later
    again = [headers.get("last-event-id") for asked, headers in
             zip(lane.hermes.asked, lane.hermes.headers, strict=True)
             if asked == "GET /v1/runs/events"]  # fmt: skip
    assert (text, gaps_of(types)) == ("abc", 0)
    assert again == [None, "1"]


async def test_a_truncated_replay_is_one_gap(lane: Lane) -> None:
    cut = json.dumps({"event": "replay.truncated", "oldest_retained_seq": 500}).encode()
    _, types, text = await lane.run(frame(cut) + frame(delta("late"), 500) + frame(DONE, 501))
    assert (gaps_of(types), text) == (1, "late")


async def test_a_yes_names_its_question_and_a_no_is_for_whatever_waits(lane: Lane) -> None:
    hermes = HermesWire(lane.hermes.url, "k" * 32)
    lane.hermes.stream = frame(json.dumps(document("approval.request")).encode(), 0) + frame(
        DONE, 1
    )
    events = [event async for event in hermes.events("run_1")]
    assert isinstance(events[-1], Ended)
    await hermes.answer("run_1", "once")
    assert json.loads(lane.hermes.bodies[-1]) == {"choice": "once", "request_id": "q1"}
    await hermes.answer("run_1", "deny")
    assert json.loads(lane.hermes.bodies[-1]) == {"choice": "deny"}
    await hermes.close()


def test_the_table_is_whole() -> None:
    assert len(list(bent_values(document("run.failed")))) > 500
    assert good("GET /health")
