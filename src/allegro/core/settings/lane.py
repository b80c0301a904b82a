"""lane.toml, and its sections that are about the lane itself."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from allegro.core.settings.agent import HermesSettings, ModelSettings
from allegro.core.settings.channels import AppriseSettings, TelegramSettings
from allegro.core.settings.duties import LaneDuties
from allegro.core.settings.fleet import BeatSettings, CouncilSettings, LinkSettings, StatusSettings
from allegro.core.settings.forge import ForgeSettings, WebhookSettings
from allegro.core.settings.words import about


class LaneIdentity(msgspec.Struct, frozen=True):
    """Who this lane is."""

    name: Annotated[
        str, about("name of this lane, a-z 0-9 -"), Meta(pattern=r"\A[a-z0-9-]{1,32}\Z")
    ]
    state_dir: Annotated[str, about("folder for journal, keys and trust; owner-only")]
    failure_domain: Annotated[
        str, about("what would take this lane down with others, such as a provider and region")
    ] = ""
    local: Annotated[
        bool,
        about("this lane runs beside the house: used for sessions when no other is reachable"),
    ] = False


class JournalSettings(msgspec.Struct, frozen=True):
    """How much outage the lane buffers."""

    cap_mb: Annotated[
        int,
        about("megabytes the journal may hold, its write-ahead log included", ge=1, le=1_000_000),
    ] = 2048
    reserved_share: Annotated[
        float, about("share of it kept for intents, receipts and requests", ge=0.01, le=0.5)
    ] = 0.1
    keep_days: Annotated[
        float, about("days after which ordinary events are given up", ge=0.01, le=365)
    ] = 7.0
    min_free_mb: Annotated[
        int,
        about("free megabytes on the disk below which the lane stops acting", ge=1, le=1_000_000),
    ] = 100


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
    duties: LaneDuties = LaneDuties()
    telegram: TelegramSettings = TelegramSettings()
    apprise: AppriseSettings = AppriseSettings()

    @property
    def serves_sessions(self) -> bool:
        """Whether this lane runs agent sessions."""
        return self.hermes.gateways > 0

    @property
    def forge_name(self) -> str:
        """The name the forge has in digests: configured, or the address without its scheme."""
        return self.forge.name or self.forge.url.split("://", 1)[-1].rstrip("/").lower()
