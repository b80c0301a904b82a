"""A reverse proxy before the forge that bends one answer in one place, for one caller only."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from allegro.core.base.untrusted import Unreadable, read_json

from . import values as bad

HEADERS = ("Date", "X-Total-Count", "Link", "Retry-After", "Content-Type", "Content-Length-Hint")
_DROPPED = {"content-length", "transfer-encoding", "connection", "date", "content-encoding"}
_NUMBER = re.compile(r"/\d+|/[0-9a-f]{40}")


class Case:
    """One bent answer: `name` says what is bent; `apply` does it to (body, headers)."""

    def __init__(self, name: str, apply: Callable[[bytes, dict[str, str]], bytes]) -> None:
        self.name = name
        self.apply = apply


class BendingProxy:
    """Passes everything on to `upstream`; bends answers to the caller with this token.

    `seen` holds an answer for each endpoint asked so far (numbers in paths as `/N`), from which
    the cases are made. While `armed` is (endpoint, case), each answer of that endpoint is bent.
    """

    def __init__(self) -> None:
        self.upstream = ""
        self.bent_token = ""
        self.seen: dict[str, bytes] = {}
        self.asked: Counter[str] = Counter()
        self.armed: tuple[str, Case] | None = None
        self.bent = 0
        self.url = ""
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        self._session = aiohttp.ClientSession(auto_decompress=True)

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _pass_on(self, request: web.Request) -> web.Response:
        assert self._session is not None
        headers = {key: value for key, value in request.headers.items() if key.lower() != "host"}
        async with self._session.request(
            request.method, self.upstream + request.path_qs, data=await request.read(),
            headers=headers, allow_redirects=False,
        ) as answer:  # fmt: skip
            body = await answer.read()
            given = {
                key: value for key, value in answer.headers.items() if key.lower() not in _DROPPED
            }
            given["Date"] = answer.headers.get("Date", "")
            status = answer.status
        is_ours = self.bent_token and self.bent_token in request.headers.get("Authorization", "")
        if is_ours and request.method == "GET":
            endpoint = endpoint_of(request.path)
            self.asked[endpoint] += 1
            if status == 200 and len(body) > len(self.seen.get(endpoint, b"")):
                self.seen[endpoint] = body
            if self.armed is not None and self.armed[0] == endpoint:
                body = self.armed[1].apply(body, given)
                self.bent += 1
        return web.Response(body=body, status=status, headers=given)


def endpoint_of(path: str) -> str:
    """Return a path with its numbers and commits taken out."""
    return _NUMBER.sub("/N", path)


def cases_of(body: bytes) -> list[Case]:
    """Return every way to bend this answer: each field, the whole body, each header."""
    document = read_json(body, object)
    if isinstance(document, Unreadable):
        document = {}
    fields = (
        Case(f"body {name}", lambda _, __, raw=raw: raw)  # type: ignore[misc]
        for name, raw in bad.bent_json(_small(document))
    )
    headers = (
        Case(f"header {name}: {row.name}", _header(name, row.value))
        for name, row in itertools.product(HEADERS, bad.HEADERS)
    )
    return [*fields, *headers]


def some_cases(proxy: BendingProxy, count: int, seed: int) -> list[tuple[str, Case]]:
    """Return a seeded sample; an endpoint comes the more often the more often it was asked."""
    dice = random.Random(seed)
    every = {endpoint: cases_of(body) for endpoint, body in sorted(proxy.seen.items())}
    weights = [min(proxy.asked[endpoint], 20) for endpoint in every]
    chosen = dice.choices(list(every), weights, k=count)
    return [(endpoint, dice.choice(every[endpoint])) for endpoint in chosen]


def _header(name: str, value: str) -> Callable[[bytes, dict[str, str]], bytes]:
    def apply(body: bytes, headers: dict[str, str]) -> bytes:
        headers[name] = value
        return body

    return apply


def _small(document: Any) -> Any:
    """Return a document whose lists hold their first item alone: the others are alike."""
    if isinstance(document, list):
        return [_small(inner) for inner in document[:1]]
    if isinstance(document, dict):
        return {key: _small(inner) for key, inner in document.items()}
    return msgspec.to_builtins(document)
