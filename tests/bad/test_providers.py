"""Whatever a provider, an agent or a loan's client sends: no caller is blocked, failed or served for free.

python -m tests.bad.test_providers    plays every case instead of a sample
"""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from allegro.core.base.errors import EdgeError
from allegro.core.models.waits import RESET_HEADERS, WAIT_HEADERS
from allegro.lane.models.grants import Grant
from allegro.lane.models.loans import PATHS, Answer, Loans
from allegro.lane.models.proxy import PASSED_ON
from allegro.testing.virtual import SeededDice, VirtualClock

from .raw_providers import (
    DONE,
    LAST,
    PIECE,
    REQUEST,
    USAGE,
    WHOLE,
    Border,
    Case,
    border,
    event,
    http,
)
from .values import HEADERS, WHOLE_BODIES, bent_json, bent_values, sample

COVERS = ("answer", "stream piece", "refusal", "status line", "response header", "frame",
          "request body", "canary's request body", "loan query")  # fmt: skip
FRAMING = ("content-length", "content-type", "content-encoding", "transfer-encoding", "location")
ERROR = {"error": {"message": "no", "type": "x", "code": "y", "param": "z", "retry_after": 1},
         "detail": [{"loc": ["body"], "msg": "no"}]}  # fmt: skip
STATUSES = (
    200,
    201,
    204,
    302,
    400,
    401,
    402,
    403,
    404,
    408,
    409,
    413,
    422,
    429,
    500,
    502,
    503,
    529,
)
GOOD = json.dumps(PIECE).encode()
QUERY = {"path": "/v1/chat/completions", "authorization": "Bearer x", "body": b"{}"}


def answers() -> Iterator[Case]:
    for name, raw in bent_json(WHOLE):
        yield Case(f"answer, {name}", http(raw))
        yield Case(f"answer to a stream, {name}", http(raw), stream=True)


def pieces() -> Iterator[Case]:
    for name, raw in bent_json(PIECE):
        body = event(raw) + event(GOOD) + LAST + DONE
        yield Case(f"piece, {name}", http(body), stream=True)
        yield Case(f"late piece, {name}", http(event(GOOD) + event(raw) + DONE), stream=True)


def refusals() -> Iterator[Case]:
    for at, (name, raw) in enumerate(bent_json(ERROR)):
        status = STATUSES[at % len(STATUSES)]
        yield Case(f"refusal {status}, {name}", http(raw, status=f"{status} No"), stream=at % 2 > 0)
    for status in STATUSES:
        for row in WHOLE_BODIES:
            yield Case(f"refusal {status}, {row.name}", http(row.value, status=f"{status} No"))


def headers() -> Iterator[Case]:
    names = (*WAIT_HEADERS, *RESET_HEADERS, *FRAMING)
    for at, (name, row) in enumerate((n, row) for n in names for row in HEADERS):
        line = f"{name}: {row.value}\r\n".encode("utf-8", "surrogateescape")
        status = ("200 OK", "429 No", "503 No", "400 No")[at % 4]
        sized = name not in {"content-length", "transfer-encoding"}
        body = json.dumps(ERROR if status[0] != "2" else WHOLE).encode()
        yield Case(
            f"{name}: {row.name} ({status})", http(body, status=status, headers=line, sized=sized)
        )
    for name in ("200", "999 X", "0 X", "x", "", "200 \xff", "200 OK\r\n: x", "-1 X"):
        yield Case(f"status line {name!r}", http(json.dumps(WHOLE).encode(), status=name))
    zipped = b"Content-Encoding: gzip\r\n"
    yield Case("gzip", http(gzip.compress(json.dumps(WHOLE).encode()), headers=zipped))
    yield Case("cut gzip", http(gzip.compress(json.dumps(WHOLE).encode())[:-9], headers=zipped))
    yield Case("no gzip", http(json.dumps(WHOLE).encode(), headers=zipped), stream=True)
    yield Case("too short", http(b"{}", headers=b"X: y\r\n").replace(b"Length: 2", b"Length: 9"))


def frames() -> Iterator[Case]:
    chunked = b"Transfer-Encoding: chunked\r\n"
    for row in WHOLE_BODIES:
        for stays in (False, True):
            for before in (b"", event(GOOD)):
                body = before + row.value + b"\n"
                yield Case(f"raw line, {row.name}", http(body, sized=False), True, stays)
        for field in (b"event: ", b"id: ", b"error: ", b": ", b"data:"):
            yield Case(f"{field!r}, {row.name}", http(field + row.value + b"\n\n" + DONE), True)
    for body in (event(GOOD), event(GOOD) + DONE, event(GOOD) + LAST, DONE, b": alive\n\n", b""):
        for size in (b"", b"-1", b"zz", b"fffffffffffffffffff", b"5"):
            raw = http(size + b"\r\n" + body, headers=chunked, sized=False)
            yield Case(f"chunk of {size!r}", raw, True, stays=True)
        yield Case("left open", http(body, sized=False), True, stays=True)
        yield Case("closed", http(body, sized=False), True)
    yield Case("nothing", b"")
    yield Case("nothing, left open", b"", stays=True)
    yield Case("half a head", b"HTTP/1.1 200 OK\r\nContent-", stays=True)
    yield Case("a head without an end", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000)
    yield Case("no HTTP", b"SSH-2.0-x\r\n")


KINDS = {
    "answers": answers,
    "pieces": pieces,
    "refusals": refusals,
    "headers": headers,
    "frames": frames,
}
SAMPLED = 60


async def wrong_of(folder: Path, cases: list[Case]) -> list[str]:
    async with border(folder) as made:
        return [wrong for case in cases for wrong in await made.play(case)]


@pytest.mark.parametrize("kind", KINDS)
async def test_whatever_a_provider_sends_the_caller_hears_an_end_and_the_next_call_works(
    kind: str, tmp_path: Path
) -> None:
    assert await wrong_of(tmp_path, sample(KINDS[kind](), SAMPLED, seed=11)) == []


async def bodies_wrong(made: Border, bodies: list[tuple[str, bytes]]) -> list[str]:
    wrong = []
    for name, body in bodies:
        for token in ("token", "canary"):
            status, raw, broken = await made.ask(body, token)
            if status not in {200, 400} or broken:
                wrong.append(f"{name} as {token}: {status} {raw[:200]!r}")
    status, raw, _ = await made.ask(json.dumps(REQUEST).encode())
    return wrong if status == 200 and b"good words" in raw else [*wrong, "the next call fails"]


async def test_whatever_an_agent_asks_it_hears_why_not_and_the_next_call_works(
    tmp_path: Path,
) -> None:
    async with border(tmp_path) as made:
        made.proxy.grant("canary", Grant("canary", "m", 1e12, 0, is_canary=True))
        bodies = [(n, b) for n, b in sample(bent_json(REQUEST), 250, seed=12) if "model:" not in n]
        assert await bodies_wrong(made, bodies) == []


async def no_call(method: str, path: str, authorization: str, body: bytes) -> Answer:
    raise EdgeError("nobody is there", transient=True)


async def loans_wrong() -> list[str]:
    wrong = []
    loans = Loans(no_call, VirtualClock(), SeededDice(1))
    for query in (QUERY, {"call": "x"}):
        for name, bent in bent_values(query):
            for ask in (loans.begin, loans.next):
                try:
                    await ask(bent)
                except EdgeError:
                    continue
                except Exception as error:  # noqa: BLE001
                    wrong.append(f"{ask.__name__} {name}: {error!r}")
                else:
                    wrong.append(f"{ask.__name__} {name}: taken")
    await loans.close()
    return wrong


async def test_whatever_a_loans_client_sends_is_answered_with_an_error_of_ours() -> None:
    assert await loans_wrong() == []


def test_every_parameter_header_and_path_has_its_cases() -> None:
    assert set(REQUEST) == PASSED_ON
    assert QUERY["path"] in PATHS
    names = [case.name for case in headers()]
    for header in (*WAIT_HEADERS, *RESET_HEADERS):
        assert sum(name.startswith(f"{header}: ") for name in names) == len(HEADERS)
    assert set(USAGE) <= {"prompt_tokens", "completion_tokens", "total_tokens"}


def test_a_reader_without_its_guard_is_found_by_these_cases() -> None:
    def unguarded(raw: bytes) -> int:
        body = raw.partition(b"\r\n\r\n")[2]
        return len(json.loads(body)["choices"][0]["message"]["content"])

    failed = 0
    for case in sample(answers(), SAMPLED, seed=11):
        try:
            unguarded(case.raw)
        except Exception:  # noqa: BLE001
            failed += 1
    assert failed > 5


async def play_all() -> int:
    """Play every case; return how many were wrong."""
    found, count = [], 0
    for kind, cases in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            rows = list(cases())
            found += await wrong_of(Path(folder), rows)
            count += len(rows)
            print(f"{kind}: {len(rows)} cases, {len(found)} wrong so far", flush=True)
    for line in found[:50]:
        print(line)
    print(f"{count} cases, {len(found)} wrong")
    return len(found)


if __name__ == "__main__":
    sys.exit(1 if asyncio.run(play_all()) else 0)
