"""How the API reads what it is asked and puts what it answers."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from allegro.core.errors import Refusal

MAX_WAIT_S = 55.0


def decode_body(raw: bytes, type_: Any) -> Any:
    """Return a JSON body as a value of this type. Raises msgspec.DecodeError."""
    return msgspec.json.decode(raw or b"{}", type=type_)


def refused(refusal: Refusal) -> web.Response:
    status = 404 if refusal.reason == "not_found" else 409
    return answer_json({"error": str(refusal), "kind": refusal.reason}, status)


def answer_json(value: Any, status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(value), status=status, content_type="application/json"
    )
