"""The house program: wires adapters to duties, starts, and stops cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import Any

import structlog

from allegro.adapters.clock import SystemClock, SystemDice
from allegro.adapters.files import hold_folder
from allegro.adapters.notify import notify, watchdog_s
from allegro.adapters.signatures import verify
from allegro.adapters.sqlite.archive import open_archive
from allegro.adapters.sqlite.ledger import open_ledger
from allegro.config import read_secret
from allegro.core.approvals import Thaw
from allegro.core.errors import ConfigError, EdgeError, Refusal
from allegro.core.events import Event, decode_event
from allegro.core.freeze import MAX_ACTIVE, Freeze, FreezeSet, add, contains, sound, thaw, tidied
from allegro.core.render import one_line
from allegro.core.settings import HouseSettings
from allegro.core.stores import SetAside
from allegro.core.untrusted import Unreadable, plain, read_json
from allegro.house.api import Api, Hooks
from allegro.house.facts import Facts
from allegro.house.files import (
    files_of,
    load_fleet,
    load_house_key,
    load_sealing,
    socket_of,
)
from allegro.house.fleet_api import FleetApi
from allegro.house.fleet_watch import FleetWatch
from allegro.house.follow import Follow
from allegro.house.lanes import House, Lanes
from allegro.house.lent import Lent
from allegro.house.mirror import Mirror
from allegro.house.orders import Orders
from allegro.house.polls import Polls
from allegro.house.progress import Progress
from allegro.house.requests import Requests
from allegro.house.session_api import SessionApi
from allegro.house.sessions import Sessions

_log = structlog.get_logger()
MAX_ALERTS = 200
MAX_TOLD = 500
MAX_LANE_FREEZES = 50
REMEMBERED_S = 14 * 86_400


async def run(settings: HouseSettings) -> int:
    """Run the house until SIGTERM or SIGINT; return the exit code.

    Raises ConfigError before anything is started when keys or fleet are missing.
    """
    app = _House(settings)
    try:
        await app.start()
        await app.wait()
    finally:
        await app.stop()
    return 0


class _House:
    def __init__(self, settings: HouseSettings) -> None:
        self._settings = settings
        self._files = files_of(settings)
        self._fleet = load_fleet(self._files)
        self._key = load_house_key(self._files)
        self._sealing = load_sealing(self._files)
        self._clock, self._dice = SystemClock(), SystemDice()
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._alerts: list[dict[str, Any]] = []
        self._stack = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Open archive and ledger, then the socket, then dial."""
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, self._stopping.set)
        self._stack.callback(hold_folder(self._files.folder, "another house").close)
        settings = self._settings
        quota = int(settings.archive.quota_gb * 1e9)
        self._archive = open_archive(self._files.archive, quota_bytes=quota, same=self._same)
        self._stack.push_async_callback(self._archive.close)
        self._ledger = open_ledger(self._files.ledger, self._clock.now_s() - REMEMBERED_S)
        self._stack.push_async_callback(self._ledger.close)
        self._freezes = await self._known_freezes()
        house = House(
            self._archive, self._ledger, self._clock, self._dice, fleet=lambda: self._fleet,
            freezes=lambda: self._freezes, sign=self._sign,
            verify=verify, archived=self._archived, lane_froze=self._lane_froze,
            alert=self._alert,
        )  # fmt: skip
        self._lanes = Lanes(house)
        self._stack.push_async_callback(self._lanes.stop)
        self._requests = Requests(
            self._ledger, self._clock, self._dice, settings, lambda: self._fleet,
            self._lanes.ask, verify,
        )  # fmt: skip
        self._orders = Orders(
            self._requests, self._ledger, self._lanes, self._clock, self._dice, settings.orders,
            lambda: self._fleet, lambda: self._freezes, house.sign, self._change_token,
            Polls(self._archive, self._ledger).of,
        )  # fmt: skip
        self._follow = Follow(
            self._archive, self._ledger, self._requests, self._clock, self._dice,
            began_s=self._fleet.began_s, open_words=self._open_words,
            is_linked=lambda: bool(self._lanes.linked()), journals_home=self._lanes.all_home,
            ask_lane=self._lanes.ask_lane, freeze=self._take_freeze, alert=self._alert,
            on_set_aside=self._set_aside,
        )  # fmt: skip
        self._sessions = Sessions(
            self._archive, self._ledger, self._requests, self._clock,
            self._lanes.ask_lane, self._open_words, self._alert, self._lanes.is_home,
            self._orders.kick, self._set_aside,
        )  # fmt: skip
        self._orders.sessions = self._sessions
        session_api = SessionApi(self._sessions, self._requests, self._lanes.ask)
        progress = Progress(
            self._sessions, self._requests, self._lanes.ask, self._clock, self._orders.kick,
            book=self._ledger, on_set_aside=self._set_aside,
        )  # fmt: skip
        self._watch = FleetWatch(
            self._archive, self._ledger, self._lanes, self._clock, self._dice, self._alert,
            self._set_aside,
        )  # fmt: skip
        fleet_api = FleetApi(
            self._archive, self._lanes, self._watch, self._clock, self._dice,
            lambda: self._fleet, self._alert,
        )  # fmt: skip
        facts = Facts(
            settings, self._files, self._archive, self._ledger, self._lanes, self._orders,
            self._clock, fleet=lambda: self._fleet, freezes=lambda: self._freezes,
            alerts=lambda: self._alerts, alone_since=lambda: self._watch.local_only_since_s,
        )  # fmt: skip
        self._api = Api(
            self._requests,
            self._archive,
            self._lanes,
            facts,
            Hooks(self._stop_everything, self._thaw, self._reload, self._lanes.bring_all),
            self._open_words,
            [*session_api.routes(), *Lent(self._lanes.ask_lane).routes(), *fleet_api.routes()],
            acting=settings.house.acting,
        )
        mirror = Mirror(
            self._requests, settings.requests, self._lanes.ask, self._clock, self._orders.kick,
            book=self._ledger, on_set_aside=self._set_aside,
        )  # fmt: skip
        await self._check_seat()
        await self._api.start(socket_of(settings))
        self._stack.push_async_callback(self._api.stop)
        if settings.house.acting:
            self._lanes.refresh()
            self._background(self._follow.run(), "follow")
            self._background(self._orders.run(), "orders")
            self._background(mirror.run(), "mirror")
            self._background(self._sessions.run(), "sessions")
            self._background(progress.run(), "progress")
            self._background(self._watch.run(), "fleet")
        self._background(self._alive(), "alive")
        notify("READY=1\nSTATUS=running")
        _log.info("house.ready", house=settings.house.name, seat=self._fleet.seat)

    async def wait(self) -> None:
        """Return at a signal. Raises what a duty died of."""
        stop = asyncio.create_task(self._stopping.wait())
        try:
            done, _ = await asyncio.wait(
                {stop, *self._tasks, *self._lanes.tasks()}, return_when=asyncio.FIRST_COMPLETED
            )
            while not stop.done():
                for task in done:
                    if not task.cancelled():
                        task.result()
                done, _ = await asyncio.wait(
                    {stop, *self._tasks, *self._lanes.tasks()},
                    return_when=asyncio.FIRST_COMPLETED,
                )
        finally:
            stop.cancel()

    async def stop(self) -> None:
        notify("STOPPING=1")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()
        _log.info("house.stopped")

    def _sign(self, message: bytes) -> bytes:
        return self._key.sign(message)  # the key of now: it may have been rotated

    def _background(self, duty: Any, name: str) -> None:
        self._tasks.append(asyncio.create_task(duty, name=name))

    async def _alive(self) -> None:
        """Beat for the watchdog, and dial at once after the machine slept."""
        every_s = min(5.0, watchdog_s() or 5.0)
        while True:
            before_s, wall_s = self._clock.boot_s(), self._clock.now_s()
            await self._clock.sleep(every_s)
            notify("WATCHDOG=1")
            self._requests.forget(self._clock.now_s() - REMEMBERED_S)
            slept = self._clock.boot_s() - before_s > every_s + 5
            jumped = abs((self._clock.now_s() - wall_s) - every_s) > 5
            if slept or jumped:
                self._lanes.prod()

    def _change_token(self) -> str | None:
        name = self._settings.forge.change_token_file
        if not name:
            return None
        try:
            return read_secret(Path(name).expanduser())
        except ConfigError as error:
            raise EdgeError(str(error), transient=False, kind="change_token") from error

    def _open_words(self, event: Event) -> Any:
        """Return the words of an event, None when it has none or they cannot be opened."""
        if not event.sealed:
            return None
        try:
            raw = self._sealing.open(self._fleet.id, event.id, event.sealed)
        except EdgeError as error:
            _log.warning("words.sealed_otherwise", id=event.id[:64], error=str(error))
            return None
        words = read_json(raw, object)
        held = words if isinstance(words, Unreadable) else plain(words)
        if isinstance(held, Unreadable):
            _log.warning("words.unreadable", id=event.id[:64], reason=held.reason)
            return None
        return held

    def _same(self, one: bytes, other: bytes) -> bool:
        """Say whether two events of one id tell the same: facts, and words once they are opened.

        Words that cannot be opened are the same only where their sealed bytes are.
        """
        a, b = self._event_of(one), self._event_of(other)
        if a is None or b is None:
            return one == other
        if (a.type, a.subject, a.data) != (b.type, b.subject, b.data):
            return False
        return a.sealed == b.sealed or self._words_of(a) == self._words_of(b) != b""

    def _words_of(self, event: Event) -> bytes:
        """Return the opened bytes of an event's words; none where they cannot be opened."""
        try:
            return self._sealing.open(self._fleet.id, event.id, event.sealed)
        except EdgeError:
            return b""

    def _archived(self) -> None:
        self._follow.kick()
        self._sessions.kick()
        self._watch.kick()
        self._api.archived()

    async def _set_aside(self, aside: SetAside, stored: bytes) -> None:
        """Tell that an item could not be handled; the duty goes on with the next."""
        event = self._event_of(stored)
        what = f"{event.type} of lane {aside.lane}" if event else f"item {aside.item}"
        self._alert("high", f"{aside.duty}: {what} was set aside: {aside.reason}")

    def _event_of(self, stored: bytes) -> Event | None:
        try:
            return decode_event(stored)
        except ValueError:
            return None

    def _alert(self, urgency: str, told: str) -> None:
        _log.warning("alert", urgency=urgency, told=told)
        told = told[:MAX_TOLD]
        alert = {"at_s": self._clock.now_s(), "urgency": urgency, "told": told}
        if not self._alerts or self._alerts[-1]["told"] != told:
            self._alerts = [*self._alerts, alert][-MAX_ALERTS:]

    async def _freeze(self, freeze: Freeze) -> int:
        """Freeze here at once, then on every lane; a full disk does not hold a stop back."""
        self._freezes = add(self._freezes, freeze)
        told = await self._lanes.stop_all(freeze)
        try:
            await self._ledger.save_freezes(self._freezes)
        except EdgeError as error:
            self._alert("critical", f"the freeze holds but cannot be written down: {error}")
        return told

    async def _take_freeze(self, freeze: Freeze) -> None:
        await self._lane_froze((freeze,))

    async def _lane_froze(self, freezes: tuple[Freeze, ...]) -> None:
        """Take a lane's freezes by union, and tell the others."""
        for freeze in freezes[:MAX_LANE_FREEZES]:
            if len(self._freezes.active) >= MAX_ACTIVE:
                return  # frozen is frozen: a lane cannot make the set endless
            if not contains(self._freezes, freeze.id):
                kept = sound(freeze)
                if kept.id in self._freezes.thawed:  # lifted before it came: it stops nothing
                    self._freezes = add(self._freezes, kept)
                    told = (
                        "a stop came under an id that was thawed before: stop anew if it is meant"
                    )
                    self._alert("high", f"{told} ({one_line(kept.by)})")
                    continue
                self._alert("high", f"frozen by {one_line(kept.by)}: {one_line(kept.reason)}"[:300])
                await self._freeze(kept)

    async def _stop_everything(self, reason: str, by: str) -> dict[str, Any]:
        freeze = Freeze(self._dice.token(8).hex(), self._clock.now_s(), by, reason or "stop")
        told = await self._freeze(freeze)
        return {"schema": "allegro.stop/1", "freeze": freeze.id, "lanes_told": told}

    async def _thaw(self, token: str) -> Refusal | None:
        fleet = self._fleet
        claims = fleet.read(token, Thaw, verify)
        if isinstance(claims, Refusal):
            return claims
        if not self._clock.now_s() < claims.exp:
            return Refusal("thaw_expired", "sign it again")
        thawed = thaw(self._freezes, claims.freezes)
        await self._ledger.save_freezes(thawed)
        self._freezes = thawed
        thaws = await self._ledger.strings("thaws")
        await self._ledger.set_strings("thaws", (*thaws, token)[-50:])
        await self._lanes.bring_all(token)
        self._orders.kick()
        return None

    async def _reload(self) -> dict[str, Any]:
        """Take over keys, seat and lanes after a command changed them."""
        known = self._fleet.revocations
        self._fleet = load_fleet(self._files)
        self._key = load_house_key(self._files)
        voided = await self._check_seat()
        new = [token for token in self._fleet.revocations if token not in known]
        for token in (
            *self._fleet.rotations[-1:], self._fleet.certificate, self._fleet.seat_token,
            *new, *self._fleet.roster_tokens,
        ):  # fmt: skip
            await self._lanes.bring_all(token)
        if self._settings.house.acting:
            self._lanes.refresh()
        return {"seat": self._fleet.seat, "lanes": len(self._fleet.lanes), "voided": voided}

    async def _known_freezes(self) -> FreezeSet:
        """Return the freeze set; a ledger that lost it starts frozen until the sovereign thaws."""
        held = tidied(await self._ledger.freezes())
        if held.known:
            return held
        freeze = Freeze(
            self._dice.token(8).hex(), self._clock.now_s(), "house",
            "the ledger was missing at start: check what happened, then thaw",
        )  # fmt: skip
        frozen = FreezeSet((freeze,))
        await self._ledger.save_freezes(frozen)
        return frozen

    async def _check_seat(self) -> int:
        """Void open approvals when seat or sovereign key changed since they were given."""
        now = f"{self._fleet.seat}/{self._fleet.sovereign_number}"
        held = await self._ledger.strings("seat and key")
        if held == (now,):
            return 0
        voided = await self._requests.unseat() if held else 0
        await self._ledger.set_strings("seat and key", (now,))
        return voided
