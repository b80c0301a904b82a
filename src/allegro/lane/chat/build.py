"""Wires the chat of a lane: its reader, its answers, and where both keep what they know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from math import nan
from pathlib import Path

from allegro.adapters.channels.build import build_channels
from allegro.config import read_private
from allegro.core.authority.freeze import Freeze
from allegro.core.base.errors import ConfigError
from allegro.core.chat.allow import AllowList, read_allow_list
from allegro.core.chat.answers import LaneState
from allegro.core.protocol.answers.fleet import Peer
from allegro.core.settings import AppriseSettings
from allegro.lane.chat.acts import Acts
from allegro.lane.chat.box import Box
from allegro.lane.chat.from_house import FromHouse
from allegro.lane.chat.links import Links
from allegro.lane.chat.reader import Reader
from allegro.lane.chat.turn import RoleKeeper, Turns
from allegro.lane.context import Context
from allegro.lane.folder.chat import load_inbox, save_inbox
from allegro.runtime.duties import Duty


def build(ctx: Context, links: Links) -> list[Duty]:
    """Return the reader of the chat and what acts on what it read; nothing where none is configured.

    Two duties, so that an answer that waits for the network keeps no `/stop` waiting. Raises
    ConfigError.
    """
    settings, clock = ctx.settings, ctx.ports.clock
    chat = build_channels(settings.telegram, AppriseSettings(), _private_text, clock).chat
    if chat is None:
        return []
    chat = ctx.ports.chats(chat)
    box = Box(load_inbox(ctx.files.chat), partial(save_inbox, ctx.files.chat))
    reader = Reader(ctx, chat, _allowed(ctx), box, links)
    acts = Acts(ctx, chat, box, links)
    return [
        Duty(name="chat", run=reader.run, facts=reader.facts, stop=chat.close),
        Duty(name="chat answers", run=acts.run),
    ]


def links(
    ctx: Context,
    keeper: RoleKeeper,
    freeze: Callable[[Freeze], Awaitable[None]],
    is_linked: Callable[[], bool],
) -> Links:
    """Return what the chat needs of the rest of a lane."""

    def lanes() -> tuple[LaneState, ...]:
        return tuple(map(_lane_state, keeper.seen()))

    from_house = FromHouse(ctx, is_linked)
    return Links(
        turn=Turns(ctx, keeper).now,
        freeze=freeze,
        is_linked=is_linked,
        lanes=lanes,
        asked=from_house.asked,
        digest_of=from_house.digest_of,
    )


def _lane_state(peer: Peer) -> LaneState:
    age_s = nan if peer.age_s is None else peer.age_s
    return LaneState(peer.lane, "ok" if peer.heard else "unknown", age_s)


def _private_text(name: str) -> str:
    return read_private(Path(name).expanduser())


def _allowed(ctx: Context) -> AllowList:
    allowed = read_allow_list(ctx.settings.telegram.allow)
    if isinstance(allowed, str):
        raise ConfigError((f"telegram.allow: {allowed}",))
    return allowed
