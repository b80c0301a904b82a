"""Which provider answers a model call, what its refusal means, and what it may still cost (H6, H9)."""

from __future__ import annotations

import datetime
import email.utils
import enum
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from allegro.core.errors import Refusal
from allegro.core.settings import ModelSettings, Rung

BYTES_PER_TOKEN = 3.0


class Trouble(enum.StrEnum):
    """Why a provider did not answer, told apart by what helps."""

    DEAD_KEY = "dead_key"
    QUOTA = "quota"
    OVERLOAD = "overload"
    UNKNOWN_MODEL = "unknown_model"
    UNREACHABLE = "unreachable"
    BROKEN = "broken"
    STALLED = "stalled"
    BAD_REQUEST = "bad_request"


_COOL_S = {
    Trouble.DEAD_KEY: 60.0,
    Trouble.QUOTA: 300.0,
    Trouble.OVERLOAD: 5.0,
    Trouble.UNKNOWN_MODEL: 60.0,
    Trouble.UNREACHABLE: 10.0,
    Trouble.BROKEN: 5.0,
    Trouble.STALLED: 10.0,
}
PROBED = frozenset({Trouble.DEAD_KEY, Trouble.UNKNOWN_MODEL, Trouble.QUOTA})
_MAX_TOLD_S = {Trouble.QUOTA: 86_400.0, Trouble.OVERLOAD: 300.0}
_QUOTA = re.compile(
    r"(?<![a-z])(quota|credits?|billing|spend(ing)? limit|insufficient[_ ]balance)(?![a-z])",
    re.IGNORECASE,
)
_BAD_KEY = re.compile(
    r"api[ _-]?key( is)? (not valid|invalid|expired)|invalid[ _]api[ _-]?key|api_key_invalid",
    re.IGNORECASE,
)
_NO_MODEL_CODES = frozenset({"model_not_found", "unknown_model", "invalid_model", "no_such_model"})
_SECONDS = re.compile(
    r"\s*(?:([0-9]{1,5})h)?(?:([0-9]{1,7})m(?!s))?(?:([0-9]{1,15}(?:\.[0-9]{1,9})?)s?)?\s*"
)
_MILLISECONDS = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{1,9})?)ms\s*")


def classify(status: int, told: str, model: str = "") -> Trouble:
    """Say what a provider's refusal means. `status` is HTTP's, `told` the body's beginning.

    `model` is the name the provider was asked for: words about some other thing that was not
    found, such as a file in the prompt, do not bench a model.
    """
    if status in {401, 403}:
        return Trouble.QUOTA if status == 403 and _QUOTA.search(told) else Trouble.DEAD_KEY
    if status == 402:
        return Trouble.QUOTA
    if status == 400 and _BAD_KEY.search(_code_and_message(told)):
        return Trouble.DEAD_KEY
    if status == 429:
        return Trouble.QUOTA if _QUOTA.search(_code_and_message(told)) else Trouble.OVERLOAD
    if status in {404, 405, 410} or (status in {400, 422} and _names_no_model(told, model)):
        return Trouble.UNKNOWN_MODEL
    if status in {503, 529}:
        return Trouble.OVERLOAD
    if status == 408 or status >= 500 or status < 400:
        return Trouble.BROKEN
    return Trouble.BAD_REQUEST


def _error_of(told: str) -> Mapping[str, Any]:
    """Return the error object of a refusal; empty where it has none that can be read."""
    try:
        body = msgspec.json.decode(told.encode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError, ValueError):
        return {}
    if isinstance(body, list) and body:
        body = body[0]
    error = body.get("error", body) if isinstance(body, Mapping) else {}
    return error if isinstance(error, Mapping) else {"message": error}


def _code_and_message(told: str) -> str:
    error = _error_of(told)
    parts = [str(error.get(name) or "") for name in ("code", "type", "message")]
    return " ".join(filter(None, parts)) or told


def _names_no_model(told: str, model: str) -> bool:
    """Whether a refusal is about the model itself: by its code, or in words right at its name."""
    error = _error_of(told)
    codes = {code for code in (error.get("code"), error.get("type")) if isinstance(code, str)}
    if codes & _NO_MODEL_CODES:
        return True
    if not model:
        return False
    message, name, quote = str(error.get("message") or told), re.escape(model), "[`'\": ]{0,4}"
    says = (
        rf"(unknown|invalid|no such|unsupported) model{quote}{name}(?![\w.-])",
        (
            rf"\bmodel{quote}{name}{quote}(is |was |does |could )?not (be )?"
            r"(found|exist|valid|available|supported|known|recogni[sz]ed)"
        ),
        rf"(?<![\w.-]){name}{quote}is (not an? (valid|known|supported)|an? (unknown|invalid)) model",
    )
    return any(re.search(pattern, message, re.IGNORECASE) for pattern in says)


def retry_after_s(trouble: Trouble, headers: Mapping[str, str], now_s: float) -> float | None:
    """Return the seconds until a provider says it may be asked again; None where it says none.

    `Retry-After` counts for a quota and for overload, `X-RateLimit-Reset` for a quota alone: many
    send it with every answer. Understands seconds, `1m30s`, `120ms`, an HTTP date, Unix seconds
    and Unix milliseconds; never more than a day, for overload five minutes.
    """
    most_s = _MAX_TOLD_S.get(trouble)
    if most_s is None:
        return None
    names = ["retry-after"]
    if trouble is Trouble.QUOTA:
        names += ["x-ratelimit-reset", "x-ratelimit-reset-requests", "x-ratelimit-reset-tokens"]
    for name in names:
        text = next((value for key, value in headers.items() if key.lower() == name), "")
        seconds = _told_s(text, now_s) if text else None
        if seconds is not None:
            return min(max(0.0, seconds), most_s)
    return None


def _told_s(text: str, now_s: float) -> float | None:
    if match := _MILLISECONDS.fullmatch(text):
        return float(match[1]) / 1000.0
    match = _SECONDS.fullmatch(text)
    if match is None or not any(match.groups()):
        return _date_s(text, now_s)
    hours, minutes, plain = (float(group or 0) for group in match.groups())
    if plain > 1e11:
        plain /= 1000.0
    if plain > 1e9:
        plain -= now_s
    return hours * 3600 + minutes * 60 + plain


def _date_s(text: str, now_s: float) -> float | None:
    try:
        date = email.utils.parsedate_to_datetime(text)
        if date.tzinfo is None:  # HTTP's dates are GMT
            date = date.replace(tzinfo=datetime.UTC)
        return date.timestamp() - now_s
    except (ValueError, TypeError, OverflowError):
        return None


class Cooling(msgspec.Struct, frozen=True):
    """Why a rung is passed over, and until when (boot-time s)."""

    trouble: Trouble
    until_s: float


class Ladder:
    """The rungs of each model in the configured order, and which of them are passed over now."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self.cooling: dict[RungKey, Cooling] = {}

    def models(self) -> tuple[str, ...]:
        """Return the models that may be asked for, in the configured order."""
        return tuple(dict.fromkeys(rung.model for rung in self._settings.rungs))

    def resolve(self, model: str) -> str | Refusal:
        """Return the model that is meant: empty is the default, an unknown one is refused (H1)."""
        wanted = model or self._settings.default or next(iter(self.models()), "")
        if wanted in self.models():
            return wanted
        known = ", ".join(self.models()) or "none"
        return Refusal("unknown_model", f"no model {wanted!r} here; known: {known}")

    def rungs(self, model: str, now_s: float) -> list[Rung]:
        """Return what to try for a model: its own rungs, then the last one; cooling ones left out.

        When all are cooling, those with a trouble that may be over any moment are tried anyway.
        """
        wanted = self._wanted(model)
        ready = [rung for rung in wanted if self._cooling(rung, now_s) is None]
        return ready or [
            rung for rung in wanted
            if (cooling := self._cooling(rung, now_s)) and cooling.trouble not in PROBED
        ]  # fmt: skip

    def passed_over(self, model: str, now_s: float) -> list[tuple[Rung, Trouble]]:
        """Return the rungs of a model that are cooling now, and why."""
        found = [(rung, self._cooling(rung, now_s)) for rung in self._wanted(model)]
        return [(rung, cooling.trouble) for rung, cooling in found if cooling is not None]

    def _wanted(self, model: str) -> list[Rung]:
        wanted = [rung for rung in self._settings.rungs if rung.model == model]
        if self._settings.last and self._settings.last != model:
            wanted += [rung for rung in self._settings.rungs if rung.model == self._settings.last]
        return wanted

    def failed(
        self, rung: Rung, trouble: Trouble, now_s: float, after_s: float | None = None
    ) -> None:
        """Pass a rung over for as long as its trouble lasts. A bad request is not its fault.

        A trouble that lasts longer is not forgotten for one that is over sooner.
        """
        cool_s = _COOL_S.get(trouble)
        if cool_s is None:
            return
        until_s = now_s + (cool_s if after_s is None else after_s)
        held = self._cooling(rung, now_s)
        if held is None or held.until_s < until_s:
            self.cooling[rung_key(rung)] = Cooling(trouble, until_s)

    def worked(self, rung: Rung) -> None:
        self.cooling.pop(rung_key(rung), None)

    def last_trouble(self, rung: Rung) -> Trouble | None:
        """Return why a rung was last passed over, also when that is over; None when it worked."""
        held = self.cooling.get(rung_key(rung))
        return None if held is None else held.trouble

    def _cooling(self, rung: Rung, now_s: float) -> Cooling | None:
        cooling = self.cooling.get(rung_key(rung))
        return cooling if cooling is not None and now_s < cooling.until_s else None


RungKey = tuple[str, str, str, str]


def rung_key(rung: Rung) -> RungKey:
    """Name a rung: its provider, address, key and model there."""
    return rung.provider, rung.base_url, rung.key_file, rung.upstream or rung.model


class Spend(msgspec.Struct, frozen=True):
    """What was used: dollars where the price is known, tokens always."""

    usd: float = 0.0
    tokens: int = 0
    unpriced_tokens: int = 0

    def with_more(self, other: Spend) -> Spend:
        """Return both together."""
        return Spend(
            self.usd + other.usd, self.tokens + other.tokens,
            self.unpriced_tokens + other.unpriced_tokens,
        )  # fmt: skip

    def without(self, other: Spend) -> Spend:
        """Return this without a part of it."""
        return Spend(
            max(0.0, self.usd - other.usd), max(0, self.tokens - other.tokens),
            max(0, self.unpriced_tokens - other.unpriced_tokens),
        )  # fmt: skip

    def plus(self, tokens: int, usd: float | None) -> Spend:
        if usd is None:
            return Spend(self.usd, self.tokens + tokens, self.unpriced_tokens + tokens)
        return Spend(self.usd + usd, self.tokens + tokens, self.unpriced_tokens)


def cost_usd(rung: Rung, tokens_in: int, tokens_out: int) -> float | None:
    """Return what a call cost, None where the price is not configured; a local rung is free."""
    if rung.local:
        return 0.0
    if rung.input_usd is None or rung.output_usd is None:
        return None
    return (tokens_in * rung.input_usd + tokens_out * rung.output_usd) / 1e6


def within_caps(
    day: Spend, session: Spend, more: Spend, settings: ModelSettings, own_tokens: int
) -> Refusal | None:
    """Return why a call that may use `more` must not start, None when it may (H6).

    `day` and `session` hold what was used and what calls under way may still use; `own_tokens`
    caps what this session or loan may use at all. Fails closed: a number that is none is a
    refusal.
    """
    checks = (
        ("models.usd_per_day", day.usd + more.usd, settings.usd_per_day),
        ("models.usd_per_session", session.usd + more.usd, settings.usd_per_session),
        ("models.tokens_per_day", day.tokens + more.tokens, settings.tokens_per_day),
        ("models.tokens_per_session", session.tokens + more.tokens, settings.tokens_per_session),
        ("the tokens of this loan", session.tokens + more.tokens, own_tokens),
    )
    for name, used, cap in checks:
        if not (math.isfinite(used) and used <= cap):
            return Refusal("spend_cap", f"{name}: this call could come to {used} of {cap}")
    return None


def estimated_tokens(size_bytes: int) -> int:
    """Return a token count for text whose use nobody told: rather too many than too few."""
    return math.ceil(size_bytes / BYTES_PER_TOKEN)


def usage_of(told: Any) -> tuple[int, int] | None:
    """Return (input, output) tokens of an answer's `usage` object, None when it tells none."""
    if not isinstance(told, Mapping):
        return None
    counts = []
    for names in (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens")):
        found = next((told[name] for name in names if name in told), None)
        if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < 2**40:
            return None
        counts.append(found)
    return counts[0], counts[1]


def ladder_words(tried: Sequence[tuple[Rung, Trouble]]) -> str:
    """Return in words what was tried and why it failed."""
    return "; ".join(f"{rung.provider}: {trouble.value}" for rung, trouble in tried) or "nothing"
