"""What is asked of the house: made into requests, decided by the sovereign, asked again when stale."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import structlog

from allegro.core.authority.actions.families import (
    action_bytes,
    action_digest,
    family_of,
    kind_of,
    parse_action,
)
from allegro.core.authority.actions.family import Action
from allegro.core.authority.actions.forge import MirrorRequest
from allegro.core.authority.policy import Needs, needs_of
from allegro.core.authority.tokens import Approval, Verify
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.ports import Clock, Dice
from allegro.core.requests.documents import RequestDocument
from allegro.core.requests.lifecycle import State, Step
from allegro.core.requests.proposals import Pinned, Proposal, proposal_of
from allegro.core.requests.requests import (
    MAX_DETAIL,
    NOT_AGAIN,
    Request,
)
from allegro.core.stores import Ledger
from allegro.house.files import Fleet
from allegro.house.ports import Ask
from allegro.house.requests.asking import (
    BY_THE_HOUSE,
    Origin,
    Terms,
    Turns,
    asker,
    asking,
    document_of,
    document_of_act,
    document_of_mirror,
)
from allegro.house.requests.book import RequestBook
from allegro.house.requests.proposals import pin

_log = structlog.get_logger()


class Approvals(msgspec.Struct, frozen=True):
    """Whose approvals count: the fleet as it is now, and what verifies a signature."""

    fleet: Callable[[], Fleet]
    verify: Verify


class Pinning(msgspec.Struct, frozen=True):
    """How a proposal becomes a request: `ask` asks a lane for the world as it is.

    It waits `expiry_s` seconds for an answer where the program names no time.
    """

    ask: Ask
    expiry_s: float


class Requests(RequestBook):
    """The book, and what programs and the sovereign do with it: ask, decide, ask again."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        dice: Dice,
        approvals: Approvals,
        pinning: Pinning,
    ) -> None:
        super().__init__(ledger, clock, lambda: approvals.fleet().marker)
        self._dice = dice
        self._fleet, self._verify = approvals.fleet, approvals.verify
        self._ask, self._expiry_s = pinning.ask, pinning.expiry_s
        self._turns = Turns()

    async def shown(self, prefix: str) -> Request | Refusal:
        """Note in the history that a person was shown what would be signed."""
        request = self.find(prefix)
        if isinstance(request, Refusal) or request.is_final:
            return request
        return await self.note(request, "shown", "computed from the signed bytes")

    async def propose(self, proposal: Proposal) -> Request:
        """Pin and keep a proposal. Raises EdgeError with a sentence when it cannot be made."""
        origin = Origin(asker(proposal.asked_by), proposal.key, asking(proposal))
        async with self._turns.turn(origin.asked_by, origin.key):
            before = self._asked_before(origin)
            if before is not None:
                return before
            pinned = await pin(proposal, self._ask, self.new_id())
            return await self._add(pinned, self._document(proposal, pinned), origin)

    def _document(self, proposal: Proposal, pinned: Pinned) -> RequestDocument:
        return document_of(proposal, pinned, now_s=self._clock.now_s(), lasts_s=self._expiry_s)

    def _asked_before(self, origin: Origin) -> Request | None:
        """Return the request this program asked for with this key, None when there is none.

        Raises EdgeError `key_reused` where it asked for something else with it.
        """
        id_ = self._index.by_key(origin.asked_by, origin.key)
        request = None if id_ is None else self.find_exact(id_)
        if request is not None and request.asked not in {"", origin.asked}:
            why = f"key {origin.key!r} was used before, for other content: request {request.id}"
            raise EdgeError(why, transient=False, kind="key_reused")
        return request

    async def propose_mirror(self, action: MirrorRequest, repository: str) -> Request:
        """Keep what the house asks of itself: the home of a request on the forge."""
        document = document_of_mirror(action, now_s=self._clock.now_s(), lasts_s=self._expiry_s)
        return await self._add(Pinned(action, repository, False), document, internal=True)

    async def propose_act(
        self, action: Action, terms: Terms, origin: Origin = BY_THE_HOUSE
    ) -> Request:
        """Keep an act that pins no world of its own, such as a session. Asked twice, it is one.

        `origin.asked` names the content of the asking where the action's own would differ each
        time, "" else. Raises EdgeError with a sentence when it is malformed.
        """
        asked = origin.asked or asking(msgspec.structs.replace(action, id=""))
        origin = msgspec.structs.replace(origin, asked=asked)
        async with self._turns.turn(origin.asked_by, origin.key):
            before = self._asked_before(origin)
            if before is not None:
                return before
            document = document_of_act(action, terms, now_s=self._clock.now_s())
            return await self._add(Pinned(action, "", True, notes=terms.notes), document, origin)

    def new_id(self) -> str:
        return self._dice.token(10).hex()

    async def approve(self, prefix: str, token: str) -> Request | Refusal:
        """Take the sovereign's approval of a request. Verified here, and again on the lane."""
        request = self.find(prefix)
        if isinstance(request, Refusal):
            return request
        fleet = self._fleet()
        claims = fleet.read(token, Approval, self._verify)
        if isinstance(claims, Refusal):
            return claims
        if claims.digest != request.digest:
            return Refusal("changed_content", "this approval is for other content")
        if claims.seat != fleet.seat:
            return Refusal("wrong_seat", "approved under an earlier seat; approve again")
        if not self._clock.now_s() < claims.exp:
            return Refusal("approval_expired", "the approval has run out; approve again")
        if not request.needs_approval:
            return Refusal("wrong_state", f"{request.kind} needs no approval")
        return await self.take_step(
            request,
            Step.APPROVE,
            approval=token,
            approval_exp=claims.exp,
            decided_s=self._clock.now_s(),
        )

    async def reject(self, prefix: str, reason: str) -> Request | Refusal:
        return await self._decide(prefix, Step.REJECT, reason[:MAX_DETAIL])

    async def withdraw(self, prefix: str) -> Request | Refusal:
        """Take back a request or an approval whose order is not out yet."""
        return await self._decide(prefix, Step.WITHDRAW, "")

    async def unseat(self) -> int:
        """Void open approvals after a new seat: they are requests again."""
        count = 0
        for request in self.all():
            if request.state is State.APPROVED and request.approval is not None:
                moved = await self.take_step(
                    request, Step.UNSEAT, "a new seat was taken", approval=None, approval_exp=0
                )
                count += not isinstance(moved, Refusal)
        return count

    async def renew(self, request: Request) -> str:
        """Bring a stale request back, pinned to the world as it is now. Both are kept in one commit.

        Returns what became of it, in words; empty when it could not be tried now.
        """
        action = parse_action(request.action)
        proposal = None if isinstance(action, Refusal) else proposal_of(action, request.document)
        try:
            if proposal is None:
                raise EdgeError("it is not asked again by itself", transient=False)
            pinned = await pin(proposal, self._ask, self.new_id())
            renewed = await self._add(
                pinned, self._document(proposal, pinned), supersedes=request.id
            )
        except EdgeError as error:
            _log.info("request.not_renewed", id=request.id, error=str(error))
            if error.transient:
                return ""
            await self._supersede(request, NOT_AGAIN)
            return f"not asked again: {error}"
        return f"asked again as {renewed.id}"

    async def _supersede(self, request: Request, by: str) -> None:
        await self._change(
            request.id, lambda current: msgspec.structs.replace(current, superseded_by=by)
        )

    async def _decide(self, prefix: str, what: Step, reason: str) -> Request | Refusal:
        request = self.find(prefix)
        if isinstance(request, Refusal):
            return request
        return await self.take_step(request, what, reason, decided_s=self._clock.now_s())

    async def _add(
        self,
        pinned: Pinned,
        document: RequestDocument,
        origin: Origin = BY_THE_HOUSE,
        *,
        internal: bool = False,
        supersedes: str = "",
    ) -> Request:
        """Keep a new request. Raises EdgeError with a sentence, not transient, for bad content."""
        action = pinned.action
        raw = action_bytes(action)
        checked = parse_action(raw)
        if isinstance(checked, Refusal):
            raise EdgeError(checked.detail or checked.reason, transient=False)
        kind = kind_of(action)
        needs_approval = needs_of(kind) is Needs.APPROVAL
        request = Request(
            asked_by=origin.asked_by,
            key=origin.key,
            asked=origin.asked,
            id=action.id,
            kind=kind,
            digest=action_digest(raw),
            action=raw,
            document=document,
            state=State.PROPOSED if needs_approval else State.APPROVED,
            created_s=self._clock.now_s(),
            target=family_of(action).subject(action),
            repository=pinned.repository,
            bases=pinned.bases,
            notes=pinned.notes,
            internal=internal,
            supersedes=supersedes,
        )
        await self._keep_new(request, checked, supersedes)
        return request

    async def withdraw_renewed(self, request: Request) -> Request | None:
        """Withdraw what was asked in the place of a request that was done after all.

        Returns the newer request as it now stands, None where there is none.
        """
        newer = self._ledger.requests.get(request.superseded_by)
        if newer is None or newer.is_final:
            return None
        why = f"{request.id}, which it was to replace, was done after all"
        moved = await self.take_step(newer, Step.WITHDRAW, why)
        return self._ledger.requests.get(newer.id) if isinstance(moved, Refusal) else moved
