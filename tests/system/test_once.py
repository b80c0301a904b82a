"""An approved effect happens exactly once, whoever dies; and the checker that says so is checked."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.portion import portion

from .exactly_once import CASES, done, propose
from .fleet_fixture import CODE_BOT, REPOSITORY, Theatre
from .invariants import Comment, Pull, Seen, Want, faults, look
from .parallel import OncePool, Trial, finish, play

pytestmark = pytest.mark.slow
WORKERS = 6
PLAYED = portion(CASES, 20)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OncePool]:
    """The cases under way side by side; each test waits for its own."""
    trials = [Trial(name, name) for name in PLAYED]
    yield await play(tmp_path_factory.mktemp("once"), trials, WORKERS)
    await finish()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", PLAYED)
async def test_an_approved_effect_happens_once_when(pool: OncePool, name: str) -> None:
    outcome = await pool.outcomes[PLAYED.index(name)]

    assert outcome.faults == ()


async def test_the_checker_sees_a_second_pull_request_and_a_loss(theatre: Theatre) -> None:
    want = await done(theatre, await _approved(theatre))
    assert faults([want], await look(theatre, [want])) == []

    await theatre.act(
        "commit", repo=REPOSITORY, branch="copy", files={"t/x.txt": "x\n"}, user=CODE_BOT
    )
    await theatre.act(
        "open_pull", repo=REPOSITORY, user=CODE_BOT, head="copy", base="main",
        title=want.title, body=want.body,
    )  # fmt: skip
    planted = faults([want], await look(theatre, [want]))
    assert any("2 effects" in fault for fault in planted)
    assert any("changes" in fault for fault in planted)

    lost = Want("r", "comment", body="never said", issue=1)
    request = {"state": "done", "detail": "", "artifact": 1, "settled_s": 1, "created_s": 0,
            "history": [{"what": "receipt", "at_s": 0}]}  # fmt: skip
    assert any("0 effects" in f for f in faults([lost], Seen((), (), {"r": request}, frozen=False)))


def test_the_checker_sees_foreign_content_and_a_missing_receipt() -> None:
    want = Want("r", "propose_change", "t", "b", files={"a": "1"})
    request = {"state": "sent", "detail": "", "artifact": 0, "settled_s": 0, "created_s": 0,
            "history": []}  # fmt: skip
    foreign = Pull(1, "t", "other", CODE_BOT, "main", {"a": "2"}, 2)
    stray = Comment(5, 1, "who said this?", CODE_BOT)

    found = " / ".join(faults([want], Seen((foreign,), (stray,), {"r": request}, frozen=True)))

    for part in (
        "another body", "changes", "2 commits", "is sent", "0 receipts", "comment 5", "is frozen"
    ):  # fmt: skip
        assert part in found


async def _approved(theatre: Theatre) -> Want:
    want = await propose(theatre, "propose_change", "x")
    await theatre.approve(await theatre.request(want.request))
    return want
