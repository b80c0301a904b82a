"""Which provider answers a model call, what its refusal means, and what it may still cost (H6, H9)."""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from allegro.core.errors import Refusal
from allegro.core.settings import ModelSettings, Rung

BYTES_PER_TOKEN = 3.0
MAX_COOL_S = 86_400.0


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
    Trouble.DEAD_KEY: 600.0,
    Trouble.QUOTA: 300.0,
    Trouble.OVERLOAD: 5.0,
    Trouble.UNKNOWN_MODEL: 600.0,
    Trouble.UNREACHABLE: 10.0,
    Trouble.BROKEN: 5.0,
    Trouble.STALLED: 10.0,
}
PROBED = frozenset({Trouble.DEAD_KEY, Trouble.UNKNOWN_MODEL, Trouble.QUOTA})
_QUOTA = re.compile(r"quota|credit|billing|balance|spend(ing)? limit", re.IGNORECASE)
_MODEL = re.compile(
    r"model[_ ]not[_ ]found|(unknown|no such|invalid) model|not a valid model"
    r"|model .*(not found|does not exist)",
    re.IGNORECASE,
)


def classify(status: int, told: str) -> Trouble:
    """Say what a provider's refusal means. `status` is HTTP's, `told` the body's beginning."""
    if status in {401, 403}:
        return Trouble.QUOTA if status == 403 and _QUOTA.search(told) else Trouble.DEAD_KEY
    if status == 402:
        return Trouble.QUOTA
    if status == 429:
        return Trouble.QUOTA if _QUOTA.search(told) else Trouble.OVERLOAD
    if status in {400, 404, 422} and _MODEL.search(told):
        return Trouble.UNKNOWN_MODEL
    if status in {404, 405, 410}:
        return Trouble.UNKNOWN_MODEL
    if status in {503, 529}:
        return Trouble.OVERLOAD
    if status == 408 or status >= 500:
        return Trouble.BROKEN
    return Trouble.BAD_REQUEST


def retry_after_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """Return the seconds until a quota resets as a provider tells them, None when it does not.

    Understands `Retry-After` in seconds and `X-RateLimit-Reset` as seconds, Unix seconds or
    Unix milliseconds.
    """
    for name in ("retry-after", "x-ratelimit-reset", "x-ratelimit-reset-requests"):
        text = next((value for key, value in headers.items() if key.lower() == name), "")
        match = re.fullmatch(r"\s*([0-9]{1,15}(?:\.[0-9]+)?)s?\s*", text)
        if match is None:
            continue
        seconds = float(match[1])
        if seconds > 1e11:
            seconds /= 1000.0
        if seconds > 1e9:
            seconds -= now_s
        return min(max(0.0, seconds), MAX_COOL_S)
    return None


class Cooling(msgspec.Struct, frozen=True):
    """Why a rung is passed over, and until when (boot-time s)."""

    trouble: Trouble
    until_s: float


class Ladder:
    """The rungs of each model in the configured order, and which of them are passed over now."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self.cooling: dict[tuple[str, str], Cooling] = {}

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
        """Return what to try for a model: its own rungs, then the last one; cooling ones left out."""
        wanted = [rung for rung in self._settings.rungs if rung.model == model]
        if self._settings.last and self._settings.last != model:
            wanted += [rung for rung in self._settings.rungs if rung.model == self._settings.last]
        return [rung for rung in wanted if not self._is_cooling(rung, now_s)]

    def failed(
        self, rung: Rung, trouble: Trouble, now_s: float, after_s: float | None = None
    ) -> None:
        """Pass a rung over for as long as its trouble lasts. A bad request is not its fault."""
        cool_s = _COOL_S.get(trouble)
        if cool_s is None:
            return
        self.cooling[rung_key(rung)] = Cooling(trouble, now_s + (after_s or cool_s))

    def worked(self, rung: Rung) -> None:
        self.cooling.pop(rung_key(rung), None)

    def _is_cooling(self, rung: Rung, now_s: float) -> bool:
        cooling = self.cooling.get(rung_key(rung))
        return cooling is not None and now_s < cooling.until_s


def rung_key(rung: Rung) -> tuple[str, str]:
    return rung.provider, rung.upstream or rung.model


class Spend(msgspec.Struct, frozen=True):
    """What was used: dollars where the price is known, tokens always."""

    usd: float = 0.0
    tokens: int = 0
    unpriced_tokens: int = 0

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
    day: Spend, session: Spend, more_tokens: int, settings: ModelSettings, own_tokens: int
) -> Refusal | None:
    """Return why a call that may use `more_tokens` must not start, None when it may (H6).

    `own_tokens` caps what this session or loan may use at all. Fails closed: a number that is
    none is a refusal.
    """
    checks = (
        ("usd_per_day", day.usd, settings.usd_per_day),
        ("usd_per_session", session.usd, settings.usd_per_session),
        ("tokens_per_day", float(day.tokens + more_tokens), float(settings.tokens_per_day)),
        ("tokens_per_session", float(session.tokens + more_tokens),
         float(min(settings.tokens_per_session, own_tokens))),
    )  # fmt: skip
    for name, used, cap in checks:
        if not (math.isfinite(used) and used < cap):
            return Refusal("spend_cap", f"models.{name} reached: {used:g} of {cap:g}")
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
