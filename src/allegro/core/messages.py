"""One tagged union of all that crosses the link, and its byte form (MessagePack).

Both directions have their own union, so that neither side can be made to read what only the
other may say. Every message is one WebSocket binary frame.
"""

from __future__ import annotations

from typing import Any

import msgspec

from allegro.core.freeze import Freeze
from allegro.core.sequence import Entry, Position

PROTOCOL = 1
MAX_LANE_FRAME = 2 * 1024 * 1024
MAX_HOUSE_FRAME = 24 * 1024 * 1024
BATCH_BYTES = 256 * 1024
BATCH_ENTRIES = 2_000


class _Message(msgspec.Struct, frozen=True, tag_field="t", forbid_unknown_fields=True):
    pass


# --- the house says ------------------------------------------------------------------------


class Hello(_Message, frozen=True, tag="hello"):
    """Opens the link. `challenge` is 32 random bytes in base64url."""

    protocol: int
    challenge: str


class LogIn(_Message, frozen=True, tag="login"):
    """Answers the lane's challenge and brings what outranks everything else.

    `token` is a Login; `certificates` are the rotations, the house certificate, the seat, the
    revocations and the roster, in that order; `thaws` every thaw still needed; `cursors` the house's position per journal;
    `marks` the poll marks that are home, as (watch, forge_s, wall_s).
    """

    token: str
    certificates: tuple[str, ...]
    freezes: tuple[Freeze, ...]
    thaws: tuple[str, ...]
    cursors: tuple[Position, ...]
    marks: tuple[tuple[str, int, float], ...]
    now_s: float


class Ack(_Message, frozen=True, tag="ack"):
    """The archive has committed everything up to here."""

    position: Position


class Query(_Message, frozen=True, tag="query"):
    """Asks for something read from forge or lane, or for an act that needs nothing.

    Such an act only makes a lane do less: deny, stop a session, take a loan back.
    """

    id: int
    method: str
    params: dict[str, Any]


class ChallengeWanted(_Message, frozen=True, tag="challenge_wanted"):
    id: int


class GiveOrder(_Message, frozen=True, tag="order"):
    """One order with all it needs. `change_token` is beside the signed bytes, never in them."""

    id: int
    order: str
    action: bytes
    approval: str | None
    branch: str
    marker: str
    change_token: str | None


class Stop(_Message, frozen=True, tag="stop"):
    freeze: Freeze


class Bring(_Message, frozen=True, tag="bring"):
    """A signed thing that changes a lane's trust: thaw, rotation, revocation, seat, roster."""

    token: str


class HouseBeat(_Message, frozen=True, tag="beat"):
    """Something to hear when there is nothing to say. `now_s` is the house's wall clock."""

    now_s: float


# --- the lane says -------------------------------------------------------------------------


class Serves(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a lane is for: a forge or none, how many sessions at once, beside the house or not."""

    forge: bool = True
    sessions: int = 0
    local: bool = False


class Greet(_Message, frozen=True, tag="greet"):
    """`token` is a Greeting, signed by the lane key pinned at pairing."""

    protocol: int
    token: str
    version: str


class Welcome(_Message, frozen=True, tag="welcome"):
    """The log-in holds. The journal goes on behind `after`; `freezes` are the lane's own;
    `serves` is what orders it can take."""

    after: Position
    head: int
    freezes: tuple[Freeze, ...]
    serves: Serves = Serves()


class Refused(_Message, frozen=True, tag="refused"):
    """The lane will not talk to this house now; the connection ends."""

    reason: str
    detail: str


class Batch(_Message, frozen=True, tag="batch"):
    """Consecutive entries of the journal; `head` is its newest sequence."""

    journal: str
    first_seq: int
    entries: tuple[Entry, ...]
    head: int


class Challenge(_Message, frozen=True, tag="challenge"):
    id: int
    challenge: str


class OrderAnswer(_Message, frozen=True, tag="order_answer"):
    """`reason` is empty when the order was taken; what comes of it is journalled."""

    id: int
    reason: str
    detail: str


class Reply(_Message, frozen=True, tag="reply"):
    """Answers a query: `error` empty and `value` set, or the other way round."""

    id: int
    value: Any
    error: str = ""
    transient: bool = False


class LaneBeat(_Message, frozen=True, tag="beat"):
    """`roles` are those the lane says it holds, with their epochs."""

    head: int
    done: str
    roles: dict[str, int] = {}


FromHouse = Hello | LogIn | Ack | Query | ChallengeWanted | GiveOrder | Stop | Bring | HouseBeat
FromLane = Greet | Welcome | Refused | Batch | Challenge | OrderAnswer | Reply | LaneBeat
