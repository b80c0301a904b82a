"""The sections of lane.toml that are about the forge: what is watched, and hints from it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from allegro.core.settings.words import about


class ForgeSettings(msgspec.Struct, frozen=True):
    """The Gitea or Forgejo this lane watches."""

    url: Annotated[
        str,
        about(
            "http:// or https:// address of the forge, with sub-path if any; empty: this lane serves no forge"
        ),
        Meta(pattern=r"\A(https?://[!-~]+)?\Z"),
    ] = ""
    token_file: Annotated[str, about("file with the daily token; mode 0600")] = ""
    failure_domain: Annotated[
        str, about("what would take the forge down with others, as lane.failure_domain")
    ] = ""
    watch: Annotated[tuple[str, ...], about('what to watch: "owner/name" or "org:name"')] = ()
    bots: Annotated[
        tuple[str, ...], about("logins of the fleet's own users, daily and change token")
    ] = ()
    forbidden_users: Annotated[
        tuple[str, ...], about("logins whose token must never be used here, such as your own")
    ] = ()
    name: Annotated[str, about("the forge's name in digests; default: host of url")] = ""
    poll_s: Annotated[float, about("seconds between polls", ge=0.2, le=3600)] = 5.0
    overlap_s: Annotated[
        int, about("seconds each poll reaches back for late writers", ge=2, le=3600)
    ] = 10
    deep_overlap_s: Annotated[
        int, about("seconds the once-a-minute deep poll reaches back", ge=10, le=86400)
    ] = 300
    sweep_s: Annotated[
        float,
        about("seconds between sweeps for edited comments of active repositories", ge=1, le=3600),
    ] = 60.0
    quiet_sweep_s: Annotated[
        float, about("the same for repositories without change in the last hour", ge=1, le=86400)
    ] = 600.0
    reconcile_s: Annotated[
        float, about("seconds between full comparisons with the forge", ge=5, le=604800)
    ] = 86400.0
    audit_s: Annotated[
        float, about("seconds between audits of the daily token", ge=1, le=86400)
    ] = 3600.0
    timeout_s: Annotated[
        float, about("seconds one request to the forge may take", ge=0.5, le=15)
    ] = 8.0
    triage: Annotated[bool, about("mark new issues as seen")] = True
    triage_label: Annotated[str, about("the label that says seen")] = "triage/seen"
    shadow: Annotated[
        bool, about("run everything, write nothing to the forge, show what would be")
    ] = False
    actions_per_cycle: Annotated[
        int, about("writes under the lease that one poll cycle may make", ge=0, le=1000)
    ] = 20
    accept_unprotected: Annotated[
        tuple[str, ...],
        about("repositories whose default branch our token may change, accepted in words"),
    ] = ()


class WebhookSettings(msgspec.Struct, frozen=True):
    """Hints from the forge. Polling stays the truth. Off unless `listen` is set."""

    listen: Annotated[str, about("host:port; empty is off")] = ""
    secret_file: Annotated[str, about("file with the hook's secret; mode 0600")] = ""
    per_minute: Annotated[
        int, about("hints taken a minute; more are dropped", ge=1, le=100_000)
    ] = 600
