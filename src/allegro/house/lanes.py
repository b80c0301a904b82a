"""The lanes of this house: their links, what is said to them, what they bring home (HouseEnd)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
import structlog

from allegro.core.authority.freeze import Freeze, FreezeSet, contains
from allegro.core.authority.lease import ROLES
from allegro.core.authority.tokens import Login, b64url, fingerprint, issue_token
from allegro.core.base.errors import EdgeError, ProtocolError, Refusal
from allegro.core.base.untrusted import names_of, number_of
from allegro.core.forge.triage import SEEN_LABEL
from allegro.core.health import codes
from allegro.core.health.alerts import RaiseAlert, sentence_of
from allegro.core.health.codes import Code
from allegro.core.ports import Clock, Dice
from allegro.core.protocol.messages import (
    MAX_HOUSE_FRAME,
    PROTOCOL,
    Ack,
    Batch,
    Bring,
    FromHouse,
    FromLane,
    Greet,
    Hello,
    HouseBeat,
    LaneBeat,
    LogIn,
    Serves,
    Stop,
    Welcome,
)
from allegro.core.protocol.queries import Params
from allegro.core.stores import Archive, Ledger
from allegro.house.files import Fleet, KnownLane
from allegro.house.seen_label import SeenLabel
from allegro.link.dial import LaneLink
from allegro.link.frames import encode
from allegro.link.handshake import check_greeting
from allegro.runtime.duties import keep_running

_log = structlog.get_logger()
MAX_SEQ = 2**53
MAX_JOURNAL_ID = 64
TELL_S = 0.8
MARKS_OF_ONE_LANE = 256
AFTER_BUG_S = 5.0
MUTE_S = 60.0
"""So long a lane that gave no answer is asked after the others."""


def _log_alert(code: Code, subject: str, /, lane: str = "", **values: object) -> None:
    """For a house without a screen: log what a person should see."""
    sentence = sentence_of(code, subject, lane, values)
    _log.warning("alert", code=code.code, sentence=sentence, lane=lane)


class House(msgspec.Struct, frozen=True):
    """What every lane's end shares. `fleet` and `freezes` are asked anew each time.

    `sign` and `verify` are the house key's and everybody's; `archived` is called after events were
    kept, `lane_froze` with freezes a lane reports; `suspended` says whether work with the lane of
    this name is suspended.
    """

    archive: Archive
    ledger: Ledger
    clock: Clock
    dice: Dice
    fleet: Callable[[], Fleet]
    freezes: Callable[[], FreezeSet]
    sign: Callable[[bytes], bytes]
    verify: Callable[[bytes, bytes, bytes], bool]
    archived: Callable[[], None]
    lane_froze: Callable[[tuple[Freeze, ...]], Awaitable[None]]
    alert: RaiseAlert = _log_alert
    suspended: Callable[[str], bool] = lambda _: False


class LaneEndpoint:
    """The HouseEnd of one lane."""

    def __init__(self, house: House, lane: KnownLane) -> None:
        self._house = house
        self.lane = lane
        self.name = lane.name
        self.url = lane.url
        self.pin = lane.pin
        self.version = ""
        self.head = 0
        self.home = 0
        self.journal = ""
        self.done = ""
        self.serves = Serves()
        self.roles: dict[str, int] = {}
        self.heard_s = 0.0
        self.on_linked: Callable[[], None] = lambda: None
        self._is_new = False

    @property
    def is_home(self) -> bool:
        """Whether everything this lane has told of is archived."""
        return self.heard_s > 0 and self.home >= self.head

    def hello(self) -> Hello:
        return Hello(PROTOCOL, b64url(self._house.dice.token(32)))

    async def log_in(self, greeting: Greet, hello: Hello) -> LogIn | Refusal:
        house, fleet = self._house, self._house.fleet()
        counter = check_greeting(
            greeting,
            challenge=hello.challenge,
            fleet=fleet.id,
            lane_key=self.lane.key,
            verify=house.verify,
            protocol=hello.protocol,
        )
        if isinstance(counter, Refusal):
            return counter
        self.version = greeting.version[:64]
        claims = Login(
            aud=fleet.id,
            lane=fingerprint(self.lane.key),
            challenge=counter,
            seat=fleet.seat,
            key_number=fleet.sovereign_number,
        )
        known = [lane.name for lane in fleet.lanes if not lane.revoked]
        marks = await house.archive.marks(known, MARKS_OF_ONE_LANE)
        return _fitting(
            LogIn(
                token=issue_token(claims, f"house:{fleet.house_number}", house.sign),
                certificates=(
                    *fleet.rotations,
                    fleet.certificate,
                    fleet.seat_token,
                    *fleet.revocations,
                    *fleet.roster_tokens,
                ),
                freezes=house.freezes().active,
                thaws=await house.ledger.strings("thaws"),
                cursors=await house.archive.cursors(self.name),
                marks=tuple((watch, m.forge_s, m.wall_s) for watch, m in marks.items()),
                now_s=house.clock.now_s(),
            )
        )

    async def welcomed(self, welcome: Welcome) -> None:
        """Take the lane's own freezes, and go on where it says."""
        house = self._house
        if not 0 <= welcome.after.seq <= welcome.head < MAX_SEQ:
            raise ProtocolError("a journal cannot end before it goes on")
        if len(welcome.after.journal) > MAX_JOURNAL_ID:
            raise ProtocolError("a journal's id is short")
        await house.lane_froze(welcome.freezes)
        cursors = {c.journal: c for c in await house.archive.cursors(self.name)}
        held = cursors.get(welcome.after.journal)
        if welcome.after.seq > (held.seq if held else 0):
            await house.archive.skip_to(
                self.name,
                welcome.after,
                "acknowledged once, lost at the house",
                house.clock.now_s(),
            )
        self.journal, self.head = welcome.after.journal, welcome.head
        self.serves, self._is_new = welcome.serves, True
        self.home = max(welcome.after.seq, held.seq if held else 0)
        self.heard_s = house.clock.now_s()

    async def take(self, batches: list[Batch]) -> Ack | Refusal:
        """Archive consecutive batches in one commit."""
        first, last = batches[0], batches[-1]
        entries = tuple(entry for batch in batches for entry in batch.entries)
        if any(batch.journal != self.journal for batch in batches):
            return Refusal("journal_changed", "a journal may change only at log-in")
        taken = await self._house.archive.take(
            self.name, first.journal, first.first_seq, entries, self._house.clock.now_s()
        )
        if isinstance(taken, Refusal):
            return taken
        if taken.rejected:
            _log.warning("archive.unreadable", lane=self.name, count=taken.rejected)
            self._house.alert(codes.ARCHIVE_REJECTED, self.name, self.name)
        if taken.clashes:
            _log.warning("archive.clash", lane=self.name, count=taken.clashes)
            self._house.alert(codes.ARCHIVE_CLASH, self.name, self.name)
        self.home = taken.position.seq
        self.head = max(self.head, last.head, self.home)
        self._house.archived()
        return Ack(taken.position)

    async def hear(self, message: FromLane) -> None:
        match message:
            case LaneBeat():
                self.head, self.done = max(message.head, self.home), message.done[:200]
                self.roles = {
                    role: number_of(message.roles[role]) for role in ROLES if role in message.roles
                }
                self.heard_s = self._house.clock.now_s()
                if self._is_new:
                    self._is_new = False
                    self.on_linked()
            case _:
                _log.warning("link.unexpected", lane=self.name, message=type(message).__name__)

    def beat(self) -> HouseBeat:
        return HouseBeat(self._house.clock.now_s())


def _fitting(message: LogIn) -> LogIn:
    """Return a log-in that a lane can read: marks are left out before it grows too large.

    They cost a longer listing. Freezes, thaws and revocations must reach a lane whatever the
    archive holds.
    """
    if len(encode(message)) <= MAX_HOUSE_FRAME:
        return message
    _log.error("login.marks_left_out", count=len(message.marks))
    return msgspec.structs.replace(message, marks=())


class Lanes:
    """All lanes, each kept linked by its own task. `seen_label` is what house.toml names."""

    def __init__(self, house: House, seen_label: str = SEEN_LABEL) -> None:
        self._house = house
        self._seen_label = SeenLabel(seen_label, house.alert)
        self._ends: dict[str, tuple[LaneEndpoint, LaneLink, asyncio.Task[None]]] = {}
        self._mute: dict[str, float] = {}

    def refresh(self) -> None:
        """Dial lanes that were paired, drop those that were revoked or changed."""
        wanted = {lane.name: lane for lane in self._house.fleet().lanes if not lane.revoked}
        for name, (end, _, task) in list(self._ends.items()):
            if wanted.get(name) != end.lane:
                task.cancel()
                del self._ends[name]
        for name, lane in wanted.items():
            if name not in self._ends:
                end = LaneEndpoint(self._house, lane)
                link = LaneLink(end, self._house.clock, self._house.dice)
                end.on_linked = partial(self._seen_label.tell, name, link.ask)
                self._ends[name] = (end, link, self._begin(name, link))

    def _begin(self, name: str, link: LaneLink) -> asyncio.Task[None]:
        """Keep a lane linked; a bug that it meets ends its own link, which begins again."""
        house, what = self._house, f"link {name}"

        def failed(sentence: str) -> None:
            house.alert(codes.TASK_FAILED, what, name, detail=sentence)

        running = keep_running(what, link.run, house.clock, lambda _: AFTER_BUG_S, failed)
        return asyncio.create_task(running, name=what)

    async def stop(self) -> None:
        tasks = [task for _, _, task in self._ends.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._seen_label.stop()

    def prod(self) -> None:
        """Dial at once: the machine woke up, or the network changed."""
        for _, link, _ in self._ends.values():
            link.prod()

    def linked(self) -> list[tuple[str, str, LaneLink]]:
        """Return (name, fingerprint, link) of the lanes that are linked now, in order."""
        return [
            (end.name, fingerprint(end.lane.key), link)
            for end, link, _ in self._ends.values()
            if link.is_up
        ]

    def _trusted(self) -> list[tuple[str, str, LaneLink]]:
        """Return the linked lanes with which work is not suspended."""
        return [one for one in self.linked() if not self._house.suspended(one[0])]

    def serving_forge(self) -> list[tuple[str, str, LaneLink]]:
        """Return the linked lanes that serve a forge, the one that holds the role first."""
        able = [one for one in self._trusted() if self._ends[one[0]][0].serves.forge]
        return self._holder_first(able, "forge")

    def serving_sessions(self, busy: Callable[[str], int]) -> list[tuple[str, str, LaneLink]]:
        """Return the linked lanes with room for a session; the house's own where no other is."""
        able = [(one, self._ends[one[0]][0].serves) for one in self._trusted()]
        able = [(one, serves) for one, serves in able if serves.sessions > 0]
        away = [(one, serves) for one, serves in able if not serves.local]
        free = [one for one, serves in away or able if busy(one[0]) < serves.sessions]
        return self._holder_first(free, "hermes")

    def serves(self, lane: str) -> list[str]:
        """Return the roles a linked lane can be given."""
        held = self._ends.get(lane)
        if held is None or not held[1].is_up:
            return []
        serves = held[0].serves
        return ["forge"] * serves.forge + ["hermes"] * (serves.sessions > 0)

    def members(self) -> frozenset[str]:
        """Return the names of the council's lanes whose keys are not revoked; none without one."""
        fleet = self._house.fleet()
        revoked = {fingerprint(lane.key) for lane in fleet.lanes if lane.revoked}
        members = fleet.roster.members if fleet.roster else ()
        return frozenset(member.name for member in members if member.lane not in revoked)

    def names(self) -> frozenset[str]:
        """Return the names of all lanes that were ever paired and not renamed."""
        return frozenset(lane.name for lane in self._house.fleet().lanes)

    def unknown_freezes(self, reported: object) -> list[str]:
        """Return the ids of a lane's freezes that this house does not hold."""
        return [id_ for id_ in names_of(reported) if not contains(self._house.freezes(), id_)]

    def roles_of(self, lane: str) -> dict[str, int]:
        """Return the roles a linked lane says it holds, with their epochs."""
        held = self._ends.get(lane)
        return dict(held[0].roles) if held is not None and held[1].is_up else {}

    def _holder_first(
        self, lanes: list[tuple[str, str, LaneLink]], role: str
    ) -> list[tuple[str, str, LaneLink]]:
        """Sort by what lanes say of a role: the highest epoch first, else as they were paired.

        Where there is a council, its lanes come before those outside of it.
        """
        roster = self._house.fleet().roster
        members = {member.name for member in roster.members} if roster else set()
        return sorted(
            lanes,
            key=lambda one: (one[0] not in members, -self._ends[one[0]][0].roles.get(role, 0)),
        )

    def is_home(self, lane: str) -> bool:
        """Whether this lane is linked and all it has told is archived."""
        held = self._ends.get(lane)
        return held is not None and held[1].is_up and held[0].is_home

    async def ask_lane(self, lane: str, method: str, params: Params) -> Any:
        """Ask this very lane. Raises EdgeError; transient when it is not linked."""
        held = self._ends.get(lane)
        if held is None or not held[1].is_up:
            raise EdgeError(f"{lane} is not linked", transient=True, kind="not_linked")
        return await held[1].ask(method, params)

    def all_home(self) -> bool:
        """Whether every lane's journal is archived to its end."""
        return all(link.is_up and end.is_home for end, link, _ in self._ends.values())

    async def ask(self, method: str, params: Params) -> Any:
        """Ask the linked lanes with a forge, best first, until one answers or says no.

        One that did not answer lately is asked last, whatever role it claims. Raises EdgeError,
        transient where no lane could answer now.
        """
        boot_s, trouble = self._house.clock.boot_s(), None
        linked = sorted(self.serving_forge(), key=lambda one: self._mute_until(one[0]) > boot_s)
        for name, _, link in linked:
            try:
                return await link.ask(method, params)
            except EdgeError as error:
                if not error.transient:
                    raise
                trouble = error
                self._mute[name] = self._house.clock.boot_s() + MUTE_S
        raise trouble or EdgeError("no lane is linked", transient=True, kind="not_linked")

    def _mute_until(self, lane: str) -> float:
        return self._mute.get(lane, float("-inf"))

    async def tell_all(self, message: FromHouse) -> int:
        """Say something to every linked lane at once; return how many took it within TELL_S.

        A lane that does not read holds nobody else up.
        """
        linked = self.linked()
        outcomes = await asyncio.gather(
            *(asyncio.wait_for(link.say(message), TELL_S) for _, _, link in linked),
            return_exceptions=True,
        )
        for (name, _, _), outcome in zip(linked, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                _log.warning("link.not_told", lane=name, error=repr(outcome))
        return sum(outcome is None for outcome in outcomes)

    async def stop_all(self, freeze: Freeze) -> int:
        return await self.tell_all(Stop(freeze))

    async def bring_all(self, token: str) -> int:
        return await self.tell_all(Bring(token))

    def describe(self) -> list[dict[str, Any]]:
        """Return each lane's link in plain values."""
        return [
            {
                "name": end.name,
                "url": end.url,
                "linked": link.is_up,
                "trouble": link.trouble,
                "since_s": link.since_s,
                "version": end.version,
                "head": end.head,
                "home": end.home,
                "done": end.done,
                "heard_s": end.heard_s,
            }
            for end, link, _ in self._ends.values()
        ]
