"""Wires what a running lane reports of its health: status, doctor, metrics, heartbeat, dead man."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from allegro.core.health.facts import FactPage
from allegro.core.protocol.answers.lane import LaneStatus
from allegro.core.protocol.queries import Params, QueryName
from allegro.lane.context import Context
from allegro.lane.health.heartbeat import Beats, Peers
from allegro.lane.health.status import Sources, Status
from allegro.lane.loopback import Page
from allegro.runtime.duties import Duty


def make_status(ctx: Context, sources: Sources) -> Status:
    """Return the one place that knows how this lane is."""
    return Status(ctx.state, ctx.settings, ctx.ports.clock, sources)


def build(
    ctx: Context,
    status: Status,
    cycles: Callable[[], int],
    peers: Callable[[], Peers],
    ping: Callable[[str], Awaitable[None]],
) -> list[Duty]:
    """Return the heartbeat, the dead-man switch, and the pages where they are configured.

    `cycles` counts polls; `peers` are the lanes that are heard and missed; `ping` calls the dead-man's URL.
    """
    beats = Beats(ctx, cycles, peers, status.healthy, ping)

    async def tell_status(_: Params) -> LaneStatus:
        return status.status()

    async def tell_doctor(_: Params) -> list[FactPage]:
        return await status.doctor()

    found = [
        Duty(name="status", queries={QueryName.STATUS: tell_status, QueryName.DOCTOR: tell_doctor}),
        Duty(name="beats", run=beats.tell_on, facts=beats.facts),
        Duty(name="dead-man switch", run=beats.call_on),
    ]
    if ctx.settings.status.listen:
        page = Page(status.routes(), ctx.settings.status.listen)
        found.append(Duty(name="status page", start=page.start, stop=page.stop))
    return found
