"""The house's end of one lane's link: what is said at log-in, what comes home (HouseEnd)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import structlog

from allegro.core.authority.freeze import Freeze, FreezeSet
from allegro.core.authority.lease import ROLES
from allegro.core.authority.tokens import Login, b64url, fingerprint, issue_token
from allegro.core.base.errors import EdgeError, ProtocolError, Refusal
from allegro.core.base.events import encode_event
from allegro.core.base.untrusted import number_of
from allegro.core.health import codes
from allegro.core.health.alerts import RaiseAlert, sentence_of
from allegro.core.health.codes import Code
from allegro.core.ports import Clock, Dice
from allegro.core.protocol.messages import (
    MAX_HOUSE_FRAME,
    PROTOCOL,
    Ack,
    Batch,
    FromLane,
    Greet,
    Hello,
    HouseBeat,
    LaneBeat,
    LogIn,
    Serves,
    Welcome,
)
from allegro.core.protocol.payloads.base import own_event
from allegro.core.protocol.payloads.house import LinkUp
from allegro.core.stores import Archive, Ledger
from allegro.house.files import Fleet, KnownLane
from allegro.link.frames import encode
from allegro.link.handshake import check_greeting

_log = structlog.get_logger()
MAX_SEQ = 2**53
MAX_JOURNAL_ID = 64
MARKS_OF_ONE_LANE = 256


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

    def __init__(
        self, house: House, lane: KnownLane, on_linked: Callable[[], None] = lambda: None
    ) -> None:
        """`on_linked` is called once a link, at the first heartbeat of the lane."""
        self._house = house
        self._on_linked = on_linked
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
        self.behind = 0
        self.caught_up_s = 0.0
        self._target = 0
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
        self._target, self.behind = welcome.head, max(0, welcome.head - self.home)
        self.caught_up_s = 0.0
        self._note_home()
        await self._write_up()

    async def _write_up(self) -> None:
        """Write that the lane is linked, before anything of it is taken: figures count from it."""
        house, at_s = self._house, self.heard_s
        payload = LinkUp(lane=self.name, since_s=at_s, behind=self.behind)
        event = own_event(payload, id_=house.dice.token(16).hex(), now_s=at_s)
        try:
            await house.archive.add([encode_event(event)], at_s)
        except EdgeError as error:  # a full disk: the link is worth more than its record
            _log.error("link.unwritten", lane=self.name, error=str(error))

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
        self._note_home()
        self._house.archived()
        return Ack(taken.position)

    def _note_home(self) -> None:
        """Note when all that waited at the beginning of this link was home."""
        if not self.caught_up_s and self.home >= self._target:
            self.caught_up_s = self._house.clock.now_s()

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
                    self._on_linked()
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
