"""Reads the chat while this lane holds the role that carries it.

Order rule: an update is stored before the service is told that it was read, and it is acted on after
that, so that nothing is lost and nothing is done by two lanes. One thing comes before all of it: a
`/stop` freezes as soon as it is read, also where the role was lost meanwhile or the disk refuses.

A conflict (409) is another reader: a dead lane's last poll, or a thief of the token. It is tried
again each second, for ever, and whatever waits stays where it is. A reader that has gone deaf looks
like a quiet chat, so it asks each LOOK_EVERY_S how much waits, and reports what `hearing` makes of it.
"""

from __future__ import annotations

import structlog

from allegro.core.base.backoff import Backoff
from allegro.core.base.errors import EdgeError
from allegro.core.base.untrusted import Unreadable
from allegro.core.channels import AnotherReader, ChannelError, Chat
from allegro.core.chat.allow import AllowList, Stranger, admit
from allegro.core.chat.answers import COMMANDS
from allegro.core.chat.hearing import (
    LOOK_EVERY_S,
    after_look,
    after_reading,
    began,
    deaf,
)
from allegro.core.chat.inbox import fresh
from allegro.core.chat.received import Batch, Command, Tap
from allegro.core.chat.stopping import Made, judge_stop
from allegro.core.effects.render import one_line
from allegro.core.health import codes
from allegro.core.health.facts import Fact
from allegro.core.protocol.payloads.chat import ChatDeaf
from allegro.lane.chat.box import Box
from allegro.lane.chat.links import Links
from allegro.lane.chat.strangers import Strangers
from allegro.lane.context import Context

_log = structlog.get_logger()
TURN_S = 1.0
CONFLICT = Backoff(first_s=1.0, cap_s=1.0)
TROUBLE = Backoff(first_s=0.5, cap_s=5.0)
PERMANENT = Backoff(first_s=5.0, cap_s=30.0)
MOST_ASKED_S = 60.0
"""The longest that a service may ask a reader to wait: a stop may be behind it."""

PREPARE_S = 60.0


class Reader:
    """One chat, read by one lane at a time."""

    def __init__(
        self, ctx: Context, chat: Chat, allowed: AllowList, box: Box, links: Links
    ) -> None:
        self._ctx = ctx
        self._state = ctx.state
        self._clock = ctx.ports.clock
        self._dice = ctx.ports.dice
        self._chat = chat
        self._allowed = allowed
        self._box = box
        self._links = links
        self._strangers = Strangers(ctx, chat.name)
        self._hearing = began(self._clock.boot_s())
        self._confirm: int | None = None
        self._failures = 0
        self._looked_s = self._prepared_s = float("-inf")
        self._is_reading = self._is_deafness_told = False
        self.trouble = ""

    async def run(self) -> None:
        """Read until cancelled, whenever it is this lane's turn."""
        while True:
            pause_s = await self.step()
            if pause_s:
                await self._clock.sleep(pause_s)

    async def step(self) -> float:
        """Read once, if it is our turn; return for how long to wait (s)."""
        if not self._links.turn().reads:
            self._rest()
            return TURN_S
        self._begin()
        try:
            batch = await self._chat.receive(self._confirm)
            self._heard(len(batch.updates))
            pause_s = await self._take(batch)
            await self._prepare()
        except ChannelError as error:
            pause_s = self._failed(error)
            await self._take_back(error)
        await self._look()
        await self._report_deafness()
        await self._strangers.report()
        return pause_s

    def _begin(self) -> None:
        if not self._is_reading:
            self._is_reading = True
            self._hearing = began(self._clock.boot_s())
            self._looked_s = self._clock.boot_s()
            self._prepared_s = float("-inf")
            _log.info("chat.reading", channel=self._chat.name)

    def _rest(self) -> None:
        """Another lane reads: what this one was told to confirm next is that one's."""
        if self._is_reading:
            _log.info("chat.not_reading", channel=self._chat.name)
        self._is_reading = False
        self._confirm = None
        self.trouble = ""

    async def _prepare(self) -> None:
        """Once for each turn, after its first reading: a stop may wait there."""
        if self._prepared_s > float("-inf"):
            return
        self._prepared_s = self._clock.boot_s()
        try:
            await self._chat.prepare(COMMANDS)
        except ChannelError as error:
            _log.warning("chat.not_prepared", channel=self._chat.name, error=str(error))

    async def _take_back(self, error: ChannelError) -> None:
        """Take the updates back from a webhook, at most once a minute: who set it may set it again."""
        if error.kind == "webhook" and self._clock.boot_s() - self._prepared_s > PREPARE_S:
            self._prepared_s = float("-inf")
            await self._prepare()

    # --- what came in ---------------------------------------------------------------------------

    async def _take(self, batch: Batch) -> float:
        sent, self._confirm = self._confirm, None
        if sent is not None:
            self._box.confirm(sent)
        if self._box.inbox.is_unconfirmed:
            self._box.settle(batch, self._links.turn().alone_since)
        admitted = self._admitted(batch)
        news = fresh(self._box.inbox, admitted)
        for _, content in news:
            if isinstance(content, Command) and content.name == "stop":
                await self._stop(content)
        turn = self._links.turn()
        if not turn.reads:
            return 0.0  # lost meanwhile: nothing is confirmed, so the next reader gets all of it
        if news or not self._box.is_saved:
            self._box.store(news, turn.epoch, self._clock.now_s())
        if not self._box.is_saved:
            return self._unsaved(batch, admitted)
        if batch.confirm is not None and self._box.inbox.is_unconfirmed:
            await self._chat.confirm(batch.confirm)
            self._box.confirm(batch.confirm)
        else:
            self._confirm = batch.confirm
        return 0.0

    def _unsaved(self, batch: Batch, admitted: list[tuple[int, Command | Tap]]) -> float:
        """Act on it from memory, and confirm nothing of it: after a restart it comes again."""
        first = min((number for number, _ in admitted), default=None)
        self._confirm = batch.confirm if first is None else first - 1
        if batch.confirm is not None:
            self._box.confirm(batch.confirm)
        return TROUBLE.cap_s

    def _admitted(self, batch: Batch) -> list[tuple[int, Command | Tap]]:
        found: list[tuple[int, Command | Tap]] = []
        for update in batch.updates:
            admitted = admit(update.content, self._allowed)
            if isinstance(update.content, Unreadable):
                reason = one_line(str(update.content), 200)
                _log.warning("chat.unreadable", channel=self._chat.name, reason=reason)
            elif isinstance(admitted, Stranger):
                self._strangers.count(admitted)
            elif admitted is not None and update.number is not None:
                found.append((update.number, admitted))
        return found

    async def _stop(self, command: Command) -> None:
        """Freeze now. Whatever keeps it from being written down does not keep it from counting."""
        state = self._state
        judged = judge_stop(
            self._chat.name, command, state.freezes, state.muted, self._clock.now_s()
        )
        if not isinstance(judged, Made):
            return
        try:
            await self._links.freeze(judged.freeze)
        except EdgeError as error:
            _log.error("freeze.not_kept", id=judged.freeze.id, error=str(error))

    # --- how well it hears ----------------------------------------------------------------------

    def _heard(self, brought: int) -> None:
        self._hearing = after_reading(self._hearing, self._clock.boot_s(), brought)
        self._failures = 0
        if self.trouble:
            _log.info("chat.read_again", channel=self._chat.name)
        self.trouble = ""

    def _failed(self, error: ChannelError) -> float:
        """Note a failure; return for how long to wait (s)."""
        self._hearing = after_reading(self._hearing, self._clock.boot_s(), None)
        words = one_line(str(error), 200)
        if not self.trouble:
            _log.warning("chat.not_read", channel=self._chat.name, kind=error.kind, error=words)
        self.trouble = f"{error.kind}: {words}"
        backoff = PERMANENT if error.permanent else TROUBLE
        if isinstance(error, AnotherReader):
            backoff = CONFLICT
        pause_s = backoff.delay_s(self._failures, self._dice.fraction)
        self._failures += 1
        return max(pause_s, min(error.retry_after_s or 0.0, MOST_ASKED_S))

    async def _look(self) -> None:
        if self._clock.boot_s() - self._looked_s < LOOK_EVERY_S:
            return
        self._looked_s = self._clock.boot_s()
        try:
            waiting = await self._chat.waiting()
        except ChannelError as error:
            _log.info("chat.not_looked", channel=self._chat.name, error=one_line(str(error), 200))
            return
        self._hearing = after_look(self._hearing, waiting)

    async def _report_deafness(self) -> None:
        """Tell home at once, when it begins: there it is known who else can call the owner."""
        why = deaf(self._hearing, self._clock.boot_s())
        if why is None or self._is_deafness_told:
            self._is_deafness_told = why is not None
            return
        try:
            await self._ctx.recorder.tell(ChatDeaf(channel=self._chat.name, why=why))
            self._is_deafness_told = True
        except EdgeError as error:
            _log.info("chat.deafness_untold", error=str(error))

    def facts(self) -> list[Fact]:
        """Return whether the chat is heard, while it is this lane that reads it."""
        if not self._is_reading:
            return []
        name = self._chat.name
        why = deaf(self._hearing, self._clock.boot_s())
        words = "; ".join(filter(None, (why, self.trouble))) or "heard"
        found = [Fact(codes.CHAT_DEAF, "bad" if why else "ok", words, "getUpdates", name)]
        if not self._box.is_saved:
            words = "the disk refuses what is read"
            found.append(Fact(codes.CHAT_UNSAVED, "bad", words, "chat.json", name))
        return found
