"""What our orders may have made on a forge: a poll's sight is compared with what was approved."""

from __future__ import annotations

import msgspec

from allegro.core.authority.actions.forge import ProposeChange
from allegro.core.effects.matching import GRACE_S, BotWrite, Receipt, made_s
from allegro.core.effects.receipts import (
    branch_at,
    content_of,
    ordered_commit_name,
    receipts_of,
    words_name,
)
from allegro.core.forge.issues import STATUS_SCOPE
from allegro.core.forge.triage import FIRST_STATUS
from allegro.core.protocol.payloads.polls import SnapshotBranch
from allegro.core.requests.lifecycle import State, Step
from allegro.core.requests.requests import Request
from allegro.core.requests.work import Work
from allegro.house.requests.forge_clocks import ForgeClocks
from allegro.house.requests.requests import Requests

_BY_TIME = frozenset({"label", "close"})
"""Effects without words of their own: they are told apart by when they were made."""


class Names:
    """The names by which polls show labels and branches: keyed, as lanes make them."""

    def __init__(self, seen_label: str, secret: bytes) -> None:
        self._secret = secret
        self.leased = frozenset(map(self.of, (seen_label, STATUS_SCOPE + FIRST_STATUS)))

    def content_of(self, work: Work) -> str:
        """Name the words of a request as they were approved; empty for one without words."""
        return content_of(work.action, work.delivery.marker, self._secret)

    def of(self, word: str) -> str:
        return words_name(self._secret, word)

    def commit_of(self, action: ProposeChange) -> str:
        """Name what the one commit of a change holds, as a poll tells it."""
        return ordered_commit_name(self._secret, action)

    def shown(self, receipt: Receipt) -> Receipt:
        """Return a receipt with its content as a poll shows it."""
        content = receipt.content
        if receipt.kind == "label":
            content = self.of(content)
        elif receipt.kind == "branch":
            name, _, commit = content.rpartition("@")
            content = branch_at(self.of(name), self.of(f"{name}\n{commit}"))
        return msgspec.structs.replace(receipt, content=content)


class OrderedEffects:
    """Finds the order that a write is of, where no receipt says so."""

    def __init__(self, requests: Requests, names: Names, clocks: ForgeClocks) -> None:
        self._requests = requests
        self._names = names
        self._clocks = clocks

    def is_commit(self, write: BotWrite, branch: SnapshotBranch) -> bool:
        """Whether a branch stands at the base of an ordered change, or at exactly its commit."""
        commit, held = branch.commit, branch.held
        for work in self._changes_on(write):
            action = work.action
            if isinstance(action, ProposeChange) and (
                commit == action.base_commit or (held and held == self._names.commit_of(action))
            ):
                return True
        return False

    def may_be_branch(self, write: BotWrite) -> bool:
        """Whether it is the keyed branch of a change that was ordered and has no receipt yet.

        For a lane that does not tell what a commit holds. An order that failed half way leaves its
        branch; one with a receipt covers two commits only.
        """
        return any(work.request.state is not State.DONE for work in self._changes_on(write))

    def may_come_of(self, write: BotWrite) -> list[Request]:
        """Return the requests whose order may have made this very write.

        Only their receipts can still cover it: what else is ordered, or on its way, is no reason to
        wait. Words that somebody may have edited are compared with none.
        """
        return [
            request
            for request in self._requests.may_have_written(write.target)
            if self._may_be_of(write, self._requests.work(request))
        ]

    def _may_be_of(self, write: BotWrite, work: Work) -> bool:
        if write.kind == "branch":
            name = write.content.rpartition("@")[0]
            is_change = isinstance(work.action, ProposeChange)
            return is_change and self._names.of(work.delivery.branch) == name
        made = receipts_of(
            work, write.artifact, self._names.content_of(work), branch="", commit="", now_s=0.0
        )
        are_words_known = write.kind in _BY_TIME or (write.fresh and bool(write.content))
        return any(
            one.kind == write.kind and (one.content == write.content or not are_words_known)
            for one in map(self._names.shown, made)
        )

    async def settle(self, write: BotWrite) -> bool:
        """Settle the request whose order may have made this very write; say whether there is one.

        Its receipt, which still counts after the end, may be lost with its lane's disk. A request
        covers one write. Raises EdgeError of the ledger.
        """
        at_s = made_s(write, self._clocks.ahead_s(write.lane))
        for request in self._requests.may_have_written(write.target):
            work = self._requests.work(request)
            receipts = self._covering(work, write, at_s)
            if not receipts:
                continue
            artifact = write.artifact
            if write.kind in _BY_TIME:
                artifact = getattr(work.action, "issue", 0)
            why = "a poll shows it: its receipt did not come"
            moved = await self._requests.take_step(
                request, Step.RECEIPT, why, receipts=receipts, artifact=artifact
            )
            if isinstance(moved, Request):
                await self._requests.withdraw_renewed(moved)
                return True
        return False

    def _covering(self, work: Work, write: BotWrite, at_s: float) -> tuple[Receipt, ...]:
        """Return what covers this write if the request is settled by it, nothing if it is not its.

        A branch alone settles nothing. What is told apart by time was made since the first order.
        """
        content = self._names.content_of(work)
        receipts = receipts_of(
            work, write.artifact, content, branch="", commit="", now_s=max(0.0, at_s)
        )
        same = any(
            one.kind == write.kind and one.content == write.content
            for one in map(self._names.shown, receipts)
        )
        if write.kind == "branch" or not same:
            return ()
        orders = [line.at_s for line in work.request.history if line.what == Step.ORDER]
        if write.kind in _BY_TIME:
            return receipts if orders and min(orders) - GRACE_S <= at_s else ()
        return receipts if write.content else ()

    def _changes_on(self, write: BotWrite) -> list[Work]:
        """Return the ordered changes whose keyed branch this is."""
        name = write.content.rpartition("@")[0]
        ordered = [
            self._requests.work(request)
            for request in self._requests.all()
            if request.kind == "propose_change"
            and request.order_number
            and request.target == write.target
        ]
        return [work for work in ordered if self._names.of(work.delivery.branch) == name]
