"""Takes the forge's hints: signature, rate, nothing else. What changed is read, never believed."""

from __future__ import annotations

import hashlib
import hmac
import urllib.parse
from collections import deque
from collections.abc import Callable

import structlog
from aiohttp import web

from allegro.core.health import codes
from allegro.core.health.facts import Fact

_log = structlog.get_logger()
MAX_BODY = 4 * 1024 * 1024
MAX_DELIVERIES = 2_000
HINTED_S = 15.0
FRESH_S = 3600.0


class Webhook:
    """Answers 202 to a signed delivery and calls `hint`; a repeated delivery hints nothing.

    A forge signs the JSON. It sends it as the body (content type JSON) or as the field `payload`
    of a form; either is taken. `refused` counts what was not, by reason.
    """

    def __init__(
        self, secret: str, hint: Callable[[], None], now_s: Callable[[], float], per_minute: int
    ) -> None:
        self._secret = secret.encode()
        self._hint = hint
        self._now_s = now_s
        self._per_minute = per_minute
        self._recent: deque[float] = deque()
        self._deliveries: dict[str, None] = {}
        self.accepted = 0
        self.accepted_s = float("-inf")
        self.refused: dict[str, int] = {}
        self._refused_s = float("-inf")
        self._silent = 0
        self._silent_s = float("-inf")

    def routes(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_post("/hook", self._take)
        return app

    def found_new(self) -> None:
        """Note that a poll found a new issue: whether a delivery had announced one, `facts` say."""
        now_s = self._now_s()
        if now_s - self.accepted_s > HINTED_S:
            self._silent += 1
            self._silent_s = now_s

    def facts(self) -> list[Fact]:
        """Return whether the hook works, for `doctor`."""
        now_s = self._now_s()
        refused = ", ".join(f"{count} × {why}" for why, count in sorted(self.refused.items()))
        words = f"{self.accepted} deliveries taken" + (f", refused: {refused}" if refused else "")
        at_s = self.accepted_s if self.accepted else 0.0
        if self._refused_s > self.accepted_s:
            refused_last = f"{words}; the last one was refused"
            return [Fact(codes.WEBHOOK, "bad", refused_last, "POST /hook", at_s=at_s)]
        if self._silent and now_s - self._silent_s < FRESH_S and self._silent_s > self.accepted_s:
            detail = f"{words}; polls found {self._silent} new issues that no delivery announced"
            return [Fact(codes.WEBHOOK, "warn", detail, "polls", at_s=at_s)]
        if not self.accepted:
            return [Fact(codes.WEBHOOK, "warn", "no delivery yet since the start", "POST /hook")]
        return [Fact(codes.WEBHOOK, "ok", words, "POST /hook", at_s=at_s)]

    async def _take(self, request: web.Request) -> web.Response:
        if not self._within_rate():
            self._refuse("too many a minute")
            return web.Response(status=429, headers={"Retry-After": "60"})
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return self._refuse("too large", 413)
        payload = _payload(body, request.headers.get("Content-Type", ""))
        if payload is None:
            return self._refuse("a form without one payload field", 400)
        if not self._is_signed(request, payload):
            return self._refuse("signature: the hook's secret is not the lane's", 401)
        delivery = _header(request, "Delivery")[:100]
        self.accepted += 1
        self.accepted_s = self._now_s()
        self._silent = 0
        if delivery and delivery in self._deliveries:
            return web.Response(status=202)
        self._deliveries[delivery] = None
        while len(self._deliveries) > MAX_DELIVERIES:
            self._deliveries.pop(next(iter(self._deliveries)))
        self._hint()
        return web.Response(status=202)

    def _is_signed(self, request: web.Request, payload: bytes) -> bool:
        given = _header(request, "Signature").strip().lower()
        expected = hmac.new(self._secret, payload, hashlib.sha256).hexdigest()
        return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())

    def _refuse(self, reason: str, status: int = 429) -> web.Response:
        self.refused[reason] = self.refused.get(reason, 0) + 1
        self._refused_s = self._now_s()
        _log.warning("webhook.refused", reason=reason)
        return web.Response(status=status)

    def _within_rate(self) -> bool:
        now_s = self._now_s()
        while self._recent and self._recent[0] <= now_s - 60:
            self._recent.popleft()
        if len(self._recent) >= self._per_minute:
            return False
        self._recent.append(now_s)
        return True


def _header(request: web.Request, name: str) -> str:
    found = request.headers.get(f"X-Gitea-{name}") or request.headers.get(f"X-Forgejo-{name}")
    return found or ""


def _payload(body: bytes, content_type: str) -> bytes | None:
    """Return the JSON that was signed, None for a form that does not hold exactly one."""
    if content_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        return body
    try:
        fields = urllib.parse.parse_qs(
            body.decode("ascii"), strict_parsing=True, max_num_fields=16, errors="strict"
        )
    except ValueError:
        return None
    found = fields.get("payload", [])
    return found[0].encode() if len(found) == 1 else None
