"""Which provider answers a model call, what its refusal means, and what it may still cost (H6, H9)."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence

import msgspec

from allegro.core.base.errors import Refusal
from allegro.core.models.dialect import Dialect
from allegro.core.models.usage import TokenCounts
from allegro.core.settings import ModelSettings, Rung


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
    OVERFLOW = "overflow"
    PARAMETER = "parameter"


_COOL_S = {
    Trouble.DEAD_KEY: 60.0,
    Trouble.QUOTA: 300.0,
    Trouble.OVERLOAD: 5.0,
    Trouble.UNKNOWN_MODEL: 60.0,
    Trouble.UNREACHABLE: 10.0,
    Trouble.BROKEN: 5.0,
    Trouble.STALLED: 10.0,
    Trouble.PARAMETER: 10.0,
}
PROBED = frozenset({Trouble.DEAD_KEY, Trouble.UNKNOWN_MODEL, Trouble.QUOTA})
WAITS = frozenset({Trouble.QUOTA, Trouble.OVERLOAD})


class Cooling(msgspec.Struct, frozen=True):
    """Why a rung is passed over, and until when (boot-time s)."""

    trouble: Trouble
    until_s: float


class Ladder:
    """The rungs of each model in the configured order, and which of them are passed over now."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self.cooling: dict[RungKey, Cooling] = {}
        self.dialects: dict[RungKey, Dialect] = {}

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

    def dialect(self, rung: Rung) -> Dialect:
        """Return how a rung wants to be asked, as far as it is known."""
        return self.dialects.get(rung_key(rung), Dialect())

    def learn(self, rung: Rung, dialect: Dialect) -> None:
        """Remember how a rung was asked when it answered."""
        if dialect != Dialect():
            self.dialects[rung_key(rung)] = dialect

    def wait_s(self, model: str, now_s: float) -> float | None:
        """Return the seconds until the first busy rung of a model may be asked; None without."""
        waits = [
            cooling.until_s - now_s for rung in self._wanted(model)
            if (cooling := self._cooling(rung, now_s)) and cooling.trouble in WAITS
        ]  # fmt: skip
        return min(waits, default=None)

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


def cost_usd(rung: Rung, counts: TokenCounts) -> float | None:
    """Return what a call cost, None where the price is not configured; a local rung is free.

    What the provider had cached costs `cached_input_usd`; what it stored in its cache costs a
    quarter more than other input, for an hour twice as much, as providers that charge for it do.
    """
    if rung.local:
        return 0.0
    if rung.input_usd is None or rung.output_usd is None:
        return None
    cached_usd = rung.input_usd if rung.cached_input_usd is None else rung.cached_input_usd
    plain = counts.input - counts.cached + 0.25 * counts.written + 0.75 * counts.written_long
    return (
        plain * rung.input_usd + counts.cached * cached_usd + counts.output * rung.output_usd
    ) / 1e6


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


def ladder_words(tried: Sequence[tuple[Rung, Trouble]]) -> str:
    """Return in words what was tried and why it failed."""
    return "; ".join(f"{rung.provider}: {trouble.value}" for rung, trouble in tried) or "nothing"
