"""Lists as a forge gives them: item by item, so that one odd item does not cost the others."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import msgspec

from allegro.adapters.gitea import values, wire
from allegro.adapters.gitea.http import Answer, GiteaHttp, TooLarge
from allegro.core.base.errors import EdgeError
from allegro.core.base.untrusted import Unreadable, number_of, read_json, read_value, whole_number
from allegro.core.ports import Unread

MAX_PAGES = 200
_NUMBER = re.compile(rb'"number"\s*:\s*(\d{1,15})\b')
_LIST = re.compile(rb"\s*\[\s*\{")
_UNREADABLE = "it cannot be read: open it in the browser, and shorten or delete it"

T = TypeVar("T")


def items(answer: Answer, type_: type[T], path: str) -> tuple[list[T], list[Unread]]:
    """Read a list: what is of this type, and what is not.

    Raises EdgeError when the answer is no list at all: kind `garbled` where it begins as one, so
    that a smaller page may leave the bad part out, `garbage` where it does not.
    """
    rows = read_json(answer.body, wire.nullable(msgspec.Raw))
    if isinstance(rows, Unreadable):
        garbled = _LIST.match(answer.body[:64]) is not None
        raise EdgeError(
            f"GET {path}: the answer is not the list that the API promises: {rows}",
            transient=True,
            kind="garbled" if garbled else "garbage",
        )
    found: list[T] = []
    unread: list[Unread] = []
    for row in rows or ():
        one = read_json(bytes(row), type_)
        if isinstance(one, Unreadable):
            unread.append(_unread(bytes(row), one.reason))
        else:
            found.append(one)
    return found, unread


def single(error: EdgeError) -> Unread | None:
    """Return what a page of one item holds that could not be read; None for other errors.

    Its number is looked for in the first bytes, which come before title and text.
    """
    head = error.head if isinstance(error, TooLarge) else b""
    if error.kind not in {"too_large", "garbled"}:
        return None
    number = _NUMBER.search(head)
    return Unread(0, int(number[1]) if number else 0, 0, f"{error}; {_UNREADABLE}"[:300])


async def every(
    http: GiteaHttp,
    path: str,
    type_: type[T],
    size: int,
    *,
    key: Callable[[T], object],
    **params: str | int,
) -> list[T]:
    """Read all pages of a list, each item once.

    A forge filters some lists after it paged them, so a short page is not the last one: the end is
    a `Link` header without a next page, the forge's own count, or an empty page. Raises EdgeError
    for a list of more than `MAX_PAGES` pages.
    """
    found: dict[object, T] = {}
    seen, odd = 0, set[Unread]()
    for page in range(1, MAX_PAGES + 1):
        answer = await http.call("GET", path, params={"page": page, "limit": size, **params})
        listed, unread = items(answer, type_, path)
        fresh = {key(item): item for item in listed if key(item) not in found}
        is_new = bool(fresh) or not set(unread) <= odd
        found |= fresh
        odd |= set(unread)
        seen += len(listed) + len(unread)
        if is_last(answer.more, answer.total, seen, fresh=is_new):
            return list(found.values())
    raise EdgeError(f"GET {path}: more than {MAX_PAGES} pages", transient=False, kind="too_much")


def is_last(more: bool | None, total: int, seen: int, *, fresh: bool) -> bool:
    """Say whether a list ends with this page. `fresh`: it held something not seen before."""
    if more is not None:
        return not more or (seen > 0 and not fresh)
    return not fresh or seen == total


def _unread(row: bytes, reason: str) -> Unread:
    named = read_json(row, wire.Named)
    if isinstance(named, Unreadable):
        return Unread(0, 0, 0, reason)
    owner = read_value(named.repository, wire.WireRepository)
    number = number_of(named.number)
    for url in (named.issue_url, named.pull_request_url):
        if not number and isinstance(url, str):
            number = whole_number(values.url_tail(url)) or 0
    repository = 0 if isinstance(owner, Unreadable) else owner.id
    return Unread(repository, number, number_of(named.id), reason)
