"""A write that was given up never arrives later, whatever the network does meanwhile (G10)."""

from __future__ import annotations

import asyncio
import socket
import sys

import pytest

from allegro.adapters.gitea.http import GiteaHttp, abortive_socket
from allegro.core.base.errors import EdgeError


@pytest.mark.parametrize("size", [10, 900_000])
async def test_a_forge_that_wakes_up_finds_no_write_that_was_given_up(size: int) -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as asleep:
        asleep.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        asleep.setblocking(False)
        http = GiteaHttp(f"http://127.0.0.1:{asleep.getsockname()[1]}", lambda: "t", timeout_s=0.5)

        with pytest.raises(EdgeError) as raised:
            await http.call("POST", "/repos/a/b/issues/1/comments", body={"body": "x" * size})
        assert raised.value.transient
        assert raised.value.sent
        await asyncio.sleep(1.0)

        connection, _ = await loop.sock_accept(asleep)
        with connection, pytest.raises(ConnectionResetError):
            await read_to_its_end(connection)
        await http.close()


async def read_to_its_end(connection: socket.socket) -> None:
    while await asyncio.get_running_loop().sock_recv(connection, 65_536):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends unsent words by a time")
def test_the_words_of_a_lane_that_was_stopped_die_by_themselves() -> None:
    with abortive_socket(socket.AF_INET, socket.SOCK_STREAM, 2.5) as made:
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 2500
