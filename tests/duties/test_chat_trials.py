"""Seeded trials of a chat: kills, take-overs, conflicts and refusing disks in any order.

Whatever happens, every stop freezes, every press is one note, and every command is answered: twice
at most for each kill. A command may stay unanswered for one reason alone, which the trial counts: a
kill in the moment after its confirmation, before that is on disk, and another lane took the role.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from allegro.core.base.errors import EdgeError
from allegro.core.channels import AnotherReader, ChannelError
from allegro.core.chat.inbox import Inbox
from allegro.core.chat.received import Batch, Command, Tap
from allegro.core.chat.taps import button_data
from allegro.lane.chat.links import Turn
from allegro.lane.folder.chat import load_inbox
from allegro.testing.channels import MemoryChat
from allegro.testing.virtual import VirtualClock
from tests.portion import portion

from .chat_world import DIGEST, ROSA, ChatLane, Killed, words

SEEDS = portion(map(str, range(240)), 12)
NAMES = ("a", "b", "c")


class Service(MemoryChat):
    """A chat that has bad moments: `bad` readings in a row end in a conflict or a time-out."""

    bad = 0

    async def receive(self, confirm: int | None = None) -> Batch:
        if self.bad:
            self.bad -= 1
            if self.bad % 2:
                raise AnotherReader("conflict")
            raise ChannelError("no answer", transient=True, kind="unreachable")
        return await super().receive(confirm)


class Trial:
    """Three lanes at one chat; `holder` has the role under `epoch`."""

    def __init__(self, folder: Path, seed: str) -> None:
        self.random = random.Random(seed)
        self.chat, self.clock = Service(), VirtualClock()
        self.lanes = {name: ChatLane(folder, self.chat, self.clock, name) for name in NAMES}
        self.up: dict[str, bool] = dict.fromkeys(NAMES, False)
        self.epoch, self.holder = 1, "a"
        self.kills = self.doubts = 0
        self.asked = {"Stop": 0, "Status": 0}
        self.taps = 0

    async def start(self, name: str) -> None:
        if not self.up[name]:
            lane = self.lanes[name]
            lane.digests = {"r:1": DIGEST}
            lane.turn = Turn(False)
            await lane.start()
            self.up[name] = True
        self._give(self.holder, same=True)

    def _give(self, name: str, *, same: bool = False) -> None:
        """Give the role to a lane; every take-over has the next epoch."""
        if not same:
            before, self.holder = self.holder, name
            self.epoch += 1
            self.alone_since = self.epoch if before != name else self.epoch - 1
        for one in NAMES:
            mine = one == self.holder
            self.lanes[one].turn = Turn(mine, self.epoch if mine else 0, self.alone_since)

    alone_since = 1

    async def step(self, name: str) -> None:
        """Let a lane that is up read and act once; it may die at any point of that."""
        lane = self.lanes[name]
        if not self.up[name]:
            return
        if self.random.random() < 0.25:
            lane.points.at = len(lane.points.passed) + self.random.randrange(12)
        try:
            await lane.step()
        except Killed:
            self.kills += 1
            self.doubts += self._in_doubt(lane)
            await self._died(name)
        lane.points.at = None

    def _in_doubt(self, lane: ChatLane) -> int:
        """Count the commands that the service forgot and of which the lane's disk does not say so."""
        held = {one.number for one in self.chat.queued}
        return sum(
            not one.is_ours and one.number not in held and isinstance(one.content, Command)
            for one in load_inbox(lane.files.chat).waiting
        )

    async def _died(self, name: str) -> None:
        self.up[name] = False
        await self.lanes[name].stop()
        if name == self.holder:
            heirs = [one for one in NAMES if self.up[one]]
            if heirs and self.random.random() < 0.6:
                self._give(self.random.choice(heirs))
            else:  # it comes back before anybody took the role
                await self.start(name)
                self._give(name)

    def say(self) -> None:
        what = self.random.randrange(4)
        if what == 0:
            self.asked["Stop"] += 1
            self.chat.says(ROSA, "/stop")
        elif what < 3:
            self.asked["Status"] += 1
            self.chat.says(ROSA, "/status")
        else:
            self.taps += 1
            data = button_data("approve", "r:1", DIGEST)
            self.chat.arrives(Tap(f"tap-{self.taps}", ROSA, 5, data))

    def spoil(self) -> None:
        """Let the service or a disk have a bad moment."""
        if self.random.random() < 0.5:
            self.chat.bad = self.random.randrange(1, 6)
            return
        lane = self.lanes[self.random.choice(NAMES)]
        good = lane.save

        def refuse_once(_: Inbox) -> None:
            lane.save = good
            raise EdgeError("no space", transient=True, kind="disk_full")

        lane.save = refuse_once

    async def play(self) -> None:
        for name in NAMES:
            await self.start(name)
        for _ in range(40):
            choice = self.random.random()
            if choice < 0.35:
                self.say()
            elif choice < 0.45:
                self.spoil()
            elif choice < 0.52:
                self._give(self.random.choice([one for one in NAMES if self.up[one]] or ["a"]))
            for name in NAMES:
                await self.step(name)
            self.clock.advance(1)
        await self._settle()

    async def _settle(self) -> None:
        """Everybody is up, nothing goes wrong any more, and each lane had the role again."""
        self.chat.bad = 0
        for name in NAMES:
            await self.start(name)
        for name in (*NAMES, *NAMES):
            self._give(name)
            for _ in range(4):
                self.clock.advance(1)
                for one in NAMES:
                    await self.lanes[one].step()


@pytest.mark.parametrize("seed", SEEDS)
async def test_nothing_is_lost_or_done_twice_whatever_happens(tmp_path: Path, seed: str) -> None:
    trial = Trial(tmp_path, seed)
    await trial.play()
    lanes = trial.lanes.values()
    for lane in lanes:
        await lane.stop()
    titles = [one.partition("|")[0] for one in words(trial.chat)]
    for title, asked in trial.asked.items():
        assert asked - trial.doubts <= titles.count(title) <= asked + trial.kills, title
    told = [event for lane in lanes for event in lane.events]
    assert len({one.id for one in told if one.type == "chat.noted"}) == trial.taps
    assert trial.chat.answered.keys() == {f"tap-{n + 1}" for n in range(trial.taps)}
    frozen = [lane for lane in lanes if lane.state.freezes.active]
    assert bool(frozen) is bool(trial.asked["Stop"])
    ids = {one.id for lane in lanes for one in lane.state.freezes.active}
    assert len(ids) <= max(1, trial.asked["Stop"])
    assert await trial.chat.waiting() == 0
    assert all(lane.box.inbox.waiting == () for lane in lanes)
