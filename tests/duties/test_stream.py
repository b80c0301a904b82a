"""The stream of a run: what is silent is looked at, what is missing is told."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from allegro.adapters.hermes.completeness import MAX_OUTPUT, Heard
from allegro.adapters.hermes.stream_lines import LAST_WORDS_S, LOOK_S, data_lines
from allegro.core.agent.sessions import AgentEvent, End, Ended, TextDelta, ToolBegan, ToolEnded
from allegro.core.base.errors import EdgeError

from .agents import hurried, settled


class Stream:
    """A stream and its run. `looks` are the times at which the run was looked at."""

    def __init__(self) -> None:
        self.content = asyncio.StreamReader()
        self.is_over = False
        self.looks: list[float] = []
        self.lines: list[bytes] = []
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for _, line in data_lines(self.content.readline, self._look):
            self.lines.append(line)

    async def _look(self) -> bool:
        self.looks.append(asyncio.get_running_loop().time())
        return self.is_over

    async def say(self, text: str, seconds: float = 0.1) -> None:
        self.content.feed_data(text.encode() + b"\n")
        await settled(seconds)


@hurried
async def test_while_a_stream_speaks_nobody_looks() -> None:
    stream = Stream()
    for number in range(20):
        await stream.say(f"data:{number}", LOOK_S - 0.5)
    stream.content.feed_eof()
    await stream.reading
    assert stream.lines == [b"%d\n" % number for number in range(20)]
    assert stream.looks == []


@hurried
async def test_a_silent_stream_is_looked_at_rarely_and_read_on_while_its_run_goes_on() -> None:
    stream = Stream()
    for _ in range(4):
        await stream.say(": keepalive", 30)
    assert len(stream.looks) == 120 / LOOK_S - 1
    gaps = [after - before for before, after in pairwise(stream.looks)]
    assert min(gaps) >= LOOK_S
    await stream.say("data:late")
    stream.content.feed_eof()
    await stream.reading
    assert stream.lines == [b"late\n"]


@hurried
async def test_a_stream_that_stays_open_after_its_run_is_broken() -> None:
    stream = Stream()
    await stream.say("data:first")
    stream.is_over = True
    with pytest.raises(EdgeError, match="the run is over"):
        await stream.reading
    assert (stream.lines, len(stream.looks)) == ([b"first\n"], 1)


@hurried
async def test_the_last_words_of_a_run_that_has_just_ended_are_heard() -> None:
    stream = Stream()
    stream.is_over = True
    await settled(LOOK_S + LAST_WORDS_S / 2)
    await stream.say("data:the end")
    stream.content.feed_eof()
    await stream.reading
    assert stream.lines == [b"the end\n"]


# --- whether all was told ----------------------------------------------------------------------

TOOL = (ToolBegan("terminal", "", {}), ToolEnded("terminal", "", True, None, {}))
NOTE = "⚠️ File-mutation verifier: 1 file(s) were NOT modified"


def lacks(output: str, *streamed: str | AgentEvent, end: End = End.COMPLETED) -> bool:
    """Say whether words of this answer are missing in what was told."""
    heard = Heard()
    for one in streamed:
        heard.hear(TextDelta(one) if isinstance(one, str) else one)
    return heard.lacks(Ended(end, output, "", {}))


@pytest.mark.parametrize(
    ("output", "streamed"),
    [
        ("one two", ("one ", "two ")), ("one\n\ntwo", ("\none ", "two")), ("", ()), ("", ("hm",)),
        ("done", ("let me see ", *TOOL, "\n\ndone")), ("let me see", ("let me see ", *TOOL, " ")),
        ("one two", ("one ", "one ", "two")), ("hi", ("a <tool_call>b</tool_call> h", "i")),
        ("one two", ("one <b>x</b>", " two")), (f"done\n\n{NOTE}", (*TOOL, "done")),
        ("⚠️ No reply: the model returned empty", TOOL), ("(empty)", TOOL),
        (f"see\n\n{NOTE}", (f"see\n\n{NOTE}",)),
    ],
)  # fmt: skip
def test_a_whole_answer_lacks_nothing(output: str, streamed: tuple[str | AgentEvent, ...]) -> None:
    assert not lacks(output, *streamed)


@pytest.mark.parametrize(
    ("output", "streamed"),
    [
        ("one two", ("one ",)), ("one two", ("two",)), ("one two three", ("one ", "three")),
        ("one", ()), ("done", ("donkeys are there, one and all", *TOOL)), ("done", (*TOOL, "d", "ne")),
        (f"all done\n\n{NOTE}", (*TOOL, "done")), ("see (empty)", ("see",)),
    ],
)  # fmt: skip
def test_an_answer_of_which_words_were_not_told_is_seen(
    output: str, streamed: tuple[str | AgentEvent, ...]
) -> None:
    assert lacks(output, *streamed)


@pytest.mark.parametrize("end", [End.FAILED, End.STOPPED, End.LOST])
def test_only_an_answer_can_lack_words(end: End) -> None:
    assert not lacks("one two", "one", end=end)


def test_an_answer_too_long_to_be_held_is_not_compared() -> None:
    assert not lacks("a" * MAX_OUTPUT, "a")
    assert not lacks("the end", *["word " * (MAX_OUTPUT // 8)] * 9, "the end")
