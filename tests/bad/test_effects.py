"""Every odd answer of a forge, at every request of an effect: the lane lives, nothing is done twice.

The table of bad values is run through desk, gate, executor and adapter. What must hold after each:
the order is told as ended, at most one effect stands, a receipt only where it stands, an answer that
cannot be read makes no verdict about the world, and the next order is carried out.

    python -m tests.bad.test_effects --count 2000 --seed 7
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from allegro.core.base.errors import EdgeError
from allegro.core.effects.findings import WriteStep
from allegro.core.forge.issues import Issue, Repository
from allegro.core.ports import ForgeReader, ForgeWriter
from tests.bad.bending import KINDS, Bend, Site, Taken, bending_site, document
from tests.bad.values import HEADERS, WHOLE_BODIES, bent_json

COVERS = tuple(WriteStep)
"""The steps whose answers are bent."""

STATUSES = (
    204, 299, 300, 301, 302, 304, 307, 308, 400, 401, 403, 404, 405, 408, 409, 410, 412, 413,
    422, 423, 425, 429, 451, 499, 500, 502, 503, 504, 520, 599, 600, 999,
)  # fmt: skip
NAMES = ("Date", "X-Total-Count", "Link", "Retry-After", "Content-Type", "Location", "ETag")
UNREADABLE = {"empty", "blank", "number", "text", "object cut in half", "byte order mark", "UTF-16",
              "HTML", "zero bytes", "random", "NaN", "infinity", "1e400", "2**70",
              "number of 5,000 digits", "nested lists", "nested objects", "no UTF-8",
              "lone surrogate", "cut"}  # fmt: skip
GROUPS = ("status", "wait", "cut", "header", "whole", "body")
COUNT = 25


def bends(taken: Taken, group: str) -> list[Bend]:
    """Return the bends of one answer that concern its status, a wait, a cut, header or body."""
    match group:
        case "status":
            return [
                Bend(f"status {status}, {'not ' * before}done", status, b"", before_effect=before)
                for status in STATUSES
                for before in (False, True)
            ]
        case "wait":
            return [
                Bend(
                    f"status {status}, wait {wait}", status, b'{"message":"later"}',
                    (("Retry-After", wait),), before_effect=True,
                )
                for status in (403, 429, 503)
                for wait in ("0", "2", "120", "soon")
            ]  # fmt: skip
        case "cut":
            return [Bend("cut", cut=True), Bend("cut, not done", cut=True, before_effect=True)]
        case "header":
            return [
                Bend(f"{name}: {row.name}", headers=((name, row.value),))
                for name in NAMES
                for row in HEADERS
            ]
        case "whole":
            return [Bend(f"whole: {row.name}", body=row.value) for row in WHOLE_BODIES]
        case _:
            told = document(taken) if taken.status < 300 and taken.body else None
            if not isinstance(told, dict | list):
                return []
            return [Bend(f"body {name}", body=body) for name, body in bent_json(told)]


async def honest(site: Site, kind: str) -> list[Taken]:
    """Carry one order out with nothing bent; return the answers it met."""
    site.new_desk()
    site.proxy.plan(-1, None)
    event = await site.order(site.action(kind))
    assert event.type == "action.receipt", event
    return list(site.proxy.taken)


async def faults_of(site: Site, kind: str, at: int, bend: Bend) -> list[str]:
    """Carry an order out with one bent answer, and the next without; say what does not hold."""
    action = site.action(kind)
    desk = site.desk
    site.proxy.plan(at, bend)
    first = await site.order(action)
    found = [] if not first.type.endswith((".intent", ".shadowed")) else ["no end was told"]
    if first.data.get("reason") == "bug":
        found.append(f"a bug ended it: {first.sealed!r}")
    if site.effects(action) > 1:
        found.append(f"{site.effects(action)} effects")
    if first.type == "action.receipt" and site.effects(action) != 1:
        found.append("a receipt, and no effect")
    if first.type in {"action.conflict", "action.stale"} and _is_unreadable(bend):
        found.append(f"{first.type} made of what cannot be read: {first.sealed!r}")
    site.proxy.plan(-1, None)
    await site.clock.sleep(3_700.0)
    second = await site.order(action)
    if second.type != "action.receipt" or site.effects(action) != 1:
        found.append(f"then {second.type} {second.sealed!r}, {site.effects(action)} effects")
    assert desk is site.desk
    return [f"{kind} {at} {bend.name}: {one}" for one in found]


def _is_unreadable(bend: Bend) -> bool:
    if bend.body is not None and bend.status is None:
        return bend.name.removeprefix("whole: ") in UNREADABLE
    return bend.cut or (bend.status or 200) >= 500 or bool(bend.headers)


async def trial(site: Site, count: int, seed: int, kinds: tuple[str, ...] = KINDS) -> list[str]:
    """Run a seeded sample over kinds, requests and bends; return what did not hold."""
    dice = random.Random(seed)
    met = {kind: await honest(site, kind) for kind in kinds}
    found: list[str] = []
    for _ in range(count):
        kind = dice.choice(kinds)
        at = dice.randrange(len(met[kind]))
        rows = bends(met[kind][at], dice.choice(GROUPS))
        if rows:
            found += await faults_of(site, kind, at, dice.choice(rows))
    return found


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with bending_site(tmp_path) as made:
        yield made


async def test_no_answer_ends_the_lane_or_makes_a_second_effect_or_a_false_word(
    site: Site,
) -> None:
    assert await trial(site, COUNT, seed=1) == []


async def test_the_generator_finds_a_reader_that_takes_the_unreadable_for_not_there(
    site: Site,
) -> None:
    site.new_desk(_believing)
    plan = [Bend(f"whole: {row.name}", body=row.value) for row in WHOLE_BODIES]
    found = [fault for bend in plan for fault in await faults_of(site, "comment", 1, bend)]
    assert found


async def test_the_generator_finds_an_adapter_that_raises_what_is_no_edge_error(
    site: Site,
) -> None:
    site.new_desk(_raising)
    found = await faults_of(site, "comment", 99, Bend("none"))
    assert any("a bug ended it" in fault for fault in found)


async def test_a_bug_in_one_effect_is_told_and_the_next_order_is_carried_out(site: Site) -> None:
    site.new_desk(_raising)
    broken = await site.order(site.action("comment"))
    assert (broken.type, broken.data["reason"]) == ("action.unknown", "bug")
    assert b"one too many" in broken.sealed
    site.new_desk()
    assert (await site.order(site.action("comment"))).type == "action.receipt"


class _Beside:
    """Stands before a port and changes one call of it."""

    def __init__(self, port: Any) -> None:
        self._port = port

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)


class _BelievingReader(_Beside):
    async def issue(self, repo: Repository, number: int) -> Issue | None:
        try:
            found: Issue | None = await self._port.issue(repo, number)
        except EdgeError:
            return None
        return found


class _RaisingWriter(_Beside):
    async def perform(self, *given: Any) -> None:
        await self._port.perform(*given)
        raise ValueError("one too many")


def _believing(reader: ForgeReader, writer: ForgeWriter) -> tuple[Any, ForgeWriter]:
    return _BelievingReader(reader), writer


def _raising(reader: ForgeReader, writer: ForgeWriter) -> tuple[ForgeReader, Any]:
    return reader, _RaisingWriter(writer)


async def _play(count: int, seed: int) -> int:
    found: list[str] = []
    for begun in range(0, count, COUNT):  # a forge each: with many pull requests it grows slow
        with tempfile.TemporaryDirectory() as folder:
            async with bending_site(Path(folder)) as made:
                found += await trial(made, min(COUNT, count - begun), seed * 10_000 + begun)
    print("\n".join(found) or f"effects: {count} bent answers, nothing that does not hold")
    return bool(found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    sys.exit(asyncio.run(_play(asked.count, asked.seed)))
