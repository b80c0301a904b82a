"""What a stolen sibling writes into the council, seeded: pages and records of every odd kind."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec

from allegro.core.authority.freeze import Freeze
from allegro.core.authority.lease import ANYBODY, MAX_EPOCH, MAX_LEASE_S, ROLES, Record
from allegro.core.base.untrusted import Unreadable, read_json
from allegro.core.forge.marks import Mark
from allegro.core.protocol.pages import MAX_VALUE, Page

from . import values as bad

PAGES = ("garbage page", "idle", "freezes", "long freeze", "marks")
RECORDS = ("garbage record", "usurp", "name", "stranger", "offer")
SERVER = "server"
"""Answers in the place of the true server: on real servers alone."""


class Thief:
    """One stolen lane with its plot: two to four kinds of lies. `others` are the honest lanes."""

    def __init__(
        self, name: str, others: tuple[str, ...], seed: str, kinds: tuple[str, ...]
    ) -> None:
        self.dice = random.Random(seed)
        self.name, self.others = name, others
        self.plot = tuple(self.dice.sample(kinds, self.dice.randint(2, min(4, len(kinds)))))
        self._pages = list(bad.bent_json(_plain(self._page(("forge",)))))
        self._records = list(bad.bent_json(_plain(Record(name, "p", 1, "x", 1, 5.0))))

    @property
    def may_hold(self) -> bool:
        """Whether it takes the role as any lane may: while it holds it well, nobody else polls."""
        return "usurp" in self.plot

    @property
    def is_quiet(self) -> bool:
        """Whether it leaves the registers alone, so that the honest lanes can keep the roles."""
        return not {*RECORDS, SERVER} & set(self.plot)

    def next(self, register: bytes) -> tuple[str, bytes]:
        """Return the key and the bytes of its next lie; `register` is what the role holds now."""
        kind = self.dice.choice([one for one in self.plot if one != SERVER] or ["idle"])
        if kind in PAGES:
            return "page." + self.name, self._lie(kind)[:MAX_VALUE]
        return "role.forge", self._record(kind, register)[:MAX_VALUE]

    def _page(self, ready: tuple[str, ...], **words: Any) -> Page:
        return Page(self.name, 1.0, ready, house_linked=True, done="polled", version="1", **words)

    def _lie(self, kind: str) -> bytes:
        dice = self.dice
        if kind == "garbage page":
            return dice.choice(self._pages)[1]
        if kind == "freezes":
            ids = [
                f"{dice.randrange(10**9)}" + dice.choice(["", "-b", " \x1b[2J"]) for _ in range(60)
            ]
            some = tuple(Freeze(id_, dice.choice([1.0, 2.0**60]), "x", "y") for id_ in ids)
            return msgspec.json.encode(self._page(ROLES, freezes=some))
        if kind == "long freeze":
            long = Freeze(f"long{dice.randrange(5)}", 1.0, "x", "y" * 32_000)
            return msgspec.json.encode(self._page(ROLES, freezes=(long,)))
        if kind == "marks":
            many = {f"acme/{n}" + "z" * 90: Mark(2**40, 5.0) for n in range(150)}
            return msgspec.json.encode(self._page(ROLES, marks=many))
        return msgspec.json.encode(self._page(ROLES))

    def _record(self, kind: str, register: bytes) -> bytes:
        dice = self.dice
        if kind == "garbage record":
            return dice.choice(self._records)[1]
        known = read_json(register, Record)
        if isinstance(known, Unreadable):
            known = Record(self.name, "p", 1)
        epoch = dice.choice([1, known.epoch, min(known.epoch + 1, MAX_EPOCH), MAX_EPOCH])
        lie = msgspec.structs.replace(
            known, epoch=epoch, lease_s=dice.choice([0.0, float(MAX_LEASE_S)]), offered=""
        )
        holder = {"usurp": self.name, "stranger": "nobody"}.get(kind, dice.choice(self.others))
        offered = dice.choice([*self.others, self.name, ANYBODY]) if kind == "offer" else ""
        return msgspec.json.encode(msgspec.structs.replace(lie, holder=holder, offered=offered))


def _plain(value: object) -> Any:
    return json.loads(msgspec.json.encode(value))
