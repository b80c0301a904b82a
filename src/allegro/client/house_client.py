"""Talks to the house's Unix socket: one request, one answer, typed errors."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from allegro.client.errors import BadRequest, HouseUnreachable, NotNow
from allegro.client.warnings import hear
from allegro.core.base.untrusted import UNREADABLE, Unreadable, read_json, read_value, text_of
from allegro.core.effects.render import one_line
from allegro.core.health.facts import WARNING_HEADER
from allegro.core.measures.answers import MeasuresAnswer
from allegro.core.protocol.answers.duties import DutiesAnswer, DutyRunAnswer
from allegro.core.reports.answers import ReportAnswer

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


class HouseClient:
    """Use as an async context manager."""

    def __init__(self, socket: Path | None = None) -> None:
        self._socket = socket or default_socket()
        self._session: aiohttp.ClientSession | None = None

    @property
    def socket(self) -> Path:
        """The house's Unix socket."""
        return self._socket

    async def __aenter__(self) -> HouseClient:
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
        """Read. Raises HouseUnreachable, BadRequest, NotNow."""
        return await self._call("GET", path, params, None)

    async def post(self, path: str, body: Any = None) -> Any:
        """Ask for something. Raises HouseUnreachable, BadRequest, NotNow."""
        return await self._call("POST", path, {}, body)

    async def measures(self, window_s: float = 7 * 86_400.0) -> MeasuresAnswer:
        """Return every figure over the `window_s` seconds before now.

        Raises HouseUnreachable, BadRequest, NotNow.
        """
        answer = read_value(await self.get("measures", window_s=window_s), MeasuresAnswer)
        if isinstance(answer, Unreadable):
            raise BadRequest(f"the house's answer cannot be read: {answer}")
        return answer

    async def duties(self) -> DutiesAnswer:
        """Return every scheduled duty of the house and of its lanes.

        Raises HouseUnreachable, BadRequest, NotNow.
        """
        answer = read_value(await self.get("duties"), DutiesAnswer)
        if isinstance(answer, Unreadable):
            raise BadRequest(f"the house's answer cannot be read: {answer}")
        return answer

    async def run_duty(self, name: str) -> DutyRunAnswer:
        """Run a scheduled duty now, at each owner that has it; `NAME@OWNER` names one.

        One that takes longer than 45 s runs on and is returned as running. Raises
        HouseUnreachable, BadRequest, NotNow.
        """
        answer = read_value(await self.post("duties/run", {"duty": name}), DutyRunAnswer)
        if isinstance(answer, Unreadable):
            raise BadRequest(f"the house's answer cannot be read: {answer}")
        return answer

    async def report(
        self, day: str | None = None, *, form: str = "md", weekly: bool = False
    ) -> ReportAnswer:
        """Return the morning report of a day (`2026-11-28`), None for yesterday.

        `form` is md, txt, html or json. Raises HouseUnreachable, BadRequest, NotNow.
        """
        params: dict[str, str | int] = {"form": form, "weekly": int(weekly)}
        if day is not None:
            params["day"] = day
        answer = read_value(await self.get("report", **params), ReportAnswer)
        if isinstance(answer, Unreadable):
            raise BadRequest(f"the house's answer cannot be read: {answer}")
        return answer

    async def alerts(self) -> Any:
        """Return alerts, precision of each code, maintenance windows and channels."""
        return await self.get("alerts")

    async def act_on_alert(self, name: str, act: str, **body: float) -> Any:
        """Do `ack`, `snooze` (`for_s`), `useful` or `noise` to alerts by id, code or notice."""
        return await self.post(f"alerts/{named(name)}/{named(act)}", body)

    async def begin_maintenance(self, for_s: float, **names: str) -> Any:
        """Hold back alerts that `code`, `lane` and `subject` name; return the window's id."""
        return await self.post("maintenance", {"for_s": for_s, **names})

    async def end_maintenance(self, window: str) -> Any:
        return await self.post(f"maintenance/{named(window)}/end", {})

    async def events(self, **params: str | int) -> AsyncIterator[dict[str, Any]]:
        """Yield archived events, oldest first; with follow=1 without end.

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
        self, method: str, path: str, params: dict[str, str | int | float], body: Any
    ) -> Any:
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


async def get(socket: Path | None, path: str) -> Any:
    """Read one thing from the house on this socket."""
    async with HouseClient(socket) as house:
        return await house.get(path)


async def post(socket: Path | None, path: str, body: Any = None) -> Any:
    """Ask the house on this socket for one thing."""
    async with HouseClient(socket) as house:
        return await house.post(path, body)
