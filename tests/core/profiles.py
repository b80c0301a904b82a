"""How many examples a property test tries: few by default, many with --hypothesis-profile=trials."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

_SLOW = [HealthCheck.too_slow]
settings.register_profile(
    "fast", max_examples=20, deadline=None, database=None, suppress_health_check=_SLOW
)
settings.register_profile(
    "trials", max_examples=5_000, deadline=None, database=None, suppress_health_check=_SLOW
)


def load(chosen: str | None) -> None:
    settings.load_profile(chosen or "fast")
