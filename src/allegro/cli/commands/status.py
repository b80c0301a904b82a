"""Status: what is frozen, which lanes are linked, what waits, what went wrong."""

from __future__ import annotations

from pathlib import Path

import click

from allegro.cli.exit_codes import Exit
from allegro.cli.help import ASKS_HOUSE, Command
from allegro.cli.output import json_option, now_s, print_json, run_async, socket_option
from allegro.client.house_client import HouseClient, ask_house
from allegro.core.base.timestamps import span
from allegro.core.effects.render import lined
from allegro.core.protocol.answers.house import ShownAlert, ShownLane, StatusAnswer
from allegro.core.protocol.answers.lane import LaneSessions, LaneStatus

MAX_SHOWN_ALERTS = 5
MAX_SHOWN_SESSIONS = 20


@click.command(
    cls=Command,
    example="allegro status",
    exits={**ASKS_HOUSE, Exit.REFUSED: "a lane is not linked", Exit.FROZEN: "a freeze is in force"},
)
@socket_option
@json_option
def status(socket: Path | None, as_json: bool) -> int:
    """Show freezes, lanes, waiting requests and the last alerts."""
    response = run_async(ask_house(socket, HouseClient.status))
    if as_json:
        print_json(response)
    else:
        for line in status_lines(response, now_s()):
            click.echo(line)
    if response.frozen:
        return Exit.FROZEN
    return 0 if response.lanes and all(lane.linked for lane in response.lanes) else 1


def status_lines(response: StatusAnswer, now_s: float) -> list[str]:
    """Return the lines of `status`; every foreign word in them stays within its line."""
    shown = lined(response)
    state = "FROZEN" if shown.frozen else "acting" if shown.acting else "following"
    lines = [f"house {shown.house}: {state}, seat {shown.seat}, allegro {shown.version}"]
    if shown.local_only_since_s is not None:
        lines.append(
            f"LOCAL ONLY for {span(now_s - shown.local_only_since_s)}: no lane can be reached"
        )
    lines += [
        f"  freeze {f.id} by {f.by} {span(now_s - f.at_s)} ago: {f.reason}" for f in shown.freezes
    ]
    known = {freeze.id for freeze in shown.freezes}
    for lane in shown.lanes:
        lines += _lane_lines(lane, known, now_s)
    if not shown.lanes:
        lines.append("no lane is paired: run `allegro pair` on the lane and here")
    return lines + _work_lines(shown, now_s)


def _lane_lines(lane: ShownLane, known_freezes: set[str], now_s: float) -> list[str]:
    if not lane.linked:
        return [f"lane {lane.name}: NOT LINKED: {lane.trouble}"]
    begin = (
        f"lane {lane.name}: linked for {span(now_s - (lane.since_s or now_s))}, "
        f"{max(0, lane.head - lane.home)} events on the way, "
    )
    detail = lane.detail or LaneStatus()
    if detail.error:
        return [f"{begin}its status is unknown: {detail.error}"]
    trouble = detail.forge_trouble or ("ok" if detail.healthy else "unhealthy")
    lines = [f"{begin}{trouble}; last: {detail.done}"]
    if detail.shadow:
        lines.append("  SHADOW MODE: it writes nothing to the forge; orders end as failed, shadow")
    if own := [id_ for id_ in detail.freezes if id_ not in known_freezes]:
        lines.append(
            f"  FROZEN on this lane alone, by {len(own)} freezes that the house does not hold: "
            f"{', '.join(own[:3])}"
        )
    return lines + _session_lines(detail.sessions)


def _session_lines(agent: LaneSessions | None) -> list[str]:
    """Return what a lane's agent does, and which of its gateways waits for an answer."""
    if agent is None:
        return []
    place = " beside the house" if agent.local else ""
    trouble = f"; {agent.trouble}" if agent.trouble else ""
    lines = [
        (
            f"  agent{place}: {agent.ready} of {agent.gateways} gateways ready, "
            f"{len(agent.running)} sessions run{trouble}"
        )
    ]
    for one in agent.running[:MAX_SHOWN_SESSIONS]:
        waits = one.waits_for_answer
        state = f"WAITS for an answer to question {waits}" if waits else "runs"
        lines.append(f"    session {one.session[:10]} {state}, {span(one.runs_s)} old")
    return lines


def _often(alert: ShownAlert) -> str:
    return f", {alert.count} times" if alert.count > 1 else ""


def _phase(alert: ShownAlert) -> str:
    return "" if alert.phase == "firing" else f" ({alert.phase})"


def _work_lines(shown: StatusAnswer, now_s: float) -> list[str]:
    waiting = shown.waiting_for_sovereign
    oldest = f", the oldest for {span(shown.oldest_waiting_s or 0.0)}" if waiting else ""
    lines = [f"{waiting} requests wait for you{oldest}"]
    if shown.blocked:
        lines.append(f"orders wait: {shown.blocked}")
    lines += [
        f"lane {one.lane} GETS NO ORDERS: {one.reason}. "
        f"To send orders again: allegro fleet resume {one.lane}"
        for one in shown.suspended
    ]
    archive = shown.archive
    lines.append(f"archive: {archive.events} events, {archive.repeats_dropped} repeats dropped")
    lines += [
        f"alert {alert.severity} {alert.code}{_phase(alert)} {span(now_s - alert.at_s)} ago"
        f"{_often(alert)}, says {alert.source}: {alert.sentence}"
        for alert in shown.alerts[:MAX_SHOWN_ALERTS]
    ]
    return lines
