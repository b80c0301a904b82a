"""Gives one order to one lane: content ahead, challenge, a number on disk, then the order itself.

The step ORDER is durable before the order leaves. What is lost on the way therefore counts as given.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from allegro.core.authority.freeze import FreezeSet
from allegro.core.authority.tokens import Order, issue_token
from allegro.core.base.backoff import Backoff
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.ports import Clock
from allegro.core.protocol.messages import GiveOrder, OrderAnswer
from allegro.core.requests.lifecycle import Step
from allegro.core.requests.ordering import has_run_out
from allegro.core.requests.requests import Request, ordered
from allegro.core.requests.work import Work
from allegro.core.stores import Ledger
from allegro.house.files import Fleet
from allegro.house.requests.requests import Requests
from allegro.link.dial import LaneLink
from allegro.link.traffic import LINK_LOST

RELINK_S = 10.0
MAX_CUTS = 1_000
MUTE_S = 60.0
SILENT = Backoff(first_s=MUTE_S, cap_s=3_600.0)
"""So long others are asked before a lane that took an order and said nothing more, longer each time."""

LinkedLane = tuple[str, str, LaneLink]
"""(name, fingerprint of its key, link)."""


class Mandate(msgspec.Struct, frozen=True):
    """What the house gives orders by, each as it is now.

    `sign` is the house key's; `change_token` reads the token that may change code, None where none
    is configured (raises EdgeError where it cannot be read). An order is good for `ttl_s` seconds.
    """

    fleet: Callable[[], Fleet]
    freezes: Callable[[], FreezeSet]
    sign: Callable[[bytes], bytes]
    change_token: Callable[[], str | None]
    ttl_s: int


class Given(msgspec.Struct, frozen=True):
    """An order that a lane answered: the request as ordered, the lane's name, its answer."""

    request: Request
    lane: str
    answer: OrderAnswer


class Ahead:
    """Brings long content to lanes before the order or the query about it."""

    def __init__(self) -> None:
        self.under_way: set[str] = set()

    async def send(self, link: LaneLink, request: Request) -> str | None:
        """Return the digest that stands for the content, None where it is short enough to go along.

        Goes on where it was after a cut. Raises EdgeError when the link stays down.
        """
        self.under_way.add(request.id)
        try:
            for _ in range(MAX_CUTS):
                try:
                    return await link.send_ahead(request.action)
                except EdgeError as error:
                    if error.kind != LINK_LOST or not await link.is_up_within(RELINK_S):
                        raise
            raise EdgeError("the link is cut again and again", transient=True)
        finally:
            self.under_way.discard(request.id)


class Giving:
    """Gives orders. Which request is due, and whether anything stands against it, is not its concern."""

    def __init__(
        self, requests: Requests, ledger: Ledger, clock: Clock, mandate: Mandate, ahead: Ahead
    ) -> None:
        self._requests = requests
        self._ledger = ledger
        self._clock = clock
        self._mandate = mandate
        self._mute_until: dict[str, float] = {}
        self._silences: dict[str, int] = {}
        self.ahead = ahead

    @property
    def is_thawed(self) -> bool:
        """Whether no freeze stands; False also while the freezes are not known."""
        return self._mandate.freezes().is_thawed

    async def give(self, work: Work, able: list[LinkedLane]) -> Given | None:
        """Order it from the first of the able lanes that answered lately, else from the first.

        Returns None where nothing was ordered: time ran out meanwhile, or the request moved on.
        Raises EdgeError of link, ledger or token.
        """
        name, lane, link = min(able, key=self._is_mute)
        try:
            content = await self.ahead.send(link, work.request)
            if content is not None and self._moved_on(work.request):
                return None  # it took its time: look again
            challenge = await link.challenge()
        except EdgeError:
            self._mute_until[name] = self._clock.boot_s() + MUTE_S
            raise
        number = await self._ledger.next_number("order")
        moved = await self._requests.take_step(
            work.request, Step.ORDER, ordered(number, name), order_number=number, lane=name
        )
        if isinstance(moved, Refusal):
            return None
        fleet = self._mandate.fleet()
        order = Order(
            aud=fleet.id,
            lane=lane,
            challenge=challenge,
            number=number,
            digest=work.request.digest,
            seat=fleet.seat,
            ttl_s=self._mandate.ttl_s,
        )
        token = issue_token(order, f"house:{fleet.house_number}", self._mandate.sign)
        change_token = self._mandate.change_token() if work.carries_code_token else None
        answer = await link.order(
            lambda id_: GiveOrder(
                id=id_,
                order=token,
                action=work.request.action if content is None else b"",
                approval=work.request.approval,
                branch=work.delivery.branch,
                marker=work.delivery.marker,
                change_token=change_token,
                content=content,
            )
        )
        return Given(moved, name, answer)

    def was_silent(self, lane: str) -> None:
        """Take note that nothing was heard of an order of this lane: others get the next ones.

        The lane may be stolen, whatever role it claims; or its forge does not answer.
        """
        count = self._silences.get(lane, 0)
        self._silences[lane] = count + 1
        self._mute_until[lane] = self._clock.boot_s() + SILENT.delay_s(count, lambda: 1.0)

    def was_heard(self, lane: str) -> None:
        """Take note that an order of this lane ended with its word."""
        self._silences.pop(lane, None)

    def _is_mute(self, able: LinkedLane) -> bool:
        """Say whether a lane gave no answer lately: others are asked before it."""
        return self._clock.boot_s() < self._mute_until.get(able[0], float("-inf"))

    def _moved_on(self, request: Request) -> bool:
        return has_run_out(request, self._clock.now_s()) or not self.is_thawed
