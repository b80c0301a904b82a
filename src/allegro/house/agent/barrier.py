"""Session requests that ended before the archive was read as far as what ended them.

Requests and sessions follow the archive each for themselves. Of a session that may have begun a
lane tells the end and then that its order failed: a request that failed is not shown before
whatever stands in front of it was read, else a session that has an end would seem to have none.
"""

from __future__ import annotations

from allegro.core.requests.lifecycle import State
from allegro.core.requests.requests import Request
from allegro.house.requests.requests import Requests


class Unread:
    """Knows of which ended requests the archive was read; at the start, of none."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._read: frozenset[str] = frozenset()

    def ended(self) -> frozenset[str]:
        """Return the requests whose reasons are all in the archive now."""
        return frozenset(one.id for one in self._requests.all() if _may_have_end(one))

    def read(self, ended: frozenset[str]) -> frozenset[str]:
        """Take note that the archive was read since these had ended; return those that are new."""
        new, self._read = ended - self._read, ended
        return new

    def shows(self, request: Request) -> bool:
        """Say whether it ended, and no end of a session stands before that in the archive."""
        return _may_have_end(request) and request.id in self._read

    def hides(self, request: Request) -> bool:
        return _may_have_end(request) and request.id not in self._read


def _may_have_end(request: Request) -> bool:
    """Say whether a request ended in a way that does not exclude a session with an end."""
    ended = request.is_final and request.state is not State.DONE
    return ended and request.kind == "run_session" and bool(request.lane)
