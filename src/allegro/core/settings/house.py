"""house.toml, and its sections."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from allegro.core.settings.channels import AppriseSettings, TelegramSettings
from allegro.core.settings.duties import HouseDuties
from allegro.core.settings.words import about


class HouseIdentity(msgspec.Struct, frozen=True):
    """Who this house is."""

    name: Annotated[
        str, about("name of the sovereign's house"), Meta(pattern=r"\A[a-z0-9-]{1,32}\Z")
    ]
    state_dir: Annotated[str, about("folder for archive, ledger, keys; owner-only")]
    socket: Annotated[
        str, about("Unix socket of the house's API; default: house.sock in state_dir")
    ] = ""
    acting: Annotated[bool, about("false: follow read-only, another house holds the seat")] = True
    expected: Annotated[
        Literal["always", "hours", "whenever"],
        about(
            "when this machine is expected to be awake; its silence at other times alarms nobody"
        ),
    ] = "always"
    hours: Annotated[
        str, about("the hours in which it is, in the owner's zone, as in 08:00-23:00; for `hours`")
    ] = ""


class OwnerSettings(msgspec.Struct, frozen=True):
    """When the person who owns the fleet lives and sleeps."""

    timezone: Annotated[
        str, about("zone of schedules, reports and quiet hours, as in Europe/Berlin")
    ] = "UTC"
    quiet: Annotated[
        str, about("hours in which P2 and P3 alerts wait, as in 22:00-07:00; empty: none")
    ] = ""


class RequestSettings(msgspec.Struct, frozen=True):
    """How requests wait and where they show."""

    home: Annotated[
        str,
        about(
            "issue where requests without one of their own are mirrored: owner/name#1; empty: none"
        ),
    ] = ""
    mirror: Annotated[bool, about("mirror each request on the forge")] = True
    expiry_s: Annotated[
        float, about("seconds a request waits for an answer", ge=10, le=31_536_000)
    ] = 604800.0
    approval_s: Annotated[float, about("seconds an approval lives", ge=10, le=2_592_000)] = 86400.0


class ReportSettings(msgspec.Struct, frozen=True):
    """Where the morning report shows on the forge."""

    issue: Annotated[
        str,
        about("issue where the report is a comment, opened by you: owner/name#2; empty: none"),
        Meta(pattern=r"\A([^/#\s]{1,100}/[^/#\s]{1,100}#[1-9][0-9]{0,14})?\Z"),
    ] = ""
    per: Annotated[
        Literal["day", "week"],
        about("a comment for each day, or one a week with its newest report"),
    ] = "day"


class OrderSettings(msgspec.Struct, frozen=True):
    """How long an order lives, and how long silence means that nothing more will come."""

    ttl_s: Annotated[int, about("seconds an order lives from its challenge", ge=2, le=60)] = 20
    settle_s: Annotated[
        int, about("seconds within which the forge finishes or drops a write", ge=1, le=600)
    ] = 30
    parallel: Annotated[int, about("orders out at once", ge=1, le=64)] = 4


class HouseForge(msgspec.Struct, frozen=True):
    """What the house adds to orders that change code."""

    change_token_file: Annotated[
        str,
        about(
            "file with the change token; mode 0600; travels beside orders, never stored on a lane"
        ),
    ] = ""
    triage_label: Annotated[
        str,
        about("the label by which lanes say seen: the same as forge.triage_label of lane.toml"),
    ] = "triage/seen"


class ArchiveSettings(msgspec.Struct, frozen=True):
    """The house's copy of everything."""

    quota_gb: Annotated[
        float, about("gigabytes one lane may store at the house", ge=0.001, le=100_000)
    ] = 50.0


class HouseSettings(msgspec.Struct, frozen=True):
    """house.toml"""

    house: HouseIdentity
    forge: HouseForge = HouseForge()
    requests: RequestSettings = RequestSettings()
    report: ReportSettings = ReportSettings()
    orders: OrderSettings = OrderSettings()
    archive: ArchiveSettings = ArchiveSettings()
    owner: OwnerSettings = OwnerSettings()
    duties: HouseDuties = HouseDuties()
    telegram: TelegramSettings = TelegramSettings()
    apprise: AppriseSettings = AppriseSettings()
