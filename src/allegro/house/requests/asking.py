"""How something is asked for: who asks and under which key, on what terms, as which document."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec

from allegro.core.authority.actions.families import family_of
from allegro.core.authority.actions.family import Action
from allegro.core.authority.policy import Needs, needs_of
from allegro.core.base.canonical import sha256_hex
from allegro.core.requests.documents import Option, RequestDocument
from allegro.core.requests.index import program_of
from allegro.core.requests.proposals import Pinned, Proposal, question_of
from allegro.core.requests.requests import MAX_ASKED_BY

THE_HOUSE = "the house"


class Origin(msgspec.Struct, frozen=True):
    """Who asked. `key` names this asking, "" for none; `asked` names its content (SHA-256).

    Asked twice with one key by one program, it is one request.
    """

    asked_by: str = THE_HOUSE
    key: str = ""
    asked: str = ""


BY_THE_HOUSE = Origin()


class Terms(msgspec.Struct, frozen=True):
    """What a person is asked about an act that pins no world of its own.

    `type` is the document's: decision (he answers) or review. `expires_s` Unix seconds. `notes`
    hold words that belong to the act, such as the command that waits.
    """

    question: str
    type: str
    expires_s: float
    context: str = ""
    notes: dict[str, str] = {}


def asker(asked_by: str) -> str:
    """Return who asks, as a program names itself: short, and never the house."""
    named = asked_by[:MAX_ASKED_BY]
    return f"a program that calls itself {THE_HOUSE}" if named.startswith(THE_HOUSE) else named


def asking(asked: msgspec.Struct) -> str:
    """Name the content of an asking, whoever asks and under whatever key (SHA-256)."""
    whole = msgspec.to_builtins(asked)
    content = {name: whole[name] for name in sorted(whole) if name not in {"asked_by", "key"}}
    return sha256_hex(msgspec.json.encode(content))


class Turns:
    """Lets two askings with the same key pass one after the other; nobody else waits for them."""

    def __init__(self) -> None:
        self._locks: dict[tuple[str, str], tuple[asyncio.Lock, int]] = {}

    @contextlib.asynccontextmanager
    async def turn(self, asked_by: str, key: str) -> AsyncIterator[None]:
        name = program_of(asked_by), key
        lock, waiting = self._locks.get(name, (asyncio.Lock(), 0))
        self._locks[name] = lock, waiting + 1
        try:
            async with lock if key else contextlib.nullcontext():
                yield
        finally:
            lock, waiting = self._locks.pop(name)
            if waiting > 1:
                self._locks[name] = lock, waiting - 1


def document_of(
    proposal: Proposal, pinned: Pinned, *, now_s: float, lasts_s: float
) -> RequestDocument:
    """Return what a person is asked about a program's proposal. `lasts_s` is the house's own time."""
    place = f"{pinned.repository}#{proposal.issue}" if proposal.issue else pinned.repository
    return RequestDocument(
        id=pinned.action.id,
        type="approval" if needs_of(proposal.kind) is Needs.APPROVAL else "review",
        urgency=proposal.urgency,
        context=proposal.context or place,
        question=proposal.question or question_of(pinned.action, place),
        options=_options(pinned.action),
        recommendation=proposal.recommendation or "none",
        time_constraint="answer before it expires",
        created_s=now_s,
        expires_s=now_s + (proposal.expires_in_s or lasts_s),
    )


def document_of_act(action: Action, terms: Terms, *, now_s: float) -> RequestDocument:
    """Return what a person is asked, or shown, about an act that pins no world of its own."""
    decides = terms.type == "decision"
    return RequestDocument(
        id=action.id,
        type=terms.type,
        urgency="high" if decides else "medium",
        context=terms.context,
        question=terms.question,
        options=_options(action) if decides else (),
        recommendation="none",
        time_constraint="answer before it expires" if decides else "",
        created_s=now_s,
        expires_s=terms.expires_s,
    )


def document_of_mirror(action: Action, *, now_s: float, lasts_s: float) -> RequestDocument:
    """Return the document of what the house asks of itself."""
    return RequestDocument(
        id=action.id,
        type="review",
        urgency="low",
        context="",
        question="mirror",
        options=(),
        recommendation="",
        time_constraint="",
        created_s=now_s,
        expires_s=now_s + lasts_s,
    )


def _options(action: Action) -> tuple[Option, ...]:
    return (
        Option("approve", ("it is done once, exactly as shown",), ()),
        Option("reject", (), (family_of(action).if_rejected,)),
    )
