"""The request document as Markdown, in the operator's form."""

from __future__ import annotations

from allegro.core.base.timestamps import rfc3339
from allegro.core.documents.subject import (
    public_text,
    subject_of,
    type_of,
    urgency_of,
    whole_block,
)
from allegro.core.documents.words import NOTHING, phrase, quoted
from allegro.core.requests.documents import Option, RequestDocument

REQUEST_HEADING = "## 🔄 Allegro Request"
MOST_OPTIONS = 9
MOST_REASONS = 4
NONE = ("", "none")

Facts = tuple[tuple[str, str], ...]
"""(a label of ours, words of anybody): what became of a request, one line each."""


def request_text(
    document: RequestDocument, digest: str, facts: Facts = (), note: str = "", *, private: bool
) -> str:
    """Return a request as its comment on the forge shows it.

    `note` is a sentence of ours about how it is answered. Where not `private` only id, type,
    urgency and age are shown.
    """
    subject = subject_of(document, digest)
    if not private:
        return public_text(REQUEST_HEADING, subject, "request")
    advice = document.recommendation
    parts = [
        REQUEST_HEADING,
        f"**Type:** {type_of(subject)}",
        f"**Urgency:** {urgency_of(subject)}",
        f"**Context:** {phrase(document.context)}",
        "**Question/Request:**",
        quoted(document.question),
        "**Options:**" if document.options else f"**Options:** {NOTHING}",
        *_options(document.options),
        f"**Recommendation:** {'none' if advice in NONE else phrase(advice)}",
        f"**Time constraint:** until {rfc3339(document.expires_s)}; then: do nothing",
        *(f"**{label}:** {phrase(words)}" for label, words in facts),
        *filter(None, [note]),
        whole_block(subject, "request"),
    ]
    return "\n\n".join(parts)


def _options(options: tuple[Option, ...]) -> list[str]:
    if not options:
        return []
    lines = []
    for number, option in enumerate(options[:MOST_OPTIONS], 1):
        lines += [
            f"{number}. {phrase(option.label, 120)}",
            f"   - Pros: {_reasons(option.pros)}",
            f"   - Cons: {_reasons(option.cons)}",
        ]
    return ["\n".join(lines)]


def _reasons(reasons: tuple[str, ...]) -> str:
    return "; ".join(phrase(one, 120) for one in reasons[:MOST_REASONS]) or NOTHING
