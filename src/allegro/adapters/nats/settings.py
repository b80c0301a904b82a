"""The settings of a lane's council server.

Clients reach it on loopback alone, with one nkey that may write this lane's page and the roles;
other lanes' servers reach it over mutual TLS, where only the roster's very certificates count.
Nothing on disk is more than the running council needs: each roster has a folder of its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from allegro.adapters.nats.council import BUCKET, STREAM
from allegro.adapters.nats.server import ServerFiles
from allegro.core.authority.lease import ROLES
from allegro.core.authority.tokens import Member

MAX_PAYLOAD = 65_536
_TLS_S = 3
_INFO = f"$JS.API.STREAM.INFO.{STREAM}"
_STEP_DOWN = f"$JS.API.STREAM.LEADER.STEPDOWN.{STREAM}"
_SHARED = (
    "$JS.API.INFO",
    _INFO,
    f"$JS.API.STREAM.CREATE.{STREAM}",
    f"$JS.API.STREAM.MSG.GET.{STREAM}",
)


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """What a server is for. Every value was checked where it came in (roster, lane.toml).

    `public` is the public nkey of the lane; `keeper` is the public nkey of the program that keeps the server: it may look who leads the
    bucket's replicas and ask that one to step down, and nothing else.
    `revoked` is how many lanes of the roster were revoked. Each one changes the (negative, so
    disabled) pool size: at that a running server closes every route, also one that a thief had it
    take for a route of its own, and lets in again whom the new settings trust.
    `roles` are the registers a lane may write: no other key, so that none can fill the bucket.
    """

    fleet: str
    number: int
    listen: str
    public: str
    disk_mb: int
    keeper: str = ""
    revoked: int = 0
    roles: tuple[str, ...] = ROLES


def render(files: ServerFiles, me: Member, others: Sequence[Member], serving: Serving) -> str:
    """Return nats.conf."""
    shared = [*_SHARED, *(f"$KV.{BUCKET}.role.{role}" for role in serving.roles)]
    allowed = [*shared, f"$KV.{BUCKET}.page.{me.name}"]
    users = [
        _user(serving.public, allowed),
        *([_user(serving.keeper, [_INFO, _STEP_DOWN])] if serving.keeper else []),
    ]
    return json.dumps(
        {
            "server_name": me.name,
            "listen": "127.0.0.1:-1",
            "http": "127.0.0.1:-1",
            "ports_file_dir": str(files.folder),
            "max_payload": MAX_PAYLOAD,
            "ping_interval": "1s",
            "ping_max": 2,
            "write_deadline": "2s",
            "logtime": True,
            "jetstream": {
                "store_dir": str(files.folder / f"store-{serving.number}"),
                "max_file_store": serving.disk_mb * 1_000_000,
                "max_memory_store": 8_000_000,
                "sync_interval": "always",
            },
            "cluster": {
                "name": f"{serving.fleet[:16]}-{serving.number}",
                "listen": serving.listen,
                "pool_size": -1 - serving.revoked,
                "no_advertise": True,
                "ping_interval": "1s",
                "ping_max": 2,
                "routes": _routes(me, others),
                "tls": {
                    "cert_file": str(files.certificate),
                    "key_file": str(files.key),
                    "ca_file": str(files.trusted),
                    "verify": True,
                    "timeout": _TLS_S,
                },
            },
            "accounts": {
                # the stream lives where no client is: what a client asks for crosses over, and the
                # answer comes back to it alone, so a reply-to cannot name what it may not write
                "COUNCIL": {
                    "jetstream": True,
                    "exports": [
                        {"service": subject}
                        for subject in (*shared, _STEP_DOWN, f"$KV.{BUCKET}.page.*")
                    ],
                },
                f"LANE_{me.name}": {
                    "imports": [
                        {"service": {"account": "COUNCIL", "subject": subject}}
                        for subject in (*allowed, _STEP_DOWN)
                    ],
                    "users": users,
                },
                # known here, so that the interest the other servers tell of is no error
                **{f"LANE_{member.name}": {} for member in others},
                "SYS": {},
            },
            "system_account": "SYS",
        },
        indent=1,
    )


def _user(public: str, allowed: list[str]) -> dict[str, Any]:
    """Return a user that may say what is allowed, and hear the answers."""
    permissions = {"publish": {"allow": allowed}, "subscribe": {"allow": ["_INBOX.>"]}}
    return {"nkey": public, "permissions": permissions}


def _routes(me: Member, others: Sequence[Member]) -> list[str]:
    """Return what this server dials: of each pair the first by name dials the other.

    Two that dial each other over a slow line close each other's call as a duplicate, again and
    again, for minutes. For the others its own address stands in, which a server finds out and
    leaves alone: by the number of routes it knows how many it must hear before a first vote.
    """
    return [
        f"nats-route://{member.address}"
        if member.name > me.name
        else f"nats-route://{member.name}@{me.address}"
        for member in others
    ]
