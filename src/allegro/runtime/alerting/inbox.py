"""What happened since the last step: occurrences, facts, the word of other nodes, proofs."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from allegro.core.health.alert_state import Delivery, Inputs, Occurrence, Told
from allegro.core.health.alerts import Key
from allegro.core.health.delivery.notices import Kind
from allegro.core.health.delivery.outbox import Sent
from allegro.core.health.facts import Fact

MAX_WAITING = 1_000
"""Occurrences between two steps; of more than these the least urgent go."""
ELSEWHERE_S = 3600.0
"""So long it is remembered that another node told something, until it is known here too."""
MAX_ELSEWHERE = 200


class Inbox:
    """Gathers what happens; `taken` empties it into the inputs of one step."""

    def __init__(self) -> None:
        self._occurrences: list[Occurrence] = []
        self._facts: dict[Key, Fact] = {}
        self._elsewhere: dict[Key, Told] = {}
        self._deliveries: list[Delivery] = []
        self._reported: list[Key] = []

    @property
    def has_occurrences(self) -> bool:
        return bool(self._occurrences)

    def happened(self, occurrence: Occurrence) -> None:
        self._occurrences.append(occurrence)
        if len(self._occurrences) > MAX_WAITING:
            self._occurrences.remove(max(self._occurrences, key=lambda one: one.code.severity))

    def stated(self, facts: Iterable[Fact]) -> None:
        """Take facts; the newest of one key counts."""
        for one in facts:
            self._facts[one.code.code, one.lane, one.subject] = one

    def called_elsewhere(self, reported: Iterable[Told]) -> None:
        """Remember it until it is known here too, or its end was told as well."""
        for one in reported:
            if one.kind is Kind.RECOVERY and one.key in self._elsewhere:
                del self._elsewhere[one.key]
            elif len(self._elsewhere) < MAX_ELSEWHERE:
                self._elsewhere[one.key] = one

    def proven(self, sent: Sent) -> None:
        """Note what a channel has taken; the alerts that a report lists count as told by it."""
        self._deliveries.append(Delivery(sent.notice, sent.at_s))
        if sent.kind is Kind.REPORT:
            self._reported += sent.keys

    def proven_before(self, sent: Iterable[Sent], stepped_s: float) -> None:
        """Note proofs of before a restart; `stepped_s` is when the last step was stored."""
        for one in sent:
            self._deliveries.append(Delivery(one.notice, one.at_s))
            if one.kind is Kind.REPORT and one.at_s >= stepped_s:
                self._reported += one.keys

    def taken(
        self, facts: Iterable[Fact], held: Collection[Key], dropped: tuple[str, ...], now_s: float
    ) -> Inputs:
        """Return the inputs of a step. `facts` are those of now: they replace what was stated.

        `held` are the alerts there are, `dropped` the notices that the outbox gave up.
        """
        self.stated(facts)
        inputs = Inputs(
            facts=tuple(self._facts.values()),
            occurrences=tuple(self._occurrences),
            elsewhere=tuple(one for key, one in self._elsewhere.items() if key in held),
            deliveries=tuple(self._deliveries),
            dropped=dropped,
            reported=tuple(self._reported),
        )
        self._facts, self._occurrences = {}, []
        self._deliveries, self._reported = [], []
        self._elsewhere = {
            key: one
            for key, one in self._elsewhere.items()
            if key not in held and now_s - one.at_s < ELSEWHERE_S
        }
        return inputs
