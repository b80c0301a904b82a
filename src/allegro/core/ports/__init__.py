"""The plug points: what a duty asks of the outside. One adapter each, one fake each.

One module for each group; what the house asks of its two stores is in `core/stores.py`.
"""

from __future__ import annotations

from allegro.core.ports.agent import (
    AgentGateway,
    AgentHost,
    GatewaySpec,
    Providers,
    Run,
    Upstream,
)
from allegro.core.ports.clock import Clock, Dice
from allegro.core.ports.fleet import Council
from allegro.core.ports.forge import (
    CommentPage,
    Commit,
    Dress,
    ForgeReader,
    ForgeWriter,
    IssuePage,
    PushPage,
    Server,
    Unread,
)
from allegro.core.ports.journal import Journal, Sealer, Version

__all__ = [
    "AgentGateway",
    "AgentHost",
    "Clock",
    "CommentPage",
    "Commit",
    "Council",
    "Dice",
    "Dress",
    "ForgeReader",
    "ForgeWriter",
    "GatewaySpec",
    "IssuePage",
    "Journal",
    "Providers",
    "PushPage",
    "Run",
    "Sealer",
    "Server",
    "Unread",
    "Upstream",
    "Version",
]
