"""The families of actions, and actions as canonical bytes: read, written, named, checked.

A new family costs its module and its line in `FAMILIES`; each of its acts is refused until the
policy table has a row for it.
"""

from __future__ import annotations

import functools
import hashlib
import operator
import re
from typing import Any

import msgspec

from allegro.core.authority.actions.agent import AGENT
from allegro.core.authority.actions.family import Action, Delivery, Family, kind_of_type
from allegro.core.authority.actions.forge_family import FORGE
from allegro.core.base.canonical import canonical, is_canonical, keyed_hex
from allegro.core.base.errors import Refusal

FAMILIES: tuple[Family, ...] = (
    FORGE,
    AGENT,
)

MAX_ACTION_BYTES = 8 * 1024 * 1024
_ID = re.compile(r"[0-9a-z]{16,64}")
_BY_TYPE = {type_: family for family in FAMILIES for type_ in family.types}
_BY_KIND = {kind: family for family in FAMILIES for kind in family.kinds}
_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(functools.reduce(operator.or_, _BY_TYPE))


def kind_of(action: Action) -> str:
    return kind_of_type(type(action))


def family_of(action: Action) -> Family:
    """Return the family of an action. Raises KeyError for a class that no family names."""
    return _BY_TYPE[type(action)]


def family_of_kind(kind: str) -> Family:
    """Return the family of a kind. Raises KeyError for a kind that no family names."""
    return _BY_KIND[kind]


def action_bytes(action: Action) -> bytes:
    """Return the canonical bytes: what is digested, signed over and shown."""
    return canonical(action)


def action_digest(raw: bytes) -> str:
    """Name canonical action bytes: hex SHA-256, separated from every other use of SHA-256."""
    return hashlib.sha256(b"allegro action\0" + raw).hexdigest()


def parse_action(raw: bytes) -> Action | Refusal:
    """Read action bytes strictly: canonical form, known kind, no fault; else say why not."""
    if len(raw) > MAX_ACTION_BYTES:
        return Refusal("action_too_large", f"more than {MAX_ACTION_BYTES} bytes")
    if not is_canonical(raw):
        return Refusal("not_canonical", "action bytes are not their own RFC 8785 form")
    try:
        action: Action = _decoder.decode(raw)
    except msgspec.ValidationError as error:
        return Refusal("malformed_action", str(error))
    if action_bytes(action) != raw:
        return Refusal("not_canonical", "every field must be written out, also where it is empty")
    faults = action_faults(action)
    if faults:
        return Refusal("malformed_action", "; ".join(faults))
    return action


def action_faults(action: Action) -> tuple[str, ...]:
    """Return every reason why this action can never be carried out, as sentences."""
    faults = [] if _ID.fullmatch(action.id) else ["id must be 16 to 64 characters of 0-9 a-z"]
    return (*faults, *family_of(action).faults(action))


def delivery_of(action: Action, digest: str, key: bytes) -> Delivery:
    """Return what goes beside an order: keyed, so that nobody can foresee branch and marker."""
    return family_of(action).delivery(
        action, digest, lambda purpose, text: keyed_hex(key, purpose, text)
    )
