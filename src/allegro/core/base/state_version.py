"""What is said when a store or state file has another number than this program writes."""

from __future__ import annotations

from collections.abc import Sequence

MAX_COPIES = 3
"""So many copies of older forms stand beside a file; the oldest goes first."""


def copy_name(file: str, number: int) -> str:
    """Return the name of the copy that is made before a file of this number is stepped forward."""
    return f"{file}.schema-{number}"


def newer(file: str, number: int, known: int, copies: Sequence[int] = ()) -> str:
    """Return why a file of a newer program is refused, and both ways out of it.

    `copies` are the numbers of the copies that stand beside the file.
    """
    fitting = [copy for copy in copies if copy <= known]
    back = f"put back the copy {copy_name(file, max(fitting))}" if fitting else "put back a copy"
    return (
        f"{file} was written by a newer allegro: it has schema {number}, and this one reads up to"
        f" {known}. Nothing was changed. Start the newer version, or {back}, as the runbook says"
        f' under "Go back"'
    )


def uncopied(file: str, number: int, known: int, why: str) -> str:
    """Return why a file was not stepped forward: the copy that comes first cannot be made."""
    return (
        f"{file} has schema {number} and would become {known}, but the copy that comes first cannot"
        f" be made: {why}. Nothing was changed. Mend that, or start the version of before"
    )
