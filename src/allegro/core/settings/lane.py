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

    name: Annotated[
        str, _about("name of this lane, a-z 0-9 -"), Meta(pattern=r"\A[a-z0-9-]{1,32}\Z")
    ]
    state_dir: Annotated[str, _about("folder for journal, keys and trust; owner-only")]
    failure_domain: Annotated[
        str, _about("what would take this lane down with others, such as a provider and region")
    ] = ""
    local: Annotated[
        bool,
        _about("this lane runs beside the house: used for sessions when no other is reachable"),
    ] = False


class ForgeSettings(msgspec.Struct, frozen=True):
    """The Gitea or Forgejo this lane watches."""

    url: Annotated[
        str,
        _about(
            "http:// or https:// address of the forge, with sub-path if any; empty: this lane serves no forge"
        ),
        Meta(pattern=r"\A(https?://[!-~]+)?\Z"),
    ] = ""
    token_file: Annotated[str, _about("file with the daily token; mode 0600")] = ""
    failure_domain: Annotated[
        str, _about("what would take the forge down with others, as lane.failure_domain")
    ] = ""
    watch: Annotated[tuple[str, ...], _about('what to watch: "owner/name" or "org:name"')] = ()
    bots: Annotated[
        tuple[str, ...], _about("logins of the fleet's own users, daily and change token")
    ] = ()
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

    cap_mb: Annotated[
        int,
        _about("megabytes the journal may hold, its write-ahead log included", ge=1, le=1_000_000),
    ] = 2048
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
        Meta(pattern=r"\A(self-signed|files|none)\Z"),
    ] = "self-signed"
    cert_file: Annotated[str, _about('certificate, for tls = "files"')] = ""
    key_file: Annotated[str, _about('its key, for tls = "files"; mode 0600')] = ""


class BeatSettings(msgspec.Struct, frozen=True):
    """A dead-man switch outside: a URL that is called while all is well. Off unless `url` is set."""

    url: Annotated[
        str,
        _about("a healthchecks-style URL; whoever watches it alarms when the calls stop"),
        Meta(pattern=r"\A(https?://[^\s]+)?\Z"),
    ] = ""
    every_s: Annotated[float, _about("seconds between calls", ge=5, le=86_400)] = 60.0


class CouncilSettings(msgspec.Struct, frozen=True):
    """This lane's part in a fleet. Off unless `listen` is set; `allegro fleet join` does the rest."""

    listen: Annotated[
        str,
        _about("host:port where the other lanes' council servers reach this one; empty is off"),
        Meta(pattern=r"\A([^\s\"]+:[0-9]{1,5})?\Z"),
    ] = ""
    address: Annotated[
        str,
        _about("host:port as the other lanes see it; default: listen"),
        Meta(pattern=r"\A([^\s\"]+:[0-9]{1,5})?\Z"),
    ] = ""
    server: Annotated[
        str, _about("nats-server to run, 2.14 or newer; default: the one of the fleet extra")
    ] = ""
    lease_s: Annotated[float, _about("seconds a lane that dies keeps its roles", ge=2, le=60)] = 5.0
    return_s: Annotated[
        float,
        _about("seconds a preferred lane must be well before it gets a role back", ge=1, le=86_400),
    ] = 300.0
    disk_mb: Annotated[int, _about("megabytes its store may take", ge=16, le=10_000)] = 64


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


_Price = Annotated[float, Meta(ge=0, le=100_000)]


class Rung(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One provider of one model. The same `model` again is the next rung of its ladder.

    Prices are US dollars for a million tokens; without them the cost is unknown and only tokens
    are counted. `local` is free and needs no key.
    """

    model: Annotated[
        str, _about("the name people use"), Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_.:/+-]{0,127}\Z")
    ]
    provider: Annotated[
        str, _about("its name in records, a-z 0-9 -"), Meta(pattern=r"\A[a-z0-9-]{1,32}\Z")
    ]
    base_url: Annotated[
        str, _about("OpenAI-compatible address"), Meta(pattern=r"\Ahttps?://[^\s]+\Z")
    ]
    upstream: Annotated[str, _about("the provider's own name of the model; default: model")] = ""
    key_file: Annotated[str, _about("file with its key, mode 0600; empty: none")] = ""
    input_usd: Annotated[_Price | None, _about("price of a million tokens in")] = None
    output_usd: Annotated[_Price | None, _about("price of a million tokens out")] = None
    cached_input_usd: Annotated[
        _Price | None,
        _about("price of a million tokens in that it had cached; default: input_usd"),
    ] = None
    local: Annotated[bool, _about("free, and no word leaves this machine's network")] = False


class ModelSettings(msgspec.Struct, frozen=True):
    """The model proxy: the only place that holds provider keys."""

    rungs: Annotated[
        tuple[Rung, ...],
        _about(
            "as [[models.rungs]]: model, provider, base_url (OpenAI-compatible), upstream, "
            "key_file, input_usd, output_usd, cached_input_usd, local; tried in this order"
        ),
    ] = ()
    default: Annotated[str, _about("model when a session names none; empty: the first")] = ""
    last: Annotated[str, _about("model tried when every rung of another failed; local")] = ""
    stall_s: Annotated[
        float, _about("seconds a provider may be silent before it is given up", ge=1, le=3600)
    ] = 120.0
    first_word_s: Annotated[
        float,
        _about(
            "seconds until a provider's first word, or its next, whatever signs of life it sends",
            ge=1,
            le=3600,
        ),
    ] = 300.0
    connect_s: Annotated[
        float, _about("seconds a connection to a provider may take", ge=0.5, le=60)
    ] = 10.0
    usd_per_day: Annotated[float, _about("spend cap of a day (UTC)", ge=0, le=1e6)] = 10.0
    usd_per_session: Annotated[float, _about("spend cap of a session", ge=0, le=1e6)] = 2.0
    tokens_per_day: Annotated[
        int, _about("tokens of a day, whatever they cost", ge=0, le=10**12)
    ] = 20_000_000
    tokens_per_session: Annotated[
        int, _about("tokens of a session, whatever they cost", ge=0, le=10**12)
    ] = 2_000_000
    max_tokens: Annotated[int, _about("tokens one answer may have", ge=16, le=1_000_000)] = 8_192


class HermesSettings(msgspec.Struct, frozen=True):
    """Hermes gateways of this lane. Off unless `gateways` is set."""

    gateways: Annotated[int, _about("sessions at once; 0 is off", ge=0, le=2)] = 0
    folder: Annotated[
        str, _about("virtual environment with hermes-agent; default: hermes in state_dir")
    ] = ""
    tools: Annotated[
        tuple[str, ...],
        _about('toolsets switched on, in words, such as "terminal", "file"; needs a sandbox'),
    ] = ()
    destinations: Annotated[
        tuple[str, ...],
        _about('"host:port" that tools may reach over TLS; nothing else is reachable'),
    ] = ()
    sandbox: Annotated[
        str,
        _about("auto, bubblewrap, or none (then every tool stays off)"),
        Meta(pattern=r"\A(auto|bubblewrap|none)\Z"),
    ] = "auto"
    user_id: Annotated[
        int, _about("own user id of the sandbox where the lane runs as root", ge=1000, le=2**31)
    ] = 64_200
    question_timeout_s: Annotated[
        int, _about("seconds a dangerous tool call waits for an answer", ge=60, le=3600)
    ] = 600
    session_s: Annotated[int, _about("seconds a session may last", ge=10, le=86_400)] = 3600
    start_s: Annotated[float, _about("seconds a gateway may take to start", ge=1, le=600)] = 60.0
    context_tokens: Annotated[
        int,
        _about("context length told to Hermes; it refuses less than 64000", ge=64_000, le=10**8),
    ] = 128_000
    memory_mb: Annotated[
        int, _about("megabytes all processes of a gateway may use", ge=256, le=1_000_000)
    ] = 2048
    processes: Annotated[int, _about("processes and threads of a gateway", ge=32, le=65_536)] = 256
    disk_mb: Annotated[int, _about("megabytes of its memory file system", ge=16, le=100_000)] = 512
    url: Annotated[str, _about("a Hermes that runs already: its API; tools are its own affair")] = (
        ""
    )
    key_file: Annotated[str, _about("file with that Hermes' API key; mode 0600")] = ""


class LaneSettings(msgspec.Struct, frozen=True):
    """lane.toml"""

    lane: LaneIdentity
    forge: ForgeSettings = ForgeSettings()
    hermes: HermesSettings = HermesSettings()
    models: ModelSettings = ModelSettings()
    journal: JournalSettings = JournalSettings()
    link: LinkSettings = LinkSettings()
    council: CouncilSettings = CouncilSettings()
    beat: BeatSettings = BeatSettings()
    webhook: WebhookSettings = WebhookSettings()
    status: StatusSettings = StatusSettings()

    @property
    def serves_sessions(self) -> bool:
        """Whether this lane runs agent sessions."""
        return self.hermes.gateways > 0

    @property
    def forge_name(self) -> str:
        """The name the forge has in digests: configured, or the address without its scheme."""
        return self.forge.name or self.forge.url.split("://", 1)[-1].rstrip("/").lower()


class HouseIdentity(msgspec.Struct, frozen=True):
    """Who this house is."""

    name: Annotated[
        str, _about("name of the sovereign's house"), Meta(pattern=r"\A[a-z0-9-]{1,32}\Z")
    ]
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
    triage_label: Annotated[
        str,
        _about("the label by which lanes say seen: the same as forge.triage_label of lane.toml"),
    ] = "triage/seen"


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
