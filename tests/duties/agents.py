"""A lane's session duty on hurried time: real rules, gateways that tell what they are told to.

Time passes only where everything waits for it, so that ten minutes take a moment.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import wraps
from typing import Any, cast

import msgspec

from allegro.adapters.crypto.signatures import verify
from allegro.core.agent.sessions import AgentEvent, Answered, Asked, End, Ended, Gap
from allegro.core.agent.tallies import AgentTally
from allegro.core.agent.tools import TOOLS
from allegro.core.authority.actions.agent import AnswerOnce
from allegro.core.authority.actions.families import action_bytes
from allegro.core.authority.actions.family import Action
from allegro.core.authority.freeze import Freeze, FreezeSet
from allegro.core.authority.gate import Permit, Presented, Situation, judge_order
from allegro.core.base.errors import EdgeError
from allegro.core.base.events import Event
from allegro.core.base.sequence import Position
from allegro.core.forge.marks import Mark
from allegro.core.models.ladder import Spend
from allegro.core.ports import GatewaySpec, Journal, Run, Version
from allegro.core.protocol.payloads.sessions import Talk
from allegro.core.settings import (
    ForgeSettings,
    HermesSettings,
    LaneIdentity,
    LaneSettings,
    ModelSettings,
)
from allegro.lane.agent.gateways import Gateways
from allegro.lane.agent.known import Known
from allegro.lane.agent.running import OpenSession
from allegro.lane.agent.sessions import Sessions
from allegro.lane.agent.tallies import Tallies
from allegro.lane.context.recorder import Author, Recorder
from allegro.lane.context.state import LaneState
from allegro.lane.models.canary import CANARY_PROMPT
from allegro.lane.models.proxy import ModelProxy
from allegro.testing.virtual import PlainSealer, SeededDice
from tests.core.builders import TRUST, approval_for, order_for, run_session, situation

from .contexts import context_of
from .providers import LADDER, ScriptedProviders

LANE, S1, S2 = "a", "session1session1", "session2session2"
ASKED = Asked("rm -rf roses", "delete in a recursive way", ("rm",))
ASKED_CODE = Asked("execute_code <<'PY'\n1\nPY", "runs code", ("code",))
DONE = Ended(End.COMPLETED, "the roses are watered", "", {"input_tokens": 5})
GONE = Ended(End.LOST, "", "the gateway died", {})
NO_ROOM = EdgeError("the journal is full", transient=True, kind="journal_full")
FROZEN = FreezeSet((Freeze("f1", 1.0, "a person", "stop"),))


DUTY = "gateways"
A_MOMENT_S = 1e-6  # what is shorter would let no time pass at all


class _Hurry(selectors.DefaultSelector):
    """Finds what is there, and lets the time pass that would have been waited."""

    passed_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found:
            if timeout is None:
                raise RuntimeError("everybody waits for nothing")
            self.passed_s += max(A_MOMENT_S, timeout)
        return found


class HurriedLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._hurry = _Hurry()
        super().__init__(self._hurry)

    def time(self) -> float:
        return self._hurry.passed_s


def hurried(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test on hurried time."""

    @wraps(test)
    def run(*values: Any, **named: Any) -> None:
        async def whole() -> None:
            try:
                await test(*values, **named)
            finally:
                await settled()
                duties = [one for one in asyncio.all_tasks() if one.get_name() == DUTY]
                for duty in duties:
                    duty.cancel()
                    await asyncio.wait({duty})

        with asyncio.Runner(loop_factory=HurriedLoop) as runner:
            runner.run(whole())

    return run


class LoopClock:
    """The Clock port on the loop's own time."""

    def now_s(self) -> float:
        return 1_000_000.0 + self.boot_s()

    def boot_s(self) -> float:
        return 100.0 + asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Page:
    """A journal in memory. `faults` are raised by the next appends; `held` delays commits."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.fault: EdgeError | None = None
        self.faults: list[Exception | None] = []
        self.held: asyncio.Event | None = None

    async def append(
        self, events: Sequence[Event], mark: tuple[str, Mark] | None = None,
        versions: Sequence[Version] = (),
    ) -> Position:  # fmt: skip
        del mark, versions
        await asyncio.sleep(0)
        if self.held is not None:
            await self.held.wait()
        fault = self.fault or (self.faults.pop(0) if self.faults else None)
        if fault is not None:
            raise fault
        self.events += events
        return Position("j1", len(self.events), b"")


class FakeGateway:
    """The AgentGateway port: tells what the test tells it, keeps what it is told.

    `deaf`: it takes answers and does not say so. `begin_fault` is raised by `begin`, `answer_fault` by
    `answer`, `close_fault` by `close`, `died_fault` by `died` once it is gone.
    """

    version = "0.19.0"
    forged = 0

    def __init__(self, spec: GatewaySpec, host: FakeHost) -> None:
        self.spec = spec
        self._host = host
        self.runs: list[Run] = []
        self.answers: list[str] = []
        self.closed: list[str] = []
        self.deaf = False
        self.begin_fault: Exception | None = None
        self.answer_fault: Exception | None = None
        self.close_fault: Exception | None = None
        self.died_fault: Exception | None = None
        self.pending = 0
        self.gone = asyncio.Event()
        self.counted: AgentTally | EdgeError | None = None
        self._queue: asyncio.Queue[AgentEvent] = asyncio.Queue()

    def tell(self, *events: AgentEvent) -> None:
        for event in events:
            self.pending += isinstance(event, Asked)
            self._queue.put_nowait(event)

    async def begin(self, run: Run) -> str:
        await asyncio.sleep(0)
        if run.session.startswith("canary-"):
            self._host.call_model(self.spec)
            if self._host.check_gap:
                self.tell(Gap("cut"))
            if self._host.asks and "terminal" in self.spec.tools:
                self.tell(
                    *(
                        [ASKED_CODE]
                        if self._host.asks_code and "code_execution" in self.spec.tools
                        else []
                    ),
                    ASKED,
                )
            else:
                self.tell(DONE)
            return "canary"
        if self.begin_fault is not None:
            raise self.begin_fault
        self.runs.append(run)
        self.answers.clear()
        return "run_1"

    async def events(self, run: str) -> AsyncIterator[AgentEvent]:
        del run
        while True:
            event = await self._queue.get()
            yield event
            if isinstance(event, Ended):
                return

    async def answer(self, run: str, choice: str) -> None:
        await asyncio.sleep(0)
        if self.answer_fault is not None and run != "canary":
            raise self.answer_fault
        if not self.pending:
            raise EdgeError("no pending approval", transient=False, status=409, sent=False)
        self.answers.append(choice)
        if not self.deaf:
            self.pending -= 1
            self.tell(Answered(choice))
        if run == "canary" and not self.pending:
            self.tell(DONE)

    async def stop(self, run: str) -> None:
        del run

    async def tally(self, session: str) -> AgentTally | None:
        await asyncio.sleep(0)
        if isinstance(self.counted, EdgeError):
            raise self.counted
        return self.counted

    async def died(self) -> None:
        await self.gone.wait()
        if self.died_fault is not None:
            raise self.died_fault

    async def close(self, session: str) -> None:
        self.gone.set()
        self.closed.append(session)
        self.tell(GONE)
        if self.close_fault is not None:
            raise self.close_fault


class FakeHost:
    """The AgentHost port. `started` are all gateways it made.

    During the check at start a gateway offers its tools and `offers_more` to a model that answers
    with `result`; `says` are the words before its prompt.
    """

    def __init__(self) -> None:
        self.sandbox_trouble = ""
        self.is_ours = True
        self.asks = True
        self.asks_code = True
        self.check_gap = False
        self.offers_more: tuple[str, ...] = ()
        self.says: tuple[str, ...] = ()
        self.result = "BLOCKED"
        self.start_s = 3.0
        self.start_fault: Exception | None = None
        self.proxy: ModelProxy | None = None
        self.started: list[FakeGateway] = []

    def call_model(self, spec: GatewaySpec) -> None:
        """Let the check at start see what an agent sends to its model."""
        assert self.proxy is not None
        grant = self.proxy.find(f"Bearer {spec.token}")
        assert grant is not None
        assert grant.seen is not None
        names = [*(name for tool in spec.tools for name in TOOLS[tool]), *self.offers_more]
        said = [{"role": "user", "content": text} for text in (*self.says, CANARY_PROMPT)]
        grant.seen.note({
            "tools": [{"type": "function", "function": {"name": name}} for name in names],
            "messages": [*said, {"role": "tool", "content": self.result}],
        })  # fmt: skip

    async def start(self, spec: GatewaySpec) -> FakeGateway:
        await asyncio.sleep(self.start_s)
        if self.start_fault is not None:
            raise self.start_fault
        if spec.tools and self.sandbox_trouble:
            raise EdgeError("no tools without a sandbox", transient=False)
        gateway = FakeGateway(spec, self)
        self.started.append(gateway)
        return gateway


class Stage:
    """A lane's sessions. `known` is what is on its disk of them."""

    def __init__(self, **changes: Any) -> None:
        values: dict[str, Any] = {"gateways": 1, "tools": ("file", "terminal")}
        self.settings = HermesSettings(**{**values, **changes})
        self.clock, self.dice = LoopClock(), SeededDice(5)
        self.host, self.page = FakeHost(), Page()
        self.freezes = FreezeSet()
        self.known: dict[str, OpenSession] = {}
        self.disk_fault: EdgeError | None = None
        self.day = Spend()
        self._task: asyncio.Task[None] | None = None
        self._make()

    def _make(self) -> None:
        self.proxy = ModelProxy(
            ModelSettings(rungs=LADDER), ScriptedProviders(), self.clock,
            self._record, lambda: self.day, lambda *_: None,
        )  # fmt: skip
        self.host.proxy = self.proxy
        self.gateways = Gateways(self.host, self.proxy, self.clock, self.dice, self.settings)
        recorder = Recorder(
            cast(Journal, self.page), PlainSealer(), self.clock, self.dice, by=Author(LANE, b"s")
        )
        settings = LaneSettings(LaneIdentity(LANE, "state"), ForgeSettings(), hermes=self.settings)
        here = cast(LaneState, self)  # of it only the situation is asked
        ctx = context_of(here, recorder, self.clock, settings, dice=self.dice)
        self.tallies = Tallies({}, lambda kept: None, self.clock)
        self.sessions = Sessions(
            ctx,
            self.gateways,
            self.proxy,
            Known(dict(self.known), self._save, self.clock),
            self.tallies,
        )

    async def _record(self, holder: str, payload: Talk) -> None:
        await self.sessions.record(holder, payload)

    def _save(self, known: dict[str, OpenSession]) -> None:
        if self.disk_fault is not None:
            raise self.disk_fault
        self.known = dict(known)

    async def start(self) -> None:
        """Recover, and wait until every gateway is ready."""
        await self.sessions.recover()
        self._task = asyncio.create_task(self.gateways.run(), name=DUTY)
        await until(lambda: self.gateways.ready == self.gateways.size)

    async def restart(self) -> None:
        """Start again after a crash: only the disk remembers."""
        self.remake()
        await self.sessions.recover()

    def remake(self) -> None:
        """Begin again after a crash, before lost sessions are told."""
        self._make()

    @property
    def gateway(self) -> FakeGateway:
        """The gateway that runs or ran a session last, else the one that is ready."""
        used = [one for one in self.host.started if one.runs]
        return (used or self.host.started)[-1]

    def situation(self) -> Situation:
        return situation(
            boot_s=self.clock.boot_s(), now_s=self.clock.now_s(), freezes=self.freezes
        )  # fmt: skip

    def permit(self, action: Action) -> Permit:
        now_s = int(self.clock.now_s())
        approval = approval_for(action, exp=now_s + 600, iat=now_s - 1)
        shown = Presented(order_for(action), action_bytes(action), approval)
        made_s = self.clock.boot_s()
        permit = judge_order(
            shown, TRUST, self.situation(), take_challenge=lambda _: made_s, verify=verify
        )
        assert isinstance(permit, Permit), permit
        return permit

    async def order(self, action: Action) -> str:
        """Carry out an order to what came of it; return the last word about the action."""
        await self.sessions.carry_out(self.permit(action))
        return next(e.type for e in reversed(self.page.events) if e.type.startswith("action."))

    async def begin(self, id_: str = S1, **changes: Any) -> FakeGateway:
        assert await self.order(run_session(id=id_, **changes)) == "action.receipt"
        return self.gateway

    def once(self, **changes: Any) -> AnswerOnce:
        """Return the answer that the newest question asks for."""
        asked = self.told("session.question")[-1].data
        values: dict[str, Any] = {
            "id": "answer1answer1ab", "lane": LANE, "session": asked["session"],
            "run": asked["run"], "number": asked["number"], "question": asked["question"],
        }  # fmt: skip
        return AnswerOnce(**{**values, **changes})

    def told(self, prefix: str = "") -> list[Event]:
        return [event for event in self.page.events if event.type.startswith(prefix)]

    def types(self, prefix: str = "") -> list[str]:
        return [event.type for event in self.told(prefix)]

    def end(self) -> tuple[str, str]:
        """Return state and reason of the one end."""
        (event,) = self.told("session.end")
        return event.data["state"], words(event)["why"]


def words(event: Event) -> Any:
    return msgspec.json.decode(event.sealed)


async def settled(seconds: float = 0.2) -> None:
    """Let everything happen that happens by itself."""
    await asyncio.sleep(seconds)


async def until(condition: Callable[[], bool], within_s: float = 1000.0) -> None:
    for _ in range(int(within_s / 0.1)):
        if condition():
            return
        await asyncio.sleep(0.1)
    raise AssertionError("it never came to that")
