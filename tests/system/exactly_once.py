"""Once: an approved effect happens exactly once, whoever dies while it is under way (G10)."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from allegro.core.base.canonical import keyed_hex

from .fleet_fixture import JOURNAL_FILES, PERSON, REPOSITORY, Theatre, copy_files
from .invariants import Want

Case = Callable[[Theatre, random.Random, str], Awaitable[Want]]

CHANGE_POINTS = (
    "before:order", "after:order", "before:look", "after:look", "before:intent", "after:intent",
    "before:branch", "sent:branch", "after:branch", "before:commit", "sent:commit",
    "after:commit", "before:pull", "sent:pull", "after:pull", "before:receipt", "after:receipt",
    "before:ack", "after:ack",
)  # fmt: skip
COMMENT_POINTS = ("before:comment", "sent:comment", "after:comment", "after:intent", "before:ack")
PULL_POINTS = ("before:pull", "sent:pull", "after:pull", "before:receipt")
HOUSE_POINTS = ("before:challenge_wanted", "before:order", "after:order", "before:ack", "after:ack")
WRITES = {"branch": "/branches$", "commit": "/contents$", "pull": "/pulls$"}


async def propose(theatre: Theatre, kind: str, tag: str) -> Want:
    """Ask for one effect of a kind, told apart from all others by `tag`."""
    if kind == "comment":
        body = f"Result of {tag}."
        asked = await theatre.ask("comment", issue=1, body=body)
        return Want(asked["id"], kind, body=body, issue=1)
    if kind == "create_pr":
        await theatre.act(
            "commit", repo=REPOSITORY, branch=f"ready-{tag}", files={f"r/{tag}.txt": tag},
            user=PERSON,
        )  # fmt: skip
        title, body = f"Merge {tag}", f"Ready: {tag}."
        asked = await theatre.ask(kind, branch=f"ready-{tag}", title=title, body=body)
        return Want(asked["id"], kind, title, body)
    files: dict[str, str | None] = {f"t/{tag}.txt": f"{tag}\n", "a/b.txt": f"b {tag}\n"}
    asked = await theatre.ask_change(tag, files)
    return Want(asked["id"], kind, f"Change {tag}", f"Does {tag}.", files=files)


async def approve(theatre: Theatre, want: Want) -> None:
    if want.kind != "comment":
        await theatre.approve(await theatre.request(want.request))


async def done(theatre: Theatre, want: Want) -> Want:
    await theatre.settled(want.request)
    return want


def lane_dies(kind: str, point: str) -> Case:
    """The lane is killed at a point of the effect and started again."""

    async def case(theatre: Theatre, dice: random.Random, tag: str) -> Want:
        wire_ms = dice.choice((0, 2, 5, 10, 20, 40))
        await theatre.restart_lane("--die", point, "--on-wire-ms", str(wire_ms))
        want = await propose(theatre, kind, tag)
        await approve(theatre, want)
        await theatre.dead("lane")
        await asyncio.sleep(dice.choice((0.0, 0.3, 1.0)))
        await theatre.restart_lane(linked=False)
        return await done(theatre, want)

    return case


def house_dies(kind: str, point: str) -> Case:
    """The house is killed as it says something to the lane, before or after it is on the wire."""
    when, _, what = point.partition(":")

    async def case(theatre: Theatre, dice: random.Random, tag: str) -> Want:
        struck: list[str] = []
        delay_s = dice.choice((0.0, 0.005, 0.02, 0.08))
        pid = theatre.stage.house.pid

        def watch(message: str) -> bool:
            if message != what or struck:
                return not struck
            struck.append(message)
            if when == "before":
                os.kill(pid, signal.SIGKILL)
                return False
            asyncio.get_running_loop().call_later(delay_s, os.kill, pid, signal.SIGKILL)
            return True

        want = await propose(theatre, kind, tag)
        theatre.path.watch = watch
        try:
            if kind != "comment":
                await approve(theatre, want)
        except Exception:
            if not struck:
                raise
        try:
            await theatre.dead("house")
        finally:
            theatre.path.watch = lambda tag: True
        await asyncio.sleep(dice.choice((0.0, 0.5)))
        await theatre.stage.house.end()
        await theatre.stage.start_house()
        await theatre.stage.linked()
        if kind != "comment" and (await theatre.request(want.request))["state"] == "proposed":
            await approve(theatre, want)  # it died before the approval was written down
        return await done(theatre, want)

    return case


def answer_goes_wrong(kind: str, write: str, fault: str) -> Case:
    """The forge does the write, or not, and its answer never comes, or too late for the order."""

    async def case(theatre: Theatre, dice: random.Random, tag: str) -> Want:
        path = "/comments$" if write == "comment" else WRITES[write]
        rule: dict[str, Any] = {
            "kind": fault,
            "method": "POST",
            "path": path,
            "count": dice.choice((1, 1, 2)),
        }
        if fault == "slow":
            rule |= {"seconds": 1.5, "count": 1}
        if fault == "status":
            rule |= {"status": dice.choice((500, 502, 503)), "after_effect": dice.random() < 0.5}
        await theatre.stage.faults(clear=True, add=[rule])
        try:
            want = await propose(theatre, kind, tag)
            await approve(theatre, want)
            return await done(theatre, want)
        finally:
            await theatre.stage.faults(clear=True)

    return case


async def order_runs_out(theatre: Theatre, dice: random.Random, tag: str) -> Want:
    """Reading is so slow that the order ends before the last write."""
    rule = {"kind": "slow", "method": "GET", "path": "/(branches|git)/", "seconds": 0.45,
            "count": dice.randint(10, 20)}  # fmt: skip
    await theatre.stage.faults(clear=True, add=[rule])
    try:
        want = await propose(theatre, "propose_change", tag)
        await approve(theatre, want)
        return await done(theatre, want)
    finally:
        await theatre.stage.faults(clear=True)


async def branch_is_squatted(theatre: Theatre, dice: random.Random, tag: str) -> Want:
    """Somebody made our branch, with other files: told as a conflict, nothing is done."""
    want = await propose(theatre, "propose_change", tag)
    request = await theatre.request(want.request)
    suffix = keyed_hex(theatre.fleet.marker, "branch", request["digest"])[:12]
    branch = f"work/{tag}-{suffix}"
    await theatre.act(
        "commit", repo=REPOSITORY, branch=branch, files={"evil.txt": "x"}, user=PERSON
    )
    if dice.random() < 0.5:
        await theatre.act(
            "open_pull", repo=REPOSITORY, user=PERSON, head=branch, base="main",
            title=f"squat {tag}", body=want.body,
        )  # fmt: skip
    await approve(theatre, want)
    return await done(theatre, msgspec.structs.replace(want, state="conflict", count=0))


async def marker_is_taken(theatre: Theatre, dice: random.Random, tag: str) -> Want:
    """Somebody posted our words with our marker before us: a place to look, never evidence."""
    body = f"Result of {tag}."
    await theatre.stage.house.end()
    await theatre.stage.start_house()
    await theatre.stage.linked()
    held = asyncio.Event()

    def watch(message: str) -> bool:
        held.set()
        return message != "order" or bool(gone)

    gone: list[bool] = []
    theatre.path.watch = watch
    asked = await theatre.ask("comment", issue=1, body=body)
    marker = keyed_hex(theatre.fleet.marker, "marker", asked["digest"])[:32]
    text = f"{body}\n\n<!-- allegro:{marker} -->"
    await theatre.act("comment", repo=REPOSITORY, number=1, user=PERSON, body=text)
    gone.append(True)
    theatre.path.watch = lambda tag: True
    del dice
    return await done(theatre, Want(asked["id"], "comment", body=body, issue=1))


async def head_moved(theatre: Theatre, dice: random.Random, tag: str) -> Want:
    """The branch moved after the approval: stale, and asked again."""
    want = await propose(theatre, "create_pr", tag)
    move: dict[str, Any] = {
        "repo": REPOSITORY,
        "branch": f"ready-{tag}",
        "files": {"late.txt": tag},
    }
    if dice.random() < 0.5:
        await theatre.act("commit", user=PERSON, **move)
        await approve(theatre, want)
    else:
        await theatre.stage.lane.end()
        await approve(theatre, want)
        await theatre.act("commit", user=PERSON, **move)
        await theatre.start_lane()
    return await done(theatre, msgspec.structs.replace(want, state="stale", count=0))


async def disk_goes_back(theatre: Theatre, dice: random.Random, tag: str) -> Want:
    """The lane's journal is put back to an older copy while it is stopped."""
    copy = theatre.stage.folder / f"copy-{tag}"
    await theatre.stage.lane.end(signal.SIGKILL)
    copy_files(theatre.lane_folder, copy, JOURNAL_FILES)
    point = dice.choice(CHANGE_POINTS[4:-2])
    await theatre.start_lane("--die", point, "--on-wire-ms", "5")
    await theatre.stage.linked()
    want = await propose(theatre, "propose_change", tag)
    await approve(theatre, want)
    await theatre.dead("lane")
    if dice.random() < 0.5:
        await theatre.start_lane()
        await theatre.settled(want.request)
        await theatre.stage.lane.end(signal.SIGKILL)
    copy_files(copy, theatre.lane_folder, JOURNAL_FILES)
    shutil.rmtree(copy)
    await theatre.start_lane()
    return await done(theatre, want)


async def house_sleeps(theatre: Theatre, dice: random.Random, tag: str) -> Want:
    """The house goes away while its order is out and comes back later."""
    want = await propose(theatre, "propose_change", tag)
    request = await theatre.request(want.request)
    await theatre.approve(request)
    await asyncio.sleep(dice.choice((0.0, 0.02, 0.05, 0.1)))
    how = dice.choice((signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP))
    if how is signal.SIGSTOP:
        os.kill(theatre.stage.house.pid, signal.SIGSTOP)
        await asyncio.sleep(dice.choice((2.0, 6.0)))
        os.kill(theatre.stage.house.pid, signal.SIGCONT)
    else:
        await theatre.stage.house.end(how)
        await asyncio.sleep(dice.choice((0.5, 3.0)))
        await theatre.stage.start_house()
    return await done(theatre, want)


CASES: dict[str, Case] = {
    **{f"lane dies {p} (change)": lane_dies("propose_change", p) for p in CHANGE_POINTS},
    **{f"lane dies {p} (comment)": lane_dies("comment", p) for p in COMMENT_POINTS},
    **{f"lane dies {p} (pull)": lane_dies("create_pr", p) for p in PULL_POINTS},
    **{f"house dies {p} (change)": house_dies("propose_change", p) for p in HOUSE_POINTS},
    **{f"answer {fault} to {write}": answer_goes_wrong("propose_change", write, fault)
       for fault in ("answer_lost", "reset", "status", "slow", "truncated") for write in WRITES},
    **{f"answer {fault} to comment": answer_goes_wrong("comment", "comment", fault)
       for fault in ("answer_lost", "reset", "status", "slow")},
    "order runs out": order_runs_out,
    "branch is squatted": branch_is_squatted,
    "marker is taken": marker_is_taken,
    "head moved": head_moved,
    "disk goes back": disk_goes_back,
    "house sleeps": house_sleeps,
}  # fmt: skip
