"""Fail over on purpose: in a scratch fleet on this machine, or once, planned, in the real one."""

from __future__ import annotations

import asyncio
import shutil
import signal
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from allegro.cli.output import Failure, json_option, print_json, run_async, socket_option
from allegro.client.house_client import HouseClient
from allegro.core.render import visible

TARGET_S = 30.0
PLANNED_S = 30.0
REST_S = 10.0


@click.group()
def drill() -> None:
    """Practise what must work when it is needed."""


@drill.command()
@click.option("--kill", "fault", flag_value="kill-all", help="kill -9 a lane and its server.")
@click.option("--freeze", "fault", flag_value="freeze-all", help="SIGSTOP both, then SIGCONT.")
@click.option("--cut", "fault", flag_value="silent", help="Cut its network (needs root).")
@click.option("--planned", "fault", flag_value="planned", default=True,
              help="Hand over in order, on the running fleet (default).")  # fmt: skip
@click.option("--scratch", is_flag=True, help="Planned, but in a scratch fleet.")
@click.option("--times", default=1, type=click.IntRange(1, 100), help="How often.")
@socket_option
@json_option
def failover(fault: str, scratch: bool, times: int, socket: Path | None, as_json: bool) -> int:
    """Let the lane that polls fail, and see how long it takes until another does.

    Planned: on the running fleet, which loses nothing by it. All others: in a scratch fleet of
    three lanes with real council servers and a simulated forge on this machine.
    """
    if fault == "planned" and not scratch:
        told = run_async(_planned(socket, times))
    else:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # the fleet ends before we do
        told = run_async(_scratch(fault, times, quiet=as_json))
    if as_json:
        print_json(told)
    else:
        for line in drill_lines(told):
            click.echo(visible(line))
    return 0 if told["ok"] else 1


def drill_lines(told: dict[str, Any]) -> list[str]:
    """Return what a drill showed, and the verdict."""
    lines = [
        f"{one['fault']}: {one['victim']} -> {one['holder']}: next poll after "
        f"{one['take_over_s']:.1f} s (silence {one['silence_s']:.1f} s), "
        f"{one['duplicates']} doubled, {one['lost']} lost"
        + "".join(f"\n  FAULT {fault}" for fault in one["faults"])
        for one in told["trials"]
    ]
    verdict = "good" if told["ok"] else "NOT GOOD"
    last = (
        f"{verdict}: at most {told['max_s']:.1f} s (allowed {TARGET_S:g}), median "
        f"{told['median_s']:.1f} s, {told['duplicates']} doubled, {told['lost']} lost"
    )
    return [*lines, last]


def summary(trials: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """Return the JSON of a drill. `max_s` and `median_s` are seconds until another lane polled."""
    times = [max(one["take_over_s"], one["silence_s"]) for one in trials]
    duplicates, lost = (sum(one[key] for one in trials) for key in ("duplicates", "lost"))
    sound = not any(one["faults"] for one in trials) and not duplicates and not lost
    return {
        "schema": "allegro.drill/1", "kind": kind, "ok": sound and max(times) < TARGET_S,
        "max_s": max(times), "median_s": statistics.median(times), "duplicates": duplicates,
        "lost": lost, "trials": trials,
    }  # fmt: skip


async def _scratch(fault: str, times: int, *, quiet: bool) -> dict[str, Any]:
    import msgspec  # noqa: PLC0415 (all of this only when a drill runs)

    from allegro.adapters.clock import SystemDice  # noqa: PLC0415
    from allegro.drill.faults import FAULTS  # noqa: PLC0415
    from allegro.drill.fleet import LANES, ScratchFleet  # noqa: PLC0415
    from allegro.drill.network import Loopback, Namespaces  # noqa: PLC0415
    from allegro.drill.trial import Trial, by_address, by_user  # noqa: PLC0415

    apart = not Namespaces.trouble()
    if FAULTS[fault].needs_network and not apart:
        raise Failure(f"--cut is not possible here: {Namespaces.trouble()}")
    folder = Path(tempfile.mkdtemp(prefix="allegro-drill-"))
    fleet = ScratchFleet(folder, Namespaces(LANES) if apart else Loopback())
    if not quiet:
        click.echo("setting up three lanes, three council servers, a forge and a house ...")
    try:
        await fleet.set_up(
            lane={"forge.timeout_s": 2.0, "council.return_s": 20.0},
            house={"orders.ttl_s": 6, "orders.settle_s": 2},
        )
        trial = Trial(fleet, SystemDice(), by_address(fleet) if apart else by_user)
        told = []
        for _ in range(times):
            told.append(msgspec.to_builtins(await trial.play(FAULTS[fault])))
            if not quiet:
                click.echo(drill_lines(summary(told[-1:], fault))[0])
        return summary(told, fault)
    finally:
        await fleet.close()
        shutil.rmtree(folder, ignore_errors=True)


async def _planned(socket: Path | None, times: int) -> dict[str, Any]:
    """Hand the forge role of the running fleet over, and measure until the new holder has acted."""
    async with HouseClient(socket) as house:
        told = [await _one_planned(house)]
        for _ in range(times - 1):
            await asyncio.sleep(REST_S)  # until the lane that rested may be asked again
            told.append(await _one_planned(house))
        return summary(told, "planned")


async def _one_planned(house: HouseClient) -> dict[str, Any]:
    told = await house.get("fleet")
    held = told["roles"].get("forge")
    if not told["members"] or held is None:
        raise Failure("there is no fleet to hand over in: see `allegro fleet status`")
    victim, epoch = held["lane"], held["epoch"]
    began_s = time.monotonic()
    await house.post("fleet/rest", {"lane": victim, "role": "forge", "seconds": REST_S})
    while time.monotonic() < began_s + PLANNED_S:
        taken = [
            one for one in (await house.get("fleet"))["take_overs"]
            if one["role"] == "forge" and one["epoch"] > epoch
        ]  # fmt: skip
        if taken:
            spent_s = round(time.monotonic() - began_s, 2)
            return {
                "fault": "planned", "victim": victim, "holder": taken[-1]["lane"],
                "take_over_s": spent_s, "silence_s": 0.0, "duplicates": 0, "lost": 0,
                "faults": [],
            }  # fmt: skip
        await asyncio.sleep(0.1)
    raise Failure(f"nobody took over from {victim} within {PLANNED_S:g} s")
