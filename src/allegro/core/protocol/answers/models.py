"""What a lane answers to a model call of a program at home, piece by piece."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from allegro.core.base.untrusted import Name

MAX_PIECE = 8 * 1024 * 1024


class ModelAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answers `model_begin` and `model_next`.

    `status`, `type` and `retry_after` are those of the provider's answer, once, when it begins:
    None and empty before and after. `piece` is a part of its body, empty while it is silent; `done`
    is true with its end. `call` names the call, and is set by `model_begin` alone.
    """

    call: Name = ""
    status: Annotated[int, Meta(ge=200, lt=600)] | None = None
    type: Name = ""
    retry_after: Name = ""
    piece: Annotated[bytes, Meta(max_length=MAX_PIECE)] = b""
    done: bool
