"""What every wing of a lane works with, in one value."""

from __future__ import annotations

import msgspec

from allegro.core.settings import LaneSettings
from allegro.lane.context.ports import Ports
from allegro.lane.context.recorder import Recorder
from allegro.lane.context.state import LaneState
from allegro.lane.folder.files import LaneFiles


class Context(msgspec.Struct, frozen=True):
    """The lane that runs: its configuration, its folder, its ports, its state and its journal."""

    settings: LaneSettings
    files: LaneFiles
    ports: Ports
    state: LaneState
    recorder: Recorder
