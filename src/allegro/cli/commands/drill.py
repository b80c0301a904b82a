"""Fail over on purpose: in a scratch fleet on this machine, or planned, in the running one."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from allegro.cli.exit_codes import Exit
from allegro.cli.help import ASKS_HOUSE, Group
from allegro.cli.output import Failure, json_option, print_json, run_async, socket_option
from allegro.client.bridge import asked_by
from allegro.client.house_client import HouseClient, ask_house
from allegro.core.base.errors import EdgeError, UserError
from allegro.core.effects.render import lined, one_line
from allegro.core.protocol.answers.fleet import TakeOver
from allegro.core.protocol.asked import LeaveReport, LetRest
from allegro.core.protocol.event_types import EventType
from allegro.core.requests.documents import Telemetry
from allegro.drill.report import TARGET_S, DrillReport, DrillTrial, summary, unfinished

PLANNED_S = 30.0
REST_S = 10.0


@click.group(cls=Group, example="allegro drill failover", exits=ASKS_HOUSE)
def drill() -> None:
    """Practise what must work when it is needed."""


@drill.command(
    example="allegro drill failover --kill --times 3",
    exits={
        **ASKS_HOUSE,
        Exit.REFUSED: "a role did not change hands in time, or something was lost",
    },
)
@click.option(
    "--kill",
    "fault",
    flag_value="kill-all",
    help="kill -9 the polling lane and its council server.",
)
@click.option("--freeze", "fault", flag_value="freeze-all", help="SIGSTOP both, later SIGCONT.")
@click.option("--cut", "fault", flag_value="silent", help="Cut the network of both (needs root).")
@click.option(
    "--planned",
    "fault",
    flag_value="planned",
    default=True,
    help="Hand the role over, on the running fleet (default).",
)
@click.option("--scratch", is_flag=True, help="Planned, in a scratch fleet.")
@click.option("--times", default=1, type=click.IntRange(1, 100), help="Number of trials.")
@click.option("--issue", default="", help="owner/name#12: leave the report there, as a comment.")
@socket_option
@json_option
def failover(fault: str, scratch: bool, times: int, socket: Path | None, **shown: Any) -> int:
    """Make the polling lane fail, and measure how long it takes until another lane polls.

    --planned runs on the running fleet, which loses nothing by it. The others run in a scratch
    fleet on this machine: three lanes with real council servers, and a simulated forge.
    """
    is_live = fault == "planned" and not scratch
    as_json, issue = shown["as_json"], shown["issue"]
    if is_live:
        report = run_async(_planned(socket, times))
    else:
        from allegro.drill.ending import end_once  # noqa: PLC0415 (only when a drill runs)

        end_once()  # the fleet ends before we do
        report = run_async(_scratch(fault, times, quiet=as_json))
    if as_json:
        print_json(report)
    else:
        for line in drill_lines(report) if is_live else [verdict_line(report)]:
            click.echo(line)
    if issue:
        run_async(ask_house(socket, lambda house: _left(house, report, issue)))
    return 0 if report.ok else 1


async def _left(house: HouseClient, report: DrillReport, issue: str) -> None:
    """Leave a drill's report in the issue it was asked in. Raises BridgeError."""
    count, spent_s = len(report.trials), sum(one.take_over_s for one in report.trials)
    sound = sum(not one.faults for one in report.trials)
    wish = LeaveReport(
        issue=issue,
        task=f"fail-over drill, {report.kind}",
        status="complete" if report.ok else "failed",
        duration_s=spent_s,
        results=(verdict_line(report), *(trial_line(one)[:300] for one in report.trials[:6])),
        telemetry=Telemetry(count, sound / count, spent_s / count),
        next_steps=() if report.ok else ("see allegro fleet status, then drill again",),
        asked_by=asked_by(),
    )
    left = await house.leave_report(wish)
    click.echo(f"its report is left in {one_line(left.issue)}", err=True)


def drill_lines(report: DrillReport) -> list[str]:
    """Return what a drill showed, and the verdict."""
    return [*(trial_line(one) for one in report.trials), verdict_line(report)]


def trial_line(one: DrillTrial) -> str:
    """Return one trial in words, a line for each fault; what was not measured is left out."""
    one = lined(one)
    what = f"{one.fault}: {one.victim or 'nobody'} -> {one.holder or 'nobody'}"
    parts = [
        f"{name} {seconds:.{digits}f} s"
        for name, seconds, digits in (
            ("next poll after", one.take_over_s, 1),
            ("detected in", one.detected_s, 1),
            ("taken in", one.taken_s, 2),
            ("first act", one.act_s, 2),
            ("nobody polled for", one.silence_s, 1),
        )
        if seconds is not None
    ]
    counts = ((one.duplicates, "doubled"), (one.lost, "lost"))
    parts += [f"{count} {word}" for count, word in counts if count is not None]
    return f"{what}: {', '.join(parts)}" + "".join(f"\n  FAULT {fault}" for fault in one.faults)


def verdict_line(report: DrillReport) -> str:
    """Return the verdict over all trials."""
    verdict = "passed" if report.ok else "FAILED"
    counted = [
        f"{word}: not measured" if count is None else f"{count} {word}"
        for count, word in ((report.duplicates, "doubled"), (report.lost, "lost"))
    ]
    return (
        f"{verdict}: at most {report.max_s:.1f} s (allowed {TARGET_S:g}), median "
        f"{report.median_s:.1f} s, {', '.join(counted)}"
    )


async def _scratch(fault: str, times: int, *, quiet: bool) -> DrillReport:
    import msgspec  # noqa: PLC0415 (all of this only when a drill runs)

    from allegro.adapters.clock import SystemDice  # noqa: PLC0415
    from allegro.drill.trial import Trial, by_address, by_user  # noqa: PLC0415
    from allegro.scratch.faults import FAULTS  # noqa: PLC0415
    from allegro.scratch.fleet import LANES, ScratchFleet  # noqa: PLC0415
    from allegro.scratch.network import Loopback, Namespaces  # noqa: PLC0415

    apart = not Namespaces.trouble()
    if FAULTS[fault].needs_network and not apart:
        raise Failure(f"--cut is not possible here: {Namespaces.trouble()}")
    folder = Path(tempfile.mkdtemp(prefix="allegro-drill-"))
    fleet = ScratchFleet(folder, Namespaces(LANES) if apart else Loopback())
    if trouble := _missing():
        raise Failure(trouble)
    if not quiet:
        click.echo("setting up three lanes, three council servers, a forge and a house ...")
    try:
        await fleet.set_up(
            lane={"forge.timeout_s": 2.0, "council.return_s": 20.0},
            house={"orders.ttl_s": 6, "orders.settle_s": 2},
        )
        trial = Trial(fleet, SystemDice(), by_address(fleet) if apart else by_user)
        trials: list[DrillTrial] = []
        for _ in range(times):
            began_s = time.monotonic()
            try:
                played = await trial.play(FAULTS[fault])
                trials.append(DrillTrial(**msgspec.structs.asdict(played)))
            except (UserError, EdgeError) as error:
                spent_s = round(time.monotonic() - began_s, 2)
                trials.append(unfinished(fault, "", spent_s, str(error)))
                break  # a fleet that did not come round proves nothing more
            if not quiet:
                click.echo(trial_line(trials[-1]))
        return summary(trials, fault)
    finally:
        await fleet.close()
        shutil.rmtree(folder, ignore_errors=True)


def _missing() -> str:
    """Return what a scratch fleet needs and this machine lacks, empty when it has all."""
    from allegro.adapters.nats.server import find_server  # noqa: PLC0415 (as above)

    if shutil.which("git") is None:
        return "the scratch forge needs git: apt install git"
    try:
        find_server("")
    except UserError as error:
        return str(error)
    return ""


async def _planned(socket: Path | None, times: int) -> DrillReport:
    """Hand the forge role of the running fleet over, and measure until the new holder has acted."""
    async with HouseClient(socket) as house:
        trials = [await _one_planned(house)]
        for _ in range(times - 1):
            await asyncio.sleep(REST_S)  # until the lane that rested may be asked again
            trials.append(await _one_planned(house))
        return summary(trials, "planned")


async def _one_planned(house: HouseClient) -> DrillTrial:
    fleet = await house.fleet()
    held = fleet.roles.get("forge")
    if not fleet.members:
        raise Failure("there is no fleet to hand over in: see `allegro fleet status`")
    if held is None:
        raise Failure("nobody holds the forge role, so nobody can hand it over: see fleet status")
    lost, doubled = await _seen(house)
    began_s = time.monotonic()
    await house.let_rest(LetRest(held.lane, "forge", seconds=REST_S))
    taken = await _taken(house, held.epoch, began_s + PLANNED_S)
    if taken is None:
        why = f"nobody took over from {held.lane} within {PLANNED_S:g} s"
        return unfinished("planned", held.lane, PLANNED_S, why)
    now_lost, now_doubled = await _seen(house)
    return DrillTrial(
        fault="planned",
        victim=held.lane,
        holder=taken.lane,
        take_over_s=round(time.monotonic() - began_s, 2),
        detected_s=taken.silent_s,
        taken_s=taken.take_s,
        act_s=taken.act_s,
        duplicates=now_doubled - doubled,
        lost=now_lost - lost,
    )


async def _taken(house: HouseClient, epoch: int, until_s: float) -> TakeOver | None:
    """Return how the forge role changed hands after this epoch, None where it did not in time."""
    while time.monotonic() < until_s:
        for one in reversed((await house.fleet()).take_overs):
            if one.role == "forge" and one.epoch > epoch:
                return one
        await asyncio.sleep(0.1)
    return None


async def _seen(house: HouseClient) -> tuple[int, int]:
    """Return what the archive knows to be lost, and how often a write of ours was seen twice."""
    gaps = (await house.gaps()).gaps
    doubled = [event async for event in house.shown_events(prefix=EventType.EFFECT_DOUBLED)]
    return sum(gap.count for gap in gaps), len(doubled)
