"""The house's watch over its lanes: take-overs told once, silence told once, local only since when."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, cast

import pytest

from allegro.adapters.sqlite.archive import SqliteArchive, open_archive
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.base.events import Event, decode_event, encode_event
from allegro.core.base.sequence import Kept
from allegro.core.base.timestamps import rfc3339
from allegro.core.health import codes
from allegro.core.health.alert_state import Told
from allegro.core.health.codes import Code
from allegro.core.health.delivery.notices import Kind
from allegro.core.health.facts import Fact
from allegro.core.protocol.answers.house import LinkedLane
from allegro.core.stores import SetAside
from allegro.house.fleet.heartbeats import BEAT_LATE_S
from allegro.house.fleet.watch import KEPT, NOBODY_S, SHOWN, FleetWatch
from allegro.house.lanes import Lanes
from allegro.house.ports import Ports, Reactions
from allegro.testing.virtual import SeededDice, VirtualClock
from tests.duties.alerts import noted

from .house import House as Small

TOOK: dict[str, Any] = {
    "role": "forge", "epoch": 2, "before": "a", "why": "expired", "silent_s": 5.0, "take_s": 0.1,
    "act_s": 0.2,
}  # fmt: skip


class FakeLanes:
    """What the watch asks of `Lanes`: who is linked, and when each was heard."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.up = {"a": True, "b": True}
        self.holding = {"a"}
        self._since_s = clock.now_s()
        self._heard = dict.fromkeys(self.up, clock.now_s())

    def linked(self) -> list[tuple[str, str, None]]:
        return [(name, name, None) for name, up in self.up.items() if up]

    def members(self) -> frozenset[str]:
        return frozenset(self.up)

    def is_home(self, lane: str) -> bool:
        return self.up.get(lane, False)

    def names(self) -> frozenset[str]:
        return frozenset((*self.up, "old"))

    def serves(self, lane: str) -> list[str]:
        return ["forge"]

    def roles_of(self, lane: str) -> dict[str, int]:
        return {"forge": 1} if lane in self.holding else {}

    def describe(self) -> list[LinkedLane]:
        for name, _, _ in self.linked():
            self._heard[name] = self._clock.now_s()
        return [
            LinkedLane(name=name, linked=up, heard_s=self._heard[name], since_s=self._since_s)
            for name, up in self.up.items()
        ]  # fmt: skip


class Stumbling:
    """The archive's reading side with a disk that refuses the first look."""

    def __init__(self, archive: SqliteArchive) -> None:
        self._archive = archive
        self._looks = 0

    async def heads(self, *arguments: Any) -> Any:
        self._looks += 1
        if self._looks == 1:
            raise EdgeError("database: disk I/O error", transient=True)
        return await self._archive.heads(*arguments)

    async def add(self, *arguments: Any) -> None:
        await self._archive.add(*arguments)

    async def rows(self, rows: Any) -> Any:
        return await self._archive.rows(rows)


class Watched:
    def __init__(self, small: Small, archive: SqliteArchive) -> None:
        self.small, self.archive, self.clock = small, archive, small.clock
        self.lanes = FakeLanes(self.clock)
        self.alerts: list[tuple[str, str]] = []
        self.lane_called: list[Told] = []
        self.facts: dict[tuple[str, str], Fact] = {}
        self._seq: dict[str, int] = {}
        self.beating = True
        self.words: Any = None
        self.watch = self.made()

    def made(self, archive: Any = None) -> FleetWatch:
        return FleetWatch(
            Ports(
                archive or self.archive, self.small.ledger, self.clock,
                SeededDice(len(self.alerts) + 1), self._words,
            ),
            cast(Lanes, self.lanes),
            Reactions(
                noted(self.alerts),
                self._set_aside,
                self._state,
                self.lane_called.append,
            ),
        )  # fmt: skip

    def _state(self, facts: Iterable[Fact], producer: str) -> None:
        assert producer == "beats"
        self.facts = {(one.code.code, one.subject): one for one in facts}

    def state_of(self, code: Code, subject: str = "") -> str:
        return self.facts[code.code, subject].state

    async def _set_aside(self, aside: SetAside, stored: bytes) -> None:
        self.alerts.append(("high", f"set aside: {aside.reason}"))

    async def tell(self, type_: str, lane: str = "b", **data: Any) -> None:
        seq = self._seq[lane] = self._seq.get(lane, 0) + 1
        event = Event(f"{lane}{seq}", type_, f"lane:{lane}", "2030-01-01T00:00:00Z", data=data)
        kept = [Kept(encode_event(event))]
        taken = await self.archive.take(lane, "j" + lane, seq, kept, self.clock.now_s())
        assert not isinstance(taken, Refusal)
        self.watch.kick()

    def _words(self, event: Event) -> Any:
        return self.words

    async def live(self, seconds: float) -> None:
        for _ in range(int(seconds / 5)):
            self.clock.advance(5)
            for name, _, _ in self.lanes.linked() if self.beating else ():
                await self.tell("lane.beat", name, done="polled")
            await self.watch.step()

    async def own(self, prefix: str) -> list[dict[str, Any]]:
        found = await self.archive.events(0, 10_000, prefix=prefix)
        return [decode_event(one.stored).data for one in found]


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    small = Small(tmp_path, VirtualClock())
    await small.start()
    archive = open_archive(tmp_path / "archive.db", quota_bytes=10**9)
    made = Watched(small, archive)
    await made.watch.resume()
    yield made
    await archive.close()
    await small.ledger.close()


async def test_a_take_over_is_told_once_and_kept_over_a_restart(watched: Watched) -> None:
    await watched.tell("role.taken", **TOOK)
    await watched.live(10)
    assert [urgency for urgency, _ in watched.alerts] == ["high"]
    assert "5.3 s after its last word" in watched.alerts[0][1]
    again = watched.made()
    await again.resume()
    await again.step()
    assert [(one.lane, one.before, one.why) for one in again.took] == [("b", "a", "expired")]
    assert len(watched.alerts) == 1


async def test_what_the_disk_refused_is_read_at_the_next_look(watched: Watched) -> None:
    await watched.tell("role.taken", **TOOK)
    watched.watch = watched.made(Stumbling(watched.archive))
    await watched.live(5)
    assert not watched.alerts
    await watched.live(5)
    assert [urgency for urgency, _ in watched.alerts] == ["high"]


@pytest.mark.parametrize("before", ["", "b"])
async def test_a_role_nobody_else_held_is_kept_and_not_alerted(
    watched: Watched, before: str
) -> None:
    await watched.tell("role.taken", **{**TOOK, "before": before})
    await watched.live(5)
    assert len(watched.watch.took) == 1
    assert watched.alerts == []


@pytest.mark.parametrize(
    "lie",
    [
        {"silent_s": "soon"}, {"silent_s": -1}, {"epoch": "x"}, {"epoch": -3}, {"role": 7},
        {"before": {"a": 1}}, {"why": "x" * 10_000}, {"act_s": True},
    ],
)  # fmt: skip
async def test_what_a_lane_makes_up_ends_nothing(watched: Watched, lie: dict[str, Any]) -> None:
    await watched.tell("role.taken", **{**TOOK, **lie})
    await watched.tell("role.taken", **TOOK)
    await watched.live(5)
    assert watched.watch.took[-1].silent_s == 5.0
    assert all(len(one.why) <= 32 for one in watched.watch.took)


async def test_take_overs_without_end_are_kept_up_to_a_number(watched: Watched) -> None:
    for epoch in range(KEPT + 5):
        await watched.tell("role.taken", **{**TOOK, "epoch": epoch})
    await watched.live(5)
    assert [one.epoch for one in watched.watch.took] == list(range(5, KEPT + 5))


async def test_a_take_over_has_the_archives_time_and_only_the_councils_lanes(
    watched: Watched,
) -> None:
    await watched.tell("role.taken", "stranger", **TOOK)
    await watched.tell("role.taken", **{**TOOK, "role": "cooking"})
    await watched.tell("role.taken", **{**TOOK, "before": "a\n forge: nobody", "why": "x\ny"})
    await watched.live(5)
    (took,) = watched.watch.took
    assert (took.lane, took.before, took.why) == ("b", "", "unknown")
    assert took.at.startswith(rfc3339(watched.clock.now_s())[:16])


async def test_one_lane_pushes_no_others_take_over_out(watched: Watched) -> None:
    await watched.tell("role.taken", "a", **{**TOOK, "before": "b"})
    for epoch in range(50):
        await watched.tell("role.taken", **{**TOOK, "epoch": epoch})
    await watched.live(5)
    assert [one.lane for one in watched.watch.newest()].count("a") == 1
    assert len(watched.watch.newest()) == 1 + SHOWN


async def test_a_page_that_was_set_aside_is_alerted(watched: Watched) -> None:
    await watched.tell("council.page_aside", of="a")
    await watched.live(5)
    assert any("met a bug in lane b" in told for _, told in watched.alerts)


async def test_a_silent_lane_is_told_once_and_once_when_it_is_back(watched: Watched) -> None:
    await watched.live(10)
    watched.lanes.up["b"] = False
    await watched.live(BEAT_LATE_S)
    assert watched.alerts == []
    await watched.live(60)
    assert [urgency for urgency, _ in watched.alerts] == ["high"]
    assert [one["lane"] for one in await watched.own("beat.missing")] == ["b"]
    watched.lanes.up["b"] = True
    await watched.live(10)
    assert [urgency for urgency, _ in watched.alerts] == ["high", "low"]
    assert len(await watched.own("beat.back")) == 1


async def test_a_lane_that_is_linked_and_does_not_beat_is_told(watched: Watched) -> None:
    await watched.live(30)
    watched.beating = False
    await watched.live(BEAT_LATE_S + 10)
    assert sorted(told.partition(" since")[0] for _, told in watched.alerts) == [
        "lane a is linked and does not beat", "lane b is linked and does not beat",
    ]  # fmt: skip
    watched.beating = True
    await watched.live(10)
    assert sorted(told for _, told in watched.alerts)[:2] == ["a is back", "b is back"]


async def test_a_house_that_slept_takes_nobody_for_silent(watched: Watched) -> None:
    await watched.live(10)
    watched.lanes.up.update(a=False, b=False)  # their connections broke meanwhile
    watched.clock.advance(4 * 3600)
    await watched.watch.step()
    watched.lanes.up.update(a=True)
    await watched.live(20)
    assert watched.alerts == []
    await watched.live(BEAT_LATE_S)
    assert [told.partition(" since")[0] for _, told in watched.alerts] == ["lane b is silent"]


async def test_a_house_that_restarts_tells_nothing_twice_and_knows_since_when(
    watched: Watched,
) -> None:
    await watched.live(10)
    heard_s = watched.clock.now_s()
    watched.lanes.up["b"] = False
    await watched.live(BEAT_LATE_S + 10)
    assert len(watched.alerts) == 1
    watched.watch = watched.made()
    await watched.watch.resume()
    told_s = watched.watch.last_heard_s("b")
    assert told_s is not None
    assert abs(told_s - heard_s) <= 5
    await watched.live(120)
    assert len(watched.alerts) == 1
    watched.lanes.up["b"] = True
    await watched.live(10)
    assert [told for _, told in watched.alerts[1:]] == ["b is back"]
    (back,) = await watched.own("beat.back")
    assert back["silent_s"] > 170


async def test_a_house_that_restarts_knows_since_when_it_is_alone(watched: Watched) -> None:
    await watched.live(10)
    watched.lanes.up.update(a=False, b=False)
    await watched.live(10)
    since_s = watched.watch.local_only_since_s
    watched.clock.advance(600)
    watched.watch = watched.made()
    await watched.watch.resume()
    assert watched.watch.local_only_since_s == since_s
    watched.lanes.up.update(a=True)
    await watched.live(5)
    assert watched.watch.local_only_since_s is None


async def test_a_role_that_nobody_holds_is_told_once_and_once_when_it_is_held_again(
    watched: Watched,
) -> None:
    watched.lanes.holding.clear()
    await watched.live(NOBODY_S)
    assert watched.alerts == []
    await watched.live(30)
    assert watched.alerts == [("high", "nobody holds forge since 20 s")]
    watched.lanes.holding.add("b")
    await watched.live(10)
    assert [urgency for urgency, _ in watched.alerts] == ["high", "low"]


async def test_without_any_lane_the_house_says_local_only_and_since_when(
    watched: Watched,
) -> None:
    await watched.live(10)
    assert watched.watch.local_only_since_s is None
    watched.lanes.up.update(a=False, b=False)
    since_s = watched.clock.now_s()
    await watched.live(10)
    told_s = watched.watch.local_only_since_s
    assert told_s is not None
    assert 0 <= told_s - since_s <= 5
    watched.clock.advance(3600)
    assert watched.watch.local_only_since_s == told_s
    watched.lanes.up["a"] = True
    assert watched.watch.local_only_since_s is None


@pytest.mark.parametrize(
    ("type_", "urgency"),
    [("beat.missing", "high"), ("beat.back", "low"), ("council.lost", "high"),
     ("council.back", "low")],
)  # fmt: skip
async def test_what_lanes_say_of_each_other_is_told(
    watched: Watched, type_: str, urgency: str
) -> None:
    await watched.tell(type_, lane="a" if type_.startswith("beat") else "b")
    await watched.live(5)
    assert [one for one, _ in watched.alerts] == [urgency]


# --- facts with a deadline, and what lanes told by themselves ---------------------------------


async def test_a_silent_lane_is_a_fact_with_a_deadline_until_it_is_back(watched: Watched) -> None:
    await watched.live(10)
    assert watched.state_of(codes.LANE_SILENT, "b") == "ok"
    watched.lanes.up["b"] = False
    await watched.live(BEAT_LATE_S + 10)
    fact = watched.facts["lane.silent", "b"]
    assert fact.state == "bad"
    assert 0 < fact.until_s - watched.clock.now_s() <= 60
    assert watched.state_of(codes.LANES_UNREACHABLE) == "ok"
    watched.lanes.up["b"] = True
    await watched.live(10)
    assert watched.state_of(codes.LANE_SILENT, "b") == "ok"
    assert codes.LANE_BACK.clears == ("lane.silent", "lane.heartbeat")


async def test_that_no_lane_can_be_reached_is_a_fact_at_once(watched: Watched) -> None:
    await watched.live(10)
    watched.lanes.up.update(a=False, b=False)
    await watched.live(5)
    assert watched.state_of(codes.LANES_UNREACHABLE) == "bad"
    watched.lanes.up["a"] = True
    await watched.live(5)
    assert watched.state_of(codes.LANES_UNREACHABLE) == "ok"


async def test_a_house_that_woke_has_a_minute_to_find_its_network(watched: Watched) -> None:
    watched.lanes.up.update(a=False, b=False)
    await watched.live(50)
    assert watched.state_of(codes.LANES_UNREACHABLE) == "ok"
    await watched.live(15)
    assert watched.state_of(codes.LANES_UNREACHABLE) == "bad"


async def test_what_a_lane_told_of_itself_is_passed_on_and_of_others_not(watched: Watched) -> None:
    watched.words = {"keys": [["lane.disk", "", "x"], ["house.stores", "other", "y"]]}
    await watched.tell("alert.told", notice="b-1", kind="alarm", severity="P1", channel="telegram")
    await watched.live(5)
    (one,) = watched.lane_called
    assert (one.key, one.kind, one.notice) == (("lane.disk", "b", "x"), Kind.ALARM, "b-1")


@pytest.mark.parametrize("words", [None, 5, {}, {"keys": 5}, {"keys": [["a"]]}, [["a", "", "b"]]])
async def test_keys_that_cannot_be_read_hush_nothing(watched: Watched, words: Any) -> None:
    watched.words = words
    await watched.tell("alert.told", notice="b-1", kind="alarm", severity="P1", channel="telegram")
    await watched.live(5)
    assert watched.lane_called == []
    assert watched.alerts == []
