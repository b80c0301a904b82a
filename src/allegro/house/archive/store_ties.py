"""Notices at the start that archive or ledger was deleted, restored, cut or exchanged."""

from __future__ import annotations

import msgspec
import structlog

from allegro.core.base.store_ties import READ_AGAIN, Fault, compare
from allegro.core.ports import Dice
from allegro.core.stores import Archive, Ledger

_log = structlog.get_logger()


async def tie_stores(archive: Archive, ledger: Ledger, dice: Dice) -> Fault | None:
    """Compare the two stores and tie them anew; return what is wrong between them.

    Where places of before name other rows, every reader begins at the first row. Raises EdgeError.
    """
    a, b = await archive.tie(), await ledger.tie()
    fault = compare(a, b, last_row=await archive.last_row(), furthest=await ledger.furthest())
    if fault is not None:
        _log.error("stores.apart", fault=fault.name, archive=a.id, ledger=b.id)
    if fault in READ_AGAIN:
        await ledger.forget_places()
    await renew_tie(archive, ledger, dice)
    return fault


async def renew_tie(archive: Archive, ledger: Ledger, dice: Dice) -> None:
    """Give both stores a new token: at each start and clean stop. Raises EdgeError.

    The ledger notes the token first, so that a crash between the two is no difference.
    """
    a, b = await archive.tie(), await ledger.tie()
    token, count = dice.token(16).hex(), max(a.count, b.count) + 1
    await ledger.keep_tie(msgspec.structs.replace(b, other=a.id, next_token=token))
    await archive.keep_tie(
        msgspec.structs.replace(a, other=b.id, count=count, token=token, next_token="")
    )
    await ledger.keep_tie(
        msgspec.structs.replace(b, other=a.id, count=count, token=token, next_token="")
    )
