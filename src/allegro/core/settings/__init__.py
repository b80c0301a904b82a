"""The frozen configuration of both programs. Types, ranges, units and defaults live here only.

One module for each group of sections. The file reader, `allegro init` and the configuration page
are made from these definitions.
"""

from __future__ import annotations

from allegro.core.settings.agent import HermesSettings, ModelSettings, Rung
from allegro.core.settings.channels import AppriseSettings, TelegramSettings
from allegro.core.settings.duties import HouseDuties, LaneDuties
from allegro.core.settings.fleet import (
    BeatSettings,
    CouncilSettings,
    LinkSettings,
    StatusSettings,
)
from allegro.core.settings.forge import ForgeSettings, WebhookSettings
from allegro.core.settings.house import (
    ArchiveSettings,
    HouseForge,
    HouseIdentity,
    HouseSettings,
    OrderSettings,
    OwnerSettings,
    ReportSettings,
    RequestSettings,
)
from allegro.core.settings.lane import JournalSettings, LaneIdentity, LaneSettings

__all__ = [
    "AppriseSettings",
    "ArchiveSettings",
    "BeatSettings",
    "CouncilSettings",
    "ForgeSettings",
    "HermesSettings",
    "HouseDuties",
    "HouseForge",
    "HouseIdentity",
    "HouseSettings",
    "JournalSettings",
    "LaneDuties",
    "LaneIdentity",
    "LaneSettings",
    "LinkSettings",
    "ModelSettings",
    "OrderSettings",
    "OwnerSettings",
    "ReportSettings",
    "RequestSettings",
    "Rung",
    "StatusSettings",
    "TelegramSettings",
    "WebhookSettings",
]
