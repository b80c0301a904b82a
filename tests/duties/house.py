"""A house in virtual time: real ledger, archive and rules; lanes that answer as they are told."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec

from allegro.adapters.crypto.signatures import verify
from allegro.adapters.sqlite.connection import Worker, open_database
from allegro.adapters.sqlite.ledger import SCHEMA, SqliteLedger
from allegro.core.authority.actions.forge import MirrorRequest, RepositoryRef
from allegro.core.authority.freeze import FreezeSet
from allegro.core.authority.tokens import Approval, Order, issue_token, unb64url
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.effects.matching import Receipt
from allegro.core.ports import Dice
from allegro.core.protocol.messages import GiveOrder, OrderAnswer
from allegro.core.protocol.queries import Params
from allegro.core.requests.proposals import Proposal
from allegro.core.requests.requests import Request
from allegro.core.requests.work import Work
from allegro.core.settings import HouseIdentity, HouseSettings
from allegro.core.stores import Place, SetAside
from allegro.house.files import Fleet
from allegro.house.orders.arbiter import Orders
from allegro.house.orders.carrying import Hands
from allegro.house.orders.choice import Choice, Follower
from allegro.house.orders.giving import Ahead, Giving, LinkedLane, Mandate
from allegro.house.orders.pauses import Pauses
from allegro.house.orders.settling import Looks, Polled, Witnesses
from allegro.house.requests.requests import Approvals, Pinning, Requests
from allegro.link.dial import LaneLink
from allegro.link.traffic import lost
from allegro.testing.virtual import SeededDice, VirtualClock
from tests.core.builders import FORGE, HOUSE, RECOVERY, SOVEREIGN

LANE, PRINT = "a", "fingerprint-of-a"
NOT_LINKED = EdgeError("the link is down", transient=True)
FLEET = Fleet(
    id="fleet", began_s=1_000_000.0, sovereign=SOVEREIGN.public, sovereign_number=1,
    recovery=RECOVERY.public, house=HOUSE.public, house_number=1, certificate="", seat=1,
    seat_token="", sealing=b"", secret=b"s" * 32, marker=b"m" * 32,
)  # fmt: skip


class FakeLane:
    """The house's end of one lane's link.

    Each order takes the next of `answers`: a word of refusal, "" for taken, or an error; none left
    is "". While `held` is set, orders wait; while `silent` is, queries do. `world` answers queries
    by method.
    """

    def __init__(self) -> None:
        self.orders: list[GiveOrder] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answers: deque[str | EdgeError] = deque()
        self.held: asyncio.Event | None = None
        self.silent: asyncio.Event | None = None
        self.takes_ahead = False
        self.cuts = 0
        self.stays_down = False
        self.mute = False
        self.world: dict[str, Any] = {
            "pin_repository": _place(), "look": {"finding": "Absent"},
            "pin_close": {
                **_place(), "state": "open", "title": "Roses", "body": "please",
                "newest_comment": None, "newest_comment_sha256": None, "newest_comment_body": None,
            },
        }  # fmt: skip

    @property
    def looks(self) -> int:
        return sum(method == "look" for method, _ in self.asked)

    async def send_ahead(self, content: bytes) -> str | None:
        """Take content that comes ahead, where `takes_ahead`; be cut `cuts` times before."""
        if self.cuts > 0:
            self.cuts -= 1
            raise lost()
        return hashlib.sha256(content).hexdigest() if self.takes_ahead else None

    async def is_up_within(self, seconds: float) -> bool:
        return not self.stays_down

    async def challenge(self) -> str:
        if self.mute:
            raise EdgeError("it did not answer", transient=True)
        return "c1"

    async def order(self, make: Callable[[int], GiveOrder]) -> OrderAnswer:
        self.orders.append(make(1))
        if self.held is not None:
            await self.held.wait()
        answer = self.answers.popleft() if self.answers else ""
        if isinstance(answer, EdgeError):
            raise answer
        return OrderAnswer(1, answer, "as told")

    async def ask(self, method: str, params: Params) -> Any:
        self.asked.append((method, dict(params)))
        if self.silent is not None:
            await self.silent.wait()
        answer = self.world[method]
        if isinstance(answer, EdgeError):
            raise answer
        return answer


def _place() -> dict[str, Any]:
    return {"repository": {"id": 7, "name": "home/garden", "private": True}, "forge": FORGE}


class WornLedger(SqliteLedger):
    """The real ledger on a disk that refuses every write while `worn`."""

    worn = False

    async def save(self, *requests: Request, receipts: tuple[Receipt, ...] = ()) -> None:
        self._refuse()
        await super().save(*requests, receipts=receipts)

    async def next_number(self, name: str) -> int:
        self._refuse()
        return await super().next_number(name)

    async def set_number(self, name: str, value: int) -> None:
        self._refuse()
        await super().set_number(name, value)

    async def keep_place(self, name: str, place: Place) -> None:
        self._refuse()
        await super().keep_place(name, place)

    def _refuse(self) -> None:
        if self.worn:
            raise EdgeError("the disk is full", transient=True, kind="disk_full")


class House:
    """One house's requests and orders with one lane."""

    def __init__(self, folder: Path, clock: VirtualClock) -> None:
        self.clock = clock
        self.lane = FakeLane()
        self.lanes = {LANE: self.lane}
        self.is_linked = True
        self.frozen = FreezeSet()
        self.polls: dict[int, frozenset[str]] = {}
        self.aside: list[SetAside] = []
        self.compared: list[tuple[str, int, str]] = []
        self.settings = HouseSettings(HouseIdentity("home", str(folder)))
        self.followers: dict[str, Follower] = {}
        self._dice = SeededDice(2)
        self.folder = folder
        self._file = folder / "ledger.db"
        self.ledger: WornLedger
        self.requests: Requests
        self.orders: Orders

    async def start(self) -> None:
        """Start the house, or start it again: only the ledger remembers what was before."""
        self.ledger = WornLedger(Worker(open_database(self._file, SCHEMA), "ledger"), {})
        rows = await self.ledger._worker.run(
            lambda c: c.execute("SELECT stored FROM request ORDER BY created_s").fetchall()
        )
        for (raw,) in rows:
            stored = msgspec.msgpack.decode(raw, type=Request)
            self.ledger.requests[stored.id] = stored
        self.wire()

    def wire(self) -> None:
        """Make requests and orders from what the ledger holds in memory."""
        self.requests = Requests(
            self.ledger,
            self.clock,
            self._dice,
            Approvals(lambda: FLEET, verify),
            Pinning(self.ask, self.settings.requests.expiry_s),
        )
        self.orders = self.arbiter(self._dice, FLEET, self._polled)

    def arbiter(self, dice: Dice, fleet: Fleet, polled: Polled) -> Orders:
        """Wire what gives the orders, as the program does."""
        settings, ahead = self.settings.orders, Ahead()
        mandate = Mandate(
            lambda: fleet, lambda: self.frozen, HOUSE.sign, lambda: "change-token", settings.ttl_s
        )
        hands = Hands(
            choice=Choice(self, self.followers),
            pauses=Pauses(self.clock, dice, settings.ttl_s + settings.settle_s),
            giving=Giving(self.requests, self.ledger, self.clock, mandate, ahead),
            looks=Looks(self.requests, Witnesses(self, polled), self.clock, mandate.fleet, ahead),
        )
        return Orders(
            self.requests, self.clock, hands, parallel=settings.parallel, woken=asyncio.Event()
        )

    async def set_aside(self, aside: SetAside, stored: bytes) -> None:
        """Take what a duty could not handle, as the program's alert does."""
        self.aside.append(aside)

    async def _polled(self, work: Work, artifact: int, content: str) -> frozenset[str]:
        self.compared.append((work.request.id, artifact, content))
        return self.polls.get(artifact, frozenset())

    async def restart(self) -> None:
        await self.ledger.close()
        await self.start()

    def linked(self) -> list[LinkedLane]:
        if not self.is_linked:
            return []
        return [(name, f"fingerprint-of-{name}", cast(LaneLink, lane))
                for name, lane in self.lanes.items()]  # fmt: skip

    def serving_forge(self) -> list[LinkedLane]:
        return self.linked()

    def serving_sessions(self, busy: Callable[[str], int]) -> list[LinkedLane]:
        return self.linked()

    async def ask(self, method: str, params: Params) -> Any:
        if not self.is_linked:
            raise NOT_LINKED
        return await next(iter(self.lanes.values())).ask(method, params)

    async def ask_lane(self, lane: str, method: str, params: Params) -> Any:
        if lane not in self.lanes or not self.is_linked:
            raise NOT_LINKED
        return await self.lanes[lane].ask(method, params)

    def link_first(self, name: str) -> FakeLane:
        """Link one more lane that says a higher epoch: it is asked before the others."""
        lane = FakeLane()
        self.lanes = {name: lane, **self.lanes}
        return lane

    async def step(self) -> float:
        """Look at all requests, and wait until what was begun is through."""
        pause_s = await self.orders.step()
        await until(lambda: self.orders.carrying == 0)
        return pause_s

    async def live(self, seconds: float) -> None:
        """Run the arbiter for so much virtual time, waiting between steps as it asks to."""
        until_s = self.clock.boot_s() + seconds
        while self.clock.boot_s() < until_s:
            pause_s = await self.step()
            self.clock.advance(min(pause_s, max(0.001, until_s - self.clock.boot_s())))
        await self.step()

    # --- what is asked and decided ----------------------------------------------------------

    async def comment(self, body: str = "done", issue: int = 3) -> Request:
        return await self.propose(kind="comment", issue=issue, body=body)

    async def status(self, status: str, issue: int = 3) -> Request:
        return await self.propose(kind="update_status", issue=issue, status=status)

    async def mirror(self, of: str, body: str) -> Request:
        self.clock.advance(0.001)
        action = MirrorRequest(
            id=self.requests.new_id(), forge=FORGE, repository=RepositoryRef(7, "home/garden"),
            issue=3, request=of, body=body,
        )  # fmt: skip
        return await self.requests.propose_mirror(action, "home/garden")

    async def propose(self, **values: Any) -> Request:
        self.clock.advance(0.001)
        return await self.requests.propose(Proposal(repository="home/garden", **values))

    async def approved_close(self, lasts_s: int = 3600) -> Request:
        """Ask for a close and let the sovereign approve it."""
        request = await self.propose(kind="close_issue", issue=3)
        return await self.approve(request, lasts_s)

    async def approve(self, request: Request, lasts_s: int = 3600) -> Request:
        now_s = int(self.clock.now_s())
        claims = Approval(
            aud="fleet", digest=request.digest, exp=now_s + lasts_s, iat=now_s, seat=1
        )
        token = issue_token(claims, "sovereign:1", SOVEREIGN.sign)
        moved = await self.requests.approve(request.id, token)
        assert not isinstance(moved, Refusal), moved
        return moved

    def now(self, request: Request) -> Request:
        return self.ledger.requests[request.id]


def claims_of(given: GiveOrder) -> Order:
    """Read what an order says. Its signature is the handshake tests' business."""
    return msgspec.json.decode(unb64url(given.order.split(".")[1]), type=Order)


async def until(condition: Callable[[], bool]) -> None:
    """Let other tasks and the ledger's thread run until this holds."""
    for _ in range(1_000_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")
