"""Makes the channels that a configuration names, the same way for a house and for a lane."""

from __future__ import annotations

from collections.abc import Callable

from allegro.adapters.channels.apprise.channel import AppriseChannel, addresses
from allegro.adapters.channels.telegram.channel import TelegramChannel
from allegro.core.base.errors import ConfigError
from allegro.core.channels import Channels, Outlet
from allegro.core.ports import Clock
from allegro.core.settings.channels import AppriseSettings, TelegramSettings


def build_channels(
    telegram: TelegramSettings,
    apprise: AppriseSettings,
    read_secret: Callable[[str], str],
    clock: Clock,
) -> Channels:
    """Return the channels, Telegram first. Nothing is contacted, and a bad file refuses nothing.

    `read_secret` returns the whole text of a file by its name, and raises ConfigError; a channel
    asks it anew for each message. A file of addresses that cannot be read counts as one address, so
    that its channel is there to fail and to be reported.
    """
    bot = None
    if telegram.sends or telegram.reads:
        bot = TelegramChannel(telegram, read_secret, clock.boot_s)
    outlets = []
    if bot is not None and telegram.sends:
        outlets.append(Outlet(bot, telegram.content))
    for line in range(1, _count(apprise, read_secret) + 1):
        channel = AppriseChannel(apprise, line, read_secret, clock.now_s)
        outlets.append(Outlet(channel, apprise.content))
    return Channels(tuple(outlets), bot if telegram.reads else None)


def _count(apprise: AppriseSettings, read_secret: Callable[[str], str]) -> int:
    if not apprise.urls_file:
        return 0
    try:
        return max(1, len(addresses(read_secret(apprise.urls_file))))
    except ConfigError:
        return 1
