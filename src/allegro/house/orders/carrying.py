"""Does what is due for one request: orders it, looks at the forge, asks who follows it, or ends it."""

from __future__ import annotations

import msgspec

from allegro.core.ports import Clock
from allegro.core.requests.lifecycle import Step
from allegro.core.requests.ordering import (
    Way,
    plan_after_refusal,
    plan_of,
)
from allegro.core.requests.requests import MAX_DETAIL, MAX_NAMED
from allegro.core.requests.work import Work
from allegro.house.orders.choice import Choice
from allegro.house.orders.giving import Given, Giving, LinkedLane
from allegro.house.orders.pauses import Pauses
from allegro.house.orders.settling import Looks
from allegro.house.requests.requests import Requests


class Hands(msgspec.Struct, frozen=True):
    """Who knows and does what the arbiter decides about."""

    choice: Choice
    pauses: Pauses
    giving: Giving
    looks: Looks


class Carrier:
    """What is due, and when a request is carried, is the arbiter's to decide."""

    def __init__(self, requests: Requests, clock: Clock, hands: Hands) -> None:
        self._requests = requests
        self._clock = clock
        self._choice, self._pauses = hands.choice, hands.pauses
        self._giving, self._looks = hands.giving, hands.looks

    async def carry(self, work: Work, able: list[LinkedLane]) -> bool:
        """Do what is due for a request; say whether a lane took an order for it.

        `able` are the lanes that may be ordered, best first. Raises EdgeError of link, ledger or
        token.
        """
        request = work.request
        plan = plan_of(request, now_s=self._clock.now_s(), thawed=self._giving.is_thawed)
        match plan.way:
            case Way.ORDER:
                if able and (given := await self._giving.give(work, able)) is not None:
                    return await self._answered(work, given)
                return False
            case Way.END if plan.step is not None:
                await self._requests.take_step(request, plan.step, plan.why)
                return False
            case Way.LOOK:
                await self._looks.settle(work, plan.step, plan.why)
            case Way.FOLLOW:
                await self._choice.settle(work)
            case _:
                pass
        self._pauses.postpone(request)
        return False

    async def _answered(self, work: Work, given: Given) -> bool:
        """Take a lane's answer to an order: it took it, or refused it, perhaps for good."""
        reason, request = given.answer.reason, given.request
        if not reason:
            self._pauses.accepted(request.id)
            return True
        refused = f"{given.lane} refused: {reason[:MAX_NAMED]}: {given.answer.detail}"[:MAX_DETAIL]
        await self._requests.take_step(request, Step.VOID, refused)
        plan = plan_after_refusal(request, reason, refused)
        if plan.step is Step.UNSEAT:
            await self._requests.take_step(
                request, plan.step, plan.why, approval=None, approval_exp=0
            )
        elif plan.way is Way.LOOK:
            await self._looks.settle(work, plan.step, plan.why)
        elif plan.step is not None:
            await self._requests.take_step(request, plan.step, plan.why)
        return False
