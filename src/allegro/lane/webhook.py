"""Takes the forge's hints: signature, rate, nothing else. What changed is read, never believed."""

from __future__ import annotations

import hashlib
import hmac
from collections import deque
from collections.abc import Callable

import structlog
from aiohttp import web

_log = structlog.get_logger()
MAX_BODY = 4 * 1024 * 1024
MAX_DELIVERIES = 2_000


class Webhook:
    """Answers 202 to a signed delivery and calls `hint`; a repeated delivery hints nothing."""

    def __init__(
        self, secret: str, hint: Callable[[], None], now_s: Callable[[], float], per_minute: int
    ) -> None:
        self._secret = secret.encode()
        self._hint = hint
        self._now_s = now_s
        self._per_minute = per_minute
        self._recent: deque[float] = deque()
        self._deliveries: dict[str, None] = {}

    def routes(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_post("/hook", self._take)
        return app

    async def _take(self, request: web.Request) -> web.Response:
        if not self._within_rate():
            return web.Response(status=429, headers={"Retry-After": "60"})
        body = await request.read()
        given = request.headers.get("X-Gitea-Signature") or request.headers.get(
            "X-Forgejo-Signature", ""
        )
        expected = hmac.new(self._secret, body, hashlib.sha256).hexdigest()
        if not given or not hmac.compare_digest(given.encode(), expected.encode()):
            _log.warning("webhook.refused", reason="signature")
            return web.Response(status=401)
        delivery = request.headers.get("X-Gitea-Delivery", "")
        if delivery and delivery in self._deliveries:
            return web.Response(status=202)
        self._deliveries[delivery] = None
        while len(self._deliveries) > MAX_DELIVERIES:
            self._deliveries.pop(next(iter(self._deliveries)))
        self._hint()
        return web.Response(status=202)

    def _within_rate(self) -> bool:
        now_s = self._now_s()
        while self._recent and self._recent[0] <= now_s - 60:
            self._recent.popleft()
        if len(self._recent) >= self._per_minute:
            return False
        self._recent.append(now_s)
        return True
