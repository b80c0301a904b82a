"""Doctor's facts about a lane's own files: they need no running lane and no network."""

from __future__ import annotations

from pathlib import Path

from allegro.core.base.errors import ConfigError
from allegro.core.health import codes
from allegro.core.health.facts import Fact
from allegro.lane.folder.files import LaneFiles
from allegro.lane.folder.forms import load_pairing


def own_facts(files: LaneFiles) -> list[Fact]:
    """Return the facts of a lane's own files."""
    return [_key_fact(files.key), _paired_fact(files)]


def _key_fact(path: Path) -> Fact:
    try:
        mode = path.stat().st_mode & 0o777
    except OSError as error:
        return Fact(codes.LANE_KEY, "bad", str(error), path.name)
    if mode & 0o077:
        return Fact(codes.LANE_KEY, "bad", f"mode {mode:o}, not 600", path.name)
    return Fact(codes.LANE_KEY, "ok", "readable by its owner only", path.name)


def _paired_fact(files: LaneFiles) -> Fact:
    try:
        load_pairing(files.trust, files.paired)
    except ConfigError as error:
        return Fact(codes.PAIRING, "bad", str(error), files.trust.name)
    return Fact(codes.PAIRING, "ok", "paired", files.trust.name)
