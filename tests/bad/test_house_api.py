"""Whatever is sent to the house's socket: an answer in words, never 500, and the next one is taken."""

from __future__ import annotations

import asyncio
import io
import re
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
import pytest
from aiohttp import web

from allegro.core.requests.decisions import NewDecision, NewOption
from tests.bad.api_house import ApiHouse, Case, against, api_house
from tests.bad.values import HEADERS, TEXTS, bent_json, sample

SOURCE = Path(__file__).parents[2] / "src" / "allegro" / "house"
PER_ROUTE = 70

BODIES: dict[str, dict[str, Any]] = {
    "/v1/requests": {
        "kind": "comment", "repository": "home/garden", "issue": 3, "body": "words", "files": {},
        "urgency": "low", "question": "q", "recommendation": "r", "context": "home/garden#1",
        "expires_in_s": 60.0, "asked_by": "test (pid 1)", "key": "", "allow_ci_paths": False,
    },
    "/v1/requests/{id}/shown": {},
    "/v1/requests/{id}/approve": {"token": "a.b.c"},
    "/v1/requests/{id}/reject": {"reason": "no"},
    "/v1/requests/{id}/withdraw": {},
    "/v1/stop": {"reason": "r", "by": "b"},
    "/v1/thaw": {"token": "a.b.c"},
    "/v1/bring": {"token": "a.b.c"},
    "/v1/reload": {},
    "/v1/ask": {"method": "issue_details", "params": {"repository": "home/garden", "number": 1}},
    "/v1/sessions": {
        "prompt": "p", "model": "m", "instructions": "i", "history": [{"role": "user", "text": "t"}],
        "quotes": [{"source": "s", "author": "a", "text": "t"}], "tools": ["file"],
        "network": False, "issue": "home/garden#1", "limit_s": 60, "asked_by": "t", "key": "",
    },
    "/v1/sessions/{id}/stop": {},
    "/v1/loans": {"model": "m1", "lives_s": 60, "max_tokens": 10, "asked_by": "t"},
    "/v1/loans/{id}/revoke": {},
    "/v1/models/{lane}/v1/chat/completions": {"model": "m", "messages": [{"role": "user"}]},
    "/v1/fleet/rest": {"lane": "a", "role": "forge", "to": "b", "seconds": 60.0},
    "/v1/lanes/{lane}/resume": {},
    "/v1/duties/run": {"duty": "sweep"},
    "/v1/decisions": {
        "question": "q", "options": [{"label": "a", "pros": ["p"], "cons": ["c"]}, {"label": "b"}],
        "recommend": 1, "context": "home/garden#1", "urgency": "low", "expires_in_s": 60.0,
        "asked_by": "test (pid 1)", "key": "",
    },
    "/v1/reports": {
        "issue": "home/garden#3", "task": "t", "status": "complete", "duration_s": 3.5,
        "results": ["r"], "artifacts": [{"name": "n", "link": "https://forge.example.org/a/b"}],
        "telemetry": {"executions": 1, "success_rate": 1.0, "average_latency_s": 0.5},
        "next_steps": ["s"], "asked_by": "test (pid 1)", "key": "k",
    },
    "/v1/decisions/{id}/shown": {},
    "/v1/decisions/{id}/answer": {"option": 1, "digest": "d" * 64, "by": "terminal"},
    "/v1/decisions/{id}/withdraw": {},
    "/v1/fleet/happened": {"what": "w", "lane": "a", "role": "forge"},
    "/v1/alerts/{id}/ack": {}, "/v1/alerts/{id}/useful": {}, "/v1/alerts/{id}/noise": {},
    "/v1/alerts/{id}/snooze": {"for_s": 60.0},
    "/v1/maintenance": {"for_s": 60.0, "code": "lane.disk", "lane": "a", "subject": "s"},
    "/v1/maintenance/{id}/end": {},
}  # fmt: skip
QUERIES: dict[str, tuple[str, ...]] = {
    "/v1/requests": ("state", "internal"),
    "/v1/requests/{id}/wait": ("timeout_s",),
    "/v1/events": ("after", "last", "prefix", "subject", "follow", "limit"),
    "/v1/issues": ("repository", "since_s"),
    "/v1/measures": ("window_s",),
    "/v1/report": ("day", "form", "weekly"),
    "/v1/sessions": ("limit",),
    "/v1/sessions/{id}/wait": ("timeout_s",),
    "/v1/decisions/{id}/wait": ("timeout_s",),
}
COVERS = ("Authorization",)
"""The headers that a route reads."""


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiHouse]:
    async with api_house(tmp_path) as made:
        yield made


def routes(app: web.Application) -> list[tuple[str, str]]:
    """Return (method, path) of each route there is."""
    found = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    return sorted(found)


def filled(path: str, part: str = "none") -> str:
    return re.sub(r"\{[a-z]+\}", quote(part, safe=""), path)


def body_cases(path: str, seed: int, count: int = PER_ROUTE) -> list[Case]:
    bent = sample(bent_json(BODIES[path]), count, seed)
    return [(name, "POST", filled(path), {"data": raw}) for name, raw in bent]


def path_cases(method: str, path: str) -> list[Case]:
    body = {"data": msgspec.json.encode(BODIES[path])} if method == "POST" else {}
    return [
        (row.name, method, filled(path, row.value), body)
        for row in TEXTS
        if "{" in path and row.value and len(row.value) < 6_000
    ]


def query_cases(path: str) -> list[Case]:
    return [
        (f"{name}: {row.name}", "GET", f"{filled(path)}?{name}={quote(row.value, safe='')}", {})
        for name in QUERIES.get(path, ())
        for row in TEXTS
        if len(row.value) < 6_000
    ]


async def test_each_route_has_cases_and_no_route_has_cases_that_is_gone(api: ApiHouse) -> None:
    posts = {path for method, path in routes(api.app) if method == "POST"}
    assert posts == set(BODIES)
    assert set(QUERIES) <= {path for method, path in routes(api.app) if method == "GET"}


def test_each_query_parameter_and_header_that_is_read_has_cases() -> None:
    text = "".join(path.read_text("utf-8") for path in SOURCE.rglob("*.py"))
    read = set(re.findall(r'query(?:\.get\(|\[)"([a-z_]+)"', text))
    read |= set(re.findall(r'(?:number|seconds)_in\(\s*request, "([a-z_]+)"', text))
    read |= set(re.findall(r'"([a-z_]+)" in request\.query', text))
    assert read == {name for names in QUERIES.values() for name in names}
    assert set(re.findall(r'request\.headers(?:\.get\(|\[)"([A-Za-z-]+)"', text)) == set(COVERS)


async def test_no_body_is_answered_with_a_crash(api: ApiHouse) -> None:
    cases = [case for seed, path in enumerate(BODIES) for case in body_cases(path, seed)]
    assert await api.faults(cases) == []


async def test_no_path_and_no_query_is_answered_with_a_crash(api: ApiHouse) -> None:
    cases = [case for method, path in routes(api.app) for case in path_cases(method, path)]
    cases += [case for path in QUERIES for case in query_cases(path)]
    cases += [
        (row.name, "GET", "/v1/models/a/v1/models", {"headers": {name: row.value}})
        for name in COVERS
        for row in HEADERS
    ]
    assert await api.faults(cases) == []


async def test_a_body_beyond_any_size_is_refused_in_words(api: ApiHouse) -> None:
    status, body = await api.send(
        "POST", "/v1/requests", data=io.BytesIO(b"x" * (17 * 1024 * 1024))
    )
    assert status == 400
    assert b"longer than" in body


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("issue", 2**64), ("expires_in_s", 1e308), ("expires_in_s", -1.0), ("key", "k" * 101),
        ("question", "q" * 10_000_000), ("body", "b" * 100_000), ("issue", True),
    ],
)  # fmt: skip
async def test_what_is_too_large_is_refused_and_nothing_is_kept(
    api: ApiHouse, field: str, value: object
) -> None:
    sent = {**BODIES["/v1/requests"], field: value}
    status, body = await api.send(
        "POST", "/v1/requests", data=io.BytesIO(msgspec.json.encode(sent))
    )
    assert status == 400
    assert field.encode() in body
    assert api.house.requests.all() == []


async def test_a_stop_is_taken_whatever_its_words_are(api: ApiHouse) -> None:
    bent = list(bent_json(BODIES["/v1/stop"]))
    for name, raw in bent:
        status, _ = await api.send("POST", "/v1/stop", data=raw)
        assert status == 200, name
    assert len(api.frozen) == len(bent)
    assert max(map(len, api.frozen)) <= 2_000


async def test_no_bent_answer_counts(api: ApiHouse) -> None:
    """Each field of an answer to a question that waits: only a sound one answers it."""
    asked = await api.decisions.ask(
        NewDecision("Which?", (NewOption("a"), NewOption("b")), expires_in_s=1e6)
    )
    path = f"/v1/decisions/{asked.id}/answer"
    sound = {"option": 1, "digest": asked.digest, "by": "terminal"}
    for name, raw in bent_json(sound):
        status, body = await api.send("POST", path, data=raw)
        assert against(status, body) == "", name
        held = api.decisions.find_exact(asked.id)
        assert held is not None
        if status < 400:  # a bent name of who answers is still an answer, and is kept within bounds
            assert held.answer is not None, name
            assert held.answer.by.startswith(("terminal", "program")), name
            assert len(held.answer.by) <= 320, name
            await api.decisions._store.save_decision(asked)
            api.decisions._held[asked.id] = asked
        else:
            assert held.answer is None, name
    assert (await api.send("POST", path, data=msgspec.json.encode(sound)))[0] == 200
    status, body = await api.send("POST", path, data=msgspec.json.encode({**sound, "option": 2}))
    assert status == 409
    assert b"the first answer counts" in body


@pytest.mark.parametrize(("by", "kept"), [
    ("terminal", "terminal"), ("", "program"), ("telegram 5:6", "program telegram 5:6"),
    ("tap", "program tap"), ("Terminal", "program Terminal"),
])  # fmt: skip
async def test_what_comes_over_the_socket_cannot_pass_for_a_tap(
    api: ApiHouse, by: str, kept: str
) -> None:
    asked = await api.decisions.ask(NewDecision("Which?", (NewOption("a"), NewOption("b"))))
    body = msgspec.json.encode({"option": 1, "by": by})
    status, raw = await api.send("POST", f"/v1/decisions/{asked.id}/answer", data=body)
    assert status == 200
    assert msgspec.json.decode(raw)["answer"]["by"] == kept


async def test_a_route_without_its_guard_is_found(tmp_path: Path) -> None:
    """The generator itself: a planted handler that trusts its caller must not pass."""

    async def planted(request: web.Request) -> web.Response:
        body = msgspec.json.decode(await request.read())
        return web.json_response({"next": body["lives_s"] + 1})

    app = web.Application()
    app.router.add_post("/v1/loans", planted)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "s")).start()
    connector = aiohttp.UnixConnector(path=str(tmp_path / "s"))
    async with aiohttp.ClientSession(connector=connector) as session:
        house = ApiHouse.__new__(ApiHouse)
        house.session = session
        found = await house.faults(body_cases("/v1/loans", 0))
    await runner.cleanup()
    assert len(found) > 20


async def _all_bodies() -> int:
    """Send the whole product of routes and bad values; return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        async with api_house(Path(folder)) as api:
            cases = [case for path in BODIES for case in body_cases(path, 0, 10**9)]
            found = await api.faults(cases)
    print(f"{len(cases)} bodies, {len(found)} faults", *found[:20], sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_all_bodies()))
