"""Nothing lost: people write while everything of ours dies, is cut off, or goes back in time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
from pathlib import Path
from typing import Any

from allegro.core.base.errors import UserError

from .fleet_fixture import (
    JOURNAL_FILES,
    OWNER,
    PERSON,
    REPOSITORY,
    Theatre,
    copy_files,
    open_theatre,
)

Objects = dict[str, Any]


class Writers:
    """People at work on the forge. Knows only what it did, never what is archived."""

    def __init__(self, theatre: Theatre, dice: random.Random) -> None:
        self._theatre = theatre
        self._dice = dice
        self.repository = REPOSITORY
        self._issues = [1]
        self._comments: list[int] = []
        self._late: set[asyncio.Task[Any]] = set()
        self.count = 0

    async def write(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + seconds
        while loop.time() < until_s:
            await self._one()
            await asyncio.sleep(self._dice.choice((0.0, 0.02, 0.1, 0.3)))

    async def _act(self, act: str, **arguments: Any) -> Any:
        late_s = self._dice.choice((0, 0, 0, 0.5, 2.0, 5.0))
        return await self._theatre.act(act, late_s, user=PERSON, **arguments)

    async def _one(self) -> None:
        self.count += 1
        dice, text = self._dice, f"words {self.count}"
        number = dice.choice(self._issues)
        place = {"repo": self.repository, "number": number}
        match dice.choice(
            ("open", "open", "edit", "say", "say", "say", "amend", "unsay", "close", "reopen",
             "delete", "label", "rename")
        ):  # fmt: skip
            case "open":
                made = await self._act("open_issue", repo=self.repository, title=text, body=text)
                self._issues.append(made["number"])
            case "edit":
                await self._act("edit_issue", **place, title=text)
            case "say":
                self._comments.append((await self._act("comment", **place, body=text))["id"])
            case "amend" if self._comments:
                await self._act("edit_comment", comment=dice.choice(self._comments), body=text)
            case "unsay" if self._comments:
                gone = self._comments.pop(dice.randrange(len(self._comments)))
                with contextlib.suppress(AssertionError):  # it went with its issue
                    await self._act("delete_comment", comment=gone)
            case "close":
                await self._act("close", **place)
            case "reopen":
                await self._act("reopen", **place)
            case "delete" if len(self._issues) > 3:
                self._issues.remove(number)
                kept = await self._comments_of(number)
                self._comments = [one for one in self._comments if one not in kept]
                await self._act("delete_issue", **place)
            case "label":
                await self._act("add_labels", **place, names=["bug"])
            case "rename" if dice.random() < 0.3:
                name = "web2" if self.repository == REPOSITORY else "web"
                await self._theatre.act("rename_repo", repo=self.repository, name=name)
                self.repository = f"{OWNER}/{name}"

    async def _comments_of(self, number: int) -> set[int]:
        path = f"/repos/{self.repository}/issues/{number}/comments"
        return {row["id"] for row in await self._theatre.api("GET", path)}


async def _trouble(theatre: Theatre, dice: random.Random, seconds: float) -> list[str]:
    """Make things fail one after the other for so long; return what was done."""
    loop, done = asyncio.get_running_loop(), []
    until_s = loop.time() + seconds
    copy = theatre.stage.folder / "older"
    while loop.time() < until_s:
        await asyncio.sleep(dice.uniform(0.1, 0.8))
        what = dice.choice(("lane", "lane", "house", "cut", "hold", "copy", "back", "asleep"))
        done.append(what)
        match what:
            case "lane":
                await theatre.restart_lane(linked=False)
            case "house":
                await theatre.restart_house()
            case "cut":
                theatre.path.cut()
                await asyncio.sleep(dice.uniform(0.0, 1.0))
                theatre.path.mend()
            case "hold":
                theatre.path.hold()
                await asyncio.sleep(dice.uniform(0.2, 6.0))
                theatre.path.mend()
            case "copy":
                await theatre.stage.lane.end(signal.SIGKILL)
                copy_files(theatre.lane_folder, copy, JOURNAL_FILES)
                await theatre.start_lane()
            case "back" if copy.exists():
                await theatre.stage.lane.end(signal.SIGKILL)
                copy_files(copy, theatre.lane_folder, JOURNAL_FILES)
                await theatre.start_lane()
            case "asleep":
                await theatre.stage.house.end(dice.choice((signal.SIGTERM, signal.SIGKILL)))
                await asyncio.sleep(dice.uniform(0.2, 2.0))
                await theatre.stage.start_house()
    return done


async def forge_objects(theatre: Theatre, repository: str) -> Objects:
    """Return what the forge holds now, by kind and number or id."""
    found: Objects = {}
    for row in await theatre.listed(f"/repos/{repository}/issues?state=all&type=issues"):
        labels = sorted(label["name"] for label in row["labels"])
        found[f"issue {row['number']}"] = [
            row["title"], row["body"], row["state"], labels, row["comments"]
        ]  # fmt: skip
    for row in await theatre.listed(f"/repos/{repository}/issues/comments"):
        found[f"comment {row['id']}"] = [row["body"]]
    return found


async def archived_objects(theatre: Theatre) -> tuple[Objects, set[str]]:
    """Return the newest archived version of everything, and what is archived as vanished."""
    with contextlib.closing(theatre.archive()) as archive:
        newest = {row for (row,) in archive.execute("SELECT row FROM object")}
    found: Objects = {}
    vanished: set[str] = set()
    for event in await theatre.events("forge."):
        words = event["words"]
        if event["row"] not in newest:
            continue
        if event["type"] == "forge.snapshot.issue":
            found[f"issue {words['number']}"] = [
                words["title"], words["body"], words["state"], sorted(words["labels"]),
                words["comment_count"],
            ]  # fmt: skip
        elif event["type"] == "forge.snapshot.comment":
            found[f"comment {words['id']}"] = [words["body"]]
        elif event["type"] == "forge.vanished":
            subject = event["subject"]
            issue = "#" in subject
            vanished.add(
                f"issue {subject.rsplit('#', 1)[1]}"
                if issue
                else f"comment {subject.rsplit('/', 1)[1]}"
            )
    return found, vanished


def differences(forge: Objects, archive: Objects) -> list[str]:
    """Return what the archive does not have as the forge has it."""
    found = [f"{name} is not archived" for name in forge.keys() - archive.keys()]
    found += [f"{name} is archived as if it were there" for name in archive.keys() - forge.keys()]
    found += [
        f"{name}: archived {archive[name]}, the forge has {forge[name]}"
        for name in forge.keys() & archive.keys()
        if forge[name] != archive[name]
    ]
    return sorted(found)


def record_faults(theatre: Theatre) -> list[str]:
    """Return what is wrong with the archive's own records: repeats, holes, unnamed gaps."""
    found = []
    with contextlib.closing(theatre.archive()) as archive:
        twice = archive.execute("SELECT id FROM event GROUP BY id HAVING COUNT(*) > 1").fetchall()
        found += [f"event {id_} is there twice" for (id_,) in twice]
        seen: dict[str, str] = {}
        rows = archive.execute("SELECT type, subject, stored FROM event ORDER BY row").fetchall()
        for type_, subject, stored in rows:
            if not type_.startswith("forge.snapshot.") or type_.endswith("repository"):
                continue
            content = json.dumps(json.loads(stored)["data"], sort_keys=True)
            if seen.get(subject) == content and type_ == "forge.snapshot.comment":
                found.append(f"the same version of {subject} is there twice in a row")
            seen[subject] = content
        for lane, journal, first, last, reason in archive.execute(
            "SELECT lane, journal, first, last, reason FROM gap"
        ):
            found.append(f"gap {lane} {journal} {first}-{last}: {reason}")
    return found


async def nothing_is_lost(folder: Path, dice: random.Random, seconds: float = 8.0) -> list[str]:
    """Play one trial on a fleet of its own; return every fault."""
    async with open_theatre(folder) as theatre:
        await theatre.act("add_label", place=REPOSITORY, name="bug")
        writers = Writers(theatre, dice)
        trouble = random.Random(dice.random())
        writing = asyncio.create_task(writers.write(seconds))
        done = await _trouble(theatre, trouble, seconds)
        await writing
        theatre.path.mend()
        for process, start in (
            (theatre.stage.lane, theatre.start_lane), (theatre.stage.house, theatre.stage.start_house)
        ):  # fmt: skip
            if not process.is_running:
                await start()
        await theatre.stage.linked()
        found = await quiet(theatre, writers.repository)
        return [f"{fault} (after {done})" for fault in (*found, *record_faults(theatre))]


async def quiet(theatre: Theatre, repository: str, within_s: float = 40.0) -> list[str]:
    """Wait until the archive is what the forge is; return what still differs at the end."""
    left: list[str] = ["never compared"]

    async def same() -> bool:
        archive, _ = await archived_objects(theatre)
        left[:] = differences(await forge_objects(theatre, repository), archive)
        return not left

    with contextlib.suppress(UserError):
        await theatre.until(same, "archive and forge agree", within_s)
    return left
