"""The exit codes of every command, in one place: help, the runbook and the commands read it."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """How a command ended. Scripts may rely on the numbers."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    UNREACHABLE = 3
    FROZEN = 4
    INTERRUPTED = 130


MEANING = {
    Exit.DONE: "done",
    Exit.REFUSED: "refused, failed or unhealthy; standard error says which",
    Exit.USAGE: "wrong usage or configuration; nothing was started or changed",
    Exit.UNREACHABLE: "the house does not answer on its socket",
    Exit.FROZEN: "the fleet is frozen",
    Exit.INTERRUPTED: "interrupted from the keyboard",
}
EVERY_COMMAND = (Exit.DONE, Exit.REFUSED, Exit.USAGE, Exit.INTERRUPTED)
