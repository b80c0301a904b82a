"""Wires the link: what the house asks and orders here, and where it is listened for."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path

from allegro.adapters.crypto.signatures import SigningKey, verify
from allegro.adapters.crypto.tls import server_context
from allegro.core.authority.freeze import Freeze
from allegro.core.protocol.answers.lane import OwnLabel
from allegro.core.protocol.messages import Serves
from allegro.core.protocol.queries import Params, QueryName
from allegro.lane.context import Context
from allegro.lane.uplink.dispatch import Carriers
from allegro.lane.uplink.service import Desk
from allegro.link.listen import LinkListener
from allegro.runtime.duties import Answer, Duty

STOP_S = 5.0
"""So long a clean stop waits for effects that are under way."""


class Uplink:
    """The lane's end of the link. `query` returns what answers a query by its name."""

    def __init__(
        self,
        ctx: Context,
        key: SigningKey,
        carriers: Carriers,
        query: Callable[[str], Answer | None],
    ) -> None:
        self._ctx = ctx
        settings = ctx.settings
        self._desk = Desk(
            ctx,
            (key.sign, verify),
            carriers,
            query,
            Serves(bool(settings.forge.url), settings.hermes.gateways, settings.lane.local),
        )
        self._listener = LinkListener(self._desk, self._desk.blobs)

    def is_linked(self) -> bool:
        """Whether a house is linked now."""
        return self._listener.is_linked

    async def freeze(self, freeze: Freeze) -> None:
        """Freeze this lane at once, and tell it home. Raises EdgeError where it cannot be kept."""
        await self._desk.trust.stop(freeze)

    def duties(self) -> list[Duty]:
        """Return the listener on the link."""
        return [
            Duty(
                name="link",
                queries={
                    QueryName.TRIAGE_LABEL: self._triage_label,
                    QueryName.INFORM: self._ctx.state.house_word.hear,
                },
                start=self._start,
                stop=self._listener.stop,
            ),
        ]

    async def settle(self) -> None:
        """Wait for effects that are under way, at most STOP_S."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._desk.dispatch.settle(), STOP_S)

    async def _start(self) -> None:
        listen = self._ctx.settings.link.listen
        if listen:
            await self._listener.start(listen, self._tls())

    def _tls(self) -> ssl.SSLContext | None:
        link, files = self._ctx.settings.link, self._ctx.files
        if link.tls == "none" or link.listen.startswith("unix:"):
            return None
        if link.tls == "files":
            return server_context(Path(link.cert_file), Path(link.key_file))
        return server_context(files.certificate, files.certificate_key)

    async def _triage_label(self, params: Params) -> OwnLabel:
        """Take the house's label, and name our own, empty where this lane marks nothing."""
        self._ctx.state.home_label.hear(params)
        forge = self._ctx.settings.forge
        return OwnLabel(forge.triage_label if forge.url and forge.triage else "")
