"""Acts on what the chat said: answers commands, takes presses of buttons as notes.

A bug met in one command belongs to it: it is logged and that command is dropped, the next one is
answered. Nothing here causes an effect on a forge or an agent: a note is an event, and what a press
means for an alert is the alerting's.
"""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from allegro.core.base.errors import EdgeError
from allegro.core.channels import ChannelError, Chat, Message
from allegro.core.chat.answers import (
    Standing,
    help_answer,
    requests_answer,
    status_answer,
    stop_answer,
    unknown_answer,
)
from allegro.core.chat.inbox import Waits
from allegro.core.chat.received import Command, Tap
from allegro.core.chat.stopping import Kept, Made, freeze_id_of, judge_stop, source_of
from allegro.core.chat.taps import Noted, Press, judge_tap, read_press
from allegro.core.chat.texts import Part
from allegro.core.effects.render import one_line
from allegro.core.protocol.payloads.chat import ChatNoted
from allegro.lane.chat.box import Box
from allegro.lane.chat.links import Links
from allegro.lane.context import Context
from allegro.runtime.consumer import as_edge_error

_log = structlog.get_logger()
AGAIN_S = 2.0
LIVES_S = 900.0
"""A command that could not be answered for so long is answered no more; it is in the log."""

ALERT_VERBS = frozenset({"ack", "snooze", "useful", "noise"})
PASSED_ON = "Passed on to your house."
KEPT = "Kept for your house, which is silent now."
NEEDS_YOU = " It needs your signature."
TITLES = {"status": "Status", "requests": "Requests", "stop": "Stop", "help": "Help"}


class Acts:
    """Works through the inbox, oldest first."""

    def __init__(self, ctx: Context, chat: Chat, box: Box, links: Links) -> None:
        self._ctx = ctx
        self._state = ctx.state
        self._clock = ctx.ports.clock
        self._chat = chat
        self._box = box
        self._links = links

    async def run(self) -> None:
        """Act until cancelled."""
        while True:
            self._box.grew.clear()
            pause_s = await self.step()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._box.grew.wait(), pause_s)

    async def step(self) -> float | None:
        """Act on all that is ours; return when to try again what failed (s), None for nothing."""
        pause_s = None
        for one in self._box.inbox.waiting:
            if not one.is_ours:
                continue
            try:
                await as_edge_error("chat", type(one.content).__name__, self._act(one.content))
            except EdgeError as error:
                if self._is_to_try_again(one, error):
                    pause_s = max(AGAIN_S, error.retry_after_s or 0.0)
                    continue
                _log.warning("chat.not_answered", kind=error.kind, error=one_line(str(error), 200))
            self._box.done(one.content.key)
        return pause_s

    def _is_to_try_again(self, one: Waits, error: EdgeError) -> bool:
        """Not a bug, nothing permanent, nothing that may have been sent, nothing that is too old."""
        if error.kind == "bug" or not error.transient:
            return False
        if isinstance(error, ChannelError) and error.sent:
            return False
        return 0 <= self._clock.now_s() - one.read_s < LIVES_S

    async def _act(self, content: Command | Tap) -> None:
        if isinstance(content, Tap):
            await self._chat.answer(content, await self._press(content))
            return
        parts = self._answer(content)
        title = TITLES.get(content.name, "Help")
        await self._chat.reply(content.sender, Message(title, parts))

    # --- commands -------------------------------------------------------------------------------

    def _answer(self, command: Command) -> tuple[Part, ...]:
        match command.name:
            case "stop":
                return self._stopped(command)
            case "status":
                return status_answer(self._standing())
            case "requests":
                return self._requests()
            case "help":
                return help_answer()
            case _:
                return unknown_answer()

    def _stopped(self, command: Command) -> tuple[Part, ...]:
        """Say what the stop came to when it was read: its own freeze stands by now."""
        state, name = self._state, self._chat.name
        judged = judge_stop(name, command, state.freezes, state.muted, self._clock.now_s())
        own = freeze_id_of(name, command)
        if isinstance(judged, Kept) and judged.freeze_id == own:
            mine = next(one for one in state.freezes.active if one.id == own)
            judged = Made(mine)
        return stop_answer(judged)

    def _requests(self) -> tuple[Part, ...]:
        asked, content = self._links.asked(), self._ctx.settings.telegram.content
        if asked is None:
            return requests_answer(None, content=content)
        return requests_answer(
            asked.waiting, content=content, count=asked.count, as_of_s=asked.silent_s
        )

    def _standing(self) -> Standing:
        state, asked = self._state, self._links.asked()
        freezes = state.freezes
        return Standing(
            frozen=len(freezes.active) if freezes.known else None,
            waiting=None if asked is None else max(asked.count, len(asked.waiting)),
            firing=self._links.firing(),
            lanes=self._links.lanes(),
            lane=self._ctx.settings.lane.name,
            house_s=self._house_s(),
            roles=tuple(sorted(state.held_roles())),
        )

    def _house_s(self) -> float | None:
        heard_s = self._state.house_heard_s
        if self._links.is_linked():
            return 0.0
        return None if heard_s is None else max(1.0, self._clock.boot_s() - heard_s)

    # --- buttons --------------------------------------------------------------------------------

    async def _press(self, tap: Tap) -> str:
        """Note a press that stands; return the words for who pressed."""
        press = read_press(tap.data)
        if press is None:
            return judge_tap(tap, None).words
        if press.verb in ALERT_VERBS:
            return await self._press_alert(press, tap)
        digest = self._links.digest_of(press.subject)
        if digest is None:  # over by now, or so new that the house has not named it here
            return await self._pass_on(press, tap)
        judged = judge_tap(tap, digest)
        if isinstance(judged, Noted):
            await self._note(press, tap)
        return judged.words

    async def _pass_on(self, press: Press, tap: Tap) -> str:
        """Leave it to the house, which alone knows whether this still stands; say no more than that."""
        await self._note(press, tap)
        words = PASSED_ON if self._links.is_linked() else KEPT
        return words + NEEDS_YOU if press.verb == "approve" else words

    async def _press_alert(self, press: Press, tap: Tap) -> str:
        """Act on an alert that this lane told; what the house told is passed on to it."""
        notices = self._links.notices
        digest = notices.digest_of(press.subject)
        if digest is None:
            return await self._pass_on(press, tap)
        judged = judge_tap(tap, digest)
        if not isinstance(judged, Noted):
            return judged.words
        refusal = await notices.press(press.verb, press.subject)
        return judged.words if refusal is None else f"Not done: {refusal.detail}."

    async def _note(self, press: Press, tap: Tap) -> None:
        """Tell the note home; told again after a kill it is the same event."""
        recorder = self._ctx.recorder
        payload = ChatNoted(
            by=source_of(self._chat.name, tap.sender), verb=press.verb, subject=press.subject,
            shown=press.shown, option=press.option,
        )  # fmt: skip
        event = recorder.event(payload, id_=recorder.chat_id(tap.key))
        await recorder.append([event])
