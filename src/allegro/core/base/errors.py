"""The few ways a thing can go wrong, told apart by what the caller can do about it."""

from __future__ import annotations

import msgspec


class Refusal(msgspec.Struct, frozen=True):
    """A rule said no. A value, never raised.

    `reason` is a stable word for machines (`expired`, `wrong_key`), `detail` a sentence for a
    person that says what was expected and, where there is one, what to do.
    """

    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


class EdgeError(Exception):
    """Something outside failed: network, disk, forge. Wrapped once, in the adapter.

    `transient` is true where the same call may work later; `status` is the HTTP status where one
    was given; `sent` is false only where the adapter knows that no byte of a write left us.
    `retry_after_s` is how long the other side asked to be left alone (0 to a day), None where it
    did not ask.
    """

    def __init__(
        self, message: str, *, transient: bool, status: int = 0, sent: bool = True, kind: str = "",
        retry_after_s: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.transient = transient
        self.status = status
        self.sent = sent
        self.kind = kind
        self.retry_after_s = retry_after_s


class Unholdable(EdgeError, ValueError):
    """A value that a form (canonical JSON, a frame, a row) cannot hold; nothing was written.

    Not transient: the same value fails again, so its item is set aside.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message[:300], transient=False, sent=False, kind="unholdable")


class JournalFull(EdgeError):
    """The journal has no room for this class of event; nothing was appended."""

    def __init__(self, message: str) -> None:
        super().__init__(message, transient=True, kind="journal_full")


class ProtocolError(Exception):
    """The other side of the link broke the protocol; the connection ends, state stays."""


class UserError(Exception):
    """Something to tell a person and end with: the message is the whole of it.

    `exit_code`: 1 refused or unhealthy, 2 usage or configuration, 3 not reachable, 4 frozen.
    """

    exit_code = 1


class ConfigError(UserError):
    """A configuration cannot be used; `faults` are all of them, one line each."""

    exit_code = 2

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults
