"""Wires what the house measures: the figures beside the archive, and what brings them forward."""

from __future__ import annotations

from allegro.adapters.sqlite.measures import open_measures
from allegro.house.files import HouseFiles
from allegro.house.measures.settled import SettledEvents
from allegro.house.measures.wing import Judges, MeasuresWing, no_verdicts
from allegro.house.ports import Ports
from allegro.house.requests.requests import Requests


def build(
    ports: Ports, requests: Requests, files: HouseFiles, judges: Judges = no_verdicts
) -> MeasuresWing:
    """Open the figures. Must be called with a running event loop. Raises EdgeError of the disk."""
    book = open_measures(files.measures)
    return MeasuresWing(ports.archive, ports.clock, book, SettledEvents(ports, requests), judges)
