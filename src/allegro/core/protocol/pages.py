"""What lanes tell each other in the council: one page a lane, written by that lane alone.

A page is believed only where it makes its reader do less: a freeze is taken over, a lane that says
it is not ready is passed over. A mark is where polling may begin; what lies before it is found by
the reconcile that every take-over starts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from allegro.core.authority.freeze import Freeze, sound
from allegro.core.authority.lease import ROLES, Sibling
from allegro.core.base.untrusted import Unreadable, read_json
from allegro.core.forge.marks import Mark

T = TypeVar("T")
MAX_FREEZES = 64
MAX_VALUE = 32_768
"""The bytes of one page or record; a council's server refuses more."""

FRESH_PAGES = 3.5


class Page(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one lane says of itself. `at_s` is its wall clock, `done` what it did last.

    `ready` are the roles it could do the work of now; `marks` the poll marks it knows to be home.
    """

    lane: Annotated[str, Meta(min_length=1, max_length=64)]
    at_s: float
    ready: tuple[str, ...] = ()
    freezes: Annotated[tuple[Freeze, ...], Meta(max_length=MAX_FREEZES)] = ()
    marks: dict[str, Mark] = {}
    house_linked: bool = False
    done: Annotated[str, Meta(max_length=200)] = ""
    version: Annotated[str, Meta(max_length=64)] = ""


def page_bytes(page: Page, limit: int) -> bytes:
    """Return a page as it is stored, cut to fit: a page that is refused would say nothing at all.

    Marks go first, which cost others a longer listing, then words of freezes, then the older
    freezes: one freeze stops as well as many.
    """
    for cut in _CUTS:
        raw = msgspec.json.encode(cut(page))
        if len(raw) <= limit:
            return raw
    return msgspec.json.encode(msgspec.structs.replace(page, marks={}, freezes=()))


def _terse(page: Page, most: int) -> Page:
    newest = page.freezes[-most:]
    freezes = tuple(Freeze(one.id, one.at_s, one.by[:16], one.reason[:40]) for one in newest)
    return msgspec.structs.replace(page, marks={}, freezes=freezes)


_CUTS: tuple[Callable[[Page], Page], ...] = (
    lambda page: page,
    lambda page: msgspec.structs.replace(page, marks={}),
    lambda page: _terse(page, MAX_FREEZES),
    lambda page: _terse(page, MAX_FREEZES // 2),
)


def read_page(value: bytes, lane: str) -> Page | None:
    """Return what a lane says of itself, every part of it bounded; None for nothing readable."""
    page = parsed(value, Page)
    if page is None or page.lane != lane:
        return None
    ready = tuple(role for role in ROLES if role in page.ready)
    freezes = tuple(dict.fromkeys(map(sound, page.freezes)))
    return msgspec.structs.replace(page, ready=ready, freezes=freezes)


def parsed(value: bytes, type_: type[T]) -> T | None:
    """Return what the council stores; None for nothing, and for what is not in the form."""
    found = read_json(value, type_)
    return None if isinstance(found, Unreadable) else found


class Sighting(msgspec.Struct, frozen=True):
    """One lane's page as seen from here, all times on the own boot-time clock (s).

    `page` None: there is none, or it cannot be read. `ready_since_s` holds the roles that every
    page since then named.
    """

    revision: int
    page: Page | None
    changed_s: float
    ready_since_s: dict[str, float] = {}


def sighted(
    before: Sighting | None, revision: int, page: Page | None, *, boot_s: float, page_s: float
) -> Sighting:
    """Return what is known of a lane after its page was read again.

    `page_s` is how often a lane writes; a page that stands still for longer than `FRESH_PAGES`
    times that is a lane that is not heard.
    """
    if before is not None and before.revision == revision:
        if is_fresh(before, boot_s=boot_s, page_s=page_s):
            return before
        return msgspec.structs.replace(before, ready_since_s={})
    since_s = before.ready_since_s if before is not None else {}
    ready = page.ready if page is not None else ()
    return Sighting(
        revision, page, boot_s, {role: since_s.get(role, boot_s) for role in ROLES if role in ready}
    )


def is_fresh(sighting: Sighting, *, boot_s: float, page_s: float) -> bool:
    """Say whether a lane is heard now."""
    return sighting.page is not None and boot_s - sighting.changed_s <= FRESH_PAGES * page_s


def sibling(name: str, sighting: Sighting | None, role: str, *, boot_s: float) -> Sibling:
    """Return a lane as the lease machine sees it for one role."""
    since_s = None if sighting is None else sighting.ready_since_s.get(role)
    # ready from the first page on: a moment, never nothing
    return Sibling(name, 0.0 if since_s is None else max(boot_s - since_s, 1e-3))
