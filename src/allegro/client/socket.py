"""Speaks HTTP on the house's Unix socket: one request, one answer, typed errors."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from allegro.client.errors import BadRequest, HouseUnreachable, NotNow
from allegro.client.warnings import hear
from allegro.core.base.untrusted import (
    UNREADABLE,
    Unreadable,
    read_json,
    read_value,
    text_of,
)
from allegro.core.effects.render import one_line
from allegro.core.health.facts import WARNING_HEADER

T = TypeVar("T")

WAIT_S = 50.0


def default_socket() -> Path:
    """Return where a house listens when nothing else is configured."""
    configured = os.environ.get("ALLEGRO_SOCKET")
    return Path(configured) if configured else default_state_dir() / "house.sock"


def default_state_dir() -> Path:
    """Return the house's state folder by the custom of the system (XDG, macOS)."""
    if sys.platform == "darwin":
        return Path("~/Library/Application Support/allegro").expanduser()
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "allegro"


def named(name: str) -> str:
    """Return an id or name as one part of a path. Raises BadRequest where it can be none."""
    try:
        part = quote(name, safe="")
    except UnicodeEncodeError as error:
        raise BadRequest(f"{name!r} is no text") from error
    if part.strip(".") == "":
        raise BadRequest(f"{name!r} names nothing: give an id or a name")
    return part


class HouseSocket:
    """Use as an async context manager. `HouseClient` has a method for each path."""

    def __init__(self, socket: Path | None = None) -> None:
        self._socket = socket or default_socket()
        self._session: aiohttp.ClientSession | None = None

    @property
    def socket(self) -> Path:
        """The house's Unix socket."""
        return self._socket

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, path: str, **params: str | int | float) -> Any:
        """Read; return what JSON holds. Raises HouseUnreachable, BadRequest, NotNow."""
        return await self._call("GET", path, params, None)

    async def post(self, path: str, body: object = None) -> Any:
        """Ask for something; return what JSON holds. Raises HouseUnreachable, BadRequest, NotNow."""
        return await self._call("POST", path, {}, body)

    async def read(self, type_: type[T], path: str, **params: str | int | float) -> T:
        """Read an answer of this type. Raises as `get`; BadRequest where it is of none."""
        return _typed(await self.get(path, **params), type_, path)

    async def send(self, type_: type[T], path: str, body: object = None) -> T:
        """Ask for something; return the answer as this type. Raises as `read`."""
        return _typed(await self.post(path, body), type_, path)

    async def events(self, **params: str | int) -> AsyncIterator[dict[str, Any]]:
        """Yield archived events as JSON holds them, oldest first; with follow=1 without end.

        An event that the house cannot read has type `unreadable`, its row, and why. Raises
        HouseUnreachable when the house breaks off, NotNow when it says why: what was yielded is
        then not all there is.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        try:
            async with self._open().get(
                "http://house/v1/events", params=params, timeout=timeout
            ) as response:
                if response.status != 200:
                    _raise_for(response.status, read_json(await response.read(), dict), "events")
                async for line in _lines(response.content):
                    event = read_json(line, dict)
                    if isinstance(event, Unreadable):
                        raise BadRequest(f"the house sent a line that cannot be read: {event}")
                    if "end" in event:
                        return
                    if "error" in event:
                        raise NotNow(f"the events broke off: {event['error']}")
                    yield event
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(error) from error
        raise self._unreachable(EOFError("the events broke off"))

    async def _call(
        self, method: str, path: str, params: dict[str, str | int | float], body: object
    ) -> object:
        try:
            data = None if body is None else msgspec.json.encode(body)
        except UNREADABLE as error:
            raise BadRequest(
                "what you gave is not valid UTF-8 text, or holds what JSON cannot"
            ) from error
        try:
            async with self._open().request(
                method,
                URL(f"http://house/v1/{path}", encoded=True),
                params=params,
                data=data,
                timeout=aiohttp.ClientTimeout(total=WAIT_S + 15),
            ) as response:
                hear(response.headers.get(WARNING_HEADER, ""))
                raw = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._unreachable(error) from error
        answer = read_json(raw, object)
        if response.status < 300 and not isinstance(answer, Unreadable):
            return answer
        return _raise_for(response.status, answer, path)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.UnixConnector(path=str(self._socket))
            self._session = aiohttp.ClientSession(connector=connector)
        return self._session

    def _unreachable(self, error: Exception) -> HouseUnreachable:
        why = str(error) or type(error).__name__
        if isinstance(error, aiohttp.ClientConnectorError):  # its own words tell of its inside
            why = error.os_error.strerror or str(error.os_error)
        return HouseUnreachable(
            f"the house does not answer at {self._socket}: start it with `allegro house` ({why})"
        )


def _typed(answer: object, type_: type[T], path: str) -> T:
    found = read_value(answer, type_)
    if isinstance(found, Unreadable):
        raise unreadable_answer(path, found)
    return found


def unreadable_answer(path: str, why: Unreadable) -> BadRequest:
    """Return what is raised for an answer that is not of its type."""
    return BadRequest(
        f"the house's answer to {path} cannot be read: {one_line(why)}."
        " Does it run another version of allegro? Then start it again"
    )


def _raise_for(status: int, answer: object, path: str) -> NoReturn:
    """Raise what an answer that is none comes to."""
    detail = answer.get("error") if isinstance(answer, dict) else None
    sentence = one_line(text_of(detail), 2_000) or f"the house answered {status} to {path}"
    raise (NotNow if status == 503 else BadRequest)(sentence)


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield whole lines of any length."""
    held = bytearray()
    async for piece in content.iter_any():
        held += piece
        if b"\n" not in piece:
            continue
        *lines, held = held.split(b"\n")
        for line in lines:
            yield bytes(line)
