"""What a provider's refusal means, and which of its words an agent may see."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from allegro.core.base.untrusted import Unreadable, read_json, text_of
from allegro.core.models.dialect import LIMITS, Body
from allegro.core.models.ladder import Trouble

_HARD_QUOTA = frozenset({
    "insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "billing",
    "insufficient_balance", "insufficient_credits", "credits_exhausted", "access_terminated",
})  # fmt: skip
_LINK = re.compile(
    r"(?:https?://|www\.)\S+|(?<![\w.-])[\w.-]{1,100}\.[a-z]{2,20}/\S*", re.IGNORECASE
)
_QUOTA = re.compile(
    r"(?<![a-z])(quota|credits?|billing|spend(ing)? limit|insufficient[_ ]balance)(?![a-z])",
    re.IGNORECASE,
)
_PER_DAY = re.compile(
    r"per[ _-]?day|per[ _-]?month|per[ _-]?week|daily|monthly|\b[rt]pd\b", re.IGNORECASE
)
_PER_MINUTE = re.compile(
    r"per[ _-]?(minute|min|second|sec|hour)|(?<![a-z])[rt]p[ms](?![a-z])|rate[ _-]?limit|"
    r"too many requests|slow down|(try|retry)( again)? in |retrydelay|retry[ _-]?after|"
    r"(requests|tokens)/(min|minute|s|sec|m)\b",
    re.IGNORECASE,
)
_BAD_KEY = re.compile(
    r"api[ _-]?key( is)? (not valid|invalid|expired)|invalid[ _]api[ _-]?key|api_key_invalid",
    re.IGNORECASE,
)
_NO_MODEL_CODES = frozenset({"model_not_found", "unknown_model", "invalid_model", "no_such_model"})
_OVERFLOW_CODES = frozenset({
    "context_length_exceeded", "context_window_exceeded", "context_length_error",
    "exceed_context_size_error", "max_context_length_exceeded", "prompt_too_long",
    "input_too_long", "string_above_max_length", "model_max_prompt_tokens_exceeded",
    "contextwindowexceedederror",
})  # fmt: skip
_OVERFLOW = re.compile(
    r"context[ _-]?(length|window|size)|maximum context|prompt (is )?too long|input (is )?too long|"
    r"too many (input |prompt )?tokens|reduce the (length|size)|max_model_len|maximum model length|"
    r"exceeds? the (maximum|max|available)[^.]{0,40}(tokens|context|length)|"
    r"exceeds? the token limit|prompt exceeds|request too large for",
    re.IGNORECASE,
)
CODES = {
    "invalid_request_error": 400, "invalid_parameter": 400, "invalid_argument": 400,
    "unsupported_parameter": 400, "unsupported_value": 400, "unknown_parameter": 400,
    "missing_required_parameter": 400, "content_policy_violation": 400, "content_filter": 400,
    "invalid_value": 400, "bad_request": 400, "failed_precondition": 400,
    **dict.fromkeys(_OVERFLOW_CODES, 400), "request_too_large": 413,
    "authentication_error": 401, "invalid_api_key": 401, "unauthenticated": 401,
    "permission_error": 403, "permission_denied": 403, **dict.fromkeys(_NO_MODEL_CODES, 404),
    "not_found_error": 404, **dict.fromkeys(_HARD_QUOTA, 429), "rate_limit_exceeded": 429,
    "rate_limit_error": 429, "too_many_requests": 429, "resource_exhausted": 429,
    "tokens_exceeded": 429, "overloaded_error": 529, "service_unavailable": 503,
    "unavailable": 503, "server_error": 500, "internal_error": 500, "internal_server_error": 500,
    "api_error": 500, "timeout_error": 504,
}  # fmt: skip
"""Words that providers use as `code`, `type` or `status` of an error, with the HTTP status each means."""

KNOWN_WORDS = frozenset({
    *CODES, *LIMITS, "stream_options", "include_usage", "temperature", "top_p", "stop", "tools",
    "tool_choice", "parallel_tool_calls", "response_format", "seed", "presence_penalty",
    "frequency_penalty", "reasoning_effort", "reasoning", "messages", "model", "tool_calls",
    "function_call", "max_output_tokens", "max_model_len", "completion_tokens", "prompt_tokens",
    "total_tokens", "reasoning_tokens", "thinking_budget", "budget_tokens", "tool_call_id",
    "reasoning_content", "insufficient_system_resource", "type", "function", "content", "error",
    "code", "param", "body", "completion", "input", "output", "role",
})  # fmt: skip
"""Long words that are no key: they pass the scrubber."""

_LONG_WORD = re.compile(r"[A-Za-z0-9_+/=.-]{20,}")
_KEY = re.compile(r"(?<![A-Za-z0-9])(?:sk|pk|rk|gsk|xai|key|nvapi)-[A-Za-z0-9_-]{6,}")
_SHOWN = 600
_PLAIN_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,18}|[0-9]{1,6}")


def classify(
    status: int, text: str, model: str = "", wait_s: float | None = None
) -> Trouble:  # fmt: skip
    """Say what a provider's refusal means. `status` is HTTP's, `text` the body's beginning.

    `model` is the name the provider was asked for: words about some other thing that was not
    found, such as a file in the prompt, do not bench a model. `wait_s` is what the provider said
    about when to ask again, None where it said nothing.
    """
    if status in {401, 403}:
        return Trouble.QUOTA if status == 403 and _speaks_of_quota(text) else Trouble.DEAD_KEY
    if status == 402:
        return Trouble.QUOTA
    if status == 400 and _BAD_KEY.search(_code_and_message(text)):
        return Trouble.DEAD_KEY
    if status == 429:
        return _limit_reached(text, wait_s)
    if status in {404, 405, 410} or (status in {400, 422} and _names_no_model(text, model)):
        return Trouble.UNKNOWN_MODEL
    if status in {503, 529}:
        return Trouble.OVERLOAD
    if status == 408 or status >= 500 or status < 400:
        return Trouble.BROKEN
    if status == 413 and _PER_MINUTE.search(_code_and_message(text)):
        return Trouble.OVERLOAD
    return Trouble.OVERFLOW if overflows(status, text) else Trouble.BAD_REQUEST


def overflows(status: int, text: str) -> bool:
    """Whether a refusal says that the prompt is longer than the model can read."""
    if status not in {400, 413, 422}:
        return False
    if _codes(error_object(text)) & _OVERFLOW_CODES:
        return True
    return _OVERFLOW.search(_code_and_message(text)) is not None


def _limit_reached(text: str, wait_s: float | None) -> Trouble:
    """Tell a quota that is used up from a limit that is over soon, whatever both call themselves."""
    words = _code_and_message(text)
    if _codes(error_object(text)) & _HARD_QUOTA and not re.search(
        r"per[ _-]?(minute|min|second)", text, re.IGNORECASE
    ):
        return Trouble.QUOTA
    if not _speaks_of_quota(text):
        return Trouble.OVERLOAD
    if _PER_DAY.search(text):
        return Trouble.QUOTA
    if _PER_MINUTE.search(words) or _PER_MINUTE.search(_LINK.sub(" ", text)):
        return Trouble.OVERLOAD
    return Trouble.OVERLOAD if wait_s is not None and wait_s <= 300 else Trouble.QUOTA


def _speaks_of_quota(text: str) -> bool:
    return _QUOTA.search(_LINK.sub(" ", _code_and_message(text))) is not None


def error_object(text: str) -> Mapping[str, Any]:
    """Return the error object of a refusal; empty where it has none that can be read."""
    body = read_json(text.encode("utf-8", "replace"), Any)
    if isinstance(body, list) and body:
        body = body[0]
    if isinstance(body, Unreadable) or not isinstance(body, Mapping):
        return {}
    error = body.get("error", body)
    return error if isinstance(error, Mapping) else {"message": error}


def _codes(error: Mapping[str, Any]) -> set[str]:
    named = (error.get(name) for name in ("code", "type", "status"))
    return {code.lower() for code in named if isinstance(code, str)}


def _code_and_message(text: str) -> str:
    error = error_object(text)
    parts = [str(error.get(name) or "") for name in ("code", "type", "message")]
    return " ".join(filter(None, parts)) or text


def status_of(error: object) -> int:
    """Return the HTTP status that an error means which came inside an answer of status 200."""
    if not isinstance(error, Mapping):
        return 500
    for name in ("code", "status", "status_code", "http_code", "type"):
        code = error.get(name)
        if isinstance(code, str):
            if re.fullmatch(r"[45][0-9]{2}", code):
                return int(code)
            if code.lower() in CODES:
                return CODES[code.lower()]
        elif isinstance(code, int) and not isinstance(code, bool) and 400 <= code < 600:
            return code
    return 500


def _names_no_model(text: str, model: str) -> bool:
    """Whether a refusal is about the model itself: by its code, or in words right at its name."""
    error = error_object(text)
    if _codes(error) & _NO_MODEL_CODES:
        return True
    if not model:
        return False
    message, name, quote = str(error.get("message") or text), re.escape(model), "[`'\": ]{0,4}"
    says = (
        rf"(unknown|invalid|no such|unsupported) model{quote}{name}(?![\w.-])",
        (
            rf"\bmodel{quote}{name}{quote}(is |was |does |could )?not (be )?"
            r"(found|exist|valid|available|supported|known|recogni[sz]ed)"
        ),
        rf"(?<![\w.-]){name}{quote}is (not an? (valid|known|supported)|an? (unknown|invalid)) model",
    )
    return any(re.search(pattern, message, re.IGNORECASE) for pattern in says)


def error_for_caller(trouble: Trouble, text: str) -> Body:
    """Return the error object a caller gets for a refusal that is about its own request.

    Codes and types that are known words pass; a message is scrubbed first and cut then. A prompt
    that is too long always says so, in its code and in its words, wherever the provider said it.
    """
    error = error_object(text)
    code, kind = _known(error.get("code")), _known(error.get("type"))
    message = text_of(error.get("message"), 16_000) or text
    shown = scrubbed(message)[:_SHOWN]
    if trouble is Trouble.OVERFLOW:
        code = code if str(code).lower() in _OVERFLOW_CODES else "context_length_exceeded"
        shown = shown if "context length" in shown.lower() else f"{shown} (context length exceeded)"
    return {
        "message": shown, "type": kind or "provider", "param": _known(error.get("param")),
        "code": code,
    }  # fmt: skip


def _known(word: object) -> str | None:
    if isinstance(word, int) and not isinstance(word, bool):
        word = str(word)
    if not isinstance(word, str):
        return None
    is_known = word.lower() in KNOWN_WORDS or _PLAIN_CODE.fullmatch(word) is not None
    return word if is_known and not _KEY.search(word) else None


def scrubbed(text: str) -> str:
    """Return a provider's words without anything that could be a key it echoes."""
    return _LONG_WORD.sub(_masked, _KEY.sub("[…]", text))


def _masked(found: re.Match[str]) -> str:
    parts = [part for part in re.split(r"[+/=.-]+", found[0]) if part]
    is_known = bool(parts) and all(part.lower() in KNOWN_WORDS for part in parts)
    return found[0] if is_known else "[…]"
