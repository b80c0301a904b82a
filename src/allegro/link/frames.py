"""Messages to frames and back, strictly: size first, then form. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from allegro.core.base.errors import ProtocolError, Unholdable
from allegro.core.base.untrusted import UNREADABLE
from allegro.core.protocol.messages import (
    MAX_HOUSE_FRAME,
    MAX_LANE_FRAME,
    FromHouse,
    FromLane,
)

_encoder = msgspec.msgpack.Encoder()
_from_house = msgspec.msgpack.Decoder(FromHouse)
_from_lane = msgspec.msgpack.Decoder(FromLane)


def encode(message: FromHouse | FromLane) -> bytes:
    """Return the one frame of a message. Raises Unholdable for a value that no frame can hold."""
    try:
        return _encoder.encode(message)
    except UNREADABLE as error:
        raise Unholdable(f"no frame can hold this message: {error}") from error


def decode_from_house(frame: bytes) -> FromHouse:
    """Read what a house may say. Raises ProtocolError for anything else."""
    message: FromHouse = _decode(frame, MAX_HOUSE_FRAME, _from_house)
    return message


def decode_from_lane(frame: bytes) -> FromLane:
    """Read what a lane may say. Raises ProtocolError for anything else."""
    message: FromLane = _decode(frame, MAX_LANE_FRAME, _from_lane)
    return message


def _decode(frame: bytes, limit: int, decoder: msgspec.msgpack.Decoder[Any]) -> Any:
    if len(frame) > limit:
        raise ProtocolError(f"frame of {len(frame)} bytes, at most {limit} are read")
    try:
        return decoder.decode(frame)
    except UNREADABLE as error:
        raise ProtocolError(f"not a message: {error}") from error
