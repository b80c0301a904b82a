"""What a council server tells of itself on its monitoring port, which only loopback reaches."""

from __future__ import annotations

from urllib.request import urlopen

import msgspec

from allegro.core.base.untrusted import Name, Number, Unreadable, read_json

MAX_ANSWER = 1_000_000


class Connected(msgspec.Struct, frozen=True):
    """`loaded`: when the server last took in its settings, in its own words.

    `routes`: its connections to other servers, each by a number that it never uses again.
    """

    loaded: str
    routes: frozenset[int]


class _General(msgspec.Struct, frozen=True):
    config_load_time: Name


class _Route(msgspec.Struct, frozen=True):
    rid: Number


class _Routes(msgspec.Struct, frozen=True):
    routes: tuple[_Route, ...] | None = None


def connected(monitor: str) -> Connected | None:
    """Return which settings a server runs with and its routes; None where it does not say."""
    general = read_json(_ask(f"{monitor}/varz"), _General)
    routes = read_json(_ask(f"{monitor}/routez"), _Routes)
    if isinstance(general, Unreadable) or isinstance(routes, Unreadable):
        return None
    return Connected(general.config_load_time, frozenset(one.rid for one in routes.routes or ()))


def is_store_broken(monitor: str) -> bool:
    """Ask /healthz; only its own word about a failed write counts, not a lost quorum.

    2.15 says "JetStream not enabled (10076)" after "no space left on device": it has turned
    JetStream off and leaves it off, whatever room there is later.
    """
    answer = _ask(f"{monitor}/healthz")[:4_096]
    return any(word in answer for word in (b"JetStream not enabled", b"write error", b"no space"))


def _ask(url: str) -> bytes:
    """Return the answer, also one with an error status; nothing where there is none."""
    try:
        with urlopen(url, timeout=2) as answer:  # noqa: S310 (our own loopback)
            return bytes(answer.read(MAX_ANSWER))
    except OSError as error:
        return bytes(error.read(MAX_ANSWER)) if hasattr(error, "read") else b""
