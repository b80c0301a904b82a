"""What a lane's own key does not open, and who gets no key at all."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from typing import Any

import nats.errors
import nkeys
import pytest
import pytest_asyncio
from nats.aio.client import Client
from nats.js.errors import APIError
from tests.patience import patient

from allegro.adapters.nats.council import STREAM, SUBJECT, Access, NatsCouncil
from allegro.core.authority.lease import Record
from allegro.core.base.errors import EdgeError
from allegro.core.protocol.pages import Page

from .council_backends import NAMES
from .servers import Servers, free_ports, raw_client

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]
RECORD = Record("a", "process", 1)
FORBIDDEN = (
    SUBJECT + "page.a", SUBJECT + "other", "$KV.other.role.forge", "other", "_INBOX.other",
    *(
        f"$JS.API.{call}.{STREAM}"
        for call in (
            "STREAM.DELETE", "STREAM.PURGE", "STREAM.UPDATE", "STREAM.MSG.DELETE",
            "STREAM.SNAPSHOT", "STREAM.RESTORE", "STREAM.LEADER.STEPDOWN", "STREAM.PEER.REMOVE",
            "CONSUMER.CREATE", "DIRECT.GET",
        )
    ),
    f"$JS.API.CONSUMER.DURABLE.CREATE.{STREAM}.spy", "$JS.API.STREAM.CREATE.OTHER",
    "$JS.API.STREAM.CREATE.KV_other", "$JS.API.STREAM.NAMES", "$JS.API.META.LEADER.STEPDOWN",
    "$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.COUNCIL.JSZ",
)  # fmt: skip
HEARD = (">", "*.>", "$KV.>", SUBJECT + "role.*", "$JS.>", "$SYS.>", "_R_.>", "$JSC.>", "$NRG.>")
HEADERS: tuple[dict[str, str], ...] = (
    {"Nats-Rollup": "all"}, {"Nats-Rollup": "sub"}, {"Nats-TTL": "1s"}, {"Nats-Incr": "+1"},
    {"Nats-Batch-Id": "x", "Nats-Batch-Sequence": "1", "Nats-Batch-Commit": "1"},
    {"Nats-Schedule": "@every 1s", "Nats-Schedule-Target": SUBJECT + "page.a"},
)  # fmt: skip


class Intruder:
    """Lane b's own log-in, used for what lane b's program never says."""

    def __init__(self, client: Client, errors: list[str]) -> None:
        self.client = client
        self.errors = errors

    async def stream(self) -> dict[str, Any]:
        """Return what must not change: the stream's settings and how often it was written."""
        reply = await self.client.request(f"$JS.API.STREAM.INFO.{STREAM}", b"", timeout=2)
        stream = json.loads(reply.data)
        return {"config": stream["config"], "last": stream["state"]["last_seq"]}

    async def asked(self, subject: str, payload: bytes, reply: str = "") -> None:
        await self.client.publish(subject, payload, reply=reply or self.client.new_inbox())
        await self.client.flush(2)

    async def refusal(self) -> str:
        for _ in range(100):
            if self.errors:
                break
            await asyncio.sleep(0.02)
        return " ".join(self.errors).lower()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lanes(servers: Servers) -> dict[str, NatsCouncil]:
    made = {name: servers.council(name) for name in NAMES}
    for name in NAMES:
        await made[name].publish(Page(name, 1.0))
    await made["a"].write("forge", RECORD, 0)
    return made


@pytest_asyncio.fixture(loop_scope="module")
async def intruder(servers: Servers, lanes: dict[str, NatsCouncil]) -> AsyncIterator[Intruder]:
    """At the end everything is as it was."""
    async with raw_client(servers.access("b")) as (client, errors):
        made = Intruder(client, errors)
        before = await made.stream()
        pages = [await lanes["c"].page(name) for name in NAMES]
        slot = await lanes["c"].read("forge")
        yield made
    async with raw_client(servers.access("b")) as (client, errors):
        assert await Intruder(client, errors).stream() == before
    assert [await lanes["c"].page(name) for name in NAMES] == pages
    assert await lanes["c"].read("forge") == slot


@pytest.mark.parametrize("subject", FORBIDDEN)
async def test_a_lane_may_not_say(intruder: Intruder, subject: str) -> None:
    payloads = (b"", b"{}", b'{"lane":"a","at_s":9}', b'{"name":"OTHER","subjects":["other.>"]}')
    for payload in payloads:
        await intruder.asked(subject, payload)
    assert f'permissions violation for publish to "{subject.lower()}"' in await intruder.refusal()


@pytest.mark.parametrize("subject", HEARD)
async def test_a_lane_may_not_listen_to(intruder: Intruder, subject: str) -> None:
    await intruder.client.subscribe(subject)
    await intruder.client.flush(2)
    assert "permissions violation for subscription" in await intruder.refusal()


async def test_a_lane_does_not_hear_what_others_are_answered(
    intruder: Intruder, lanes: dict[str, NatsCouncil], servers: Servers
) -> None:
    """Who saw another's reply subjects could answer in the council's stead."""
    heard: list[str] = []

    async def hear(message: Any) -> None:
        heard.append(message.subject)

    await intruder.client.subscribe("_INBOX.>", cb=hear)
    await intruder.client.flush(2)
    for name in ("a", "c"):
        assert (await lanes[name].read("forge")).record == RECORD
        assert (await servers.council(name).page("a"))[0]
    await asyncio.sleep(0.2)
    assert heard == []


@pytest.mark.parametrize(
    "target",
    [
        SUBJECT + "page.a", SUBJECT + "page.c", f"$JS.API.STREAM.PURGE.{STREAM}",
        f"$JS.API.STREAM.DELETE.{STREAM}", f"$JS.API.STREAM.LEADER.STEPDOWN.{STREAM}",
    ],
)  # fmt: skip
async def test_an_answer_does_not_go_where_its_asker_may_not_write(
    intruder: Intruder, target: str
) -> None:
    asks = {"$JS.API.INFO": b"", f"$JS.API.STREAM.MSG.GET.{STREAM}": b'{"seq":1}'}
    for subject, payload in asks.items():
        await intruder.asked(subject, payload, target)
    await asyncio.sleep(0.1)


@pytest.mark.parametrize("headers", HEADERS, ids=lambda headers: next(iter(headers)))
async def test_a_register_is_not_written_with(intruder: Intruder, headers: dict[str, str]) -> None:
    stream = intruder.client.jetstream(timeout=2)
    with pytest.raises(APIError):
        await stream.publish(SUBJECT + "role.forge", b"5", headers=headers)


async def test_a_value_over_the_limit_is_refused(intruder: Intruder) -> None:
    stream = intruder.client.jetstream(timeout=2)
    with pytest.raises(APIError, match="size"):
        await stream.publish(SUBJECT + "role.forge", b"x" * 33_000)
    with pytest.raises(nats.errors.MaxPayloadError):
        await stream.publish(SUBJECT + "role.forge", b"x" * 70_000)


async def test_making_the_bucket_again_with_other_settings_is_refused(intruder: Intruder) -> None:
    config = {"name": STREAM, "subjects": [SUBJECT + ">"], "num_replicas": 1, "storage": "memory"}
    answer = await intruder.client.request(
        f"$JS.API.STREAM.CREATE.{STREAM}", json.dumps(config).encode(), timeout=5
    )
    assert json.loads(answer.data)["error"]["err_code"] == 10058


async def test_a_lane_that_publishes_another_lanes_page_is_told_nothing_and_changes_nothing(
    intruder: Intruder, servers: Servers
) -> None:
    with pytest.raises(EdgeError):
        await servers.council("b", timeout_s=0.5).publish(Page("a", 9.0))


# --- who is let in at all -----------------------------------------------------------------------


def _foreign() -> str:
    return bytes(nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)).decode()


async def test_nobody_is_let_in_with_a_foreign_key_another_lanes_or_none(servers: Servers) -> None:
    mine, other = servers.access("a"), servers.access("b")
    assert mine is not None
    assert other is not None
    for seed in ("", _foreign(), other.seed):
        with pytest.raises(nats.errors.Error, match=r"(?i)authorization"):
            async with raw_client(Access(mine.url, seed)):
                pass


@pytest.mark.parametrize("kind", ["missing", "empty", "half", "not text", "foreign"])
async def test_a_lane_without_its_seed_is_told_so_in_time(servers: Servers, kind: str) -> None:
    path = servers.files["c"].seed
    kept = path.read_bytes()
    others = {
        "empty": b"", "half": kept[:20], "not text": b"\xff\xfe", "foreign": _foreign().encode(),
    }  # fmt: skip
    path.unlink()
    if kind in others:
        path.write_bytes(others[kind])
    council = servers.council("c", timeout_s=0.5)
    began_s = time.monotonic()
    try:
        with pytest.raises(EdgeError) as raised:
            await council.read("forge")
    finally:
        path.touch(mode=0o600)
        path.write_bytes(kept)
    assert raised.value.transient
    assert time.monotonic() - began_s < patient(1.5)
    assert (await council.read("forge")).record == RECORD


async def test_a_server_with_a_stolen_configuration_but_its_own_key_joins_nobody(
    servers: Servers, lanes: dict[str, NatsCouncil]
) -> None:
    before = [await lanes["a"].page(name) for name in NAMES]
    # a name before all others: such a server dials them
    thief = servers.make_member("0d", free_ports(1)[0])
    stolen = servers.files["a"].trusted.read_bytes()
    servers.files["0d"].trusted.write_bytes(stolen)
    await servers.start_as(thief, list(servers.members.values()))
    try:
        refused = servers.files["a"].log
        for _ in range(200):
            if "TLS route handshake error" in refused.read_text():
                break
            await asyncio.sleep(0.05)
        assert "TLS route handshake error" in refused.read_text()
        council = servers.council("0d", timeout_s=1.0)
        for call in (council.read("forge"), council.write("forge", RECORD, 1), council.page("a")):
            with pytest.raises(EdgeError):
                await call
        assert servers.routes("0d") == set()
        for name in NAMES:
            assert servers.routes(name) == set(NAMES) - {name}
        assert [await lanes["a"].page(name) for name in NAMES] == before
        assert await lanes["a"].page("0d") == (0, None)
    finally:
        await servers.stop("0d")


async def test_clients_and_the_monitor_are_reached_on_loopback_alone(servers: Servers) -> None:
    for name in NAMES:
        folder = servers.files[name].folder
        ports = json.loads((folder / f"nats-server_{servers.pid(name)}.ports").read_text())
        assert set(ports) == {"nats", "monitoring", "cluster"}
        for kind in ("nats", "monitoring"):
            assert ports[kind]
            assert all(url.split("://")[1].startswith("127.0.0.1:") for url in ports[kind])
        assert [url.split("://")[1] for url in ports["cluster"]] == [servers.members[name].address]
