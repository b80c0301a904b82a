"""How a provider wants to be asked: which of the parameters that we add it takes, learnt from its no."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

Body = dict[str, Any]
"""A request, an answer or a part of one, as OpenAI's API has it in JSON."""
LIMITS = ("max_tokens", "max_completion_tokens")
NO_LIMIT = "none"
USEFUL_TOKENS = 256
_ABOUT = frozenset({400, 413, 422, 429})
_NUMBER = r"\s*[:=]?\s*\[?([0-9]{1,9})"
_UNSUPPORTED = re.compile(
    r"unsupported|not supported|unrecogni[sz]ed|unknown|unexpected|extra (inputs?|fields?)|"
    r"not (permitted|allowed)|forbidden|no longer|deprecated|does not (exist|support|accept)",
    re.IGNORECASE,
)
_USED_UP = re.compile(
    rf"(?:maximum context length is|context (?:size|window|length)(?: of| is)?|limit){_NUMBER}"
    r"(?:(?!limit).){0,200}?"
    r"(?:requested|resulted in|got|needs|need)(?: about)?" + _NUMBER,
    re.IGNORECASE | re.DOTALL,
)
_AT_MOST = re.compile(
    r"(?:at most|less than or equal to|no more than|up to|maximum(?: \w+){0,5}? is|"
    r"max(?:imum)?(?: \w+){0,4}? of|must be <=?|should be <=?|cannot exceed|limit(?:ed)?(?: of| to| is)?|"
    rf"[0-9]\s*>|<=|and|,){_NUMBER}",
    re.IGNORECASE,
)


class Dialect(msgspec.Struct, frozen=True):
    """What one rung was found to take. The default asks as OpenAI's first chat API did.

    `limit` is its name for the longest answer, empty where the caller's own will do, `none` where
    it takes neither; `most` the longest answer it allows in tokens, 0 where that is not known.
    """

    limit: str = ""
    stream_options: bool = True
    most: int = 0

    def describe(self) -> str:
        """Return in words what is unusual about a rung."""
        parts = [f"answers limited by {self.limit}"] if self.limit in LIMITS else []
        parts += ["no limit of its answers"] if self.limit == NO_LIMIT else []
        parts += [f"at most {self.most} tokens an answer"] if self.most else []
        parts += [] if self.stream_options else ["no stream_options"]
        return ", ".join(parts)


class Manner(msgspec.Struct, frozen=True):
    """How one attempt asks: a dialect, and the longest answer of this call in tokens."""

    dialect: Dialect
    most: int

    @property
    def bound(self) -> int:
        """The longest answer that is asked for."""
        return min(self.most, self.dialect.most or self.most)


def spoken(body: Mapping[str, Any], manner: Manner) -> Body:
    """Return a caller's request in a rung's dialect, with our own parameters added."""
    dialect = manner.dialect
    asked = {name: value for name, value in body.items() if name not in LIMITS}
    name = dialect.limit or (LIMITS[1] if LIMITS[1] in body else LIMITS[0])
    if name != NO_LIMIT:
        asked[name] = manner.bound
    if body.get("stream") and dialect.stream_options:
        asked["stream_options"] = {"include_usage": True}
    return asked


def adapted(manner: Manner, asked: Mapping[str, Any], status: int, text: str) -> Manner | None:
    """Return how to ask once more where a refusal is about a parameter of ours; None where not.

    `asked` is the request as it was sent, `text` what the provider said. Each step takes something
    away (a parameter, a name, tokens of the answer), so that asking again comes to an end.
    """
    if status not in _ABOUT:
        return None
    dialect = manner.dialect
    if "stream_options" in asked and re.search(r"stream_?options|include_usage", text):
        return _with(manner, msgspec.structs.replace(dialect, stream_options=False))
    name = next((name for name in LIMITS if name in asked), None)
    if name is None:
        return None
    is_named = _names(text, name)
    room = _room(manner.bound, text)
    if room is not None:
        return Manner(dialect, room) if room >= min(USEFUL_TOKENS, manner.bound) else None
    if status == 429:
        return None
    other = LIMITS[1 - LIMITS.index(name)]
    if (is_named and _UNSUPPORTED.search(text)) or (_names(text, other) and dialect.limit != name):
        limit = NO_LIMIT if dialect.limit else other
        return _with(manner, msgspec.structs.replace(dialect, limit=limit))
    if not (is_named or status == 413) or manner.bound <= USEFUL_TOKENS:
        return None
    most = _most_allowed(manner.bound, text) if is_named else None
    if most is not None:
        return _with(manner, msgspec.structs.replace(dialect, most=most))
    return Manner(dialect, max(USEFUL_TOKENS, manner.bound // 4))


def blames_ours(body: Mapping[str, Any], asked: Mapping[str, Any], text: str) -> bool:
    """Whether a refusal is about a parameter that is in `asked` though no caller named it."""
    if "stream_options" in asked and re.search(r"stream_?options|include_usage", text):
        return True
    added = [name for name in LIMITS if name in asked]
    if any(name in body for name in LIMITS):
        return False
    return any(_names(text, name) for name in added)


def _with(manner: Manner, dialect: Dialect) -> Manner:
    return Manner(dialect, manner.most)


def _names(text: str, name: str) -> bool:
    return re.search(rf"(?<![A-Za-z0-9_]){name}(?![A-Za-z0-9_])", text) is not None


def _room(bound: int, text: str) -> int | None:
    """Return what is left for an answer where a provider counted it together with the prompt."""
    found = _USED_UP.search(text)
    if found is None:
        return None
    limit, requested = int(found[1]), int(found[2])
    return bound - (requested - limit) if requested > limit else None


def _most_allowed(bound: int, text: str) -> int | None:
    """Return the longest answer a provider says it allows, where that is less than was asked."""
    numbers = [int(found[1]) for found in _AT_MOST.finditer(text)]
    fitting = [number for number in numbers if 0 < number < bound]
    return max(fitting, default=None)
