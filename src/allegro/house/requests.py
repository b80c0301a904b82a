"""The requests of the house: made, decided, settled; each step durable before it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from allegro.core.actions import (
    Action,
    MirrorRequest,
    action_bytes,
    action_digest,
    kind_of,
    parse_action,
)
from allegro.core.approvals import Approval, Verify
from allegro.core.documents import Option, RequestDocument
from allegro.core.errors import EdgeError, Refusal
from allegro.core.issues import issue_subject, repository_subject
from allegro.core.lifecycle import State, Step
from allegro.core.matching import Receipt
from allegro.core.policy import Needs, needs_of
from allegro.core.ports import Clock, Dice
from allegro.core.requests import HISTORY, Line, Request, step, void_earlier
from allegro.core.session_actions import AnswerOnce, LendModel, RunSession, SessionAction
from allegro.core.sessions import session_subject
from allegro.core.settings import HouseSettings
from allegro.core.stores import Ledger
from allegro.house.files import Fleet
from allegro.house.proposals import Ask, Pinned, Proposal, pin, proposal_of, question_of

_log = structlog.get_logger()
NOT_AGAIN = "nothing"


class Requests:
    """All requests, in memory and in the ledger. `changed` is told every new version."""

    def __init__(
        self, ledger: Ledger, clock: Clock, dice: Dice, settings: HouseSettings,
        fleet: Callable[[], Fleet], ask: Ask, verify: Verify,
    ) -> None:  # fmt: skip
        self._ledger = ledger
        self._clock = clock
        self._dice = dice
        self._settings = settings
        self._fleet = fleet
        self._ask = ask
        self._verify = verify
        self._listeners: list[Callable[[Request], None]] = []
        self._waiting: dict[str, list[asyncio.Event]] = {}
        self._changing = asyncio.Lock()
        self._proposing = asyncio.Lock()

    def on_change(self, listener: Callable[[Request], None]) -> None:
        self._listeners.append(listener)

    def all(self) -> list[Request]:
        return list(self._ledger.requests.values())

    def find(self, prefix: str) -> Request | Refusal:
        """Return the request whose id or digest begins like this and no other."""
        exact = self._ledger.requests.get(prefix)
        if exact is not None:
            return exact
        found = [
            request
            for request in self._ledger.requests.values()
            if request.id.startswith(prefix) or request.digest.startswith(prefix)
        ]
        if len(found) == 1 and prefix:
            return found[0]
        if not found or not prefix:
            return Refusal("not_found", f"no request begins with {prefix!r}")
        return Refusal("ambiguous", f"{len(found)} requests begin with {prefix!r}; give more of it")

    async def look_up(self, prefix: str) -> Request | Refusal:
        """Return a request by id or digest, also one settled so long ago that it left memory."""
        found = self.find(prefix)
        if isinstance(found, Refusal) and found.reason == "not_found" and len(prefix) >= 4:
            stored = await self._ledger.stored(prefix)
            if len(stored) == 1:
                return stored[0]
        return found

    async def shown(self, prefix: str) -> Request | Refusal:
        """Note in the history that a person was shown what would be signed."""
        request = self.find(prefix)
        if isinstance(request, Refusal) or request.is_final:
            return request
        return await self.note(request, "shown", "computed from the signed bytes")

    async def propose(self, proposal: Proposal) -> Request:
        """Pin and keep a proposal. Raises EdgeError with a sentence when it cannot be made."""
        async with self._proposing:
            for request in self.all():
                if proposal.key and request.key == proposal.key:
                    return request
            pinned = await pin(proposal, self._ask, self.new_id())
            return await self._add(
                pinned,
                self._document(proposal, pinned),
                asked_by=proposal.asked_by[:200],
                key=proposal.key[:100],
            )

    async def propose_mirror(self, action: MirrorRequest, repository: str) -> Request:
        """Keep what the house asks of itself: the home of a request on the forge."""
        now_s = self._clock.now_s()
        document = RequestDocument(
            id=action.id, type="review", urgency="low", context="", question="mirror", options=(),
            recommendation="", time_constraint="", created_s=now_s,
            expires_s=now_s + self._settings.requests.expiry_s,
        )  # fmt: skip
        return await self._add(Pinned(action, repository, False), document, internal=True)

    async def propose_session(
        self, action: SessionAction, question: str, *, kind: str, expires_s: float, context: str,
        asked_by: str = "the house", key: str = "", notes: dict[str, str] | None = None,
    ) -> Request:  # fmt: skip
        """Keep an act of a session: `kind` is the document's type. Asked twice, it is one request.

        Raises EdgeError with a sentence when it is malformed.
        """
        async with self._proposing:
            for request in self.all():
                if key and request.key == key:
                    return request
            now_s = self._clock.now_s()
            document = RequestDocument(
                id=action.id, type=kind, urgency="high" if kind == "decision" else "medium",
                context=context, question=question, options=(
                    Option("approve", ("it is done once, exactly as shown",), ()),
                    Option("reject", (), ("the agent is told no and goes on",)),
                ) if kind == "decision" else (), recommendation="none",
                time_constraint="answer before it expires" if kind == "decision" else "",
                created_s=now_s, expires_s=expires_s,
            )  # fmt: skip
            pinned = Pinned(action, "", True, notes=notes or {})
            return await self._add(pinned, document, asked_by=asked_by, key=key)

    def find_exact(self, id_: str) -> Request | None:
        """Return the request of this very id, None when it is none in memory."""
        return self._ledger.requests.get(id_)

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
        return await self._decide(prefix, Step.REJECT, reason)

    async def withdraw(self, prefix: str) -> Request | Refusal:
        """Take back a request or an approval whose order is not out yet."""
        return await self._decide(prefix, Step.WITHDRAW, "")

    async def take_step(
        self,
        request: Request,
        what: Step,
        detail: str = "",
        *,
        receipts: tuple[Receipt, ...] = (),
        **changes: Any,
    ) -> Request | Refusal:
        """Move a request along the table, durably. The newest version counts, not the given one."""
        return await self._change(
            request.id,
            lambda current: step(current, what, self._clock.now_s(), detail, **changes),
            receipts,
        )

    async def void_earlier(self, request: Request, order: int, detail: str) -> Request | Refusal:
        """Note that an order before the newest came to nothing, durably."""
        return await self._change(
            request.id, lambda current: void_earlier(current, order, self._clock.now_s(), detail)
        )

    async def note(self, request: Request, what: str, detail: str) -> Request | Refusal:
        """Add a line to a request's history; its state stays."""
        line = Line(self._clock.now_s(), what, detail)
        return await self._change(
            request.id,
            lambda current: msgspec.structs.replace(
                current, detail=detail, history=(*current.history, line)[-HISTORY:]
            ),
        )

    async def _change(
        self,
        id_: str,
        make: Callable[[Request], Request | Refusal],
        receipts: tuple[Receipt, ...] = (),
    ) -> Request | Refusal:
        """Replace a request by what `make` gives, one change at a time: none is lost."""
        async with self._changing:
            current = self._ledger.requests.get(id_)
            if current is None:
                return Refusal("not_found", "settled long ago")
            changed = make(current)
            if isinstance(changed, Refusal):
                return changed
            await self._ledger.save(changed, receipts=receipts)
        self._tell(changed)
        return changed

    async def wait(self, prefix: str, timeout_s: float) -> Request | Refusal:
        """Return the request once it is final, or as it stands after `timeout_s`."""
        request = self.find(prefix)
        if isinstance(request, Refusal) or request.is_final:
            return request
        event = asyncio.Event()
        self._waiting.setdefault(request.id, []).append(event)
        try:
            await asyncio.wait_for(event.wait(), timeout_s)
        except TimeoutError:
            pass
        finally:
            self._waiting[request.id].remove(event)
        return self._ledger.requests[request.id]

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
        """Bring a stale request back, pinned to the world as it is now.

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
        await self._supersede(request, renewed.id)
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
        *,
        internal: bool = False,
        supersedes: str = "",
        asked_by: str = "the house",
        key: str = "",
    ) -> Request:
        action = pinned.action
        raw = action_bytes(action)
        checked = parse_action(raw)
        if isinstance(checked, Refusal):
            raise EdgeError(checked.detail or checked.reason, transient=False)
        kind = kind_of(action)
        needs_approval = needs_of(kind) is Needs.APPROVAL
        request = Request(
            asked_by=asked_by,
            key=key,
            id=action.id,
            kind=kind,
            digest=action_digest(raw),
            action=raw,
            document=document,
            state=State.PROPOSED if needs_approval else State.APPROVED,
            created_s=self._clock.now_s(),
            target=target_of(action),
            repository=pinned.repository,
            bases=pinned.bases,
            notes=pinned.notes,
            internal=internal,
            supersedes=supersedes,
        )
        await self._ledger.save(request)
        self._tell(request)
        return request

    def _document(self, proposal: Proposal, pinned: Pinned) -> RequestDocument:
        now_s = self._clock.now_s()
        expires_s = now_s + (proposal.expires_in_s or self._settings.requests.expiry_s)
        place = f"{pinned.repository}#{proposal.issue}" if proposal.issue else pinned.repository
        return RequestDocument(
            id=pinned.action.id,
            type="approval" if needs_of(proposal.kind) is Needs.APPROVAL else "review",
            urgency=proposal.urgency,
            context=proposal.context or place,
            question=proposal.question or question_of(pinned.action, place),
            options=(
                Option("approve", ("it is done once, exactly as shown",), ()),
                Option("reject", (), ("nothing happens",)),
            ),
            recommendation=proposal.recommendation or "none",
            time_constraint="answer before it expires",
            created_s=now_s,
            expires_s=expires_s,
        )

    def _tell(self, request: Request) -> None:
        for listener in self._listeners:
            listener(request)
        if request.is_final:
            for event in self._waiting.get(request.id, ()):
                event.set()


def target_of(action: Action) -> str:
    """Name what an action is done to, as events name it."""
    if isinstance(action, RunSession | LendModel):
        return session_subject(action.id)
    if isinstance(action, AnswerOnce):
        return session_subject(action.session)
    number = getattr(action, "issue", 0)
    if number:
        return issue_subject(action.forge, action.repository.id, number)
    return repository_subject(action.forge, action.repository.id)
