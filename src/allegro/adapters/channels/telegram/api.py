"""Calls one method of the Bot API. The token is part of every address, so no address is ever shown.

https://core.telegram.org/bots/api#making-requests
"""

from __future__ import annotations

import re
from collections.abc import Callable

import aiohttp
import msgspec

from allegro.adapters.bodies import read_whole
from allegro.core.base.backoff import LONGEST_WAIT_S
from allegro.core.base.errors import ConfigError
from allegro.core.base.untrusted import Unreadable, number_of, read_loose_json, real_of, text_of
from allegro.core.channels import AnotherReader, ChannelError
from allegro.core.effects.render import one_line
from allegro.core.settings.channels import TelegramSettings

MAX_ANSWER = 4 << 20
_TOKEN = re.compile(r"[0-9]{1,20}:[A-Za-z0-9_-]{1,128}")
_KINDS = {401: "token", 404: "token", 403: "forbidden", 429: "rate_limited"}
SILENT = 1.0
"""Seconds to be silent where the service asks for it without a time."""


class Attachment(msgspec.Struct, frozen=True):
    """A document to send with a call: its field, file name and content."""

    field: str
    name: str
    content: bytes


class BotApi:
    """One bot. `read_secret` gives the content of a file and is asked anew for each call.

    Once the service asked to be left alone, calls that send fail at once until that time is over
    (`boot_s`, seconds that never jump back): nothing is sent that would only lengthen it.
    """

    def __init__(
        self,
        settings: TelegramSettings,
        read_secret: Callable[[str], str],
        boot_s: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._read_secret = read_secret
        self._boot_s = boot_s
        self._quiet_until_s = 0.0
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(
        self,
        method: str,
        fields: dict[str, object],
        *,
        wait_s: float = 0.0,
        attachment: Attachment | None = None,
    ) -> object:
        """Return the result of a method. `wait_s` is how long the service itself may wait.

        Raises ChannelError; AnotherReader for a conflict between two readers.
        """
        self._keep_quiet(method)
        token = self._token()
        status, raw = await self._post(
            f"{self._settings.url.rstrip('/')}/bot{token}/{method}", fields, wait_s, attachment
        )
        return self._result(status, read_loose_json(raw), token)

    def _token(self) -> str:
        try:
            token = self._read_secret(self._settings.token_file).strip()
        except ConfigError as error:
            raise ChannelError(str(error), transient=True, sent=False, kind="secret") from error
        if not _TOKEN.fullmatch(token):
            raise ChannelError(
                "what the token file holds is no bot token", transient=False, sent=False,
                kind="token",
            )  # fmt: skip
        return token

    def _keep_quiet(self, method: str) -> None:
        left_s = self._quiet_until_s - self._boot_s()
        if left_s > 0 and not method.startswith("get"):
            raise ChannelError(
                "the service asked to be left alone", transient=True, status=429, sent=False,
                kind="rate_limited", retry_after_s=left_s,
            )  # fmt: skip

    async def _post(
        self,
        url: str,
        fields: dict[str, object],
        wait_s: float,
        attachment: Attachment | None,
    ) -> tuple[int, bytes]:
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        limit_s = self._settings.timeout_s
        timeout = aiohttp.ClientTimeout(total=limit_s + wait_s, sock_connect=limit_s)
        body = aiohttp.JsonPayload(fields) if attachment is None else _form(fields, attachment)
        try:
            async with self._session.post(
                url, data=body, timeout=timeout, allow_redirects=False
            ) as response:
                return response.status, await read_whole(response, MAX_ANSWER + 1)
        except (aiohttp.ClientError, OSError, TimeoutError, UnicodeError, ValueError) as error:
            # not `from error`: the address in it holds the token
            raise _unreachable(error) from None

    def _result(self, status: int, answer: object, token: str) -> object:
        if isinstance(answer, dict) and answer.get("ok") is True and "result" in answer:
            return answer["result"]
        if isinstance(answer, dict) and answer.get("ok") is False:
            code = number_of(answer.get("error_code")) or status
            words = text_of(answer.get("description")).replace(token, "…")
            raise self._refused(code, one_line(words, 200), answer.get("parameters"))
        reason = answer.reason if isinstance(answer, Unreadable) else "of another form"
        kind = "server" if status >= 500 else "unreadable"
        raise ChannelError(
            f"answer {status} is none of Telegram's: {one_line(reason.replace(token, '…'), 100)}",
            transient=True, status=status, kind=kind,
        )  # fmt: skip

    def _refused(self, code: int, words: str, parameters: object) -> ChannelError:
        asked = parameters if isinstance(parameters, dict) else {}
        if code == 409:
            if "webhook" in words:
                return ChannelError(words, transient=False, status=409, kind="webhook")
            return AnotherReader(words)
        if code == 429:
            wait_s = min(real_of(asked.get("retry_after")) or SILENT, LONGEST_WAIT_S)
            self._quiet_until_s = self._boot_s() + wait_s
            return ChannelError(
                words, transient=True, status=429, sent=False, kind="rate_limited",
                retry_after_s=wait_s,
            )  # fmt: skip
        transient = code >= 500 or code < 400
        kind = _KINDS.get(code, "server" if transient else "refused")
        return ChannelError(words, transient=transient, status=code, sent=transient, kind=kind)


def _form(fields: dict[str, object], attachment: Attachment) -> aiohttp.FormData:
    form = aiohttp.FormData(quote_fields=False)
    for name, value in fields.items():
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        form.add_field(name, text)
    form.add_field(attachment.field, attachment.content, filename=attachment.name)
    return form


def _unreachable(error: Exception) -> ChannelError:
    never_left = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
    detail = type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorError):
        detail = f"cannot connect: {error.os_error.strerror or type(error.os_error).__name__}"
    return ChannelError(detail, transient=True, sent=not never_left, kind="unreachable")
