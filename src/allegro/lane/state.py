"""What a lane holds in memory while it runs, and the two small files behind it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import structlog

from allegro.core.authority.freeze import Freeze, FreezeSet, add, merge, thaw
from allegro.core.authority.gate import LaneTrust, Situation
from allegro.core.authority.lease import Lease
from allegro.core.forge.marks import Mark
from allegro.core.ports import Clock, Journal
from allegro.lane.seen_label import HomeLabel

_log = structlog.get_logger()
CLOCK_LIMIT_S = 30.0
HOUSE_S = 15.0


class Done(msgspec.Struct, frozen=True):
    """The last thing this lane did, for heartbeat and health."""

    what: str = "started"
    at_s: float = 0.0


class LaneState:
    """Trust, freezes, leases and health, with one place to ask for the Situation.

    `save_freezes` and `save_trust` write the files; a set is kept in memory only once it is on
    disk, except a freeze: that counts at once.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        journal: Journal,
        held: LaneTrust,
        freezes: FreezeSet,
        forge: str,
        save_freezes: Callable[[FreezeSet], None],
        save_trust: Callable[[LaneTrust], None],
        safe_mode: bool,
        watches: tuple[str, ...] = (),
    ) -> None:
        self._clock = clock
        self._journal = journal
        self.held = held
        self.freezes = freezes
        self.forge = forge
        self._save_freezes = save_freezes
        self._save_trust = save_trust
        self.safe_mode = safe_mode
        self.disk_ok = True
        self.leases: dict[str, Lease] = {}
        self.refused_repositories: dict[int, str] = {}
        self.house_offset_s: float | None = None
        self.house_heard_s: float | None = None
        self.forge_offset_s: float | None = None
        self.home_label = HomeLabel(clock)
        self.done = Done()
        self.forge_trouble = ""
        self.watches = watches
        self.home_marks: dict[str, Mark] = {}
        self.sibling_marks: dict[str, dict[str, Mark]] = {}
        self.relist = False
        self.reconcile = False
        self._freeze_listeners: list[Callable[[], None]] = []
        self._trust_listeners: list[Callable[[], None]] = []

    @property
    def clock_trusted(self) -> bool:
        """Whether our clock is near the house's or the forge's: off from both means no."""
        offsets = [o for o in (self.house_offset_s, self.forge_offset_s) if o is not None]
        return any(abs(offset) <= CLOCK_LIMIT_S for offset in offsets)

    @property
    def has_room(self) -> bool:
        """Whether journal and disk can take what an effect must leave behind."""
        return self._journal.has_room and self.disk_ok

    def situation(self) -> Situation:
        return Situation(
            freezes=self.freezes,
            boot_s=self._clock.boot_s(),
            now_s=self._clock.now_s(),
            clock_trusted=self.clock_trusted,
            room=self.has_room,
            safe_mode=self.safe_mode,
            forge=self.forge,
            refused_repositories=self.refused_repositories,
        )

    def acting_lease(self, role: str) -> Lease | None:
        """Return the lease to act under: it ends `HOUSE_S` after the house was last heard.

        A lane that is cut off cannot be told to stop, so it waits (S5, S6); it reads on.
        """
        lease, heard_s = self.leases.get(role), self.house_heard_s
        if lease is None or heard_s is None:
            return None
        until_s = min(lease.until_boot_s, heard_s + HOUSE_S)
        return msgspec.structs.replace(lease, until_boot_s=until_s)

    def heard_house(self, house_now_s: float) -> None:
        """Note that the house spoke just now, and how far our clock is from its."""
        self.house_heard_s = self._clock.boot_s()
        self.house_offset_s = self._clock.now_s() - house_now_s

    def did(self, what: str) -> None:
        self.done = Done(what, self._clock.now_s())

    def keep_trust(self, held: LaneTrust) -> None:
        """Take a new trust. Raises EdgeError, keeping the old one, when it cannot be written."""
        if held != self.held:
            self._save_trust(held)
            self.held = held
            for listener in self._trust_listeners:
                listener()

    def on_trust(self, listener: Callable[[], None]) -> None:
        """Tell when whom this lane believes has changed."""
        self._trust_listeners.append(listener)

    def on_freeze(self, listener: Callable[[], None]) -> None:
        """Tell when acts stop: at each freeze, wherever it came from."""
        self._freeze_listeners.append(listener)

    def _tell_freeze(self) -> None:
        if not self.freezes.is_thawed:
            for listener in self._freeze_listeners:
                listener()

    def freeze(self, freeze: Freeze) -> None:
        """Freeze at once; a disk that refuses does not stop a freeze."""
        self.freezes = add(self.freezes, freeze)
        self._tell_freeze()
        self._save_freezes(self.freezes)

    def told_freezes(self, freezes: tuple[Freeze, ...]) -> None:
        """Take the house's set by union; from now on the set is known."""
        self.merge_freezes(FreezeSet(freezes))

    def merge_freezes(self, theirs: FreezeSet) -> None:
        """Take freezes over by union, wherever they come from. No thaw comes this way."""
        told = merge(self.freezes, theirs)
        if told != self.freezes:
            self.freezes = told
            self._tell_freeze()
            self._save_freezes(told)

    def thaw(self, freeze_ids: tuple[str, ...]) -> None:
        """Lift freezes whose thaw was verified; kept only once it is on disk."""
        thawed = thaw(self.freezes, freeze_ids)
        if thawed != self.freezes:
            self._save_freezes(thawed)
            self.freezes = thawed
