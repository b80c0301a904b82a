"""What a model call used: read from what its provider says, and what is counted where it says less."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

BYTES_PER_TOKEN = 3.0
MAX_COUNT = 2**40
_FAR_FEWER = 8
_COMPLETION = ("completion_tokens", "output_tokens")


class TokenCounts(msgspec.Struct, frozen=True):
    """Tokens of one call. `cached` and `written` are parts of `input`, with prices of their own.

    `cached` was read from the provider's cache, `written` was stored there; `written_long` is the
    part of `written` that is kept for an hour. `output` holds hidden reasoning too. `is_sure` is
    False where two readings of the provider's words are possible and the larger one was taken.
    """

    input: int
    output: int
    cached: int = 0
    written: int = 0
    written_long: int = 0
    is_sure: bool = True


def usage_of(value: object) -> TokenCounts | None:
    """Read an answer's `usage` object; None when it names no plausible count of both sides.

    Reasoning stands inside `completion_tokens` at most providers and beside them at some; what
    `total_tokens` leaves over is output. Without a total, and where there is more reasoning than
    completion, it counts as beside.
    """
    if not isinstance(value, Mapping):
        return None
    prompt = _first(value, ("prompt_tokens", "input_tokens"))
    total = _count(value.get("total_tokens"))
    completion = _first(value, _COMPLETION)
    if prompt is None:
        return None
    if completion is None:
        is_named = any(value.get(name) is not None for name in _COMPLETION)
        if total is None or is_named:
            return None
        completion = 0
    cache, beside = _cache_of(value, prompt, completion, total)
    input_ = prompt + beside
    output, is_sure = _output_of(value, input_, completion, total)
    cached, written, written_long = cache
    cached = min(cached, input_)
    written = min(written, input_ - cached)
    return TokenCounts(
        min(input_, MAX_COUNT - 1), min(output, MAX_COUNT - 1), cached, written,
        min(written_long, written), is_sure,
    )  # fmt: skip


def _output_of(
    value: Mapping[str, Any], input_: int, completion: int, total: int | None
) -> tuple[int, bool]:
    details = ("completion_tokens_details", "output_tokens_details")
    reasoning = max(
        _detail(value, details, ("reasoning_tokens",)), _count(value.get("reasoning_tokens")) or 0
    )
    output = max(completion, 0 if total is None else total - input_)
    if total is None and reasoning:
        return completion + reasoning, False
    return max(output, completion + reasoning if reasoning > completion else 0), True


def _cache_of(
    value: Mapping[str, Any], prompt: int, completion: int, total: int | None
) -> tuple[tuple[int, int, int], int]:
    """Return (cached, written, written for an hour), and the tokens that stand beside the prompt.

    Counts named as Anthropic names them stand beside `input_tokens`; beside `prompt_tokens` only
    where the total has room for them or where there is no total.
    """
    read = _count(value.get("cache_read_input_tokens")) or 0
    written = _count(value.get("cache_creation_input_tokens")) or 0
    lasting = _detail(value, ("cache_creation",), ("ephemeral_1h_input_tokens",))
    detailed = _detail(value, ("prompt_tokens_details", "input_tokens_details"),
                       ("cached_tokens",))  # fmt: skip
    hit = _count(value.get("prompt_cache_hit_tokens")) or _count(value.get("cached_tokens")) or 0
    cached = max(read, detailed, hit)
    is_beside = "prompt_tokens" not in value or (
        (total is None or total - prompt - completion >= read + written) and not detailed
    )
    beside = read + written if is_beside else 0
    return (cached, written, min(lasting, written)), beside


def _first(value: Mapping[str, Any], names: Sequence[str]) -> int | None:
    return _count(next((value[name] for name in names if name in value), None))


def _detail(value: Mapping[str, Any], groups: Sequence[str], names: Sequence[str]) -> int:
    found = [value.get(group) for group in groups]
    counts = [_count(one.get(name)) for one in found if isinstance(one, Mapping) for name in names]
    return max((count for count in counts if count is not None), default=0)


def _count(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_COUNT:
        return value
    return None


def merged(before: TokenCounts | None, newer: TokenCounts) -> TokenCounts:
    """Return what two counts of one answer say together: counts grow, and the newer is nearer."""
    if before is None:
        return newer
    return msgspec.structs.replace(
        newer, input=max(before.input, newer.input), output=max(before.output, newer.output)
    )


def estimated_tokens(size_bytes: int) -> int:
    """Return a token count for text whose use nobody told: rather too many than too few."""
    return math.ceil(size_bytes / BYTES_PER_TOKEN)


class Seen(msgspec.Struct, frozen=True):
    """What is known of one call when it is counted. Sizes are bytes, `most` tokens.

    `counts` is what its provider said, `is_late` that this came with or after the last word,
    `is_whole` that the answer came to its end. `most` bounds the answer; 0 where a longer one
    costs nothing.
    """

    counts: TokenCounts | None
    is_late: bool
    is_whole: bool
    request_bytes: int
    text_bytes: int
    most: int


def counted(seen: Seen) -> tuple[TokenCounts, bool]:
    """Return the tokens a call counts as, and whether its provider said so.

    What the provider said at the end counts, unless it is far too little for the text that came.
    All else is an estimate: an answer whose use nobody told, or that broke off, may have cost as
    much as it was allowed to.
    """
    least_in, least_out = estimated_tokens(seen.request_bytes), estimated_tokens(seen.text_bytes)
    counts = seen.counts
    if counts is not None and seen.is_whole and seen.is_late:
        if counts.output * _FAR_FEWER >= least_out:
            return counts, counts.is_sure
        return msgspec.structs.replace(
            counts, input=max(counts.input, least_in), output=least_out
        ), False
    said = counts or TokenCounts(0, 0)
    output = max(said.output, least_out, seen.most)
    return msgspec.structs.replace(said, input=max(said.input, least_in), output=output), False
