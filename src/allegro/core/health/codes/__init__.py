"""Every health code: what can be wrong with a fleet, how bad it is, and what to do about it.

One value for each condition, one module for each area, one listing. A fact (`facts.py`) says
whether a condition holds and for what; an alert (`alerts.py`) says that it began to. Both name
their code and bring values; the sentence that a person reads comes from here. A code keeps its
dotted name for ever: scripts and dashboards match on it. `code.py` says what a row holds and how
soon a person is told.
"""

from __future__ import annotations

from allegro.core.health.codes.agent import *  # noqa: F403 - the listing is all areas together
from allegro.core.health.codes.code import Code, Severity
from allegro.core.health.codes.fleet import *  # noqa: F403
from allegro.core.health.codes.forge import *  # noqa: F403
from allegro.core.health.codes.freezes import *  # noqa: F403
from allegro.core.health.codes.house import *  # noqa: F403
from allegro.core.health.codes.lanes import *  # noqa: F403
from allegro.core.health.codes.programs import *  # noqa: F403
from allegro.core.health.codes.programs import OTHER
from allegro.core.health.codes.requests import *  # noqa: F403
from allegro.core.health.codes.telling import *  # noqa: F403

__all__ = ["CODES", "Code", "Severity", "code_of"]

CODES: dict[str, Code] = {
    one.code: one for one in list(globals().values()) if isinstance(one, Code)
}
"""Every code by its dotted name."""


def code_of(name: str) -> Code:
    """Return the code of this name, `OTHER` for one that this program does not know."""
    return CODES.get(name, OTHER)
