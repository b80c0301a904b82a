"""What a lane holds in memory while it runs, and the two small files behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

import msgspec
import structlog

from allegro.core.authority.freeze import Freeze, FreezeSet, add, merge, thaw
from allegro.core.authority.gate import LaneTrust, Situation
from allegro.core.authority.lease import Lease, holds
from allegro.core.forge.marks import Mark
from allegro.core.ports import Clock, Journal
from allegro.lane.context.house_word import HouseWord
from allegro.lane.context.seen_label import HomeLabel

_log = structlog.get_logger()
CLOCK_LIMIT_S = 30.0
HOUSE_S = 15.0


class Done(msgspec.Struct, frozen=True):
    """The last thing this lane did, for heartbeat and health."""

    what: str = "started"
    at_s: float = 0.0


def _drop(value: object) -> None:
    del value


class KeptState(msgspec.Struct, frozen=True):
    """What of the state is on disk: as it was read, and how it is written. Saving raises EdgeError.

    `muted` are the senders (channel:person) whose stops by chat count no more.
    """

    held: LaneTrust
    freezes: FreezeSet
    save_freezes: Callable[[FreezeSet], None]
    save_trust: Callable[[LaneTrust], None]
    muted: frozenset[str] = frozenset()
    save_muted: Callable[[frozenset[str]], None] = _drop


class LaneState:
    """Trust, freezes, leases and health, with one place to ask for the Situation.

    Everybody reads it; what is public is written by the methods below alone, each named after what
    happened. A set is kept in memory only once it is on disk, except a freeze: that counts at once.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        journal: Journal,
        kept: KeptState,
        forge: str,
        safe_mode: bool,
        watches: tuple[str, ...] = (),
    ) -> None:
        self._clock = clock
        self._journal = journal
        self.held = kept.held
        self.freezes = kept.freezes
        self.muted = kept.muted
        self.forge = forge
        self._save_freezes = kept.save_freezes
        self._save_trust = kept.save_trust
        self._save_muted = kept.save_muted
        self.safe_mode = safe_mode
        self.disk_ok = True
        self.leases: dict[str, Lease] = {}
        self.refused_repositories: dict[int, str] = {}
        self.house_offset_s: float | None = None
        self.house_heard_s: float | None = None
        self.forge_offset_s: float | None = None
        self.home_label = HomeLabel(clock)
        self.house_word = HouseWord()
        self.done = Done()
        self.forge_trouble = ""
        self.watches = watches
        self.home_marks: dict[str, Mark] = {}
        self.sibling_marks: dict[str, dict[str, Mark]] = {}
        self.relist = False
        self.reconcile = False
        self.bots: frozenset[int] | None = None
        self._bots_known = asyncio.Event()
        self._audit_listeners: list[Callable[[], None]] = []
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

        A lane that is cut off cannot hear a stop, so it waits (S5, S6); it reads on.
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

    def heard_forge(self, date_s: int) -> None:
        """Note the forge's clock (Unix s) of just now, 0 when its answers tell none."""
        self.forge_offset_s = self._clock.now_s() - date_s if date_s else None

    def did(self, what: str) -> None:
        self.done = Done(what, self._clock.now_s())

    def forge_failed(self, trouble: str) -> None:
        """Note what is wrong with the forge, in words; empty when all of it answers."""
        self.forge_trouble = trouble

    def disk_seen(self, *, is_ok: bool) -> None:
        """Note whether the disk has the room that the configuration asks for."""
        self.disk_ok = is_ok

    def safe_mode_began(self) -> None:
        """Act no more: too many bugs or crashes."""
        self.safe_mode = True

    def safe_mode_ended(self) -> None:
        """Act again."""
        self.safe_mode = False

    # --- whose the daily token is ---------------------------------------------------------------

    def audited(self, bots: frozenset[int]) -> None:
        """Note an audit that held: `bots` are the forge's ids of the fleet's own users."""
        self.bots = bots
        self._bots_known.set()
        for listener in self._audit_listeners:
            listener()

    def on_audit(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each audit that held."""
        self._audit_listeners.append(listener)

    async def known_bots(self) -> frozenset[int]:
        """Return the ids of the fleet's own users; waits for the first audit that holds."""
        await self._bots_known.wait()
        assert self.bots is not None
        return self.bots

    def repository_audited(self, repository_id: int, against: str | None) -> None:
        """Note why nothing may be written to a repository; None when it may."""
        if against is None:
            self.refused_repositories.pop(repository_id, None)
        else:
            self.refused_repositories[repository_id] = against

    # --- roles ------------------------------------------------------------------------------------

    def held_roles(self) -> dict[str, int]:
        """Return the roles this lane holds now, with their epochs."""
        boot_s = self._clock.boot_s()
        return {role: one.epoch for role, one in self.leases.items() if holds(one, boot_s)}

    def lease_written(self, role: str, lease: Lease) -> None:
        """Hold a role under this lease: the council stored it."""
        self.leases[role] = lease

    def lease_given_up(self, role: str) -> bool:
        """Hold a role no more; return whether there was a lease."""
        return self.leases.pop(role, None) is not None

    def council_changed(self) -> None:
        """Hold nothing: another council begins, and no lease of the former counts."""
        self.leases.clear()

    # --- what is home, and what the other lanes say -----------------------------------------------

    def house_named_marks(self, marks: Mapping[str, Mark]) -> None:
        """Take the house's marks at its log-in; what other lanes said before counts no more."""
        self.home_marks = dict(marks)
        self.sibling_marks.clear()

    def marks_came_home(self, marks: Mapping[str, Mark]) -> None:
        """Note marks whose events the house has acknowledged."""
        self.home_marks = {**self.home_marks, **marks}

    def peer_named_marks(self, lane: str, marks: Mapping[str, Mark]) -> None:
        """Take the marks of another lane's page."""
        self.sibling_marks[lane] = dict(marks)

    def peers_left(self, members: Collection[str]) -> None:
        """Forget the marks of lanes that are not among these members of the council."""
        for gone in set(self.sibling_marks) - set(members):
            del self.sibling_marks[gone]

    def house_lost_events(self) -> None:
        """Note that the house lost events it had acknowledged: all is journalled anew."""
        self.relist = True

    def listed_anew(self) -> None:
        """Note that the journal's versions were forgotten, so that all is listed anew."""
        self.relist = False

    def journal_restarted(self) -> None:
        """Note that the journal began anew: each repository is compared as a whole."""
        self.reconcile = True

    def comparison_begun(self) -> None:
        """Note that each repository is compared as a whole at the next poll."""
        self.reconcile = False

    # --- trust and freezes ------------------------------------------------------------------------

    def keep_trust(self, held: LaneTrust) -> None:
        """Take a new trust. Raises EdgeError, keeping the old one, when it cannot be written."""
        if held != self.held:
            self._save_trust(held)
            self.held = held
            for listener in self._trust_listeners:
                listener()

    def on_trust(self, listener: Callable[[], None]) -> None:
        """Call `listener` when whom this lane believes has changed."""
        self._trust_listeners.append(listener)

    def on_freeze(self, listener: Callable[[], None]) -> None:
        """Call `listener` when acts stop: at each freeze, wherever it came from."""
        self._freeze_listeners.append(listener)

    def _call_freeze_listeners(self) -> None:
        if not self.freezes.is_thawed:
            for listener in self._freeze_listeners:
                listener()

    def freeze(self, freeze: Freeze) -> None:
        """Freeze at once; a disk that refuses does not stop a freeze."""
        self.freezes = add(self.freezes, freeze)
        self._call_freeze_listeners()
        self._save_freezes(self.freezes)

    def house_named_freezes(self, freezes: tuple[Freeze, ...]) -> None:
        """Take the house's set by union; from now on the set is known."""
        self.merge_freezes(FreezeSet(freezes))

    def merge_freezes(self, theirs: FreezeSet) -> None:
        """Take freezes over by union, wherever they come from. No thaw comes this way."""
        merged = merge(self.freezes, theirs)
        if merged != self.freezes:
            self.freezes = merged
            self._call_freeze_listeners()
            self._save_freezes(merged)

    def thaw(self, freeze_ids: tuple[str, ...]) -> None:
        """Lift freezes whose thaw was verified; kept only once it is on disk."""
        thawed = thaw(self.freezes, freeze_ids)
        if thawed != self.freezes:
            self._save_freezes(thawed)
            self.freezes = thawed

    def mute(self, muted: frozenset[str]) -> None:
        """Take whose stops by chat count no more, as a verified thaw says; kept only once on disk."""
        if muted != self.muted:
            self._save_muted(muted)
            self.muted = muted
