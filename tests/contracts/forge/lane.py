"""A lane without a link: our adapter, executor and journal, and a house that signs orders."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from allegro.adapters.clock import SystemClock, SystemDice
from allegro.adapters.crypto.signatures import SigningKey, verify
from allegro.adapters.gitea.http import GiteaHttp
from allegro.adapters.gitea.reader import GiteaReader
from allegro.adapters.gitea.writer import GiteaWriter
from allegro.adapters.sqlite.journal import SqliteJournal, open_journal
from allegro.core.authority.actions.families import action_bytes, action_digest
from allegro.core.authority.actions.family import Action
from allegro.core.authority.actions.forge import (
    CreatePullRequest,
    FileChange,
    MirrorRequest,
    ProposeChange,
    RepositoryRef,
    git_blob_id,
)
from allegro.core.authority.freeze import FreezeSet
from allegro.core.authority.gate import LaneTrust, Permit, Presented, Situation, Trust, judge_order
from allegro.core.authority.lease import Lease
from allegro.core.authority.tokens import Approval, Order, issue_token
from allegro.core.base.errors import EdgeError
from allegro.core.base.events import Event
from allegro.core.base.sequence import Kept
from allegro.core.effects.findings import WriteStep
from allegro.core.forge.issues import Issue, Repository
from allegro.core.ports import Dress
from allegro.core.protocol.answers.forge import Listing
from allegro.core.settings import ForgeSettings, LaneIdentity, LaneSettings
from allegro.lane.context import Context
from allegro.lane.context.ports import Ports
from allegro.lane.context.recorder import Author, Recorder
from allegro.lane.context.state import KeptState, LaneState
from allegro.lane.effects.effect_reader import Looking
from allegro.lane.effects.executor import Executor, Rules
from allegro.lane.effects.queries import Queries
from allegro.lane.folder.files import LaneFiles
from allegro.lane.forge.triage import Triage

from .forge_backends import Site
from .people import MAIN, People

FORGE, FLEET, LANE = "forge.test", "fleet", "lane"
TTL_S = 60
USE_SITE: Any = object()


class ClearSealer:
    """Seals nothing, so that a test can read what was told."""

    def seal(self, event_id: str, words: bytes) -> bytes:
        del event_id
        return words


class Refusing:
    """A writer whose forge says no to one step."""

    def __init__(self, writer: GiteaWriter, step: WriteStep) -> None:
        self._writer, self._step = writer, step

    async def perform(self, permit: Permit, step: WriteStep, dress: Dress, target: int) -> None:
        if step is self._step:
            raise EdgeError("403 the hook says no", transient=False, status=403, kind="forbidden")
        await self._writer.perform(permit, step, dress, target)


@dataclass(frozen=True)
class Outcome:
    """How an order ended: the last event's type, its clear data and its words."""

    type: str
    data: dict[str, Any]
    words: Any
    writes: int

    @property
    def reason(self) -> str:
        return str(self.data.get("reason", ""))


class Lane:
    """Carries out orders for real, on a forge and a journal on disk."""

    def __init__(self, site: Site, people: People, journal: SqliteJournal) -> None:
        self._site, self._people = site, people
        self._clock, self._dice = SystemClock(), SystemDice()
        self._house, self._sovereign = SigningKey.make(), SigningKey.make()
        self._http = GiteaHttp(site.url, lambda: site.daily, timeout_s=15.0)
        self.journal = journal
        self.reader = GiteaReader(self._http)
        self.writer = GiteaWriter(self._http, self.reader, self._clock.now_s)
        self.recorder = Recorder(
            journal, ClearSealer(), self._clock, self._dice, by=Author(LANE, b"s" * 32)
        )
        self.executor = self.executor_with()
        self.looking = Looking(self.reader, people.bots)
        self.queries = Queries(
            self.reader,
            self.looking,
            people.bots,
            FORGE,
            lambda _: Listing((), ()),
        )

    @classmethod
    async def open(cls, site: Site, people: People, path: Path) -> Lane:
        journal = await open_journal(
            path,
            cap_bytes=64 * 1024 * 1024,
            reserved_share=0.1,
            new_id="journal",
            now_s=SystemClock().now_s,
            gap_event=_no_gap,
        )
        return cls(site, people, journal)

    async def close(self) -> None:
        await self._http.close()
        await self.journal.close()

    def executor_with(
        self, *, forbidden: tuple[str, ...] = (), accepted: tuple[str, ...] = (),
        refuse: WriteStep | None = None, shadow: bool = False,
    ) -> Executor:  # fmt: skip
        writer = self.writer if refuse is None else Refusing(self.writer, refuse)
        rules = Rules(
            bots=self._people.bots, forbidden=forbidden, accepted=accepted, write_s=15.0,
            shadow=shadow,
        )  # fmt: skip
        return Executor((self.reader, writer), self.recorder, self._clock, self._situation, rules)

    def executor_over(self, http: GiteaHttp) -> Executor:
        """Return an executor with a connection of its own."""
        reader = GiteaReader(http)
        writer = GiteaWriter(http, reader, self._clock.now_s)
        rules = Rules(bots=self._people.bots, write_s=15.0)
        return Executor((reader, writer), self.recorder, self._clock, self._situation, rules)

    def fresh_reader(self) -> GiteaReader:
        """Return a reader that has learnt nothing yet, on the same connection."""
        return GiteaReader(self._http)

    # actions

    def pin(self, repo: Repository) -> dict[str, Any]:
        """Return what every action of one repository begins with: a new random id, the pins."""
        return {
            "id": self._dice.token(16).hex(),
            "forge": FORGE,
            "repository": RepositoryRef(repo.id, repo.name),
        }

    def change(
        self, repo: Repository, base_commit: str, *files: FileChange, **more: Any
    ) -> ProposeChange:
        fields: dict[str, Any] = {
            "base": MAIN,
            "base_commit": base_commit,
            "branch": "fix/one",
            "title": "Mend the thing",
            "body": "Because it is broken.",
            "allow_ci_paths": False,
        }
        return ProposeChange(**self.pin(repo), **{**fields, **more}, files=files)

    # orders

    def dress(self, action: Action, change_token: Any = USE_SITE) -> Dress:
        digest = action_digest(action_bytes(action))
        named = action.request if isinstance(action, MirrorRequest) else digest
        branch = ""
        if isinstance(action, ProposeChange):
            branch = f"{action.branch}-{digest[:12]}"
        elif isinstance(action, CreatePullRequest):
            branch = action.head
        token = self._site.change if change_token is USE_SITE else change_token
        return Dress(branch, f"marker-{named[:32]}", token)

    def permit(self, action: Action) -> Permit:
        """Return the gate's permit for a new order, with a new approval, of this action."""
        raw = action_bytes(action)
        now_s, digest = int(self._clock.now_s()), action_digest(raw)
        order = Order(
            aud=FLEET, lane=LANE, challenge="c", number=1, digest=digest, seat=1, ttl_s=TTL_S
        )
        approval = Approval(aud=FLEET, digest=digest, exp=now_s + 600, iat=now_s, seat=1)
        shown = Presented(
            issue_token(order, "house:1", self._house.sign),
            raw,
            issue_token(approval, "sovereign:1", self._sovereign.sign),
        )
        made_s = self._clock.boot_s()
        judged = judge_order(
            shown,
            self._trust,
            self._situation(),
            take_challenge=lambda _: made_s,
            verify=verify,
        )
        assert isinstance(judged, Permit), judged
        return judged

    async def order(
        self, action: Action, change_token: Any = USE_SITE, executor: Executor | None = None
    ) -> Outcome:
        """Carry out a new order for an action; return how it ended."""
        before = self.journal.head.seq
        permit, dress = self.permit(action), self.dress(action, change_token)
        await (executor or self.executor).carry_out(permit, dress)
        events = await self.events(before)
        last = events[-1]
        words = msgspec.json.decode(last.sealed) if last.sealed else None
        writes = sum(event.type == "action.intent" for event in events)
        return Outcome(last.type, last.data, words, writes)

    async def events(self, after_seq: int = 0) -> list[Event]:
        entries = await self.journal.read(after_seq, 50_000_000, 100_000)
        return [
            msgspec.json.decode(entry.body, type=Event)
            for entry in entries
            if isinstance(entry, Kept)
        ]

    # under the lease

    def triage(self) -> Triage:
        """Return the triage duty, holding its lease."""
        state = LaneState(
            clock=self._clock,
            journal=self.journal,
            kept=KeptState(LaneTrust(self._trust), FreezeSet(), _forget, _forget),
            forge=FORGE,
            safe_mode=False,
        )
        until_s = self._clock.boot_s() + 60.0
        state.heard_house(self._clock.now_s())
        state.leases["forge"] = Lease("forge", LANE, 1, until_s)
        forge = ForgeSettings(url=self._site.url, token_file="", watch=(), bots=())
        ports = Ports(
            clock=self._clock, dice=self._dice, journal=self.journal, sealer=ClearSealer(),
            reader=self.reader, writer=self.writer,
        )  # fmt: skip
        settings = LaneSettings(LaneIdentity(LANE, ""), forge)
        ctx = Context(settings, LaneFiles(Path()), ports, state, self.recorder)
        return Triage(ctx, self._people.bots)

    async def mark_seen(self, repo: Repository, issue: Issue) -> None:
        """Let a lane that has just begun look at this issue, and do what it does with new ones."""
        triage = self.triage()
        triage.offer(repo.name, repo, issue, since_s=0)
        await triage.work()

    @property
    def _trust(self) -> Trust:
        return Trust(
            fleet=FLEET,
            lane=LANE,
            sovereign=self._sovereign.public,
            sovereign_number=1,
            house=self._house.public,
            house_number=1,
            recovery=b"",
            seat=1,
        )

    def _situation(self) -> Situation:
        return Situation(
            freezes=FreezeSet(),
            boot_s=self._clock.boot_s(),
            now_s=self._clock.now_s(),
            clock_trusted=True,
            room=True,
            safe_mode=False,
            forge=FORGE,
        )


def create(path: str, content: bytes) -> FileChange:
    return FileChange(path, "create", "100644", None, _encoded(content))


def update(path: str, before: bytes, content: bytes, *, mode: str = "100644") -> FileChange:
    """Change a file whose content is `before` now."""
    return FileChange(path, "update", mode, git_blob_id(before, like="0" * 40), _encoded(content))


def delete(path: str, before: bytes) -> FileChange:
    return FileChange(path, "delete", "100644", git_blob_id(before, like="0" * 40), None)


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _no_gap(reason: str, first: int, last: int, shed: int, count: int) -> Event:
    raise AssertionError(f"the journal shed something: {reason} {first} {last} {shed} {count}")


def _forget(_: object) -> None:
    """Keep nothing: a lane of the contract ends with its test."""
