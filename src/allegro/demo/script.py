"""The play: every step on real processes, every figure measured, none made up."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec

from allegro import __version__
from allegro.adapters.clock import SystemClock
from allegro.client.gitea_bridge import PR, GiteaBridge, encoded
from allegro.core.base.errors import UserError
from allegro.core.base.timestamps import unix_s
from allegro.core.forge.triage import SEEN_LABEL
from allegro.core.health import codes
from allegro.core.protocol.answers.requests import RequestAnswer
from allegro.core.protocol.event_types import EventType
from allegro.demo.attack import attack
from allegro.demo.outage import OutageScene
from allegro.demo.playground import RealForge, remember, world
from allegro.demo.report import (
    DemoReceipt,
    DemoReport,
    DemoStep,
    EventSums,
    OpenedPull,
    Tried,
    Versions,
    lags_of,
)
from allegro.demo.screen import Screen
from allegro.demo.session import Scene
from allegro.scratch.forge_users import People
from allegro.scratch.processes import Forge, Stage
from allegro.scratch.relay import Relay

_CLOCK = SystemClock()


class Options(msgspec.Struct, frozen=True):
    """How to play. `ask` waits for the key that approves."""

    folder: Path | None = None
    keep: bool = False
    ask: Callable[[], bool] | None = None
    quiet: bool = False
    real: RealForge | None = None
    hermes: Path | None = None


class Play:
    """One run. `run` returns the JSON; every figure on the screen comes from it."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._screen = Screen(quiet=options.quiet)
        self._began_s = time.monotonic()
        self._last_s = self._began_s
        self.steps: list[DemoStep] = []
        self.folder = options.folder or Path(tempfile.mkdtemp(prefix="allegro-demo-"))
        self._stage = Stage(self.folder)
        self._relay = Relay(self._stage.link_port)
        self._scene = Scene(self._stage, self._screen, options.hermes)
        self._lags: list[float] = []
        self._seen: dict[str, int] = {}
        self._comments: set[int] = set()
        self._linked_s = float("inf")
        self._outage = OutageScene(
            self._stage,
            self._relay,
            lambda: len(self._comments),
            is_real=options.real is not None,
        )

    async def run(self) -> DemoReport:
        """Play everything and return the report. Raises UserError when a step does not come."""
        try:
            return await self._run()
        finally:
            await self._relay.stop()
            await self._stage.close()
            await self._scene.stop()
            if not self._options.keep:
                shutil.rmtree(self.folder, ignore_errors=True)

    async def _run(self) -> DemoReport:
        self._screen.title("allegro demo: Timmy decides, allegro executes\n")
        forge, people = await self._forge()
        await self._pair(forge)
        async with (
            GiteaBridge(self._stage.socket) as bridge,
            self._following(),
            contextlib.aclosing(people),
        ):
            number, triage_s = await self._issue(people, forge)
            server = await self._server_version(forge)
            pull, request, after_s = await self._change(bridge, people, forge, number)
            session = await self._scene.run(self._step)
            outage = await self._outage.run(people, forge, self._step)
            refused = await self._thief(request, people, forge)
            events = await self._sums()
        good = [*(one.ok for one in refused), *(one.ok for one in self.steps)]
        done = DemoReport(
            ok=events.lost == events.duplicated == 0 and all(good) and pull.number > 0,
            versions=Versions(__version__, server),
            forge="real" if self._options.real else "simulated",
            repository=forge.repository,
            steps=tuple(self.steps),
            triage_s=triage_s,
            pull_request=OpenedPull(pull.number, pull.url, pull.branch, pull.commit, after_s),
            receipt=DemoReceipt(request.id, request.digest),
            session=session,
            events=events,
            outage=outage,
            refused=refused,
        )
        self._screen.sums(done)
        return done

    def _step(self, name: str, detail: str = "", *, ok: bool = True) -> float:
        now_s = time.monotonic()
        took_s, self._last_s = now_s - self._last_s, now_s
        at_s = round(now_s - self._began_s, 3)
        self.steps.append(DemoStep(name, at_s, round(took_s, 3), ok))
        self._screen.step(name, at_s, took_s, detail)
        return took_s

    async def _forge(self) -> tuple[Forge, People]:
        real = self._options.real
        if real is None:
            simulator = await self._stage.start_simulator(world())
            tokens = simulator["tokens"]
            real = RealForge(
                simulator["url"],
                tokens["timmy"]["owner"],
                tokens["allegro"]["daily"],
                tokens["allegro-change"]["change"],
            )
        people = People(real.url, real.owner_token)
        bots = (await people.login_of(real.daily_token), await people.login_of(real.change_token))
        repository = await people.make_repository(f"allegro-demo-{secrets.token_hex(3)}", bots)
        remember(self.folder, real.url, repository)
        forge = Forge(real.url, repository, bots, real.daily_token, real.change_token)
        self._step("forge", f"{repository} on {real.url}")
        return forge, people

    async def _pair(self, forge: Forge) -> None:
        await self._relay.start()
        await self._stage.prepare(
            forge,
            lane={
                "link.public_url": f"wss://127.0.0.1:{self._relay.port}",
                "forge.poll_s": 0.5,
                **self._scene.lane_settings(),
            },
        )
        here, there = self._stage.words
        self._step("pair", f"both screens show: {here}", ok=here == there)
        await self._scene.start()
        await self._stage.start_lane()
        await self._stage.start_house()
        await self._stage.linked()
        self._linked_s = _CLOCK.now_s()
        self._step("link")

    async def _issue(self, people: People, forge: Forge) -> tuple[int, float]:
        began_s = time.monotonic()
        number = await people.open_issue(
            forge.repository, "The front door creaks", "It creaks at night. Please oil it."
        )
        self._step("issue", f"#{number}")

        async def labels() -> tuple[str, ...] | None:
            known = (await self._stage.client.issues(forge.repository)).issues
            return next((issue.labels for issue in known if issue.number == number), None)

        async def is_home() -> bool:
            return await labels() is not None

        async def is_seen() -> bool:
            return SEEN_LABEL in (await labels() or ())

        await self._stage.until(is_home, "the issue comes home")
        self._step("home")
        await self._stage.until(is_seen, "the issue is marked as seen")
        self._step("triage", "triage/seen, status/pending")
        return number, round(time.monotonic() - began_s, 3)

    async def _change(
        self, bridge: GiteaBridge, people: People, forge: Forge, number: int
    ) -> tuple[PR, RequestAnswer, float]:
        asked = await bridge.request(
            {
                "kind": "propose_change",
                "repository": forge.repository,
                "base": "main",
                "branch": "oil-the-door",
                "title": "Oil the front door",
                "body": f"Oil, twice a year. For #{number}.",
                "files": encoded({"README.md": _README, "doors/front.md": "Oiled: 2026-11-21\n"}),
                "context": f"{forge.repository}#{number}",
                "question": "Oil the front door?",
                "recommendation": "approve: it only adds a note",
            }
        )
        request = await self._stage.client.request(asked.id)
        self._step("request", asked.digest[:16])
        self._screen.request(request)
        if self._options.ask is not None and not self._options.ask():
            raise UserError("not approved: nothing was changed")
        self._last_s = time.monotonic()
        await self._stage.command(
            "approve", asked.digest, "--config", str(self._stage.house_config), "--yes", "--json"
        )
        self._step("approve", "signed with the sovereign key")
        approved_s = time.monotonic()
        done = await bridge.settled(asked.id, wait_s=90)
        after_s = round(time.monotonic() - approved_s, 3)
        pull = PR(done.artifact, done.url, done.branch, done.commit, done.id)
        shown = await people.pull(forge.repository, pull.number)
        content = await people.file(forge.repository, "README.md", pull.branch)
        good = shown["head"]["sha"] == pull.commit and content == _README
        self._step("pull_request", f"#{pull.number} {pull.url}", ok=good)
        text = f"Done: pull request {pull.number} is open, {done.report.status}."
        await bridge.comment_on_issue(forge.repository, number, text)
        await bridge.update_status(forge.repository, number, "review")
        self._step("report", f"#{number} is in status/review")
        return pull, done, after_s

    async def _thief(self, done: RequestAnswer, people: People, forge: Forge) -> tuple[Tried, ...]:
        tried = await attack(self._stage, done)
        pulls = await people.pulls(forge.repository)
        refused = tuple(
            Tried(one.case, one.expected, one.reason, one.ok and len(pulls) == 1) for one in tried
        )
        self._step(
            "thief", f"{sum(one.ok for one in tried)} refused", ok=all(one.ok for one in tried)
        )
        self._screen.refused(refused)
        return refused

    async def _sums(self) -> EventSums:
        """Compare what was written with what is home. Lag: lane's stamp to the house's reader."""
        home = len(self._comments)
        return EventSums(
            sent=self._outage.sent,
            archived=min(home, self._outage.sent),
            lost=max(0, self._outage.sent - home),
            duplicated=sum(count - 1 for count in self._seen.values()),
            lag_ms=lags_of(self._lags),
        )

    @contextlib.asynccontextmanager
    async def _following(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _follow(self) -> None:
        async for event in self._stage.client.shown_events(after=0, follow=1):
            self._seen[event.id] = self._seen.get(event.id, 0) + 1
            words = event.words if isinstance(event.words, dict) else {}
            is_comment = event.type == EventType.FORGE_SNAPSHOT_COMMENT
            if is_comment and str(words.get("body", "")).startswith("note "):
                self._comments.add(int(words["id"]))
            stamped_s, cut = unix_s(event.time), self._outage.cut_at
            if self._linked_s <= stamped_s and not cut[0] <= stamped_s <= cut[1]:
                self._lags.append(max(0.0, (_CLOCK.now_s() - stamped_s) * 1000))

    async def _server_version(self, forge: Forge) -> str:
        facts = (await self._stage.client.doctor()).facts
        return next((fact.detail for fact in facts if fact.code == codes.FORGE.code), forge.url)


_README = "# The house\n\nThe front door is oiled twice a year.\n"
