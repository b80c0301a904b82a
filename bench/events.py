"""The events that are measured: about 500 bytes stored, sealed or clear."""

from __future__ import annotations

import os
from typing import cast

from allegro.adapters.clock import SystemClock, SystemDice
from allegro.adapters.crypto.signatures import HpkeSealer, SealingKey
from allegro.core.base.events import Event
from allegro.core.ports import Journal
from allegro.core.protocol.payloads.polls import WatchRecovered
from allegro.lane.context.recorder import Author, Recorder

_WORDS = {"title": "t" * 40, "body": "b" * 108}
_FILL = "x" * 317


def recorder(journal: Journal | None, sealing_key: bytes) -> Recorder:
    """Return the product's own maker of events; without a journal it can only make them."""
    sealer = HpkeSealer("bench", sealing_key)
    return Recorder(
        cast("Journal", journal),
        sealer,
        SystemClock(),
        SystemDice(),
        by=Author("bench", os.urandom(32)),
    )


def sealed(maker: Recorder) -> Event:
    """Return an event whose words are sealed, as everything with words of people is."""
    return maker.event(WatchRecovered(watch="1"), subject="bench/1", words=_WORDS)


def clear(maker: Recorder, count: int) -> list[Event]:
    """Return events that hold no words."""
    return [maker.event(WatchRecovered(watch=_FILL), subject="bench/1") for _ in range(count)]


def any_sealing_key() -> bytes:
    """Return a public sealing key whose private part nobody keeps."""
    return SealingKey.make().public
