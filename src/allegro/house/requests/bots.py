"""Which users of the forge are our bots, and whose word that is.

What a lane names when it is first heard counts for good. What it names later counts until it is
revoked: else a stolen lane could call the owner a bot, and each of his comments would freeze the
fleet for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from allegro.core.base.untrusted import whole_number
from allegro.core.stores import Ledger

NAME = "bots"
_HEARD = "lanes that named bots"
MAX_BOTS = 64
MAX_LANES = 64


def bots_in(kept: Iterable[str]) -> dict[int, frozenset[str]]:
    """Read the ledger's words: user id → the lanes whose word it is, none where it counts for good."""
    found: dict[int, frozenset[str]] = {}
    for one in kept:
        digits, _, lane = one.partition(" ")
        if number := whole_number(digits):
            lanes = found.get(number)
            for_good = not lane or lanes == frozenset()
            found[number] = frozenset() if for_good else (lanes or frozenset()) | {lane}
    return found


class Bots:
    """The ids of our bots, kept in the ledger. `revoked` names the lanes whose word is void."""

    def __init__(self, ledger: Ledger, revoked: Callable[[], frozenset[str]]) -> None:
        self._ledger = ledger
        self._revoked = revoked
        self._named: dict[int, frozenset[str]] = {}
        self._heard: tuple[str, ...] = ()

    @property
    def ids(self) -> frozenset[int]:
        return frozenset(self._named)

    async def resume(self) -> None:
        """Take up what the ledger keeps."""
        self._named = bots_in(await self._ledger.strings(NAME))
        self._heard = await self._ledger.strings(_HEARD)

    async def learn(self, lane: str, ids: set[int]) -> tuple[list[int], int]:
        """Take up ids that a lane names; return those that are new by its later word, and how many
        were too many. Raises EdgeError of the ledger."""
        await self.forget_revoked()
        is_first = lane not in self._heard
        named, later, left = dict(self._named), [], 0
        for id_ in sorted(ids - {0}):
            held = named.get(id_)
            if held is None and len(named) >= MAX_BOTS:
                left += 1
            elif is_first:
                named[id_] = frozenset()
            elif held is None or (held and lane not in held):
                named[id_] = (held or frozenset()) | {lane}
                later += [id_] if held is None else []
        await self._keep(named)
        if is_first and ids - {0} and len(self._heard) < MAX_LANES:
            heard = (*self._heard, lane)
            await self._ledger.set_strings(_HEARD, heard)
            self._heard = heard
        return later, left

    async def forget_revoked(self) -> None:
        """Forget what revoked lanes named later and no other lane did."""
        revoked = self._revoked()
        if revoked and any(lanes & revoked for lanes in self._named.values()):
            named = {
                id_: lanes - revoked
                for id_, lanes in self._named.items()
                if not lanes or lanes - revoked
            }
            await self._keep(named)

    async def _keep(self, named: dict[int, frozenset[str]]) -> None:
        if named != self._named:
            words = [
                f"{id_} {lane}".strip()
                for id_ in sorted(named)
                for lane in sorted(named[id_]) or [""]
            ]
            await self._ledger.set_strings(NAME, tuple(words))
            self._named = named
