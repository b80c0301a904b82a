"""What lanes report moves requests; what polls show under our name must be known to the house."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from allegro.adapters.sqlite.archive import SqliteArchive, open_archive
from allegro.core.authority.actions.forge import ProposeChange, RepositoryRef
from allegro.core.authority.freeze import Freeze
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.base.events import Event, decode_event, encode_event
from allegro.core.base.sequence import Kept
from allegro.core.base.timestamps import rfc3339
from allegro.core.chat.taps import request_subject
from allegro.core.effects.matching import GRACE_S
from allegro.core.effects.receipts import (
    branch_receipts,
    commit_name,
    content_of,
    ordered_commit_name,
    words_name,
)
from allegro.core.health import codes
from allegro.core.health.alerts import sentence_of
from allegro.core.protocol.queries import Params
from allegro.core.requests.lifecycle import State, Step
from allegro.core.requests.requests import NOTED, Request, noted_on, parsed
from allegro.core.requests.work import work_of
from allegro.core.stores import SetAside
from allegro.house.files import KnownLane
from allegro.house.ports import Ports, Reactions
from allegro.house.requests.chat_notes import MOST_NOTES
from allegro.house.requests.follow import FleetView, Follow
from allegro.house.requests.ordered_effects import Names
from allegro.testing.virtual import BOT, HUMAN, SeededDice, VirtualClock
from tests.core.builders import FORGE
from tests.duties.alerts import noted

from .house import FLEET, LANE, House

TIME = "2030-01-01T00:00:00Z"
ISSUE = f"{FORGE}/7#3"
RECHECK_S = 5.0
FOLLOWED_FLEET = msgspec.structs.replace(FLEET, began_s=0.0)


class Followed:
    """A house that follows an archive into which lanes bring events."""

    def __init__(self, house: House, archive: SqliteArchive) -> None:
        self.house = house
        self.archive = archive
        self.behind: set[str] = set()
        self.frozen: list[Freeze] = []
        self.alerts: list[tuple[str, str]] = []
        self.aside: list[SetAside] = []
        self.ours = ""
        self.fleet = FOLLOWED_FLEET
        self._seq: dict[str, int] = {}
        self._ids = 0
        self.follow: Follow

    async def start(self) -> None:
        house = self.house
        self.follow = Follow(
            Ports(self.archive, house.ledger, house.clock, SeededDice(3), _open), house.requests,
            FleetView(
                lambda: self.fleet, self._freeze, self.frozen.append, self._saved, lambda: house.is_linked, self.is_home,
                house.ask_lane,
            ),
            Reactions(
                noted(self.alerts),
                self._set_aside,
            ),
            Names("triage/seen", self.fleet.secret),
        )  # fmt: skip
        await self.follow.resume()

    async def _set_aside(self, aside: SetAside, stored: bytes) -> None:
        self.aside.append(aside)

    async def _freeze(self, freeze: Freeze, lane: str) -> None:
        self.frozen.append(freeze)

    async def _saved(self) -> None:
        pass

    async def bring(
        self, type_: str, *, lane: str = LANE, subject: str = "", words: Any = None, **data: Any
    ) -> None:
        """Archive one event of a lane, and let the house read on."""
        self._ids += 1
        event = Event(
            f"e{self._ids}", type_, f"lane:{lane}", TIME, subject=subject, data=data,
            sealed=b"" if words is None else msgspec.json.encode(words),
        )  # fmt: skip
        await self.bring_raw(encode_event(event), lane)

    async def bring_raw(self, body: bytes, lane: str = LANE) -> None:
        seq = self._seq.get(lane, 0) + 1
        taken = await self.archive.take(
            lane, "j-" + lane, seq, [Kept(body)], self.house.clock.now_s()
        )
        assert not isinstance(taken, Refusal)
        self._seq[lane] = seq
        await self.step()

    async def step(self) -> None:
        """Follow once, and wait until no lane is asked any more."""
        await self.follow.step()
        await self.follow.idle()

    async def live(self, seconds: float) -> None:
        until_s = self.house.clock.boot_s() + seconds
        while self.house.clock.boot_s() < until_s:
            await self.step()
            self.house.clock.advance(min(RECHECK_S, until_s - self.house.clock.boot_s()))
        await self.step()

    async def bots_known(self) -> None:
        await self.bring("audit.done", bots=[BOT])

    async def comment_seen(
        self, comment: int, content: str, by: int = BOT, *, edited_s: int = 0
    ) -> None:  # fmt: skip
        """Let a poll show a comment on issue 3."""
        at_s = int(self.house.clock.now_s())
        content = self.ours if content == "our-words" else content
        await self.bring(
            "forge.snapshot.comment", subject=f"{FORGE}/7/comment/{comment}", repository=7,
            number=3, comment=comment, author_id=by, created_s=at_s, updated_s=at_s + edited_s,
            content=content,
        )  # fmt: skip

    async def ordered_comment(self) -> Request:
        request = await self.house.comment()
        await self.house.step()
        self.ours = words_of(request)
        return self.house.now(request)

    async def receipt(
        self, request: Request, artifact: int, content: str, *, lane: str = LANE, order: int = 0
    ) -> None:
        content = words_of(request) if content == "our-words" else content
        await self.bring(
            "action.receipt", lane=lane, subject=request.target, words={"url": "u"},
            digest=request.digest, order=order or request.order_number, artifact=artifact,
            content=content,
        )  # fmt: skip

    def is_home(self, lane: str) -> bool:
        return lane not in self.behind

    def state_of(self, request: Request) -> State:
        return self.house.now(request).state


def words_of(request: Request) -> str:
    """Name the words of a request as polls show them."""
    marker = work_of(request, FOLLOWED_FLEET.marker).delivery.marker
    return content_of(parsed(request), marker, FOLLOWED_FLEET.secret)


def _open(event: Event) -> Any:
    return msgspec.json.decode(event.sealed) if event.sealed else None


@pytest.fixture
async def followed(tmp_path: Path) -> AsyncIterator[Followed]:
    house = House(tmp_path, VirtualClock())
    await house.start()
    made = Followed(house, open_archive(tmp_path / "archive.db", quota_bytes=10**9))
    await made.start()
    yield made
    await made.archive.close()
    await house.ledger.close()


async def test_a_receipt_settles_its_request_and_covers_what_polls_show(
    followed: Followed,
) -> None:
    await followed.bots_known()
    request = await followed.ordered_comment()
    await followed.receipt(request, 44, "our-words")
    assert followed.state_of(request) is State.DONE
    assert followed.house.now(request).artifact == 44

    await followed.comment_seen(44, "our-words")
    await followed.live(2 * GRACE_S)
    assert (followed.frozen, followed.alerts) == ([], [])
    assert await followed.house.ledger.bot_writes() == []


async def test_what_people_write_is_nobodys_business(followed: Followed) -> None:
    await followed.bots_known()
    await followed.comment_seen(45, "words", by=HUMAN)
    assert await followed.house.ledger.bot_writes() == []


async def test_our_comment_with_other_words_is_told_and_does_not_freeze(
    followed: Followed,
) -> None:
    await followed.bots_known()
    request = await followed.ordered_comment()
    await followed.receipt(request, 44, "our-words")
    await followed.comment_seen(44, "words somebody edited", edited_s=30)
    await followed.live(60)
    assert [urgency for urgency, _ in followed.alerts] == ["high"]
    assert followed.frozen == []


async def test_a_second_copy_of_our_comment_is_told_once_and_does_not_freeze(
    followed: Followed,
) -> None:
    await followed.bots_known()
    request = await followed.ordered_comment()
    await followed.receipt(request, 44, "our-words")
    await followed.comment_seen(45, "our-words")
    await followed.live(60)
    assert [urgency for urgency, _ in followed.alerts] == ["high"]
    assert "also 44" in followed.alerts[0][1]
    doubled = await followed.archive.events(0, 10_000, prefix="effect.doubled")
    assert [decode_event(one.stored).data["also"] for one in doubled] == [44]

    await followed.comment_seen(46, "our-words")
    await followed.live(60)
    assert len(followed.frozen) == 1


async def test_a_write_nobody_here_made_freezes_once(followed: Followed) -> None:
    await followed.bots_known()
    await followed.comment_seen(66, "not ours")
    await followed.live(2 * GRACE_S)
    assert len(followed.frozen) == 1
    assert [urgency for urgency, _ in followed.alerts] == ["critical"]


async def test_a_write_waits_for_the_order_that_may_have_made_it(followed: Followed) -> None:
    await followed.bots_known()
    request = await followed.ordered_comment()
    await followed.comment_seen(44, "our-words")
    await followed.live(GRACE_S / 2)
    assert (followed.frozen, followed.alerts) == ([], [])
    await followed.receipt(request, 44, "our-words")
    await followed.live(2 * GRACE_S)
    assert followed.frozen == []


async def test_a_write_of_a_silent_order_is_ours_though_the_next_one_came_to_nothing(
    followed: Followed,
) -> None:
    await followed.bots_known()
    first = await followed.ordered_comment()
    await followed.house.live(200)
    second = followed.house.now(first)
    assert second.order_number > first.order_number
    await followed.bring(
        "action.void", digest=first.digest, order=second.order_number, reason="busy"
    )
    assert followed.state_of(first) is State.UNKNOWN

    await followed.comment_seen(44, "our-words")
    await followed.live(GRACE_S / 2)
    assert (followed.frozen, followed.alerts) == ([], [])
    await followed.receipt(first, 44, "our-words")
    await followed.live(2 * GRACE_S)
    assert followed.frozen == []


async def test_a_silent_order_that_is_void_after_all_frees_its_request(followed: Followed) -> None:
    first = await followed.ordered_comment()
    await followed.house.live(200)
    second = followed.house.now(first)
    for order in (second.order_number, *second.outstanding[:-1]):
        assert followed.state_of(first) is not State.APPROVED
        await followed.bring("action.void", digest=first.digest, order=order, reason="busy")
    assert followed.state_of(first) is State.APPROVED


async def test_an_open_order_hides_edited_words_on_its_issue_no_longer_than_the_grace(
    followed: Followed,
) -> None:
    await followed.bots_known()
    await followed.ordered_comment()
    await followed.comment_seen(66, "not ours", edited_s=30)
    await followed.live(GRACE_S - 2 * RECHECK_S)
    assert followed.frozen == []
    await followed.live(4 * RECHECK_S)
    assert len(followed.frozen) == 1


async def test_an_open_order_and_a_journal_on_its_way_hide_no_write_that_is_not_theirs(
    followed: Followed,
) -> None:
    """A stolen lane cannot keep the freeze waiting by leaving orders open, or news unsent."""
    await followed.bots_known()
    await followed.ordered_comment()
    followed.behind = {LANE, "another"}
    await followed.comment_seen(66, "not ours")
    await followed.live(RECHECK_S)
    assert len(followed.frozen) == 1


async def test_the_grace_counts_only_time_that_was_linked(followed: Followed) -> None:
    await followed.bots_known()
    request = await followed.ordered_comment()
    await followed.bring("action.void", digest=request.digest, order=request.order_number)
    followed.behind = {LANE}
    await followed.comment_seen(66, "whose?", edited_s=30)
    await followed.live(GRACE_S / 2)
    followed.house.is_linked = False
    await followed.live(10 * GRACE_S)
    followed.house.is_linked = True
    await followed.live(GRACE_S / 2 - 4 * RECHECK_S)
    assert followed.frozen == []
    await followed.live(8 * RECHECK_S)
    assert len(followed.frozen) == 1


async def test_the_grace_does_not_run_while_the_machine_sleeps(followed: Followed) -> None:
    await followed.bots_known()
    request = await followed.ordered_comment()
    await followed.bring("action.void", digest=request.digest, order=request.order_number)
    followed.behind = {LANE}
    await followed.comment_seen(66, "whose?", edited_s=30)
    followed.house.clock.advance(8 * 3600)  # suspended: the boot clock counts it
    await followed.live(GRACE_S / 2)
    assert followed.frozen == []
    await followed.live(GRACE_S)
    assert len(followed.frozen) == 1


async def test_a_receipt_counts_only_from_the_lane_that_was_given_the_order(
    followed: Followed,
) -> None:
    request = await followed.ordered_comment()
    await followed.receipt(request, 44, "our-words", lane="b")
    await followed.receipt(request, 44, "our-words", order=request.order_number + 1)
    assert followed.state_of(request) is State.ORDERED
    assert await followed.house.ledger.receipts_for(request.target) == []


async def test_a_receipt_of_an_earlier_order_is_the_truth_but_its_void_is_old(
    followed: Followed,
) -> None:
    request = await followed.ordered_comment()
    await followed.house.live(60)  # silence, and a second order
    second = followed.house.now(request)
    assert second.order_number > request.order_number
    await followed.bring(
        "action.void", digest=request.digest, order=request.order_number, reason="too late"
    )
    assert followed.state_of(request) is State.ORDERED
    await followed.receipt(request, 44, "our-words")
    assert followed.state_of(request) is State.DONE


async def test_a_late_receipt_of_a_settled_request_still_covers_what_polls_show(
    followed: Followed,
) -> None:
    await followed.bots_known()
    request = await followed.ordered_comment()
    await followed.receipt(request, 44, "our-words")
    await followed.receipt(request, 45, "our-words")
    await followed.comment_seen(45, "our-words")
    await followed.live(60)
    assert followed.frozen == []


async def test_after_a_reconcile_what_the_lane_no_longer_lists_has_vanished(
    followed: Followed,
) -> None:
    for number in (3, 4):
        await followed.bring(
            "forge.snapshot.issue", subject=f"{FORGE}/7#{number}", repository=7, number=number,
            updated_s=100,
        )  # fmt: skip
    await followed.comment_seen(44, "words", by=HUMAN)
    followed.house.lane.world["listing"] = EdgeError("not reconciled yet", transient=True)
    await followed.bring("forge.reconciled", repository=7)
    assert await followed.archive.events(0, 100, prefix="forge.vanished") == []

    followed.house.lane.world["listing"] = {"issues": [3], "comments": []}
    await followed.live(60)
    await followed.live(60)
    told = await followed.archive.events(0, 100, prefix="forge.vanished")
    vanished = sorted(decode_event(archived.stored).subject for archived in told)
    assert vanished == [f"{FORGE}/7#4", f"{FORGE}/7/comment/44"]
    assert await followed.archive.living(7, 10**9) == [ISSUE]


async def test_only_the_lane_that_reconciled_says_what_vanished(followed: Followed) -> None:
    await followed.bring(
        "forge.snapshot.issue", lane="other", subject=ISSUE, repository=7, number=3, updated_s=100
    )
    followed.house.lane.world["listing"] = {"issues": [], "comments": []}
    await followed.bring("forge.reconciled", lane="other", repository=7)
    await followed.live(60)
    assert await followed.archive.living(7, 10**9) == [ISSUE]


async def test_a_lane_that_answers_nothing_is_asked_once_a_minute_whatever_it_reconciled(
    followed: Followed,
) -> None:
    followed.house.lane.world["listing"] = EdgeError("no answer in time", transient=True)
    for repository in range(1, 21):
        await followed.bring("forge.reconciled", repository=repository)
    assert [method for method, _ in followed.house.lane.asked] == ["listing"]

    await followed.live(130)
    assert len(followed.house.lane.asked) == 3


async def test_a_lane_that_no_longer_polls_says_nothing_about_what_vanished(
    followed: Followed,
) -> None:
    await followed.bring(
        "forge.snapshot.issue", subject=ISSUE, repository=7, number=3, updated_s=100
    )
    followed.house.lane.world["listing"] = EdgeError("another lane holds it", transient=False)
    await followed.bring("forge.reconciled", repository=7)
    followed.house.lane.world["listing"] = {"issues": [], "comments": []}
    await followed.live(60)
    assert await followed.archive.living(7, 10**9) == [ISSUE]


async def test_a_stale_request_is_asked_again_once_pinned_anew(followed: Followed) -> None:
    request = await followed.house.approved_close()
    await followed.house.step()
    given = followed.house.now(request)
    followed.house.lane.world["pin_close"]["title"] = "Roses, and thorns"
    await followed.bring(
        "action.stale", digest=given.digest, order=given.order_number, reason="title changed"
    )
    await followed.live(60)
    renewed = [r for r in followed.house.requests.all() if r.supersedes == request.id]
    assert [r.state for r in renewed] == [State.PROPOSED]
    assert b"Roses, and thorns" in renewed[0].action
    assert followed.house.now(request).superseded_by == renewed[0].id
    assert [urgency for urgency, _ in followed.alerts] == ["medium"]


async def test_a_stale_request_waits_for_a_lane_to_be_renewed(followed: Followed) -> None:
    request = await followed.house.approved_close()
    await followed.house.requests.take_step(request, Step.STALE, "moved on")
    followed.house.is_linked = False
    await followed.live(60)
    assert len(followed.house.requests.all()) == 1
    followed.house.is_linked = True
    await followed.live(5)
    assert len(followed.house.requests.all()) == 2


async def test_an_event_that_cannot_be_read_is_skipped(followed: Followed) -> None:
    request = await followed.ordered_comment()
    for id_, sealed in (("x1", "%%%"), ("x2", "a")):
        told = {
            "specversion": "1.0", "id": id_, "type": "action.receipt", "source": "lane:a",
            "time": TIME, "sealed": sealed,
        }  # fmt: skip
        await followed.bring_raw(msgspec.json.encode(told))
    assert len(await followed.archive.events(0, 100, prefix="action.")) == 2
    await followed.bring("action.receipt", digest=["odd"], order="four", artifact=-1)
    await followed.bring("audit.done", bots="everybody")
    await followed.bring("forge.snapshot.comment", author_id="x", created_s=None, subject="?")
    await followed.receipt(request, 44, "our-words")
    assert followed.state_of(request) is State.DONE


async def test_a_disk_that_refuses_repeats_nothing_and_loses_nothing(followed: Followed) -> None:
    request = await followed.ordered_comment()
    followed.house.ledger.worn = True
    await followed.receipt(request, 44, "our-words")
    await followed.live(60)
    assert followed.state_of(request) is State.ORDERED
    followed.house.ledger.worn = False
    await followed.live(5)
    assert followed.state_of(request) is State.DONE
    history = [line.what for line in followed.house.now(request).history]
    assert history.count(Step.RECEIPT) == 1


async def test_after_a_restart_it_goes_on_where_it_was(followed: Followed) -> None:
    await followed.bots_known()
    await followed.bring("freeze.added")
    await followed.house.restart()
    await followed.start()
    await followed.comment_seen(66, "not ours")
    await followed.live(60)
    assert [urgency for urgency, _ in followed.alerts] == ["high", "critical"]
    assert len(followed.frozen) == 1


async def test_a_conflict_and_a_double_are_told_to_a_person(followed: Followed) -> None:
    double, clash = await followed.ordered_comment(), await followed.ordered_comment()
    await followed.bring(
        "action.receipt", digest=double.digest, order=double.order_number, artifact=1, others=[2]
    )
    await followed.bring(
        "action.conflict", digest=clash.digest, order=clash.order_number, reason="another's"
    )
    assert followed.state_of(clash) is State.CONFLICT
    assert [urgency for urgency, _ in followed.alerts] == ["high", "high"]


async def test_a_freeze_that_a_lane_heard_of_freezes_the_house_too(followed: Followed) -> None:
    freeze = Freeze("f1", 5.0, "chat", "stop")
    await followed.bring("freeze.added", words=msgspec.to_builtins(freeze))
    assert followed.frozen == [freeze]


@pytest.mark.parametrize("words", ["", "stop", {"id": "f"}, {"id": 1, "at_s": "now"}, [1]])
async def test_words_that_are_no_freeze_are_only_told(followed: Followed, words: object) -> None:
    await followed.bring("freeze.added", words=words)
    assert followed.frozen == []
    assert [urgency for urgency, _ in followed.alerts] == ["high"]


# --- receipts, and what they cover -----------------------------------------------------------


async def test_one_order_covers_one_write_whatever_receipts_its_lane_sends(
    followed: Followed,
) -> None:
    await followed.bots_known()
    request = await followed.ordered_comment()
    for artifact in range(44, 49):
        await followed.receipt(request, artifact, "our-words")
    assert followed.house.now(request).artifact == 44
    receipts = await followed.house.ledger.receipts_for(request.target)
    assert [receipt.artifact for receipt in receipts] == [44]
    assert [urgency for urgency, _ in followed.alerts] == ["high"] * 4
    for comment in range(44, 49):
        await followed.comment_seen(comment, f"words {comment}" if comment > 44 else "our-words")
    await followed.live(2 * GRACE_S)
    assert len(followed.frozen) == 4
    assert [urgency for urgency, _ in followed.alerts].count("critical") == 4


async def test_a_receipt_that_names_other_words_covers_only_what_was_approved(
    followed: Followed,
) -> None:
    await followed.bots_known()
    request = await followed.ordered_comment()
    await followed.receipt(request, 44, "the thief's words")
    await followed.comment_seen(44, "the thief's words")
    await followed.live(2 * GRACE_S)
    assert len(followed.frozen) == 1
    assert "other words than were approved" in followed.alerts[0][1]


@pytest.mark.parametrize("step", [Step.CONFLICT, Step.STALE, Step.FAIL, Step.EXPIRE])
async def test_a_receipt_that_comes_after_the_end_is_the_truth_and_covers_one_write(
    followed: Followed, step: Step
) -> None:
    await followed.bots_known()
    request = await followed.ordered_comment()
    await followed.house.requests.take_step(request, Step.SILENCE, "no word")
    await followed.house.requests.take_step(request, step, "ended")
    for artifact in (44, 45):
        await followed.receipt(request, artifact, "our-words")
    assert followed.state_of(request) is State.DONE
    await followed.comment_seen(44, "our-words")
    await followed.live(2 * GRACE_S)
    assert followed.frozen == []
    await followed.comment_seen(46, "other words")
    await followed.live(60)
    assert len(followed.frozen) == 1


@pytest.mark.parametrize("step", [Step.EXPIRE, Step.WITHDRAW, Step.FAIL])
async def test_a_receipt_of_an_order_that_its_lane_called_void_covers_nothing_after_the_end(
    followed: Followed, step: Step
) -> None:
    await followed.bots_known()
    request = await followed.ordered_comment()
    await followed.house.requests.take_step(request, Step.VOID, "refused")
    await followed.house.requests.take_step(request, step, "ended")
    await followed.receipt(request, 44, "our-words")
    assert await followed.house.ledger.receipts_for(request.target) == []
    assert any("covers nothing" in told for _, told in followed.alerts)
    await followed.comment_seen(44, "our-words")
    await followed.live(60)
    assert len(followed.frozen) == 1


@pytest.mark.parametrize("step", [Step.CONFLICT, Step.STALE, Step.FAIL, Step.EXPIRE, None])
async def test_a_poll_settles_what_an_order_did_though_its_receipt_never_comes(
    followed: Followed, step: Step | None
) -> None:
    await followed.bots_known()
    request = await followed.ordered_comment()
    await followed.house.requests.take_step(request, Step.SILENCE, "no word")
    if step is not None:
        await followed.house.requests.take_step(request, step, "ended")
    await followed.comment_seen(44, "our-words")
    await followed.live(2 * GRACE_S)
    assert followed.frozen == []
    assert followed.state_of(request) is State.DONE
    await followed.comment_seen(45, "our-words", edited_s=30)
    await followed.comment_seen(46, "our-words")
    await followed.live(60)
    assert len(followed.frozen) == 1  # a second copy is told, a third freezes


async def test_a_stale_request_that_was_done_after_all_is_not_asked_again(
    followed: Followed,
) -> None:
    request = await followed.house.approved_close()
    await followed.house.step()
    given = followed.house.now(request)
    await followed.bring("action.stale", digest=given.digest, order=given.order_number)
    newer = followed.house.now(request).superseded_by
    assert newer
    await followed.receipt(given, 3, "")
    assert followed.state_of(request) is State.DONE
    assert followed.house.ledger.requests[newer].state is State.WITHDRAWN
    assert any(newer in told for _, told in followed.alerts)


async def test_a_foreign_write_that_was_told_freezes_once_though_it_is_seen_again(
    followed: Followed,
) -> None:
    await followed.bots_known()
    await followed.comment_seen(66, "not ours")
    await followed.live(60)
    await followed.comment_seen(66, "not ours")
    await followed.live(60)
    assert len(followed.frozen) == 1


async def close_seen(followed: Followed, by: int = BOT) -> None:
    at_s = int(followed.house.clock.now_s())
    await followed.bring(
        "forge.snapshot.issue", subject=ISSUE, repository=7, number=3, state="closed",
        author_id=HUMAN, created_s=1, updated_s=at_s, closed_s=at_s, closed_by=by,
    )  # fmt: skip


async def test_one_approved_close_covers_no_second_one(followed: Followed) -> None:
    await followed.bots_known()
    request = await followed.house.approved_close()
    await followed.house.step()
    await close_seen(followed)
    await followed.receipt(followed.house.now(request), 3, "")
    await followed.live(2 * GRACE_S)
    assert followed.frozen == []
    await close_seen(followed, by=HUMAN)
    await close_seen(followed)
    await followed.live(60)
    await close_seen(followed)
    await followed.live(60)
    assert len(followed.frozen) == 2


# --- labels and branches ---------------------------------------------------------------------


def named(word: str) -> str:
    return words_name(FOLLOWED_FLEET.secret, word)


async def label_seen(followed: Followed, label: str, by: int = BOT) -> None:
    await followed.bring(
        "forge.snapshot.label", subject=f"{FORGE}/7#3/label/5", repository=7, number=3, label=5,
        author_id=by, created_s=int(followed.house.clock.now_s()), content=named(label),
    )  # fmt: skip


@pytest.mark.parametrize(("label", "by", "freezes"), [
    ("triage/seen", BOT, 0), ("status/pending", BOT, 0), ("status/done", BOT, 1),
    ("bug", BOT, 1), ("bug", HUMAN, 0), ("triage/seen2", BOT, 1),
])  # fmt: skip
async def test_a_label_under_our_name_is_the_leases_or_freezes(
    followed: Followed, label: str, by: int, freezes: int
) -> None:
    await followed.bots_known()
    await label_seen(followed, label, by)
    await followed.live(60)
    assert len(followed.frozen) == freezes


async def test_an_ordered_status_covers_its_label_and_not_one_that_is_set_later(
    followed: Followed,
) -> None:
    await followed.bots_known()
    request = await followed.house.status("done")
    await followed.house.step()
    await label_seen(followed, "status/done")
    await followed.receipt(followed.house.now(request), 3, "")
    await followed.live(2 * GRACE_S)
    assert followed.frozen == []
    await label_seen(followed, "status/done")
    await followed.live(60)
    assert len(followed.frozen) == 1


async def branch_seen(followed: Followed, name: str, commit: str, by: int = BOT) -> None:
    await followed.bring(
        "forge.snapshot.branch", subject=f"{FORGE}/7/branch/{named(name)}", repository=7,
        branch=named(name), commit=commit, author_id=by, content=named(f"{name}\n{commit}"),
    )  # fmt: skip


@pytest.mark.parametrize(("by", "freezes"), [(BOT, 1), (HUMAN, 0), (0, 0)])
async def test_a_branch_that_nobody_ordered_freezes_where_the_forge_says_it_is_ours(
    followed: Followed, by: int, freezes: int
) -> None:
    await followed.bots_known()
    await branch_seen(followed, "evil", "c" * 40, by)
    await followed.live(60)
    assert len(followed.frozen) == freezes


async def test_the_branch_of_an_ordered_change_is_ours_until_it_moves_after_its_receipt(
    followed: Followed,
) -> None:
    await followed.bots_known()
    base, commit = "b" * 40, "c" * 40
    action = ProposeChange(
        id="x", forge=FORGE, repository=RepositoryRef(7, "home/garden"), base="main",
        base_commit=base, branch="fix", title="t", body="b", files=(), allow_ci_paths=False,
    )  # fmt: skip
    receipts = branch_receipts("x", f"{FORGE}/7", action, "fix-123", commit)
    await followed.house.ledger.save(receipts=receipts)
    for at in (base, commit):
        await branch_seen(followed, "fix-123", at)
    await followed.live(60)
    assert followed.frozen == []
    await branch_seen(followed, "fix-123", "d" * 40)
    await followed.live(60)
    assert len(followed.frozen) == 1


async def test_writes_of_one_lane_without_end_freeze_twice_and_hold_up_no_other(
    followed: Followed,
) -> None:
    await followed.bots_known()
    at_s = int(followed.house.clock.now_s())
    bodies = [
        encode_event(Event(
            f"t{n}", "forge.snapshot.comment", "lane:thief", TIME,
            subject=f"{FORGE}/7/comment/{n}", data={
                "number": 3, "comment": n, "author_id": BOT, "created_s": at_s, "content": f"c{n}",
            },
        ))
        for n in range(4_000)
    ]  # fmt: skip
    entries = [Kept(body) for body in bodies]
    await followed.archive.take("thief", "j-thief", 1, entries, followed.house.clock.now_s())
    request = await followed.ordered_comment()
    await followed.receipt(request, 44, "our-words")
    assert followed.state_of(request) is State.DONE
    flood, foreign = (freeze.reason for freeze in followed.frozen)
    assert "more writes under our name than can be matched" in flood
    assert "and 498 more" in foreign
    assert len(await followed.house.ledger.bot_writes()) <= 500


async def test_a_lane_that_never_answers_a_listing_holds_up_nobody(followed: Followed) -> None:
    never = asyncio.Event()

    async def ask(lane: str, method: str, params: Params) -> Any:
        await never.wait()

    followed.house.ask_lane = ask  # type: ignore[method-assign]
    await followed.start()
    for repository in range(1, 201):
        event = Event(f"r{repository}", "forge.reconciled", "lane:thief", TIME,
                      data={"repository": repository})  # fmt: skip
        entries = [Kept(encode_event(event))]
        await followed.archive.take("thief", "j-thief", repository, entries, 1.0)
    await followed.follow.step()
    request = await followed.ordered_comment()
    seq = [Kept(encode_event(Event(
        "receipt", "action.receipt", "lane:a", TIME, subject=request.target,
        data={"digest": request.digest, "order": request.order_number, "artifact": 44},
    )))]  # fmt: skip
    await followed.archive.take(LANE, "j-a", 1, seq, 1.0)
    await followed.follow.step()
    assert followed.state_of(request) is State.DONE
    never.set()
    await followed.follow.idle()


async def test_a_lane_that_writes_about_its_order_without_end_is_written_down_in_bounds(
    followed: Followed,
) -> None:
    request = await followed.ordered_comment()
    for n in range(100):
        await followed.bring(
            "action.unknown", digest=request.digest, order=request.order_number, reason=f"r{n}"
        )
    assert len(followed.house.now(request).history) < 50


async def test_more_bots_than_are_believed_are_told(followed: Followed) -> None:
    await followed.bring("audit.done", bots=list(range(1, 2_000_000)))
    assert len(await followed.house.ledger.strings("bots")) <= 64
    assert followed.alerts[0][0] == "high"


# --- whose word our bots are -----------------------------------------------------------------


@pytest.mark.parametrize("restart", [False, True])
async def test_who_a_stolen_lane_calls_a_bot_is_none_once_it_is_revoked(
    followed: Followed, restart: bool
) -> None:
    for lane in (LANE, "thief"):
        await followed.bring("audit.done", lane=lane, bots=[BOT])
    await followed.bring("audit.done", lane="thief", bots=[BOT, HUMAN])
    assert any(f"user {HUMAN} is a bot" in told for _, told in followed.alerts)
    await followed.comment_seen(60, "the owner's", HUMAN)
    await followed.live(60)
    assert len(followed.frozen) == 1  # noise, while the thief is trusted
    thief = KnownLane("thief", b"k", "wss://t", None, revoked=True)
    followed.fleet = msgspec.structs.replace(FOLLOWED_FLEET, lanes=(thief,))
    if restart:
        await followed.start()
    await followed.live(60)
    await followed.comment_seen(61, "the owner's", HUMAN)
    await followed.live(60)
    assert len(followed.frozen) == 1
    await followed.comment_seen(62, "the thief's", BOT)
    await followed.live(60)
    assert len(followed.frozen) == 2


async def test_what_another_lane_calls_a_bot_too_stays_one(followed: Followed) -> None:
    for lane in (LANE, "thief"):
        await followed.bring("audit.done", lane=lane, bots=[BOT])
        await followed.bring("audit.done", lane=lane, bots=[BOT, 77])
    thief = KnownLane("thief", b"k", "wss://t", None, revoked=True)
    followed.fleet = msgspec.structs.replace(FOLLOWED_FLEET, lanes=(thief,))
    await followed.live(60)
    await followed.comment_seen(61, "nobody's", 77)
    await followed.live(60)
    assert len(followed.frozen) == 1


async def test_a_ledger_of_before_keeps_its_bots_for_good(followed: Followed) -> None:
    await followed.house.ledger.set_strings("bots", (str(BOT),))
    thief = KnownLane(LANE, b"k", "wss://t", None, revoked=True)
    followed.fleet = msgspec.structs.replace(FOLLOWED_FLEET, lanes=(thief,))
    await followed.start()
    await followed.comment_seen(61, "nobody's")
    await followed.live(60)
    assert len(followed.frozen) == 1


async def test_words_of_a_home_whose_receipt_was_lost_with_its_lane_are_ours_once(
    followed: Followed,
) -> None:
    await followed.bots_known()
    house = followed.house
    first = await house.mirror("r1", "proposed")
    await house.step()
    words = words_of(house.now(first))
    await followed.comment_seen(44, words)
    second = await house.mirror("r1", "done")
    for _ in range(20):
        await house.step()
        house.clock.advance(RECHECK_S)
        await followed.step()
    await followed.receipt(house.now(second), 44, words_of(house.now(second)))
    await followed.live(60)
    assert followed.state_of(second) is State.DONE
    assert followed.frozen == []
    for comment in (45, 46):  # a copy may be the forge's; a third is somebody's
        await followed.comment_seen(comment, words)
        await followed.live(60)
    assert len(followed.frozen) == 1


# --- closes of pull requests, clocks, contents of branches -----------------------------------


async def pull_closed(followed: Followed, closed_s: float) -> None:
    await followed.bring(
        "forge.snapshot.issue", subject=ISSUE, repository=7, number=3, state="closed",
        is_pull=True, author_id=HUMAN, created_s=1, updated_s=int(closed_s),
        closed_s=int(closed_s), closed_by=BOT,
    )  # fmt: skip


async def test_a_pull_request_that_we_closed_is_ours_if_it_was_ordered_and_else_freezes(
    followed: Followed,
) -> None:
    await followed.bots_known()
    request = await followed.house.approved_close()
    await followed.house.step()
    await pull_closed(followed, followed.house.clock.now_s())
    await followed.receipt(followed.house.now(request), 3, "")
    await followed.live(2 * GRACE_S)
    assert followed.frozen == []
    await pull_closed(followed, followed.house.clock.now_s())
    await followed.live(60)
    assert len(followed.frozen) == 1


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("ahead_s", [-3_600, 3_600])
async def test_a_forge_whose_clock_is_off_freezes_nothing_of_ours_and_hides_nothing_foreign(
    followed: Followed, ahead_s: int, restart: bool
) -> None:
    await followed.bots_known()
    now_s = followed.house.clock.now_s
    await followed.bring("forge.mark", watch="w", forge_s=int(now_s()) + ahead_s, wall_s=now_s())
    request = await followed.house.approved_close()
    await followed.house.step()
    done_s = now_s() + ahead_s
    await followed.receipt(followed.house.now(request), 3, "")
    await followed.live(3 * GRACE_S)  # its poll was cut off for half an hour
    if restart:
        await followed.house.restart()
        await followed.start()
    await pull_closed(followed, done_s)
    await followed.live(60)
    assert followed.frozen == []
    await pull_closed(followed, now_s() + ahead_s)
    await followed.live(60)
    assert len(followed.frozen) == 1


async def ordered_change(followed: Followed) -> tuple[Request, str, ProposeChange]:
    followed.house.lane.world["pin_change"] = {
        "repository": {"id": 7, "name": "home/garden"}, "forge": FORGE, "base": "main",
        "base_commit": "b" * 40, "files": {"a.txt": None},
    }  # fmt: skip
    request = await followed.house.propose(
        kind="propose_change", branch="fix", title="t", body="b", files={"a.txt": "eA=="}
    )
    await followed.house.approve(request)
    await followed.house.step()
    action = parsed(request)
    assert isinstance(action, ProposeChange)
    return (
        followed.house.now(request),
        work_of(request, FOLLOWED_FLEET.marker).delivery.branch,
        action,
    )


@pytest.mark.parametrize("held", ["ordered", "other", ""])
async def test_a_keyed_branch_is_ours_at_its_base_and_with_the_ordered_content_only(
    followed: Followed, held: str
) -> None:
    await followed.bots_known()
    _, branch, action = await ordered_change(followed)
    secret = FOLLOWED_FLEET.secret
    names = {
        "ordered": ordered_commit_name(secret, action),
        "other": commit_name(secret, (action.base_commit,), {"a.txt": ("100644", "e" * 40)}),
    }
    for commit, name in (("b" * 40, ""), ("c" * 40, names.get(held, ""))):
        await followed.bring(
            "forge.snapshot.branch", subject=f"{FORGE}/7/branch/{named(branch)}", repository=7,
            branch=named(branch), commit=commit, author_id=BOT, held=name,
            content=named(f"{branch}\n{commit}"),
        )  # fmt: skip
    await followed.live(2 * GRACE_S)
    assert len(followed.frozen) == (0 if held == "ordered" else 1)


async def test_a_write_that_two_lanes_show_freezes_once(followed: Followed) -> None:
    await followed.bots_known()
    for lane in (LANE, "b"):
        await followed.bring(
            "forge.snapshot.label", lane=lane, subject=f"{ISSUE}/label/5", repository=7, number=3,
            label=5, author_id=BOT, created_s=5, content=named("bug"),
        )  # fmt: skip
    await followed.live(60)
    assert len(followed.frozen) == 1


async def test_what_a_forge_did_though_it_said_no_for_a_while_settles_its_request(
    followed: Followed,
) -> None:
    await followed.bots_known()
    request = await followed.ordered_comment()
    await followed.bring("action.void", digest=request.digest, order=request.order_number)
    assert followed.state_of(request) is State.APPROVED
    await followed.comment_seen(44, "our-words")
    await followed.live(10)
    assert (followed.frozen, followed.state_of(request)) == ([], State.DONE)


# --- waits and restarts ----------------------------------------------------------------------


@pytest.mark.parametrize("restart", [False, True])
async def test_a_void_order_waits_as_long_as_the_forge_asked(
    followed: Followed, restart: bool
) -> None:
    request = await followed.ordered_comment()
    await followed.bring(
        "action.void", digest=request.digest, order=request.order_number, reason="refused",
        retry_after_s=900.0,
    )  # fmt: skip
    if restart:
        await followed.house.restart()
    await followed.house.live(880)
    assert followed.house.now(request).order_number == request.order_number
    await followed.house.live(40)
    assert followed.house.now(request).order_number > request.order_number


async def test_a_wait_without_end_ends_after_an_hour(followed: Followed) -> None:
    request = await followed.ordered_comment()
    await followed.bring(
        "action.void", digest=request.digest, order=request.order_number, retry_after_s=2.0**50
    )
    await followed.house.live(3_700)
    assert followed.house.now(request).order_number > request.order_number


async def test_a_restart_of_the_house_forgets_no_comparison(followed: Followed) -> None:
    await followed.bring(
        "forge.snapshot.issue", subject=ISSUE, repository=7, number=3, updated_s=100
    )
    followed.house.lane.world["listing"] = EdgeError("not now", transient=True)
    await followed.bring("forge.reconciled", repository=7)
    await followed.house.restart()
    await followed.start()
    followed.house.lane.world["listing"] = {"issues": [], "comments": []}
    await followed.live(5)
    assert await followed.archive.living(7, 10**9) == []
    assert await followed.house.ledger.strings("to be compared") == ()


async def test_a_crash_while_a_stale_request_is_renewed_asks_nobody_twice(
    followed: Followed,
) -> None:
    request = await followed.house.approved_close()
    await followed.house.requests.take_step(request, Step.STALE, "moved on")
    followed.house.ledger.worn = True
    await followed.live(5)
    assert len(followed.house.requests.all()) == 1
    followed.house.ledger.worn = False
    await followed.live(5)
    await followed.house.restart()
    await followed.start()
    await followed.live(60)
    assert len(followed.house.requests.all()) == 2


async def note_by_chat(followed: Followed, **data: Any) -> None:
    """Let a lane tell of a press, each time in an event of its own."""
    followed._ids += 1
    event = Event(f"n{followed._ids}", "chat.noted", f"lane:{LANE}", TIME, data=data)
    await followed.bring_raw(encode_event(event))


async def test_a_note_by_chat_stands_on_its_request_and_changes_nothing(followed: Followed) -> None:
    request = await followed.house.propose(kind="close_issue", issue=3)
    subject = request_subject(request.id)
    note = {"by": "telegram:77", "verb": "approve", "subject": subject}
    for _ in range(2):
        await note_by_chat(followed, **note, shown=request.digest[:16])
    await note_by_chat(followed, **note, shown="0" * 16)
    await note_by_chat(followed, **{**note, "verb": "thaw"}, shown=request.digest[:16])
    await note_by_chat(followed, **{**note, "subject": "r:"}, shown=request.digest[:16])
    held = followed.house.requests.find_exact(request.id)
    assert held is not None
    lines = [line.detail for line in held.history if line.what == NOTED]
    assert lines == [f"approve by telegram:77, read by lane {LANE}"]
    assert noted_on(held) == lines[0]
    assert (held.state, held.approval, held.outstanding) == (State.PROPOSED, None, ())
    assert followed.aside == []


async def test_a_lane_cannot_fill_a_history_with_notes(followed: Followed) -> None:
    request = await followed.house.propose(kind="close_issue", issue=3)
    for number in range(30):
        await note_by_chat(
            followed, by=f"telegram:{number}\x1b[2J", verb="approve",
            subject=request_subject(request.id), shown=request.digest[:16],
        )  # fmt: skip
    held = followed.house.requests.find_exact(request.id)
    assert held is not None
    lines = [line.detail for line in held.history if line.what == NOTED]
    assert len(lines) == MOST_NOTES
    assert not any("\x1b" in line for line in lines)


@pytest.mark.parametrize(("late_s", "told"), [(10.0, 1), (3_600.0, 0), (-3_600.0, 0)])
async def test_a_chat_that_is_not_heard_now_is_told_and_an_old_one_is_not(
    followed: Followed, late_s: float, told: int
) -> None:
    time = rfc3339(followed.house.clock.now_s() - late_s)
    data = {"channel": "telegram\n", "why": "no reading\x1b[2J"}
    await followed.bring_raw(
        encode_event(Event("d1", "chat.deaf", f"lane:{LANE}", time, data=data))
    )
    alerts = [one for one in followed.alerts if "hear the chat" in one[1]]
    assert len(alerts) == told
    assert not any("\x1b" in one[1] or "\n" in one[1] for one in alerts)


async def test_a_lane_that_froze_and_one_that_took_a_thaw_are_told_by_code(
    followed: Followed,
) -> None:
    freeze = Freeze("f1", 1.0, "a person", "stop")
    await followed.bring("freeze.added", words=freeze, id="f1")
    await followed.bring("freeze.thawed", words="a token")
    told = [words for _, words in followed.alerts]
    assert told == [
        sentence_of(codes.LANE_FROZE, LANE, LANE, {}),
        sentence_of(codes.LANE_THAWED, LANE, LANE, {}),
    ]
