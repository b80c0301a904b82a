"""Which channels a configuration makes."""

from __future__ import annotations

import pytest

from allegro.adapters.channels.build import build_channels
from allegro.core.base.errors import ConfigError
from allegro.core.channels import ChannelError, Channels, Message
from allegro.core.settings.channels import AppriseSettings, TelegramSettings
from allegro.testing.virtual import VirtualClock

FILES = {"token": "1:abc\n", "urls": "# ours\nntfy://a/b\n\njson://localhost\n"}


def secret(name: str) -> str:
    if name not in FILES:
        raise ConfigError((f"{name}: cannot read the secret",))
    return FILES[name]


def made(telegram: TelegramSettings, apprise: AppriseSettings | None = None) -> Channels:
    return build_channels(telegram, apprise or AppriseSettings(), secret, VirtualClock())


def test_without_settings_there_is_no_channel() -> None:
    assert made(TelegramSettings()) == Channels()


def test_telegram_comes_before_each_address_of_apprise() -> None:
    found = made(
        TelegramSettings(token_file="token", chat="5", content=True),
        AppriseSettings(urls_file="urls"),
    )
    names = [(one.channel.name, one.content) for one in found.outlets]
    assert names == [("telegram", True), ("apprise-1", False), ("apprise-2", False)]
    assert found.chat is None, "nobody is allowed to command"


def test_one_bot_reads_and_sends() -> None:
    found = made(TelegramSettings(token_file="token", chat="5", allow=("7",)))
    assert found.chat is found.outlets[0].channel


def test_a_bot_that_only_reads_calls_nobody() -> None:
    found = made(TelegramSettings(token_file="token", allow=("7",)))
    assert found.chat is not None
    assert found.outlets == ()


async def test_a_file_that_cannot_be_read_is_a_channel_that_fails() -> None:
    found = made(TelegramSettings(), AppriseSettings(urls_file="gone"))
    with pytest.raises(ChannelError) as failed:
        await found.outlets[0].channel.send(Message("t", ()))
    assert failed.value.kind == "secret"
    await found.close()
