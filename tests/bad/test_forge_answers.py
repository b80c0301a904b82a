"""Every answer of a forge, bent: a lane lives, reads the others, and takes the next good answer."""

from __future__ import annotations

import asyncio
import email.utils
import json
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from allegro.adapters.gitea.reader import GiteaReader
from allegro.adapters.gitea.writer import GiteaWriter
from allegro.core.base.errors import EdgeError
from allegro.core.base.timestamps import rfc3339
from allegro.core.forge.issues import Repository
from allegro.core.forge.marks import Window
from allegro.core.ports import ForgeReader
from allegro.testing.virtual import FakeForge, VirtualClock
from tests.bad.raw_forge import Asked, RawForge, Said
from tests.bad.values import HEADERS, WHOLE_BODIES, bent_json, sample
from tests.duties.lane import FORGE, Lane, journal_in, settings_of

TOKEN = "0123456789abcdef0123456789abcdef01234567"
START_S = 1_790_000_000.0
GARDEN, SHED = Repository(1, "home/garden"), Repository(2, "home/shed")
READ_HEADERS = ("Date", "X-Total-Count", "Link", "Retry-After", "Content-Type", "Location")
"""The headers of an answer that the adapter reads or follows."""

Call = Callable[[GiteaReader], Awaitable[object]]

COVERS: dict[str, tuple[str, Call]] = {
    "server": (r"/version|/settings/api", lambda r: r.server()),
    "date_s": (r"/version", lambda r: r.date_s()),
    "whoami": (r"/user|/token", lambda r: r.whoami(TOKEN)),
    "user_id": (r"/users/fleet-bot", lambda r: r.user_id("fleet-bot")),
    "repository": (r"/repos/home/garden", lambda r: r.repository("home/garden")),
    "repository_by_id": (r"/repositories/1", lambda r: r.repository_by_id(1)),
    "organisation_repositories": (r"/orgs/home/repos", lambda r: r.organisation_repositories("home")),
    "repository_issues": (
        r"/repos/home/garden/issues", lambda r: r.repository_issues(GARDEN, Window(0, None), 1)
    ),
    "organisation_issues": (
        r"/repos/issues/search", lambda r: r.organisation_issues("home", Window(0, None), 1)
    ),
    "repository_comments": (
        r"/repos/home/garden/issues/comments", lambda r: r.repository_comments(GARDEN, 0, 1)
    ),
    "conversation": (r"/repos/home/garden/issues/1/comments", lambda r: r.conversation(GARDEN, 1)),
    "comments": (r"/repos/home/garden/issues/1/comments", lambda r: r.comments(GARDEN, 1)),
    "issue": (r"/repos/home/garden/issues/1", lambda r: r.issue(GARDEN, 1)),
    "timeline": (r"/repos/home/garden/issues/1/timeline", lambda r: r.timeline(GARDEN, 1)),
    "branches": (r"/repos/home/garden/branches", lambda r: r.branches(GARDEN)),
    "pushes": (r"/repos/home/garden/activities/feeds", lambda r: r.pushes(GARDEN, 1)),
    "branch": (r"/repos/home/garden/branches/main", lambda r: r.branch(GARDEN, "main")),
    "commit": (r"/repos/home/garden/git/commits/c", lambda r: r.commit(GARDEN, "c")),
    "tree": (r"/repos/home/garden/git/trees/t", lambda r: r.tree(GARDEN, "t")),
    "whole_tree": (r"/repos/home/garden/git/trees/t", lambda r: r.whole_tree(GARDEN, "t")),
    "blob": (r"/repos/home/garden/git/blobs/b", lambda r: r.blob(GARDEN, "b")),
    "pull": (r"/repos/home/garden/pulls/1", lambda r: r.pull(GARDEN, 1)),
    "pulls_between": (
        r"/repos/home/garden/pulls(/main/b)?", lambda r: r.pulls_between(GARDEN, "main", "b")
    ),
    "stores_lfs": (r"/settings/repository", lambda r: r.stores_lfs()),
    "is_ancestor": (
        r"/repos/home/garden/compare/d...c", lambda r: r.is_ancestor(GARDEN, "c", "d")
    ),
}  # fmt: skip
WITHOUT_ANSWER = {"name_of"}
POLLED = (
    "repository_by_id", "repository_issues", "repository_comments", "conversation", "timeline",
    "pull", "issue", "branches", "pushes",
)  # fmt: skip
"""What a poll of one repository asks, with its sweep and its comparison."""


def test_every_question_of_the_reader_has_cases() -> None:
    asked = {name for name in vars(ForgeReader) if not name.startswith("_")}
    assert asked - WITHOUT_ANSWER == set(COVERS)
    assert set(POLLED) <= set(COVERS)


class World:
    """A small forge whose answers can be bent: `bend` is (pattern of the path, how)."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.issues: dict[str, list[dict[str, Any]]] = {"home/garden": [], "home/shed": []}
        self.bend: tuple[str, Callable[[Said], Said]] | None = None
        self.bent = 0

    def open(self, name: str, number: int) -> str:
        """Open an issue with a comment, closed at once, every third a pull request."""
        at = rfc3339(self.clock.now_s()).split(".")[0].rstrip("Z") + "Z"
        repo = 1 if name == "home/garden" else 2
        issue: dict[str, Any] = {
            "id": 10_000 * repo + number, "number": number, "title": f"{name} {number}",
            "body": "words", "state": "closed", "user": {"id": 5, "login": "rosa"},
            "labels": [{"id": 3, "name": "status/ready"}], "assignees": None, "milestone": None,
            "comments": 1, "created_at": at, "updated_at": at, "closed_at": at,
            "repository": {"id": repo, "full_name": name},
            "pull_request": {"merged": False} if number % 3 == 0 else None,
        }  # fmt: skip
        self.issues[name].append(issue)
        return str(issue["title"])

    def subjects(self) -> set[str]:
        """Return the subjects of everything that is really there."""
        return {
            f"{FORGE}/{repo}{what}"
            for repo, issues in enumerate(self.issues.values(), 1)
            for issue in issues
            for what in ("", f"#{issue['number']}", f"/comment/{issue['id'] + 5_000}")
        }

    def answer(self, asked: Asked) -> Said:
        good = self._good(asked)
        if self.bend is not None and re.fullmatch(self.bend[0], asked.path):
            self.bent += 1
            return self.bend[1](good)
        return good

    def _good(self, asked: Asked) -> Said:
        value = self._value(asked)
        status = 404 if value is None else 200
        headers = {"Date": email.utils.formatdate(self.clock.now_s(), usegmt=True)}
        if isinstance(value, list):
            headers["X-Total-Count"] = str(len(value))
            start = (asked.page - 1) * asked.limit
            if len(value) > asked.limit:
                more = start + asked.limit < len(value)
                headers["Link"] = f'<http://x/?page=1>; rel="{"next" if more else "first"}"'
            value = value[start : start + asked.limit]
        body = {"message": "not found"} if value is None else value
        return Said(json.dumps(body).encode(), status, headers)

    def _value(self, asked: Asked) -> Any:
        fixed: dict[str, Any] = {
            "/version": {"version": "1.27.0"}, "/settings/api": {"max_response_items": 50},
            "/settings/repository": {"lfs_disabled": False},
            "/user": {"id": 900, "login": "fleet-bot", "is_admin": False},
            "/token": {"scopes": ["write:issue"]},
            "/users/fleet-bot": {"id": 900, "login": "fleet-bot"},
            "/orgs/home/repos": [self._repo(1), self._repo(2)],
        }  # fmt: skip
        if asked.path in fixed:
            return fixed[asked.path]
        if found := re.fullmatch(r"/repositories/(\d)", asked.path):
            return self._repo(int(found[1]))
        if asked.path == "/repos/issues/search":
            return [i for issues in self.issues.values() for i in self._within(issues, asked)]
        found = re.fullmatch(r"/repos/(home/\w+)(/.*)?", asked.path)
        return self._below(found[1], found[2] or "", asked) if found else None

    def _below(self, name: str, rest: str, asked: Asked) -> Any:
        if name not in self.issues:
            return None
        found = {str(issue["number"]): issue for issue in self.issues[name]}
        issues, parts = list(found.values()), rest.strip("/").split("/")
        number = parts[1] if len(parts) > 1 else ""
        if rest.startswith("/issues/") and number in found:
            return self._of_issue(name, found[number], "/".join(parts[2:]), asked)
        if rest.startswith("/pulls/"):
            return self._pull(int(number) if number in found else 1, name)
        entry = {"path": "a", "mode": "100644", "type": "blob", "sha": "b"}
        lists: dict[str, Any] = {
            "": self._repo(1 if name == "home/garden" else 2),
            "issues": self._within(issues, asked),
            "issues/comments": [self._comment(name, issue) for issue in issues],
            "pulls": [self._pull(1, name)],
            "branches/main": {"name": "main", "commit": {"id": "c"}, "protected": True,
                              "user_can_push": False, "user_can_merge": False},
            "branches": [{"name": "main", "commit": {"id": "c"}, "protected": True}],
            "activities/feeds": [{"op_type": "commit_repo", "act_user_id": 5, "ref_name": "main",
                                  "created": rfc3339(START_S)}],
            "git/commits/c": {"sha": "c", "parents": [{"sha": "p"}],
                              "commit": {"tree": {"sha": "t"}}},
            "git/trees/t": {"tree": [entry], "truncated": False},
            "git/blobs/b": {"content": "eA==", "encoding": "base64"},
            "compare/d...c": {"total_commits": 0},
        }  # fmt: skip
        return lists.get("/".join(parts))

    def _of_issue(self, name: str, issue: dict[str, Any], what: str, asked: Asked) -> Any:
        entry = {"id": 1, "type": "close", "user": {"id": 5, "login": "rosa"},
                 "created_at": issue["closed_at"]}  # fmt: skip
        return {
            "": issue,
            "comments": [self._comment(name, issue)],
            "timeline": [entry] if asked.page == 1 else [],
        }.get(what)

    def _within(self, issues: list[dict[str, Any]], asked: Asked) -> list[dict[str, Any]]:
        since, before = asked.query.get("since", ""), asked.query.get("before", "9")
        return [i for i in reversed(issues) if since <= i["updated_at"] <= before]

    def _repo(self, id_: int) -> dict[str, Any]:
        name = {1: "garden", 2: "shed"}.get(id_, "none")
        return {"id": id_, "full_name": f"home/{name}", "default_branch": "main",
                "private": False, "archived": False}  # fmt: skip

    def _comment(self, name: str, issue: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": issue["id"] + 5_000, "body": f"said of {issue['title']}",
            "user": {"id": 5, "login": "rosa"}, "created_at": issue["created_at"],
            "updated_at": issue["updated_at"],
            "issue_url": f"http://x/{name}/issues/{issue['number']}", "pull_request_url": "",
        }  # fmt: skip

    def _pull(self, number: int, name: str) -> dict[str, Any]:
        repo = 1 if name == "home/garden" else 2
        return {
            "id": number, "number": number, "html_url": "http://x", "state": "open",
            "title": "t", "body": "b", "user": {"id": 5, "login": "rosa"}, "merged": False,
            "base": {"ref": "main", "label": "main", "sha": "c", "repo_id": repo},
            "head": {"ref": "b", "label": "b", "sha": "d", "repo_id": repo},
        }  # fmt: skip


Bend = Callable[[Said], Said]


def bends(document: Any) -> Iterator[tuple[str, Bend]]:
    """Yield every way to bend an answer: its fields, its whole body, its headers."""
    for name, body in bent_json(document):
        yield name, lambda good, body=body: good._replace(body=body)  # type: ignore[misc]
    for header in READ_HEADERS:
        for row in HEADERS:
            yield (
                f"{header}: {row.name}",
                lambda good, header=header, row=row: good._replace(  # type: ignore[misc]
                    headers={**good.headers, header: row.value}
                ),
            )
    for row in WHOLE_BODIES:
        yield f"429 with {row.name}", lambda good, row=row: Said(row.value, 500, good.headers)  # type: ignore[misc]


@pytest.fixture
async def forge() -> AsyncIterator[tuple[World, RawForge]]:
    world = World(VirtualClock(now_s=START_S))
    for number in (1, 2):
        world.open("home/garden", number)
    async with RawForge(world.answer) as raw:
        yield world, raw


def good_document(world: World, pattern: str) -> Any:
    """Return the good answer of a place, as the forge gives it now."""
    path = pattern.rsplit("|", maxsplit=1)[-1].replace("(/main/b)?", "").replace(r"\.", ".")
    return json.loads(world._good(Asked("GET", path, {}, "")).body)


async def questioned(world: World, raw: RawForge, method: str, count: int) -> list[str]:
    """Ask one question under bent answers; return what was raised that is no EdgeError."""
    pattern, call = COVERS[method]
    faults = []
    for name, bend in sample(bends(good_document(world, pattern)), count, seed=len(method)):
        world.bend = pattern, bend
        http = raw.client(TOKEN, world.clock.boot_s)
        try:
            await call(GiteaReader(http))
        except EdgeError as error:
            if TOKEN in str(error):
                faults.append(f"{method} {name}: the token is told")
        except Exception as error:  # noqa: BLE001 (this is what is looked for)
            faults.append(f"{method} {name}: {error!r}")
        await http.close()
        world.bend = None
    return faults


@pytest.mark.parametrize("method", COVERS)
async def test_no_answer_raises_anything_but_an_edge_error(
    forge: tuple[World, RawForge], method: str
) -> None:
    world, raw = forge
    assert await questioned(world, raw, method, 70) == []
    assert world.bent > 0


async def test_a_reader_without_its_guard_is_found(forge: tuple[World, RawForge]) -> None:
    world, raw = forge

    class Unguarded(GiteaReader):
        async def date_s(self) -> int:
            answer = await self._http.call("GET", "/version")
            version: str = json.loads(answer.body)["version"]
            return int(version.split(".", maxsplit=1)[0])

    faults = []
    for name, bend in bends({"version": "1.27.0"}):
        world.bend = "/version", bend
        http = raw.client(TOKEN, world.clock.boot_s)
        try:
            await Unguarded(http).date_s()
        except EdgeError:
            pass
        except Exception as error:  # noqa: BLE001 (this is what is looked for)
            faults.append(f"{name}: {error!r}")
        await http.close()
        if len(faults) > 3:
            break
    assert len(faults) > 3


async def lane_of(world: World, raw: RawForge, folder: Path, **changes: object) -> Lane:
    http = raw.client(TOKEN, world.clock.boot_s)
    reader = GiteaReader(http)
    settings = settings_of(
        url=raw.url, watch=("home/garden", "home/shed"), triage=False, sweep_s=5.0,
        reconcile_s=60.0, **changes,
    )  # fmt: skip
    journal = await journal_in(folder, world.clock)
    lane = Lane(
        FakeForge(world.clock), world.clock, journal, settings,
        (reader, GiteaWriter(http, reader, world.clock.now_s)),
    )  # fmt: skip
    await lane.start()
    await lane.live(10)
    return lane


async def under(lane: Lane, world: World, number: int, pattern: str, bend: Bend) -> str:
    """Let two issues be opened while one answer is bent; return what went wrong, or nothing."""
    for _ in range(31):  # repositories, sweep and comparison are due, the role is kept
        lane.clock.advance(10)
        lane.state.heard_house(lane.clock.now_s())
        await lane.roles.step("forge")
    before = await lane.journal.marks()
    in_garden, in_shed = world.open("home/garden", number), world.open("home/shed", number)
    world.bend = pattern, bend
    await lane.step()
    if in_shed not in await told(lane):
        return "the other repository was not read"
    world.bend = None
    for _ in range(2):
        lane.clock.advance(1.0)
        await lane.step()
    if in_garden not in await told(lane):
        return "the next good answer was not taken within 2 s"
    after = await lane.journal.marks()
    for watch in ("home/garden", "home/shed"):
        if not before[watch].forge_s <= after[watch].forge_s <= lane.clock.now_s():
            return f"the mark of {watch} jumped"
    gone = {event.subject for event in await lane.told("forge.vanished")}
    if false := gone & world.subjects():
        return f"vanished though it is there: {false}"
    return ""


async def told(lane: Lane) -> set[str]:
    return {issue.title for issue in await lane.snapshots()}


async def lived_through(folder: Path, method: str, count: int) -> list[str]:
    """Run a lane through a sample of bent answers to one question; return what went wrong."""
    world = World(VirtualClock(now_s=START_S))
    world.open("home/garden", 1)
    pattern = COVERS[method][0].replace("/1/", r"/\d+/")
    pattern = re.sub(r"(issues|pulls)/1$", r"\1/\\d+", pattern)
    wrong = []
    async with RawForge(world.answer) as raw:
        lane = await lane_of(world, raw, folder)
        cases = sample(bends(good_document(world, COVERS[method][0])), count, seed=7)
        for number, (name, bend) in enumerate(cases, 2):
            if fault := await under(lane, world, number, pattern, bend):
                wrong.append(f"{method} {name}: {fault}")
                await lane.live(60)
            await lane.journal.acknowledge(lane.journal.head)
        await lane.journal.close()
    return wrong


@pytest.mark.parametrize("method", POLLED)
async def test_a_lane_lives_and_takes_the_next_good_answer(tmp_path: Path, method: str) -> None:
    assert await lived_through(tmp_path, method, 12) == []


async def _trial(count: int) -> list[str]:
    wrong: list[str] = []
    for method in COVERS:
        world = World(VirtualClock(now_s=START_S))
        world.open("home/garden", 1)
        async with RawForge(world.answer) as raw:
            wrong += await questioned(world, raw, method, count)
    for method in POLLED:
        with tempfile.TemporaryDirectory() as folder:
            wrong += await lived_through(Path(folder), method, count)
    return wrong


if __name__ == "__main__":  # python -m tests.bad.test_forge_answers COUNT: cases for each question
    found = asyncio.run(_trial(int(sys.argv[1])))
    print("\n".join(found) or "nothing found")
    sys.exit(bool(found))
