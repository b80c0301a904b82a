"""How the API reads what it is asked and puts what it answers."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from aiohttp import web

from allegro.core.base.errors import Refusal, Unholdable
from allegro.core.base.untrusted import (
    MAX_NUMBER,
    MAX_TEXT,
    UNREADABLE,
    Unreadable,
    plain,
    read_json,
    read_value,
    whole_number,
)
from allegro.core.effects.render import one_line

T = TypeVar("T")

MAX_WAIT_S = 55.0


class BadInput(ValueError):
    """What a caller sent cannot be read; the message is a sentence for its author."""


class Failed(msgspec.Struct, frozen=True):
    """What is answered where something was not done: a sentence, and of which kind it is.

    `transient` true says that the same may be asked again later.
    """

    error: str
    kind: str
    transient: bool | msgspec.UnsetType = msgspec.UNSET


def decode_body(raw: bytes, type_: type[T]) -> T:
    """Return a JSON body as a value of this type. Raises BadInput."""
    value = read_json(raw or b"{}", type_)
    if isinstance(value, Unreadable):
        raise BadInput(f"the body cannot be read: {value}")
    return value


def number_in(request: web.Request, name: str, default: int, *, most: int = MAX_NUMBER - 1) -> int:
    """Return a query parameter as a whole number, `most` where it is larger. Raises BadInput."""
    text = request.query.get(name)
    if text is None:
        return default
    number = whole_number(text)
    if number is None:
        raise BadInput(f"{name} must be a whole number from 0 on, below 2**53")
    return min(number, most)


def seconds_in(request: web.Request, name: str, default: float, *, most: float) -> float:
    """Return a query parameter in seconds, `most` where it is larger. Raises BadInput."""
    text = request.query.get(name)
    if text is None:
        return default
    seconds = read_value(_real(text), float)
    if isinstance(seconds, Unreadable) or not 0 <= seconds < MAX_NUMBER:
        raise BadInput(f"{name} must be a number of seconds from 0 on")
    return min(seconds, most)


def _real(text: str) -> object:
    return read_json(text, float) if len(text) <= 40 else None


def plain_in(value: object, what: str) -> Any:
    """Return a caller's value of an open type. Raises BadInput where JSON cannot hold it."""
    held = plain(value)
    if isinstance(held, Unreadable):
        raise BadInput(f"{what} cannot be sent on: {held}")
    return held


def refused(refusal: Refusal) -> web.Response:
    status = 404 if refusal.reason == "not_found" else 409
    return answer_json(Failed(sentence(refusal), refusal.reason), status)


def sentence(value: object) -> str:
    """Return why something was not done, as one line: parts of it may be foreign words."""
    return one_line(value, MAX_TEXT)


def answer_json(value: object, status: int = 200) -> web.Response:
    """Return an answer. Raises Unholdable for a value that JSON cannot hold."""
    try:
        body = msgspec.json.encode(value)
    except UNREADABLE as error:
        raise Unholdable(f"the answer cannot be written: {error}") from error
    return web.Response(body=body, status=status, content_type="application/json")
