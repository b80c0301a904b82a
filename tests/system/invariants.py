"""What must be true at the forge and at the house after everything that happened."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from .fleet_fixture import BOTS, REPOSITORY, Theatre


class Want(msgspec.Struct, frozen=True):
    """One effect that was asked for. `count` is how many must be there: 1 or, when refused, 0."""

    request: str
    kind: str
    title: str = ""
    body: str = ""
    issue: int = 0
    files: dict[str, str | None] = {}
    state: str = "done"
    count: int = 1


class Pull(msgspec.Struct, frozen=True):
    number: int
    title: str
    body: str
    author: str
    base: str
    files: dict[str, str | None]
    commits: int


class Comment(msgspec.Struct, frozen=True):
    id: int
    issue: int
    body: str
    author: str


class Seen(msgspec.Struct, frozen=True):
    """Forge and house as they are. `requests` as the house shows them, by id."""

    pulls: tuple[Pull, ...]
    comments: tuple[Comment, ...]
    requests: dict[str, dict[str, Any]]
    frozen: bool


def faults(wants: list[Want], seen: Seen) -> list[str]:
    """Return every way in which what is there is not exactly what was approved."""
    found: list[str] = []
    claimed: set[tuple[str, int]] = set()
    for want in wants:
        found += _effect_faults(want, seen, claimed)
        found += _house_faults(want, seen)
    ours = [("pull", pull.number) for pull in seen.pulls if pull.author in BOTS]
    ours += [("comment", comment.id) for comment in seen.comments if comment.author in BOTS]
    found += [f"{kind} {id_} under our name is nobody's" for kind, id_ in set(ours) - claimed]
    if seen.frozen:
        found.append("the fleet is frozen")
    return found


def _effect_faults(want: Want, seen: Seen, claimed: set[tuple[str, int]]) -> list[str]:
    if want.kind == "comment":
        same = [c.id for c in seen.comments if c.author in BOTS and _says(c.body, want.body)]
        claimed |= {("comment", id_) for id_ in same}
        wrong = [c.id for c in seen.comments if c.id in same and c.issue != want.issue]
        found = [f"comment {id_} is on the wrong issue" for id_ in wrong]
    else:
        pulls = [p for p in seen.pulls if p.author in BOTS and p.title == want.title]
        same = [pull.number for pull in pulls]
        claimed |= {("pull", number) for number in same}
        found = [fault for pull in pulls for fault in _pull_faults(want, pull)]
    if len(same) != want.count:
        found.append(f"{want.kind} {want.request}: {len(same)} effects {same}, wanted {want.count}")
    return found


def _pull_faults(want: Want, pull: Pull) -> list[str]:
    found = []
    if not _says(pull.body, want.body):
        found.append(f"pull request {pull.number} has another body")
    if pull.base != "main":
        found.append(f"pull request {pull.number} goes to {pull.base}")
    if want.files and pull.files != want.files:
        found.append(f"pull request {pull.number} changes {pull.files}, not {want.files}")
    if want.kind == "propose_change" and pull.commits != 1:
        found.append(f"pull request {pull.number} has {pull.commits} commits")
    return found


def _house_faults(want: Want, seen: Seen) -> list[str]:
    request = seen.requests[want.request]
    found = []
    if request["state"] != want.state:
        found.append(
            f"{want.request} is {request['state']} ({request['detail']}), wanted {want.state}"
        )
    receipts = sum(line["what"] == "receipt" for line in request["history"])
    if receipts != (want.state == "done"):
        found.append(f"{want.request} has {receipts} receipts")
    if want.state == "done":
        made = {pull.number for pull in seen.pulls} | {comment.id for comment in seen.comments}
        if request["artifact"] not in made:
            found.append(
                f"{want.request}: its receipt names {request['artifact']}, which is not there"
            )
        decided = [line["at_s"] for line in request["history"] if line["what"] == "approve"]
        took_s = request["settled_s"] - (decided[0] if decided else request["created_s"])
        if took_s > 120:
            found.append(f"{want.request} took {took_s:.0f} s")
    return found


def _says(text: str, body: str) -> bool:
    return text.replace("\r\n", "\n").split("\n\n<!-- allegro:")[0].strip() == body.strip()


async def look(theatre: Theatre, wants: list[Want]) -> Seen:
    """Read the forge as its owner, and the requests at the house."""
    pulls = []
    for row in await theatre.listed(f"/repos/{REPOSITORY}/pulls?state=all"):
        number = row["number"]
        files = await theatre.listed(f"/repos/{REPOSITORY}/pulls/{number}/files")
        commits = await theatre.listed(f"/repos/{REPOSITORY}/pulls/{number}/commits")
        texts = {
            file["filename"]: None
            if file["status"] in {"deleted", "removed"}
            else await _text(theatre, file["filename"], row["head"]["sha"])
            for file in files
        }
        pulls.append(
            Pull(
                number, row["title"], row["body"], row["user"]["login"], row["base"]["ref"],
                texts, len(commits),
            )
        )  # fmt: skip
    comments = [
        Comment(
            row["id"], int(row["html_url"].split("#")[0].rsplit("/", 1)[1]), row["body"],
            row["user"]["login"],
        )
        for row in await theatre.listed(f"/repos/{REPOSITORY}/issues/comments")
    ]  # fmt: skip
    requests = {want.request: await theatre.request(want.request) for want in wants}
    return Seen(tuple(pulls), tuple(comments), requests, await theatre.frozen())


async def _text(theatre: Theatre, path: str, ref: str) -> str:
    response = await theatre.api("GET", f"/repos/{REPOSITORY}/contents/{path}?ref={ref}")
    return base64.b64decode(response["content"]).decode()
