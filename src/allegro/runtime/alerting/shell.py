"""The shell around the alert machine, the same in a house and in a lane.

Order rule: a notice and the attempts to send it are on disk before they are made, the proof is on
disk before it is told to others; only a disk that refuses is not waited for. A step is made each
STEP_S, and at once when something happened.

Invariant: no channel and no store ends this: their errors are facts. A bug belongs to its step, and
the duty begins again with all that is in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence

import msgspec
import structlog

from allegro.core.base.errors import Refusal
from allegro.core.channels import Outlet
from allegro.core.health import alarm, codes
from allegro.core.health.alert_acts import Acknowledge, Act, Judge, Snooze, acted
from allegro.core.health.alert_state import (
    AlertState,
    Occurrence,
    Rules,
    Told,
    course_of,
)
from allegro.core.health.alerts import MAX_VALUE, sentence_of
from allegro.core.health.codes import Code
from allegro.core.health.delivery.channel_facts import channel_facts, is_deaf
from allegro.core.health.delivery.notices import Notice, notice_digest
from allegro.core.health.delivery.outbox import (
    Sent,
    configured,
    gone_taken,
    resumed,
    with_notice,
)
from allegro.core.health.delivery.sending import begun, failed, noted, sendings
from allegro.core.health.facts import Fact
from allegro.core.health.freshness import KeptFact, Tick, expired, restated, ticked
from allegro.core.health.kept import AlertStore
from allegro.core.ports import Clock, Dice
from allegro.runtime.alerting.inbox import Inbox
from allegro.runtime.alerting.memory import Memory
from allegro.runtime.alerting.node import Node
from allegro.runtime.alerting.senders import Outcome, Senders
from allegro.runtime.duties import Duty

_log = structlog.get_logger()
STEP_S = 5.0
GAP_S = 0.05
"""So long after a step the next one waits, whatever happens meanwhile: a flood is one step."""
SNOOZE_S = 3600.0
"""How long a tap snoozes."""


class Alerting:
    """Calls a person. `raise_alert` is the port that every duty is given."""

    def __init__(
        self, store: AlertStore, outlets: Sequence[Outlet], clock: Clock, dice: Dice, node: Node
    ) -> None:
        self._clock = clock
        self._dice = dice
        self._node = node
        self._memory = Memory(store, node.origin)
        self._senders = Senders(outlets, clock, lambda: node.rules().zone, self._ended)
        self._inbox = Inbox()
        self._proven: list[tuple[Notice | None, Sent]] = []
        self._woken = asyncio.Event()
        self._is_resumed = False

    # --- what comes in --------------------------------------------------------------------------

    def raise_alert(self, code: Code, subject: str, /, lane: str = "", **values: object) -> None:
        """Show a person that a condition began (see RaiseAlert). Repeats are counted."""
        kept = {name: str(value)[:MAX_VALUE] for name, value in values.items()}
        self._inbox.happened(Occurrence(code, subject, lane[:64], kept))
        if not any(one.key == (code.code, lane[:64], subject) for one in self.alerts.alerts):
            _log.warning(
                "alert", code=code.code, subject=subject, lane=lane, severity=code.severity.value,
                sentence=sentence_of(code, subject, lane, values),
            )  # fmt: skip
        self._woken.set()

    def state(self, facts: Iterable[Fact], producer: str) -> None:
        """Take all that one producer knows now, each with the time until which it holds.

        What the producer stated before and does not name now is over.
        """
        said = list(facts)
        board, gone = restated(self._memory.kept.board, said, producer, self._clock.now_s())
        self._memory.change(board=board)
        self._inbox.stated((*gone, *said))

    def called_elsewhere(self, reported: Iterable[Told]) -> None:
        """Note what another node told a person: nobody hears it twice."""
        self._inbox.called_elsewhere(reported)

    async def post(self, notice: Notice) -> bool:
        """Put a message of another kind into the outbox; return whether it is on disk.

        The same id again changes nothing. A report's `keys` are the alerts that it lists: they
        count as told once a channel has taken it.
        """
        self._memory.change(outbox=with_notice(self._memory.kept.outbox, notice))
        self._woken.set()
        return await self._memory.save()

    async def settle(self) -> None:
        """Return once what was raised is on disk, or the disk refused it: it is in memory then.

        Whoever notes a cause as read awaits this before: a kill in between would lose its alert.
        """
        if self._inbox.has_occurrences and self._is_resumed:
            await self.step()
        await self._memory.save()

    async def act(self, act: Act) -> Refusal | None:
        """Do what a person wishes with an alert. Refused: what is not there, and a false end."""
        changed = acted(self.alerts, act, self._clock.now_s())
        if isinstance(changed, Refusal):
            return changed
        self._memory.change(alerts=changed)
        self._woken.set()
        await self._memory.save()
        return None

    async def press(self, verb: str, notice: str, *, but: str = "") -> Refusal | None:
        """Do what a button below a notice says: `ack`, `snooze`, `useful` or `noise`.

        `but` names a lane whose word it is: nothing about itself is acknowledged or snoozed by it.
        """
        now_s, acts = self._clock.now_s(), list[Act]()
        for key in {key for one in self.sent if one.notice == notice for key in one.keys}:
            course = course_of(self.alerts, key)
            if course is None or (but and but in key[1:] and verb in {"ack", "snooze"}):
                continue
            if verb == "ack":
                acts.append(Acknowledge(key))
            elif verb == "snooze":
                acts.append(Snooze(key, now_s + SNOOZE_S))
            else:
                acts.append(Judge(course.alarm, "useful" if verb == "useful" else "noise", key[0]))
        refusals = [await self.act(one) for one in acts]
        if refusals and None in refusals:
            return None
        return next(iter(refusals), Refusal("unknown", "no such alert; it may be over"))

    def digest_of(self, notice: str) -> str | None:
        """Return what the buttons below a notice are bound to, None where it is not known here."""
        keys = next((one.keys for one in self.sent if one.notice == notice), None)
        return None if keys is None else notice_digest(notice, keys)

    # --- what is known --------------------------------------------------------------------------

    @property
    def alerts(self) -> AlertState:
        """The alerts, verdicts and maintenance windows of now."""
        return self._memory.kept.alerts

    def stated_by(self, producer: str) -> list[KeptFact]:
        """Return what a producer stated last, as it is kept."""
        return [one for one in self._memory.kept.board.facts if one.producer == producer]

    @property
    def sent(self) -> tuple[Sent, ...]:
        """The newest proofs of channels, oldest first."""
        return self._memory.kept.outbox.sent

    @property
    def channels(self) -> tuple[str, ...]:
        """The names of the channels, in the order in which they are tried."""
        return self._senders.names

    @property
    def is_deaf(self) -> bool:
        """Whether no channel takes anything: then the dead-man switch must not be called."""
        return is_deaf(self._memory.kept.outbox, self._clock.now_s())

    def facts(self) -> list[Fact]:
        """Return the facts of the board as they hold now, and those about calling a person."""
        now_s = self._clock.now_s()
        return [*expired(self._memory.kept.board.facts, now_s), *self.own_facts()]

    def own_facts(self) -> list[Fact]:
        """Return the facts about calling a person: channels, outbox, store."""
        now_s = self._clock.now_s()
        trouble, lost = self._memory.trouble, self._memory.lost
        found = [*channel_facts(self._memory.kept.outbox, now_s), *self._node.facts()]
        found.append(
            Fact(codes.ALERTS_UNSAVED, "bad" if trouble else "ok", trouble or "on disk",
                 "alert store", at_s=now_s)
        )  # fmt: skip
        if lost:
            words = f"{lost}; what was acknowledged or snoozed before is forgotten"
            found.append(Fact(codes.ALERTS_DAMAGED, "bad", words, "alert store", at_s=now_s))
        return found

    # --- running --------------------------------------------------------------------------------

    def duties(self) -> list[Duty]:
        """Return the duties of this part; what only shows facts needs none of them."""
        return [
            Duty(name="alert store", run=self._memory.write_on),
            Duty(name="alerts", run=self.run, stop=self.stop),
        ]

    async def run(self) -> None:
        await self.resume()
        while True:
            self._woken.clear()
            began_s = self._clock.boot_s()
            await self.step()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), STEP_S)
                await asyncio.sleep(max(0.0, GAP_S - (self._clock.boot_s() - began_s)))

    async def resume(self) -> None:
        """Take up what was kept; begun again after a bug, go on with what is in memory."""
        if not self._is_resumed:
            await self._memory.resume()
            self._take_proofs()
            self._is_resumed = True
        if self._senders.are_idle:
            self._memory.change(outbox=resumed(self._memory.kept.outbox))
        self._memory.change(outbox=configured(self._memory.kept.outbox, self._senders.names))

    def _take_proofs(self) -> None:
        """Note proofs of before whose step may not have been made."""
        kept = self._memory.kept
        self._inbox.proven_before(kept.outbox.sent, kept.alerts.at_s)
        fresh = [one for one in kept.outbox.sent if one.at_s >= kept.alerts.at_s]
        self._proven = [(None, one) for one in fresh]

    async def step(self) -> None:
        """Make one step: facts and occurrences to notices, notices to channels."""
        now_s, kept = self._clock.now_s(), self._memory.kept
        board = ticked(kept.board, Tick(now_s, self._clock.boot_s()))
        gone, outbox = gone_taken(kept.outbox)
        facts = [one for one in expired(board.facts, now_s) if not self._is_explained(one, now_s)]
        held = {one.key for one in kept.alerts.alerts}
        inputs = self._inbox.taken([*facts, *self.own_facts()], held, gone, now_s)
        done = alarm.step(kept.alerts, inputs, self._rules(), now_s)
        for notice in done.notices:
            outbox = with_notice(outbox, notice)
            _log.warning("alert.notice", notice=notice.id, kind=notice.kind.value,
                         severity=notice.severity.value, count=notice.count)  # fmt: skip
        due = sendings(outbox, now_s)
        for sending in due:
            outbox = begun(outbox, sending)
        self._memory.change(alerts=done.state, outbox=outbox, board=board)
        proven, self._proven = self._proven, []
        await self._memory.save()
        for sending in due:
            self._senders.begin(sending)
        for notice_of, sent in proven:
            self._node.on_proven(notice_of, sent)

    def _rules(self) -> Rules:
        rules = self._node.rules()
        is_teller = rules.is_teller and bool(self._senders.names)
        return msgspec.structs.replace(rules, is_teller=is_teller)

    def _is_explained(self, fact: Fact, now_s: float) -> bool:
        return not now_s < fact.until_s and self._node.is_explained(fact)

    def _ended(self, outcome: Outcome) -> None:
        """Note what became of a sending; the next step, which comes at once, stores it."""
        sending, outbox, now_s = outcome.sending, self._memory.kept.outbox, self._clock.now_s()
        if outcome.proof is None:
            failure = outcome.failure
            assert failure is not None
            outbox = failed(outbox, sending, failure, now_s, self._dice.fraction)
        else:
            is_first = all(one.notice != sending.notice.id for one in outbox.sent)
            outbox = noted(outbox, sending, outcome.proof.message, now_s)
            self._inbox.proven(outbox.sent[-1])
            if is_first:
                self._proven.append((sending.notice, outbox.sent[-1]))
        self._memory.change(outbox=outbox)
        self._woken.set()

    async def stop(self) -> None:
        """Let what is on its way arrive, and write down what is in memory."""
        await self._senders.stop()
        if not self._memory.is_saved:
            await self._memory.write()
