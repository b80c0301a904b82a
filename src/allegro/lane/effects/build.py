"""Wires what carries out orders for the forge, and what a house may ask about it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from allegro.core.authority.gate import Permit
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.ports import Dress
from allegro.core.protocol.answers.forge import Listing
from allegro.core.protocol.queries import Params
from allegro.lane.context import Context
from allegro.lane.effects.executor import Executor, Rules
from allegro.lane.effects.queries import NAMES, Queries
from allegro.runtime.duties import Duty

NOT_REACHED = "the forge is not reachable yet"


class ForgeEffects:
    """Carries out orders once an audit of the daily token said who the fleet's own users are."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._made: Executor | None = None

    def may_begin(self) -> Refusal | None:
        if self._executor() is None:
            return Refusal("forge_unreachable", self._ctx.state.forge_trouble)
        return None

    async def carry_out(self, permit: Permit, dress: Dress) -> None:
        await self._reached().carry_out(permit, dress)

    async def set_aside(self, permit: Permit, error: BaseException) -> None:
        await self._reached().set_aside(permit, error)

    def queries(self, listing: Callable[[int], Listing]) -> Duty:
        """Return what answers about the forge; `listing` gives what a repository holds."""
        made: list[Queries] = []

        async def ask(name: str, params: Params) -> object:
            if not made:
                made.append(self._queries(listing))
            return await made[0].answer(name, params)

        return Duty(name="effects", queries={name: partial(ask, name) for name in NAMES})

    def _queries(self, listing: Callable[[int], Listing]) -> Queries:
        ctx, executor = self._ctx, self._reached()
        return Queries(
            ctx.ports.reader,
            executor.looking,
            executor.rules.bots,
            ctx.state.forge,
            listing,
        )

    def _make(self, bots: frozenset[int]) -> Executor:
        ports, forge = self._ctx.ports, self._ctx.settings.forge
        rules = Rules(
            bots=bots,
            forbidden=forge.forbidden_users,
            accepted=forge.accept_unprotected,
            write_s=forge.timeout_s,
            shadow=forge.shadow,
        )
        return Executor(
            (ports.reader, ports.writer),
            self._ctx.recorder,
            ports.clock,
            self._ctx.state.situation,
            rules,
        )

    def _reached(self) -> Executor:
        executor = self._executor()
        if executor is None:
            raise EdgeError(self._ctx.state.forge_trouble or NOT_REACHED, transient=True)
        return executor

    def _executor(self) -> Executor | None:
        bots = self._ctx.state.bots
        if self._made is None and bots is not None:
            self._made = self._make(bots)
        return self._made
