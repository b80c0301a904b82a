"""One API call and its answer as values: reading fields, refusing, paging."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from .model import Issue, Json, Level, Repo, Token, User
from .quirks import Quirks
from .world import World

DEFAULT_PAGE = 30
LARGEST_PAGE = 50
API = "/api/v1"
NOTHING: Any = object()
_ZERO_TIME = "0001-01-01T00:00:00Z"
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Call:
    """One request as the server saw it.

    `at_s` is wall time on arrival, `peer` the address it came from; `user` is the login, empty
    when not signed in; `status` is what the forge (or, by a fault, the proxy in front) answered,
    0 when nothing was. `effect` tells whether the forge carried the call out, even when `fault`
    kept its answer from the client.
    """

    at_s: float
    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    user: str
    body: bytes
    status: int = 0
    fault: str = ""
    effect: bool = False
    peer: str = ""

    @property
    def json(self) -> Any:
        """The body as JSON, None when there is none or it is not JSON."""
        try:
            return msgspec.json.decode(self.body)
        except msgspec.DecodeError:
            return None


@dataclass(slots=True)
class Reply:
    """One answer; `value` is the JSON value sent, `NOTHING` when the body is none."""

    status: int
    value: Any = NOTHING
    body: bytes = b""
    content_type: str = "application/json;charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    return Reply(status, value, msgspec.json.encode(value), headers=headers or {})


def empty(status: int = 204) -> Reply:
    return Reply(status, content_type="")


class ApiError(Exception):
    """An answer that is an error; carries what its body says."""

    def __init__(
        self, status: int, message: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.headers = headers or {}


def fail(status: int, message: str = "") -> NoReturn:
    raise ApiError(status, message)


def not_found(message: str = "not found") -> NoReturn:
    raise ApiError(404, message)


@dataclass(slots=True)
class Request:
    """A call on its way to a route: who asks, about what, with which fields."""

    world: World
    method: str
    path: str
    query: dict[str, str]
    user: User | None
    token: Token | None
    params: dict[str, str]
    body: Any = None
    found_repo: Repo | None = None

    @property
    def quirks(self) -> Quirks:
        return self.world.quirks

    @property
    def doer(self) -> User:
        """The signed-in user; the route has made sure there is one."""
        if self.user is None:
            fail(401, "token is required")
        return self.user

    @property
    def repo(self) -> Repo:
        assert self.found_repo is not None
        return self.found_repo

    @property
    def level(self) -> Level:
        return self.world.level(self.user, self.repo)

    @property
    def writes(self) -> bool:
        return self.level >= Level.WRITE

    def issue(self, missing: int = 404) -> Issue:
        """Return the issue or pull request of the path's `index`."""
        found = self.repo.issues.get(int(self.params["index"]))
        if found is None:
            message = f"issue does not exist [id: 0, repo_id: {self.repo.id}, index: 0]"
            fail(missing, "not found" if missing == 404 else self.internal(message))
        return found

    def internal(self, message: str) -> str:
        """Return what a 500 may tell: nothing, unless an administrator asks."""
        return message if self.user is not None and self.user.admin else ""

    # fields of the body

    def has(self, name: str) -> bool:
        return self.body.get(name) is not None

    def _typed(self, name: str, kind: type[Row], default: Row) -> Row:
        value = self.body.get(name)
        if value is None:
            return default
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            fail(422, f"json: cannot unmarshal into Go struct field {name}")
        return value

    def text(self, name: str, default: str = "") -> str:
        return self._typed(name, str, default)

    def number(self, name: str, default: int = 0) -> int:
        return self._typed(name, int, default)

    def flag(self, name: str, default: bool = False) -> bool:
        return self._typed(name, bool, default)

    def items(self, name: str) -> list[Any]:
        return self._typed(name, list, [])

    def time(self, name: str) -> int | None:
        text = self.text(name)
        return read_time(text) if text else None

    def ids(self, name: str) -> list[int]:
        """Return a list of numbers; anything else is 422."""
        items = self.items(name)
        if not all(isinstance(item, int) and not isinstance(item, bool) for item in items):
            fail(422, f"json: cannot unmarshal into Go struct field {name}")
        return items

    def object(self, name: str) -> Json:
        return self._typed(name, dict, {})

    def required(self, name: str, go_name: str) -> str:
        """Return a text that must not be empty; Gitea names the Go field in its refusal."""
        value = self.text(name)
        if not value:
            fail(422, f"[{go_name}]: Required")
        return value

    # query

    def flag_query(self, name: str, default: bool = False) -> bool:
        text = self.query.get(name, "")
        return default if not text else text.lower() in ("1", "t", "true", "on")

    def number_query(self, name: str, default: int = 0) -> int:
        text = self.query.get(name, "")
        return int(text) if re.fullmatch(r"-?\d{1,18}", text) else default

    def time_query(self, name: str) -> int | None:
        """Return a second or None; an unreadable time is 422. A raw `+` arrives as a space."""
        text = self.query.get(name, "").strip()
        return read_time(text) if text else None

    @property
    def limit(self) -> int:
        asked = self.number_query("limit")
        return DEFAULT_PAGE if asked <= 0 else min(asked, LARGEST_PAGE)

    @property
    def page(self) -> int:
        return max(1, self.number_query("page", 1))

    def slice(self, rows: Sequence[Row]) -> Sequence[Row]:
        start = (self.page - 1) * self.limit
        return rows[start : start + self.limit]

    def counted(self, total: int, *, link: bool = True, size: int = 0) -> dict[str, str]:
        """Return the paging headers of a list with `total` rows."""
        headers = {"X-Total-Count": str(total)}
        text = self._links(total, size or self.limit) if link else ""
        if text:
            headers["Link"] = text
        return headers

    def _links(self, total: int, size: int) -> str:
        last = max(1, -(-total // size))
        pages = {}
        if self.page < last:
            pages = {"next": self.page + 1, "last": last}
        if self.page > 1:
            pages |= {"first": 1, "prev": self.page - 1}
        return ",".join(
            f'<{self.world.url}{self.path}?{self._query(n)}>; rel="{k}"' for k, n in pages.items()
        )

    def query_text(self) -> str:
        return urlencode(self.query)

    def _query(self, page: int) -> str:
        return urlencode(sorted({**self.query, "page": str(page)}.items()))

    def listed(
        self, rows: Sequence[Row], shape: Callable[[Row], Any], *, link: bool = True
    ) -> Reply:
        """Answer one page of rows."""
        return answer(
            [shape(row) for row in self.slice(rows)], 200, self.counted(len(rows), link=link)
        )


def read_time(text: str) -> int:
    """Return the second of an RFC 3339 time; anything else is 422."""
    if not _TIME.fullmatch(text):
        fail(422, f'parsing time "{text}": cannot parse')
    try:
        return int(datetime.fromisoformat(text.upper()).timestamp())
    except ValueError:
        fail(422, f'parsing time "{text}": out of range')


def when(world: World, at_s: int) -> str:
    """Write a second as RFC 3339 with the server's offset; 0 is Go's zero time."""
    if not at_s:
        return _ZERO_TIME
    zone = timezone(timedelta(seconds=world.utc_offset_s)) if world.utc_offset_s else UTC
    return datetime.fromtimestamp(at_s, zone).isoformat().replace("+00:00", "Z")


def when_set(world: World, at_s: int) -> str | None:
    return when(world, at_s) if at_s else None


def url_path(text: str) -> str:
    return quote(text, safe="/")


def decode_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        fail(422, "illegal base64 data at input byte 0")
