"""What one run of the demo measured: the JSON that `allegro demo --json` prints."""

from __future__ import annotations

import msgspec


class DemoStep(msgspec.Struct, frozen=True):
    """One step: when it was over, how long it took, whether it was as it should be; seconds."""

    name: str
    at_s: float
    took_s: float
    ok: bool


class Tried(msgspec.Struct, frozen=True):
    """One bad thing that was tried, the reason it had to be refused for, and the one it was."""

    case: str
    expected: str
    reason: str
    ok: bool


class Lags(msgspec.Struct, frozen=True):
    """From the moment something happened to its reader at home, in ms."""

    p50: float
    p99: float
    max: float


def lags_of(lags_ms: list[float]) -> Lags:
    """Return the figures of these lags (ms), zeros for none."""
    ordered = sorted(lags_ms) or [0.0]
    last = len(ordered) - 1
    p50, p99 = ordered[len(ordered) // 2], ordered[min(last, int(len(ordered) * 0.99))]
    return Lags(round(p50, 1), round(p99, 1), round(ordered[-1], 1))


class Versions(msgspec.Struct, frozen=True):
    allegro: str
    forge: str


class OpenedPull(msgspec.Struct, frozen=True):
    """The pull request of the demo, and how long it took to open it after the approval."""

    number: int
    url: str
    branch: str
    commit: str
    after_approval_s: float


class DemoReceipt(msgspec.Struct, frozen=True):
    """The id of the request, and the digest that was approved."""

    request: str
    digest: str


class SessionScene(msgspec.Struct, frozen=True):
    """How the agent's session ended. `tools` is false where nothing could be denied."""

    agent: str
    state: str
    lag_ms: Lags
    denied: int
    tools: bool


class EventSums(msgspec.Struct, frozen=True):
    """What was written on the forge, and what of it came home."""

    sent: int
    archived: int
    lost: int
    duplicated: int
    lag_ms: Lags


class Outage(msgspec.Struct, frozen=True):
    """How many events waited while the link was cut, and how long it took to bring them home."""

    backlog: int
    sync_s: float


class DemoReport(msgspec.Struct, frozen=True, kw_only=True):
    """One whole run. `forge` is real or simulated; `triage_s` is from the issue to its label."""

    schema: str = "allegro.demo/1"
    ok: bool
    versions: Versions
    forge: str
    repository: str
    steps: tuple[DemoStep, ...]
    triage_s: float
    pull_request: OpenedPull
    receipt: DemoReceipt
    session: SessionScene
    events: EventSums
    outage: Outage
    refused: tuple[Tried, ...]
