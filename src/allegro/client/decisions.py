"""Questions with options: put to the owner by your programs, answered from anywhere."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import msgspec

from allegro.client.bridge import Bridge, asked_by
from allegro.client.errors import BadRequest, Expired, StillOpen, Withdrawn
from allegro.client.socket import WAIT_S
from allegro.core.protocol.answers.decisions import DecisionAnswer
from allegro.core.protocol.asked import GiveAnswer
from allegro.core.requests.decisions import NewDecision, NewOption, decision_faults
from allegro.core.requests.documents import Option

Choice = str | Option | NewOption
"""An option: its words alone, or with what speaks for and against it."""


class Answered(msgspec.Struct, frozen=True):
    """The answer to a question. `option` counts from 1, `label` are its words.

    `by` says by which way and who, `at_s` when (Unix seconds).
    """

    option: int
    label: str
    by: str
    at_s: float
    decision_id: str


class DecisionBridge(Bridge):
    """Questions to the owner. An answer causes nothing: what you then want done you ask for."""

    async def ask_decision(
        self,
        question: str,
        options: Sequence[Choice],
        recommendation: int | str | None = None,
        expires_s: float | None = None,
        context: str = "",
    ) -> Answered:
        """Ask, and wait for the answer, `wait_s` seconds at most (default 24 h).

        `options` are 2 to 6. `recommendation` is the number of one of them, from 1, or its words.
        `expires_s` is how many seconds it may be answered, by default the house's own time;
        `context` a link or `owner/name#12`. Raises Expired where nobody answered in time (then: do
        nothing), Withdrawn, StillOpen where the wait ended first, BadRequest where it cannot be
        asked as it is. Cancelling the await leaves the question standing.
        """
        new = NewDecision(
            question=question,
            options=tuple(map(_option, options)),
            recommend=_number_of(recommendation, options),
            context=context,
            expires_in_s=expires_s,
        )
        asked = await self.put_decision(new)
        return await self.answer_to(asked.id)

    async def put_decision(self, new: NewDecision) -> DecisionAnswer:
        """Ask without waiting. Raises BadRequest where it cannot be asked as it is."""
        faults = decision_faults(new)
        if faults:  # looked at here too: JSON has no NaN, the house would see no time at all
            raise BadRequest("; ".join(faults))
        whole = msgspec.structs.replace(
            new, asked_by=new.asked_by or asked_by(), key=new.key or uuid.uuid4().hex
        )
        return await self._riding_over(lambda: self._house.put_decision(whole))

    async def decision(self, decision_id: str) -> DecisionAnswer:
        """Return a question as it stands. Raises BadRequest where there is none."""
        return await self._riding_over(lambda: self._house.decision(decision_id))

    async def decisions(self) -> tuple[DecisionAnswer, ...]:
        """Return the newest questions, oldest of them first."""
        return (await self._riding_over(self._house.decisions)).decisions

    async def answer_to(self, decision_id: str, *, wait_s: float | None = None) -> Answered:
        """Wait for the answer to a question that stands; raise what it ended in otherwise."""
        left_s = self._wait_s if wait_s is None else wait_s
        while True:
            slice_s = min(WAIT_S, left_s)
            decision = await self._riding_over(
                lambda: self._house.wait_for_decision(decision_id, slice_s)  # noqa: B023
            )
            if decision.answer is not None:
                held = decision.answer
                return Answered(held.option, held.label, held.by, held.at_s, decision.id)
            _raise_ended(decision)
            left_s -= slice_s
            if left_s <= 0:
                raise StillOpen(f"question {decision.id} waits for an answer", decision.id)

    async def answer(self, decision_id: str, option: int) -> DecisionAnswer:
        """Answer a question as this program. Raises BadRequest: answered before, expired, no such."""
        decision = await self.decision(decision_id)
        given = GiveAnswer(option, decision.digest, asked_by())
        return await self._house.answer_decision(decision.id, given)

    async def withdraw(self, decision_id: str) -> DecisionAnswer:
        """Take a question back. Raises BadRequest where it is over."""
        return await self._house.withdraw_decision(decision_id)


def _raise_ended(decision: DecisionAnswer) -> None:
    if decision.state == "expired":
        why = f"question {decision.id}: nobody answered in time; nothing is done"
        raise Expired(why, decision.id)
    if decision.state == "withdrawn":
        raise Withdrawn(f"question {decision.id} was taken back", decision.id)


def _option(choice: Choice) -> NewOption:
    if isinstance(choice, str):
        return NewOption(choice)
    return NewOption(choice.label, tuple(choice.pros), tuple(choice.cons))


def _number_of(recommendation: int | str | None, options: Sequence[Choice]) -> int:
    """Return the number of the recommended option, 0 for none."""
    if not isinstance(recommendation, str):
        return recommendation or 0
    labels: list[Any] = [one if isinstance(one, str) else one.label for one in options]
    if recommendation not in labels:
        raise BadRequest(f"the recommendation {recommendation!r} is none of the options")
    return labels.index(recommendation) + 1
