"""The sections of lane.toml that are about sessions: Hermes, and the model proxy."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from allegro.core.settings.words import about

_Price = Annotated[float, Meta(ge=0, le=100_000)]


class Rung(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One provider of one model. The same `model` again is the next rung of its ladder.

    Prices are US dollars for a million tokens; without them the cost is unknown and only tokens
    are counted. `local` is free and needs no key.
    """

    model: Annotated[
        str, about("the name people use"), Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_.:/+-]{0,127}\Z")
    ]
    provider: Annotated[
        str, about("its name in records, a-z 0-9 -"), Meta(pattern=r"\A[a-z0-9-]{1,32}\Z")
    ]
    base_url: Annotated[
        str, about("OpenAI-compatible address"), Meta(pattern=r"\Ahttps?://[^\s]+\Z")
    ]
    upstream: Annotated[str, about("the provider's own name of the model; default: model")] = ""
    key_file: Annotated[str, about("file with its key, mode 0600; empty: none")] = ""
    input_usd: Annotated[_Price | None, about("price of a million tokens in")] = None
    output_usd: Annotated[_Price | None, about("price of a million tokens out")] = None
    cached_input_usd: Annotated[
        _Price | None,
        about("price of a million tokens in that it had cached; default: input_usd"),
    ] = None
    local: Annotated[bool, about("free, and no word leaves this machine's network")] = False


class ModelSettings(msgspec.Struct, frozen=True):
    """The model proxy: the only place that holds provider keys."""

    rungs: Annotated[
        tuple[Rung, ...],
        about(
            "as [[models.rungs]]: model, provider, base_url (OpenAI-compatible), upstream, "
            "key_file, input_usd, output_usd, cached_input_usd, local; tried in this order"
        ),
    ] = ()
    default: Annotated[str, about("model when a session names none; empty: the first")] = ""
    last: Annotated[str, about("model tried when every rung of another failed; local")] = ""
    stall_s: Annotated[
        float, about("seconds a provider may be silent before it is given up", ge=1, le=3600)
    ] = 120.0
    first_word_s: Annotated[
        float,
        about(
            "seconds until a provider's first word, or its next, whatever signs of life it sends",
            ge=1,
            le=3600,
        ),
    ] = 300.0
    connect_s: Annotated[
        float, about("seconds a connection to a provider may take", ge=0.5, le=60)
    ] = 10.0
    usd_per_day: Annotated[float, about("spend cap of a day (UTC)", ge=0, le=1e6)] = 10.0
    usd_per_session: Annotated[float, about("spend cap of a session", ge=0, le=1e6)] = 2.0
    tokens_per_day: Annotated[
        int, about("tokens of a day, whatever they cost", ge=0, le=10**12)
    ] = 20_000_000
    tokens_per_session: Annotated[
        int, about("tokens of a session, whatever they cost", ge=0, le=10**12)
    ] = 2_000_000
    max_tokens: Annotated[int, about("tokens one answer may have", ge=16, le=1_000_000)] = 8_192


class HermesSettings(msgspec.Struct, frozen=True):
    """Hermes gateways of this lane. Off unless `gateways` is set."""

    gateways: Annotated[int, about("sessions at once; 0 is off", ge=0, le=2)] = 0
    folder: Annotated[
        str, about("virtual environment with hermes-agent; default: hermes in state_dir")
    ] = ""
    tools: Annotated[
        tuple[str, ...],
        about('toolsets switched on, in words, such as "terminal", "file"; needs a sandbox'),
    ] = ()
    destinations: Annotated[
        tuple[str, ...],
        about('"host:port" that tools may reach over TLS; nothing else is reachable'),
    ] = ()
    sandbox: Annotated[
        str,
        about("auto, bubblewrap, or none (then every tool stays off)"),
        Meta(pattern=r"\A(auto|bubblewrap|none)\Z"),
    ] = "auto"
    user_id: Annotated[
        int, about("own user id of the sandbox where the lane runs as root", ge=1000, le=2**31)
    ] = 64_200
    question_timeout_s: Annotated[
        int, about("seconds a dangerous tool call waits for an answer", ge=60, le=3600)
    ] = 600
    session_s: Annotated[int, about("seconds a session may last", ge=10, le=86_400)] = 3600
    start_s: Annotated[float, about("seconds a gateway may take to start", ge=1, le=600)] = 60.0
    context_tokens: Annotated[
        int,
        about("context length told to Hermes; it refuses less than 64000", ge=64_000, le=10**8),
    ] = 128_000
    memory_mb: Annotated[
        int, about("megabytes all processes of a gateway may use", ge=256, le=1_000_000)
    ] = 2048
    processes: Annotated[int, about("processes and threads of a gateway", ge=32, le=65_536)] = 256
    disk_mb: Annotated[int, about("megabytes of its memory file system", ge=16, le=100_000)] = 512
    url: Annotated[str, about("a Hermes that runs already: its API; tools are its own affair")] = ""
    key_file: Annotated[str, about("file with that Hermes' API key; mode 0600")] = ""
