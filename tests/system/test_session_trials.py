"""Whatever fails beneath a session, it ends in exactly one way and is begun once at most."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.portion import portion

from .agent_fixture import needs_hermes
from .parallel import Trial
from .session_faults import DISK_FULL, KINDS
from .session_trials import Pool, unsaid, wrong

pytestmark = [pytest.mark.slow, needs_hermes, pytest.mark.asyncio(loop_scope="module")]
WORKERS = 4
# a full disk is played by test_session_disk
PLAYED = portion((name for name in KINDS if name != DISK_FULL), 9)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pool]:
    """One trial of each played kind under way side by side; each test waits for its own."""
    trials = [Trial(name, f"7/{n}") for n, name in enumerate(PLAYED)]
    opened = Pool(tmp_path_factory.mktemp("trials"), trials, WORKERS)
    yield opened
    await opened.close()


@pytest.mark.parametrize("kind", PLAYED)
async def test_a_session_ends_once_though(pool: Pool, kind: str) -> None:
    outcome = await pool.outcomes[PLAYED.index(kind)]

    assert (outcome.name, outcome.faults) == (kind, ())


async def test_the_checker_sees_a_second_begin_a_second_end_and_none() -> None:
    def kinds_of(*kinds: str) -> list[dict[str, str]]:
        return [{"type": kind} for kind in kinds]

    once = ("action.intent", "session.started", "model.call", "session.end")
    assert wrong({"lost"}, "lost", kinds_of(*once), 1, retries=False) == []
    assert wrong({"lost"}, "completed", kinds_of(*once), 1, retries=False)
    assert wrong({"lost"}, "lost", kinds_of(*once), 2, retries=False)
    assert wrong({"lost"}, "lost", kinds_of(*once), 2, retries=True)
    assert wrong({"lost"}, "lost", kinds_of(*once[:-1]), 1, retries=False)
    assert wrong({"lost"}, "lost", kinds_of(*once, "session.end"), 1, retries=False)
    assert wrong({"lost"}, "lost", kinds_of(*once, "session.delta"), 1, retries=False)
    assert wrong({"lost"}, "lost", kinds_of("session.started", *once), 1, retries=False)
    assert wrong({"unbegun"}, "unbegun", kinds_of(), 0, retries=False) == []
    assert wrong({"unbegun"}, "unbegun", kinds_of(), 1, retries=False)


async def test_the_checker_sees_words_that_were_neither_told_nor_missed() -> None:
    def said(*texts: str) -> list[dict[str, Any]]:
        return [{"type": "session.delta", "words": {"text": text}} for text in texts]

    assert unsaid("one two", said("first ", "one ", "two")) == []
    assert unsaid("one two", said("two"))
    assert unsaid("one two", said("one "))
    assert unsaid("one two", [])
    assert unsaid("", [])
    assert unsaid("one two", [*said("two"), {"type": "telemetry.gap"}]) == []
