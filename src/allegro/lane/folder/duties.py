"""What a lane keeps of its scheduled duties, and of what agents and proxies counted of sessions."""

from __future__ import annotations

from pathlib import Path

import msgspec

from allegro.core.agent.tallies import SessionTally
from allegro.core.health.duty_runs import DutyState
from allegro.lane.folder.forms import DUTIES, TALLIES, read_kept, write_kept


class KeptTallies(msgspec.Struct, frozen=True):
    """tallies.json: what agent and proxy counted of each session, by its id."""

    tallies: dict[str, SessionTally]


class KeptDuties(msgspec.Struct, frozen=True):
    """duties.json: the plan of each scheduled duty, the run under way, and how the last one ended."""

    duties: dict[str, DutyState]


def load_duties(path: Path) -> dict[str, DutyState]:
    """Return what is kept of scheduled duties; nothing where it cannot be read: all plan anew."""
    kept = read_kept(path, DUTIES, KeptDuties)
    return kept.duties if kept is not None else {}


def save_duties(path: Path, duties: dict[str, DutyState]) -> None:
    """Write what is kept of scheduled duties. Raises EdgeError."""
    write_kept(path, DUTIES, KeptDuties(duties))


def load_tallies(path: Path) -> dict[str, SessionTally]:
    """Return what was counted of sessions; nothing where it cannot be read."""
    kept = read_kept(path, TALLIES, KeptTallies)
    return kept.tallies if kept is not None else {}


def save_tallies(path: Path, tallies: dict[str, SessionTally]) -> None:
    """Write what was counted of sessions. Raises EdgeError."""
    write_kept(path, TALLIES, KeptTallies(tallies))
