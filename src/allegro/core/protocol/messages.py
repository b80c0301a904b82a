"""One tagged union of all that crosses the link, and its byte form (MessagePack).

Both directions have their own union, so that neither side can be made to read what only the
other may say. Every message is one WebSocket binary frame.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from allegro.core.authority.freeze import Freeze
from allegro.core.base.sequence import Entry, Position
from allegro.core.base.untrusted import Number, Text

PROTOCOL = 2
OLDEST_PROTOCOL = 1
"""Number 1 (whole messages only, no receipts) is understood for one release."""
MAX_LANE_FRAME = 2 * 1024 * 1024
MAX_HOUSE_FRAME = 24 * 1024 * 1024
BATCH_BYTES = 256 * 1024
BATCH_ENTRIES = 2_000
WHOLE_BYTES = 8 * 1024
"""A longer message travels in pieces, but a batch of short entries on a fast line."""
PIECE_BYTES = 16 * 1024

Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
"""SHA-256 of some bytes, in hex."""


class _Message(msgspec.Struct, frozen=True, tag_field="t", forbid_unknown_fields=True):
    pass


# --- both say: what is too long for one frame, and how much has arrived ----------------------


class Offer(_Message, frozen=True, tag="offer"):
    """Says that `size` bytes of this SHA-256 are to come, as pieces. Answered by `want`.

    `id` is the query's that they are or answer. With `keep` they are the content of an order to
    come and are kept; without it they are one message, whose own id is 0.
    """

    id: int
    digest: Digest
    size: Number
    keep: bool = False


class Want(_Message, frozen=True, tag="want"):
    """Asks for the bytes from `offset` on: what is before it is here, from this connection or
    an earlier one. `offset` is the size once all is here and its digest holds."""

    digest: Digest
    offset: Number


class Piece(_Message, frozen=True, tag="piece"):
    """Some of the bytes offered, from `offset` on."""

    digest: Digest
    offset: Number
    data: bytes


class Declined(_Message, frozen=True, tag="declined"):
    """These bytes are not taken; what had come of them is forgotten."""

    digest: Digest
    reason: Text


class Got(_Message, frozen=True, tag="got"):
    """The bytes of batches and pieces received on this connection so far."""

    received: Number


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
    params: dict[str, object]


class ChallengeWanted(_Message, frozen=True, tag="challenge_wanted"):
    id: int


class GiveOrder(_Message, frozen=True, tag="order", omit_defaults=True):
    """One order with all it needs. `change_token` is beside the signed bytes, never in them.

    Where `content` is set, `action` is empty: its bytes came before, and this is their SHA-256.
    """

    id: int
    order: str
    action: bytes
    approval: str | None
    branch: str
    marker: str
    change_token: str | None
    content: Digest | None = None


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


Bulk = Offer | Want | Piece | Declined | Got
FromHouse = (
    Hello | LogIn | Ack | Query | ChallengeWanted | GiveOrder | Stop | Bring | HouseBeat | Bulk
)
FromLane = Greet | Welcome | Refused | Batch | Challenge | OrderAnswer | Reply | LaneBeat | Bulk
