"""The frozen configuration of both programs. Types, ranges, units and defaults live here only.

The file reader, `allegro init` and the configuration page are made from these definitions.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


def _about(text: str, *, ge: float | None = None, le: float | None = None) -> Meta:
    return Meta(description=text, ge=ge, le=le)


class LaneIdentity(msgspec.Struct, frozen=True):
    """Who this lane is."""

    name: Annotated[str, _about("name of this lane, a-z 0-9 -"), Meta(pattern="^[a-z0-9-]{1,32}$")]
    state_dir: Annotated[str, _about("folder for journal, keys and trust; owner-only")]
    failure_domain: Annotated[
        str, _about("what would take this lane down with others, such as a provider and region")
    ] = ""


class ForgeSettings(msgspec.Struct, frozen=True):
    """The Gitea or Forgejo this lane watches."""

    url: Annotated[
        str, _about("address of the forge, with sub-path if any"), Meta(pattern="^https?://")
    ]
    token_file: Annotated[str, _about("file with the daily token; mode 0600")]
    watch: Annotated[tuple[str, ...], _about('what to watch: "owner/name" or "org:name"')]
    bots: Annotated[
        tuple[str, ...], _about("logins of the fleet's own users, daily and change token")
    ]
    forbidden_users: Annotated[
        tuple[str, ...], _about("logins whose token must never be used here, such as your own")
    ] = ()
    name: Annotated[str, _about("the forge's name in digests; default: host of url")] = ""
    poll_s: Annotated[float, _about("seconds between polls", ge=0.2, le=3600)] = 5.0
    overlap_s: Annotated[
        int, _about("seconds each poll reaches back for late writers", ge=2, le=3600)
    ] = 10
    deep_overlap_s: Annotated[
        int, _about("seconds the once-a-minute deep poll reaches back", ge=10, le=86400)
    ] = 300
    sweep_s: Annotated[
        float,
        _about("seconds between sweeps for edited comments of active repositories", ge=1, le=3600),
    ] = 60.0
    quiet_sweep_s: Annotated[
        float, _about("the same for repositories without change in the last hour", ge=1, le=86400)
    ] = 600.0
    reconcile_s: Annotated[
        float, _about("seconds between full comparisons with the forge", ge=5, le=604800)
    ] = 86400.0
    audit_s: Annotated[
        float, _about("seconds between audits of the daily token", ge=1, le=86400)
    ] = 3600.0
    timeout_s: Annotated[
        float, _about("seconds one request to the forge may take", ge=0.5, le=15)
    ] = 8.0
    triage: Annotated[bool, _about("mark new issues as seen")] = True
    triage_label: Annotated[str, _about("the label that says seen")] = "triage/seen"
    shadow: Annotated[
        bool, _about("run everything, write nothing to the forge, show what would be")
    ] = False
    actions_per_cycle: Annotated[
        int, _about("writes under the lease that one poll cycle may make", ge=0, le=1000)
    ] = 20
    accept_unprotected: Annotated[
        tuple[str, ...],
        _about("repositories whose default branch our token may change, accepted in words"),
    ] = ()


class JournalSettings(msgspec.Struct, frozen=True):
    """How much outage the lane buffers."""

    cap_mb: Annotated[int, _about("megabytes the journal may hold", ge=1, le=1_000_000)] = 2048
    reserved_share: Annotated[
        float, _about("share of it kept for intents, receipts and requests", ge=0.01, le=0.5)
    ] = 0.1
    keep_days: Annotated[
        float, _about("days after which ordinary events are given up", ge=0.01, le=365)
    ] = 7.0
    min_free_mb: Annotated[
        int,
        _about("free megabytes on the disk below which the lane stops acting", ge=1, le=1_000_000),
    ] = 100


class LinkSettings(msgspec.Struct, frozen=True):
    """Where the house dials in. Off unless `listen` is set."""

    listen: Annotated[str, _about("host:port, or unix:/path; empty is off")] = ""
    public_url: Annotated[
        str,
        _about("how the house reaches it: wss://host:port, ws+unix:///path; default from listen"),
    ] = ""
    tls: Annotated[
        str,
        _about("self-signed (pinned by the house), files, or none (loopback and Unix socket only)"),
        Meta(pattern="^(self-signed|files|none)$"),
    ] = "self-signed"
    cert_file: Annotated[str, _about('certificate, for tls = "files"')] = ""
    key_file: Annotated[str, _about('its key, for tls = "files"; mode 0600')] = ""


class WebhookSettings(msgspec.Struct, frozen=True):
    """Hints from the forge. Polling stays the truth. Off unless `listen` is set."""

    listen: Annotated[str, _about("host:port; empty is off")] = ""
    secret_file: Annotated[str, _about("file with the hook's secret; mode 0600")] = ""
    per_minute: Annotated[
        int, _about("hints taken a minute; more are dropped", ge=1, le=100_000)
    ] = 600


class StatusSettings(msgspec.Struct, frozen=True):
    """Health and metrics. Off unless `listen` is set."""

    listen: Annotated[str, _about("host:port on loopback; empty is off")] = ""


class LaneSettings(msgspec.Struct, frozen=True):
    """lane.toml"""

    lane: LaneIdentity
    forge: ForgeSettings
    journal: JournalSettings = JournalSettings()
    link: LinkSettings = LinkSettings()
    webhook: WebhookSettings = WebhookSettings()
    status: StatusSettings = StatusSettings()

    @property
    def forge_name(self) -> str:
        """The name the forge has in digests: configured, or the address without its scheme."""
        return self.forge.name or self.forge.url.split("://", 1)[-1].rstrip("/").lower()


class HouseIdentity(msgspec.Struct, frozen=True):
    """Who this house is."""

    name: Annotated[str, _about("name of the sovereign's house"), Meta(pattern="^[a-z0-9-]{1,32}$")]
    state_dir: Annotated[str, _about("folder for archive, ledger, keys; owner-only")]
    socket: Annotated[
        str, _about("Unix socket of the house's API; default: house.sock in state_dir")
    ] = ""
    acting: Annotated[bool, _about("false: follow read-only, another house holds the seat")] = True


class RequestSettings(msgspec.Struct, frozen=True):
    """How requests wait and where they show."""

    home: Annotated[
        str,
        _about(
            "issue where requests without one of their own are mirrored: owner/name#1; empty: none"
        ),
    ] = ""
    mirror: Annotated[bool, _about("mirror each request on the forge")] = True
    expiry_s: Annotated[
        float, _about("seconds a request waits for an answer", ge=10, le=31_536_000)
    ] = 604800.0
    approval_s: Annotated[float, _about("seconds an approval lives", ge=10, le=2_592_000)] = 86400.0


class OrderSettings(msgspec.Struct, frozen=True):
    """How long an order lives, and how long silence means that nothing more will come."""

    ttl_s: Annotated[int, _about("seconds an order lives from its challenge", ge=2, le=60)] = 20
    settle_s: Annotated[
        int, _about("seconds within which the forge finishes or drops a write", ge=1, le=600)
    ] = 30
    parallel: Annotated[int, _about("orders out at once", ge=1, le=64)] = 4


class HouseForge(msgspec.Struct, frozen=True):
    """What the house adds to orders that change code."""

    change_token_file: Annotated[
        str,
        _about(
            "file with the change token; mode 0600; travels beside orders, never stored on a lane"
        ),
    ] = ""


class ArchiveSettings(msgspec.Struct, frozen=True):
    """The house's copy of everything."""

    quota_gb: Annotated[
        float, _about("gigabytes one lane may store at the house", ge=0.001, le=100_000)
    ] = 50.0


class HouseSettings(msgspec.Struct, frozen=True):
    """house.toml"""

    house: HouseIdentity
    forge: HouseForge = HouseForge()
    requests: RequestSettings = RequestSettings()
    orders: OrderSettings = OrderSettings()
    archive: ArchiveSettings = ArchiveSettings()
