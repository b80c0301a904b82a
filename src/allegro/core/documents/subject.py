"""What a document is about, and what of it a public repository is shown."""

from __future__ import annotations

from typing import Literal

import msgspec

from allegro.core.base.timestamps import rfc3339
from allegro.core.base.untrusted import MAX_NUMBER
from allegro.core.documents.block import Block, block_text
from allegro.core.documents.words import phrase
from allegro.core.requests.documents import REQUEST_TYPES, URGENCIES, RequestDocument


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """The request or session that a document is about.

    `since_s` and `expires_s` are Unix seconds, `expires_s` None where it does not expire. `digest`
    names its content, "" where there is none.
    """

    id: str
    type: str
    urgency: str
    since_s: float
    digest: str = ""
    expires_s: float | None = None


def subject_of(document: RequestDocument, digest: str) -> Subject:
    """Return what a request's document is about."""
    return Subject(
        id=document.id,
        type=document.type,
        urgency=document.urgency,
        since_s=document.created_s,
        digest=digest,
        expires_s=document.expires_s,
    )


def known(word: str, words: tuple[str, ...]) -> str:
    """Return a word of ours; `unknown` for any other, which somebody else made up."""
    return word if word in words else "unknown"


def type_of(subject: Subject) -> str:
    return known(subject.type, REQUEST_TYPES)


def urgency_of(subject: Subject) -> str:
    return known(subject.urgency, URGENCIES)


def public_text(heading: str, subject: Subject, kind: Literal["request", "report"]) -> str:
    """Return all that a public repository is shown: id, type, urgency and age."""
    return "\n\n".join(
        [
            heading,
            f"**Id:** {phrase(subject.id, 64)}",
            f"**Type:** {type_of(subject)}",
            f"**Urgency:** {urgency_of(subject)}",
            f"**Age:** since {rfc3339(subject.since_s)}",
            block_text(Block(document=kind, id=subject.id)),
        ]
    )


def whole_block(subject: Subject, kind: Literal["request", "report"]) -> str:
    """Return the block of a document on a private repository."""
    ends_s = subject.expires_s
    is_known = ends_s is not None and 0 <= ends_s < MAX_NUMBER
    return block_text(
        Block(
            document=kind,
            id=subject.id,
            digest=subject.digest,
            expires_s=int(ends_s) if ends_s is not None and is_known else None,
        )
    )
