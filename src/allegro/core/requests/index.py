"""Finds requests by what they are asked for, so that cost grows with what moved, not what is open."""

from __future__ import annotations

import re
from collections.abc import Iterable

from allegro.core.requests.lifecycle import State
from allegro.core.requests.ordering import may_have_written, serial_key
from allegro.core.requests.requests import Request

_PID = re.compile(r" \(pid [0-9]{1,12}\)")


def program_of(asked_by: str) -> str:
    """Return the program that asked, without the number of its process: a restart is the same."""
    return _PID.sub("", asked_by)


class RequestIndex:
    """Keeps ids by digest, key, serial key, kind and target. `put` once for each new version of a request."""

    def __init__(self, requests: Iterable[Request] = ()) -> None:
        self._serial: dict[str, str] = {}
        self._by_digest: dict[str, str] = {}
        self._by_key: dict[tuple[str, str], str] = {}
        self._newest: dict[str, tuple[float, str]] = {}
        self._open: dict[str, dict[str, None]] = {}
        self._kinds: dict[str, dict[str, None]] = {}
        self._written: dict[str, dict[str, None]] = {}
        self._stale: dict[str, None] = {}
        self._proposed: dict[str, None] = {}
        for request in requests:
            self.put(request)

    def put(self, request: Request) -> None:
        """Take note of a request's newest version."""
        serial = self._serial.get(request.id)
        if serial is None:
            serial = self._add(request)
        if request.is_final:
            _drop(self._open, serial, request.id)
            _drop(self._kinds, request.kind, request.id)
        else:
            self._open.setdefault(serial, {})[request.id] = None
            self._kinds.setdefault(request.kind, {})[request.id] = None
        if may_have_written(request):
            self._written.setdefault(request.target, {})[request.id] = None
        else:
            _drop(self._written, request.target, request.id)
        if request.state is State.PROPOSED and not request.internal:
            self._proposed[request.id] = None
        else:
            self._proposed.pop(request.id, None)
        if request.state is State.STALE and not request.superseded_by and not request.internal:
            self._stale[request.id] = None
        else:
            self._stale.pop(request.id, None)

    def _add(self, request: Request) -> str:
        serial = self._serial[request.id] = serial_key(request)
        self._by_digest[request.digest] = request.id
        if request.key:
            self._by_key[program_of(request.asked_by), request.key] = request.id
        newest = self._newest.get(serial)
        if newest is None or newest[0] <= request.created_s:
            self._newest[serial] = request.created_s, request.id
        return serial

    def drop(self, request: Request) -> None:
        """Forget a request that left memory."""
        serial = self._serial.pop(request.id, None)
        if serial is None:
            return
        _drop(self._open, serial, request.id)
        _drop(self._kinds, request.kind, request.id)
        _drop(self._written, request.target, request.id)
        self._stale.pop(request.id, None)
        self._proposed.pop(request.id, None)
        if self._by_digest.get(request.digest) == request.id:
            del self._by_digest[request.digest]
        key = program_of(request.asked_by), request.key
        if self._by_key.get(key) == request.id:
            del self._by_key[key]
        if self.newest(serial) == request.id:
            del self._newest[serial]

    def __len__(self) -> int:
        return len(self._serial)

    def by_digest(self, digest: str) -> str | None:
        return self._by_digest.get(digest)

    def by_key(self, asked_by: str, key: str) -> str | None:
        """Return the request that this program asked for with this key."""
        return self._by_key.get((program_of(asked_by), key)) if key else None

    def newest(self, serial: str) -> str | None:
        """Return the newest request of a serial key, open or not."""
        found = self._newest.get(serial)
        return None if found is None else found[1]

    def same(self, request: Request) -> list[str]:
        """Return the other open requests of this one's serial key."""
        serial = self._serial.get(request.id, "")
        return [id_ for id_ in self._open.get(serial, ()) if id_ != request.id]

    def open_of(self, kind: str) -> list[str]:
        """Return the open requests of a kind, oldest first."""
        return list(self._kinds.get(kind, ()))

    def may_have_written(self, target: str) -> list[str]:
        """Return the requests for this target of which an order may have come to something."""
        return list(self._written.get(target, ()))

    def proposed(self) -> list[str]:
        """Return the requests that wait for their owner's decision, oldest first."""
        return list(self._proposed)

    def stale(self) -> list[str]:
        """Return the stale requests that were not asked again yet, oldest first."""
        return list(self._stale)


def _drop(groups: dict[str, dict[str, None]], name: str, id_: str) -> None:
    group = groups.get(name)
    if group is not None:
        group.pop(id_, None)
        if not group:
            del groups[name]
