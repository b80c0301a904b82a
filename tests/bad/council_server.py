"""A council server of one thief: it speaks the protocol, and answers whatever a test puts in it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import nkeys

from allegro.adapters.nats.council import STREAM, SUBJECT, Access

INFO = b'INFO {"server_id":"x","version":"2.14.0","headers":true,"max_payload":65536}\r\n'
_API = "$JS.API.STREAM."
KINDS = {
    f"{_API}INFO.{STREAM}": "bucket", f"{_API}CREATE.{STREAM}": "made",
    f"{_API}MSG.GET.{STREAM}": "found",
}  # fmt: skip


def kind_of(subject: str) -> str:
    """Return which answer a subject asks for; a write where it is one of the bucket's keys."""
    return "stored" if subject.startswith(SUBJECT) else KINDS[subject]


class Server:
    """`answers` holds the bytes for each kind of question; `headers` goes before one if set."""

    def __init__(self, answers: dict[str, bytes]) -> None:
        self.answers = answers
        self.headers: bytes | None = None
        self.asked: list[str] = []
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> Callable[[], Access | None]:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**20)
        port = self._server.sockets[0].getsockname()[1]
        seed = nkeys.encode_seed(b"s" * 32, nkeys.PREFIX_BYTE_USER).decode()
        return lambda: Access(f"nats://127.0.0.1:{port}", seed)

    async def stop(self) -> None:
        for writer in self._writers:
            writer.close()
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        writer.write(INFO)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                word, *words = line.decode().split()
                if word == "PING":
                    writer.write(b"PONG\r\n")
                elif word == "SUB":
                    self._sid = words[-1]
                elif word in {"PUB", "HPUB"}:
                    await reader.readexactly(int(words[-1]) + 2)
                    self._answer(writer, words[0], words[1])

    def _answer(self, writer: asyncio.StreamWriter, subject: str, reply: str) -> None:
        kind = kind_of(subject)
        self.asked.append(kind)
        body = self.answers[kind]
        if self.headers is None:
            head = f"MSG {reply} {self._sid} {len(body)}\r\n".encode()
            writer.write(head + body + b"\r\n")
            return
        sizes = f"{len(self.headers)} {len(self.headers) + len(body)}"
        head = f"HMSG {reply} {self._sid} {sizes}\r\n".encode()
        writer.write(head + self.headers + body + b"\r\n")
