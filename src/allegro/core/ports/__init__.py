"""The plug points: what a duty asks of the outside. One adapter each, one fake each.

One module for each group: `clock`, `forge`, `journal`, `agent`, `fleet`.
"""

from __future__ import annotations

from allegro.core.ports.forge import *  # noqa: F403 - the groups are one set of plug points
