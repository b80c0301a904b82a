"""HTTP/1.1 by hand: requests of a lane, answers and streams, and the call to a model."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

Json = dict[str, Any]
MAX_BODY = 10 << 20


class RefusedError(Exception):
    """A no with its HTTP status: ours to the caller, or the model's to us (0: nothing came)."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        kind = "rate_limit_error" if status == 429 else "invalid_request_error"
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": None, "code": code}}


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Json:
        try:
            return dict(json.loads(self.body or b"{}"))
        except (ValueError, TypeError) as error:
            raise RefusedError(400, "Invalid JSON") from error


async def completion(base: str, key: str, body: Json) -> AsyncIterator[Json]:
    """Yield the chunks of a streamed chat completion. Raises RefusedError."""
    address, raw, writer = urlsplit(base), json.dumps(body).encode(), None
    fields = {
        "Host": address.netloc,
        "Authorization": f"Bearer {key}",
        "Connection": "close",
        "Content-Type": "application/json",
        "Content-Length": str(len(raw)),
    }
    try:
        reader, writer = await asyncio.open_connection(address.hostname, address.port or 80)
        writer.write(head(f"POST {address.path}/chat/completions HTTP/1.1", fields) + raw)
        status = int((await reader.readline()).split()[1])
        chunked = "chunked" in (await read_headers(reader)).get("transfer-encoding", "")
        if status != 200:
            refusal = b"".join([line async for line in lines(reader, chunked=chunked)])
            with contextlib.suppress(ValueError, KeyError, TypeError):
                refusal = json.loads(refusal)["error"]["message"].encode()
            raise RefusedError(status, f"HTTP {status}: {refusal[:300].decode('utf-8', 'replace')}")
        async for line in lines(reader, chunked=chunked):
            if line.startswith(b"data:") and line[5:].strip() != b"[DONE]":
                yield json.loads(line[5:])
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise RefusedError(0, "Connection error.") from error
    finally:
        if writer is not None:
            writer.close()


async def lines(reader: asyncio.StreamReader, *, chunked: bool) -> AsyncIterator[bytes]:
    """Yield the lines of a body that ends with its last chunk, or with the connection."""
    piece, rest = b"first", b""
    while piece:
        size = int(await reader.readline(), 16) + 2 if chunked else 0
        piece = (await reader.readexactly(size))[:-2] if chunked else await reader.read(65_536)
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line
    yield rest


async def read_headers(reader: asyncio.StreamReader) -> dict[str, str]:
    headers = {}
    while line := (await reader.readline()).strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    return headers


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """Read one request, None where the connection ended before it."""
    first = (await reader.readline()).decode("latin-1").split()
    if len(first) != 3:
        return None
    headers = await read_headers(reader)
    size = min(int(headers.get("content-length", "0")), MAX_BODY)
    return Request(first[0], first[1].partition("?")[0], headers, await reader.readexactly(size))


def head(first: int | str, headers: dict[str, str]) -> bytes:
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    line = first if isinstance(first, str) else f"HTTP/1.1 {first} Told"
    return f"{line}\r\n{fields}\r\n".encode()


def chunk(piece: str) -> bytes:
    raw = piece.encode()
    return f"{len(raw):x}\r\n".encode() + raw + b"\r\n"


def counts_of(messages: list[Json], usage: Json) -> Json:
    """Return what the agent's own store says of a session: its calls, its tools, its tokens."""
    last = max(n for n, one in enumerate(messages) if one["role"] == "user")
    roles = [one["role"] for one in messages[last:]]
    return {
        "api_call_count": roles.count("assistant"),
        "tool_call_count": roles.count("tool"),
        "input_tokens": usage.get("input_tokens", 0),
        "output_tokens": usage.get("output_tokens", 0),
    }
