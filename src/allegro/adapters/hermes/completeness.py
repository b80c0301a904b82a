"""Whether a stream told the whole answer of its run.

Hermes gives each event to one reader alone: what a second reader takes is missing in the middle,
and nothing shows it before the end tells the answer.
"""

from __future__ import annotations

import re

from allegro.core.agent.sessions import AgentEvent, End, Ended, TextDelta, ToolBegan, ToolEnded

MAX_OUTPUT = 1_000_000
# what Hermes adds to an answer, or says in its place, without telling it on the stream
_NOTE = re.compile(r"(?:\A|\n\n)(?:⚠️ (?:File-mutation verifier|No reply): |\(empty\)\Z)", re.DOTALL)


class Heard:
    """The text that one stream told, without its spaces: Hermes strips and breaks lines anew."""

    def __init__(self) -> None:
        self._before = ""
        self._pieces: list[str] = []
        self._size = 0

    def hear(self, event: AgentEvent) -> None:
        if isinstance(event, TextDelta):
            self._pieces.append(_squeezed(event.text))
            self._size += len(self._pieces[-1])
        if isinstance(event, ToolBegan | ToolEnded) or self._size > 2 * MAX_OUTPUT:
            self._before = (self._before + "".join(self._pieces))[-MAX_OUTPUT:]
            self._pieces, self._size = [], 0

    def lacks(self, end: Ended) -> bool:
        """Say whether words of the answer were not told; where that is not sure, no.

        The answer is the last message of a run, and may be without tags that the model wrote.
        """
        if end.end is not End.COMPLETED or len(end.output) >= MAX_OUTPUT:
            return False
        whole, own = _squeezed(end.output), _squeezed(_NOTE.split(end.output)[0])
        message = "".join(self._pieces)
        reported = self._before + message
        return not (reported.endswith((whole, own)) or _is_within(own, message))


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _is_within(short: str, long: str) -> bool:
    """Say whether all signs of `short` stand in `long`, in this order."""
    rest = iter(long)
    return len(short) <= len(long) and all(sign in rest for sign in short)
