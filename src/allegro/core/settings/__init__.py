"""The frozen configuration of both programs. Types, ranges, units and defaults live here only.

One module for each group of sections: `lane`, `forge`, `agent`, `fleet`, `house`. The file reader,
`allegro init` and the configuration page are made from these definitions.
"""

from __future__ import annotations

from allegro.core.settings.lane import *  # noqa: F403 - all groups are one configuration
