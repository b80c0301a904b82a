"""What the lane says on the link: greeting, log-in, answers (the LaneEnd)."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from allegro import __version__
from allegro.core.authority.tokens import (
    Sign,
    Verify,
    b64url,
)
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.base.sequence import Continue, HouseBehind, Restart, resume
from allegro.core.base.untrusted import UNREADABLE
from allegro.core.forge.marks import Mark, usable
from allegro.core.protocol.messages import (
    Bring,
    Challenge,
    ChallengeWanted,
    FromHouse,
    FromLane,
    GiveOrder,
    Greet,
    Hello,
    HouseBeat,
    LaneBeat,
    LogIn,
    Query,
    Refused,
    Reply,
    Serves,
    Stop,
    Welcome,
)
from allegro.core.protocol.payloads.lane import JournalRestarted
from allegro.core.protocol.queries import Params, QueryName
from allegro.lane.context import Context
from allegro.lane.uplink.dispatch import CONTENT_GONE, Carriers, Dispatch
from allegro.lane.uplink.trust import Trust
from allegro.link.blobs import LANE_BYTES, Blobs
from allegro.link.handshake import check_login, greet
from allegro.runtime.duties import Answer

_log = structlog.get_logger()


class Desk:
    """The LaneEnd. `signing` are the lane key's signature and the check of others'.

    `query` returns what answers a query by its name, None when nothing here does.
    """

    def __init__(
        self,
        ctx: Context,
        signing: tuple[Sign, Verify],
        carriers: Carriers,
        query: Callable[[str], Answer | None],
        serves: Serves,
    ) -> None:
        self._state = state = ctx.state
        self._recorder = recorder = ctx.recorder
        self.journal = recorder.journal
        self.grew = recorder.grew
        self._clock, self._dice = ctx.ports.clock, ctx.ports.dice
        self._sign, self._verify = signing
        self._query = query
        self._serves = serves
        self.blobs = Blobs(LANE_BYTES)
        self.trust = Trust(ctx, self._verify)
        self.dispatch = Dispatch(ctx, self._verify, carriers, self.blobs)
        state.on_freeze(self.blobs.clear)
        state.on_trust(self.blobs.clear)

    def greet(self, hello: Hello) -> tuple[Greet | Refused, str]:
        challenge = b64url(self._dice.token(32))
        greeting = greet(
            hello,
            self._state.held.trust,
            counter_challenge=challenge,
            version=__version__,
            sign=self._sign,
        )
        if isinstance(greeting, Refusal):
            return Refused(greeting.reason, greeting.detail), ""
        return greeting, challenge

    async def log_in(self, message: LogIn, challenge: str) -> Welcome | Refused:
        """Let a house in whose log-in holds; take trust, freezes and marks before anything else."""
        held = check_login(
            message,
            self._state.held,
            counter_challenge=challenge,
            verify=self._verify,
            now_s=self._clock.now_s(),
        )
        if isinstance(held, Refusal):
            return Refused(held.reason, held.detail)
        new_seat = held.trust.seat > self._state.held.trust.seat
        self._state.keep_trust(held)
        self._state.home_label.logged_in()
        self._state.heard_house(message.now_s)
        self._state.house_named_freezes(message.freezes)
        for token in message.thaws:
            self.trust.thaw(token)
        marks = {watch: Mark(at_s, wall_s) for watch, at_s, wall_s in message.marks}
        self._state.house_named_marks(usable(marks, self._state.watches))
        return await self._resume(message, new_seat)

    async def answer(self, message: FromHouse) -> FromLane | None:
        match message:
            case ChallengeWanted():
                return Challenge(message.id, self.dispatch.challenges.make())
            case GiveOrder():
                return await self.dispatch.take(message)
            case Query():
                return await self._reply(message)
            case Stop():
                await self.trust.stop(message.freeze)
            case Bring():
                await self.trust.bring(message.token)
            case _:
                _log.warning("link.unexpected", message=type(message).__name__)
        return None

    async def heard(self, beat: HouseBeat) -> None:
        self._state.heard_house(beat.now_s)

    def beat(self) -> LaneBeat:
        return LaneBeat(self.journal.head.seq, self._state.done.what, self._state.held_roles())

    async def _resume(self, message: LogIn, new_seat: bool) -> Welcome | Refused:
        journal = self.journal
        by_journal = {cursor.journal: cursor for cursor in message.cursors}
        cursor = by_journal.get(journal.head.journal)
        decision = resume(
            head=journal.head,
            acked=journal.acked,
            cursor=cursor,
            chain_at_cursor=None if cursor is None else await journal.chain_at(cursor.seq),
        )
        if isinstance(decision, HouseBehind):
            if not new_seat:
                return Refused(
                    "house_behind",
                    "this house lost events it had acknowledged: it was restored from an older "
                    "copy. If this machine is to act, run `allegro house --config house.toml "
                    "take-seat`",
                )
            after = journal.acked
            self._state.house_lost_events()
        elif isinstance(decision, Restart):
            name = self._dice.token(8).hex()
            await journal.restart(name, decision.reason)
            await self._recorder.tell(JournalRestarted(), words=decision.reason)
            self._state.journal_restarted()
            after = journal.acked
        else:
            assert isinstance(decision, Continue)
            after = decision.after
            try:
                await journal.acknowledge(after)
            except EdgeError as error:  # a full disk keeps what was acknowledged a little longer
                _log.warning("journal.not_acknowledged", error=str(error))
        return Welcome(after, journal.head.seq, self._state.freezes.active, self._serves)

    async def _reply(self, query: Query) -> Reply:
        try:
            answer = self._query(query.method)
            if answer is None:
                raise EdgeError(
                    f"unknown question {query.method[:64]!r}", transient=False, kind="unknown"
                )
            return Reply(query.id, await answer(self._with_content(query)))
        except EdgeError as error:
            return Reply(query.id, None, str(error), error.transient)
        except UNREADABLE as error:
            return Reply(query.id, None, f"{query.method[:64]}: bad parameters: {error!r:.200}")

    def _with_content(self, query: Query) -> Params:
        """Return what is asked, with the action's bytes where they came ahead (`content`)."""
        digest = query.params.get("content")
        if query.method != QueryName.LOOK or not isinstance(digest, str):
            return query.params
        action = self.blobs.find(digest)
        if action is None:
            raise EdgeError(CONTENT_GONE, transient=True)
        return {**query.params, "action": action}
