"""The requests of the house: made, decided, settled; each step durable before it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

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
from allegro.core.effects.matching import Receipt
from allegro.core.ports import Clock, Dice
from allegro.core.requests.documents import RequestDocument
from allegro.core.requests.index import RequestIndex
from allegro.core.requests.lifecycle import State, Step
from allegro.core.requests.proposals import Pinned, Proposal, proposal_of
from allegro.core.requests.requests import (
    MAX_DETAIL,
    Line,
    Request,
    step,
    void_earlier,
    with_line,
)
from allegro.core.requests.work import Work
from allegro.core.settings import HouseSettings
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
from allegro.house.requests.proposals import pin
from allegro.house.requests.works import Works

_log = structlog.get_logger()
NOT_AGAIN = "nothing"
NO_CLEAR_ANSWER = "no clear answer"


class Approvals(msgspec.Struct, frozen=True):
    """Whose approvals count: the fleet as it is now, and what verifies a signature."""

    fleet: Callable[[], Fleet]
    verify: Verify


class Requests:
    """All requests, in memory and in the ledger. `changed` is told every new version."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        dice: Dice,
        settings: HouseSettings,
        approvals: Approvals,
        ask: Ask,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._dice = dice
        self._settings = settings
        self._fleet, self._verify = approvals.fleet, approvals.verify
        self._ask = ask
        self._listeners: list[Callable[[Request], None]] = []
        self._waiting: dict[str, list[asyncio.Event]] = {}
        self._changing = asyncio.Lock()
        self._turns = Turns()
        self._index = RequestIndex(ledger.requests.values())
        self._works = Works(lambda: approvals.fleet().marker)

    def on_change(self, listener: Callable[[Request], None]) -> None:
        self._listeners.append(listener)

    def all(self) -> list[Request]:
        return list(self._ledger.requests.values())

    def work(self, request: Request) -> Work:
        """Return a request with its action, read once from when it was decided until it ends."""
        return self._works.of(request)

    def same(self, request: Request) -> list[Request]:
        """Return the other open requests about the same thing."""
        return self._held(self._index.same(request))

    def open_of(self, kind: str) -> list[Request]:
        """Return the open requests of a kind, oldest first."""
        return self._held(self._index.open_of(kind))

    def of_digest(self, digest: object) -> Request | None:
        """Return the request whose action has this digest, None when it is none in memory."""
        id_ = self._index.by_digest(digest) if isinstance(digest, str) else None
        return None if id_ is None else self.find_exact(id_)

    def newest_mirror(self, of: str) -> Request | None:
        """Return the newest mirror of the request or session of this id, open or not."""
        id_ = self._index.newest(f"mirror {of}")
        return None if id_ is None else self.find_exact(id_)

    def is_order_out(self, target: str) -> bool:
        """Say whether an order for anything in this target's repository may still write."""
        return self._index.is_order_out(target)

    def stale(self) -> list[Request]:
        """Return the stale requests that were not asked again yet, oldest first."""
        return self._held(self._index.stale())

    def forget(self, settled_before_s: float) -> int:
        """Drop requests settled before then from memory; they stay on disk. Return how many."""
        old = [r for r in self.all() if r.is_final and r.settled_s < settled_before_s]
        for request in old:
            self._index.drop(request)
        return self._ledger.forget(settled_before_s) if old else 0

    def _held(self, ids: list[str]) -> list[Request]:
        found = [self._ledger.requests.get(id_) for id_ in ids]
        return [request for request in found if request is not None]

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
            return Refusal("not_found", f"no request begins with {prefix[:80]!r}")
        return Refusal(
            "ambiguous", f"{len(found)} requests begin with {prefix[:80]!r}; give more of it"
        )

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
        origin = Origin(asker(proposal.asked_by), proposal.key, asking(proposal))
        async with self._turns.turn(origin.asked_by, origin.key):
            before = self._asked_before(origin)
            if before is not None:
                return before
            pinned = await pin(proposal, self._ask, self.new_id())
            return await self._add(pinned, self._document(proposal, pinned), origin)

    def _document(self, proposal: Proposal, pinned: Pinned) -> RequestDocument:
        return document_of(
            proposal, pinned, now_s=self._clock.now_s(), lasts_s=self._settings.requests.expiry_s
        )

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
        document = document_of_mirror(
            action, now_s=self._clock.now_s(), lasts_s=self._settings.requests.expiry_s
        )
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
        return await self._decide(prefix, Step.REJECT, reason[:MAX_DETAIL])

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
        return await self._change(request.id, lambda current: with_line(current, line))

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
            self._index.put(changed)
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
        async with self._changing:
            kept = [request, *self._superseded(supersedes, request.id)]
            await self._ledger.save(*kept)
            for one in kept:
                self._index.put(one)
        self._works.keep(request, checked)
        for one in kept:
            self._tell(one)
        return request

    def _superseded(self, id_: str, by: str) -> list[Request]:
        """Return the request that a new one takes the place of; none for an empty id.

        Raises EdgeError where it is stale no more: its receipt came after all.
        """
        if not id_:
            return []
        held = self._ledger.requests.get(id_)
        if held is None or held.state is not State.STALE or held.superseded_by:
            raise EdgeError("it is stale no more", transient=True)
        return [msgspec.structs.replace(held, superseded_by=by)]

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

    def _tell(self, request: Request) -> None:
        self._works.changed(request)
        for listener in self._listeners:
            listener(request)
        if request.is_final:
            for event in self._waiting.get(request.id, ()):
                event.set()
