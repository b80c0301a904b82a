"""A store's own id and what it remembers of the other store, in its table `meta`."""

from __future__ import annotations

import sqlite3

import msgspec

from allegro.adapters.sqlite.schema import get_meta, put_meta
from allegro.core.base.store_ties import Tie
from allegro.core.base.untrusted import Unreadable, read_msgpack

TIE = "tie"


def get_tie(connection: sqlite3.Connection) -> Tie:
    """Return the tie; a store without one, or with a damaged one, gets an id of its own now."""
    raw = get_meta(connection, TIE)
    tie = Unreadable("none") if raw is None else read_msgpack(raw, Tie)
    if isinstance(tie, Tie) and tie.id:
        return tie
    (id_,) = connection.execute("SELECT lower(hex(randomblob(16)))").fetchone()
    made = Tie(str(id_))
    put_tie(connection, made)
    return made


def put_tie(connection: sqlite3.Connection, tie: Tie) -> None:
    put_meta(connection, TIE, msgspec.msgpack.encode(tie))
