"""The sections of lane.toml that are about the way home and the other lanes."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from allegro.core.settings.words import about


class LinkSettings(msgspec.Struct, frozen=True):
    """Where the house dials in. Off unless `listen` is set."""

    listen: Annotated[str, about("host:port, or unix:/path; empty is off")] = ""
    public_url: Annotated[
        str,
        about("how the house reaches it: wss://host:port, ws+unix:///path; default from listen"),
    ] = ""
    tls: Annotated[
        str,
        about("self-signed (pinned by the house), files, or none (loopback and Unix socket only)"),
        Meta(pattern=r"\A(self-signed|files|none)\Z"),
    ] = "self-signed"
    cert_file: Annotated[str, about('certificate, for tls = "files"')] = ""
    key_file: Annotated[str, about('its key, for tls = "files"; mode 0600')] = ""


class BeatSettings(msgspec.Struct, frozen=True):
    """A dead-man switch outside: a URL that is called while all is well. Off unless `url` is set."""

    url: Annotated[
        str,
        about("a healthchecks-style URL; whoever watches it alarms when the calls stop"),
        Meta(pattern=r"\A(https?://[^\s]+)?\Z"),
    ] = ""
    every_s: Annotated[float, about("seconds between calls", ge=5, le=86_400)] = 60.0


class CouncilSettings(msgspec.Struct, frozen=True):
    """This lane's part in a fleet. Off unless `listen` is set; `allegro fleet join` does the rest."""

    listen: Annotated[
        str,
        about("host:port where the other lanes' council servers reach this one; empty is off"),
        Meta(pattern=r"\A([^\s\"]+:[0-9]{1,5})?\Z"),
    ] = ""
    address: Annotated[
        str,
        about("host:port as the other lanes see it; default: listen"),
        Meta(pattern=r"\A([^\s\"]+:[0-9]{1,5})?\Z"),
    ] = ""
    server: Annotated[
        str, about("nats-server to run, 2.14 or newer; default: the one of the fleet extra")
    ] = ""
    lease_s: Annotated[float, about("seconds a lane that dies keeps its roles", ge=2, le=60)] = 5.0
    return_s: Annotated[
        float,
        about("seconds a preferred lane must be well before it gets a role back", ge=1, le=86_400),
    ] = 300.0
    disk_mb: Annotated[int, about("megabytes its store may take", ge=16, le=10_000)] = 64


class StatusSettings(msgspec.Struct, frozen=True):
    """Health and metrics. Off unless `listen` is set."""

    listen: Annotated[str, about("host:port on loopback; empty is off")] = ""
