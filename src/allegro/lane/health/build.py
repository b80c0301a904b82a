"""Wires what a running lane reports of its health: status, doctor, metrics, heartbeat, dead man."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from allegro.adapters.channels.build import build_channels
from allegro.config import load_zone, read_private
from allegro.core.channels import Channels
from allegro.core.health.facts import FactPage
from allegro.core.protocol.answers.lane import LaneStatus
from allegro.core.protocol.queries import AskDoctor, Params, QueryName, read_query
from allegro.lane.context import Context
from allegro.lane.folder.alerts import FileAlerts, load_statement, save_statement
from allegro.lane.health.calling import Calling
from allegro.lane.health.heartbeat import Beats, Peers
from allegro.lane.health.silent_house import SilentHouse
from allegro.lane.health.status import Sources, Status
from allegro.lane.loopback import Page
from allegro.runtime.duties import Duty


def make_status(ctx: Context, sources: Sources) -> Status:
    """Return the one place that knows how this lane is."""
    return Status(ctx.state, ctx.settings, ctx.ports.clock, sources)


def make_calling(ctx: Context, status: Status) -> Calling:
    """Return what calls the owner while the house is silent."""
    settings, files, clock = ctx.settings, ctx.files, ctx.ports.clock
    channels = build_channels(settings.telegram, settings.apprise, _private_text, clock)
    silent = SilentHouse(
        ctx.state,
        clock,
        load_zone,
        load_statement(files.statement),
        partial(save_statement, files.statement),
    )
    only_sent = Channels(channels.outlets)
    return Calling(ctx, status, only_sent, silent, FileAlerts(files.alerts))


def _private_text(name: str) -> str:
    return read_private(Path(name).expanduser())


def build(
    ctx: Context,
    status: Status,
    calling: Calling,
    cycles: Callable[[], int],
    peers: Callable[[], Peers],
    ping: Callable[[str], Awaitable[None]],
) -> list[Duty]:
    """Return the heartbeat, the dead-man switch, and the pages where they are configured.

    `cycles` counts polls; `peers` are the lanes that are heard and missed; `ping` calls the dead-man's URL.
    """

    def is_well() -> bool:  # a lane that reaches nobody must be missed by its watcher
        return status.healthy() and not calling.alerting.is_deaf

    beats = Beats(ctx, cycles, peers, status.kept_bytes, is_well, ping)

    async def tell_status(_: Params) -> LaneStatus:
        return status.status()

    async def tell_doctor(params: Params) -> list[FactPage]:
        asks_forge = read_query(params, AskDoctor).asks_forge is not False
        return await status.doctor(asks_forge=asks_forge)

    found = [
        *calling.duties(),
        Duty(name="status", queries={QueryName.STATUS: tell_status, QueryName.DOCTOR: tell_doctor}),
        Duty(name="beats", run=beats.tell_on, facts=beats.facts),
        Duty(name="dead-man switch", run=beats.call_on),
    ]
    if ctx.settings.status.listen:
        page = Page(status.routes(), ctx.settings.status.listen)
        found.append(Duty(name="status page", start=page.start, stop=page.stop))
    return found
