"""Tells the owner at once of an urgent question, with a button for each option."""

from __future__ import annotations

from collections.abc import Iterable

from allegro.core.chat.taps import button_data, question_subject
from allegro.core.health.codes.code import Way
from allegro.core.health.delivery.notices import Kind, Notice, Said
from allegro.core.ports import Clock
from allegro.core.requests.decisions import Decision
from allegro.house.health.urgent import RECENT_S, URGENT
from allegro.runtime.alerting.shell import Alerting
from allegro.runtime.tasks import Soon


class UrgentQuestions:
    """Posts each question once: a message of its id is known to the outbox, also after a restart."""

    def __init__(self, alerting: Alerting, clock: Clock) -> None:
        self._alerting = alerting
        self._clock = clock
        self._posts = Soon("urgent questions")

    def resume(self, decisions: Iterable[Decision]) -> None:
        """Take up what was asked lately, whether or not it was told before the program ended."""
        for decision in decisions:
            self.changed(decision)

    def changed(self, decision: Decision) -> None:
        """Take the newest version of a question. Nobody is called where no channel is configured."""
        now_s, document = self._clock.now_s(), decision.document
        is_new = decision.is_open and len(decision.history) == 1
        is_recent = now_s - document.created_s < RECENT_S
        if is_new and is_recent and document.urgency in URGENT and self._alerting.channels:
            self._posts.begin(decision.id, self._alerting.post(notice_of(decision, now_s)))

    async def stop(self) -> None:
        await self._posts.idle()


def notice_of(decision: Decision, now_s: float) -> Notice:
    """Return the message about a question. Its words are foreign: they leave where content may."""
    document, id_ = decision.document, decision.id
    said = [
        Said(f"{id_[:10]}: `allegro answer {id_[:10]} N`\n"),
        Said(document.question, is_foreign=True),
    ]
    for number, option in enumerate(document.options, 1):
        said += [Said(f"\n{number}. "), Said(option.label, is_foreign=True)]
    return Notice(
        id=f"question-{id_[:20]}",
        kind=Kind.REPORT,
        severity=URGENT[document.urgency],
        way=Way.FIRST,
        keys=(),
        lines=(),
        at_s=now_s,
        by_s=now_s,
        title=f"{document.urgency.capitalize()} question",
        said=tuple(said),
        buttons=tuple(
            (f"Answer {n}", button_data("answer", question_subject(id_), decision.digest, n))
            for n in range(1, len(document.options) + 1)
        ),
    )
