"""The connected lane of a sovereign local agent: carries, runs, watches, reports; never decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from allegro.client.decisions import DecisionBridge as DecisionBridge
    from allegro.client.gitea_bridge import GiteaBridge as GiteaBridge
    from allegro.client.hermes_bridge import HermesBridge as HermesBridge
    from allegro.client.redundancy import RedundancyManager as RedundancyManager

__version__ = "0.1.0"
__all__ = ["DecisionBridge", "GiteaBridge", "HermesBridge", "RedundancyManager", "__version__"]


def __getattr__(name: str) -> object:
    """Load a bridge on first use, so that a running lane never imports the client."""
    if name == "DecisionBridge":
        from allegro.client.decisions import DecisionBridge  # noqa: PLC0415

        return DecisionBridge
    if name == "GiteaBridge":
        from allegro.client.gitea_bridge import GiteaBridge  # noqa: PLC0415

        return GiteaBridge
    if name == "HermesBridge":
        from allegro.client.hermes_bridge import HermesBridge  # noqa: PLC0415

        return HermesBridge
    if name == "RedundancyManager":
        from allegro.client.redundancy import RedundancyManager  # noqa: PLC0415

        return RedundancyManager
    raise AttributeError(f"module 'allegro' has no attribute {name!r}")
