"""Doctor's facts about a lane's own files: they need no running lane and no network."""

from __future__ import annotations

from pathlib import Path

from allegro.core.base.errors import ConfigError
from allegro.core.health.facts import Fact
from allegro.lane.files import LaneFiles
from allegro.lane.state_files import load_pairing


def own_facts(files: LaneFiles) -> list[Fact]:
    """Return the facts of a lane's own files."""
    return [_file_fact(files.key, "lane key"), _paired_fact(files)]


def _file_fact(path: Path, what: str) -> Fact:
    try:
        mode = path.stat().st_mode & 0o777
    except OSError as error:
        return Fact(what, "bad", str(error), path.name, mend="allegro init lane")
    if mode & 0o077:
        return Fact(what, "bad", f"mode {mode:o}", path.name, mend=f"chmod 600 {path}")
    return Fact(what, "ok", "readable by its owner only", path.name)


def _paired_fact(files: LaneFiles) -> Fact:
    try:
        load_pairing(files.trust, files.paired)
    except ConfigError as error:
        return Fact("pairing", "bad", str(error), files.trust.name)
    return Fact("pairing", "ok", "paired", files.trust.name)
