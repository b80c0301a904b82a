"""Apprise as a channel that only sends: one channel for each address, one child for each message."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable

import msgspec

from allegro.adapters.channels.apprise.child import Job
from allegro.core.base.errors import ConfigError
from allegro.core.channels import ChannelError, Limits, Message, Proof
from allegro.core.chat.texts import plain_text, shown
from allegro.core.settings.channels import AppriseSettings

CHILD = "allegro.adapters.channels.apprise.child"
LIMITS = Limits(text=0, caption=0, buttons=0, button_bytes=0)
_PASSED = (
    "PATH",
    "LANG",
    "HOME",
    "TMPDIR",
    "SSL_CERT_FILE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
)
_WHY = {
    "failed": ("the service did not take it, or could not be reached", True),
    "bad_url": ("the address is none that Apprise knows", False),
    "not_installed": ("Apprise is missing: pip install 'allegro[channels]'", False),
}


class AppriseChannel:
    """The address in line `line` (from 1) of the file. `now_s` is Unix time, for the proof.

    Apprise gives no message id and does not say why a service refused, so that every failure of a
    known address counts as one that may pass.
    """

    limits = LIMITS

    def __init__(
        self,
        settings: AppriseSettings,
        line: int,
        read_secret: Callable[[str], str],
        now_s: Callable[[], float],
    ) -> None:
        self.name = f"apprise-{line}"
        self._settings = settings
        self._line = line
        self._read_secret = read_secret
        self._now_s = now_s

    async def close(self) -> None:
        """Nothing is open: every child ends with its message."""

    async def send(self, message: Message) -> Proof:
        job = Job(self._address(), shown(message.title), plain_text(message.body))
        outcome = await self._run(msgspec.json.encode(job))
        if outcome == "sent":
            return Proof(self.name, "", self._now_s())
        words, transient = _WHY.get(outcome, ("the child process ended without an answer", True))
        kind = outcome if outcome == "not_installed" else "unreachable" if transient else "refused"
        raise ChannelError(words, transient=transient, sent=transient, kind=kind)

    def _address(self) -> str:
        try:
            lines = addresses(self._read_secret(self._settings.urls_file))
        except ConfigError as error:
            raise ChannelError(str(error), transient=True, sent=False, kind="secret") from error
        if len(lines) < self._line:
            raise ChannelError(
                f"the file has no address {self._line}", transient=False, sent=False, kind="secret"
            )
        return lines[self._line - 1]

    async def _run(self, job: bytes) -> str:
        environment = {name: os.environ[name] for name in _PASSED if name in os.environ}
        try:
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", CHILD, env=environment, start_new_session=True,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
        except OSError as error:
            raise ChannelError(
                f"no child process: {error.strerror}", transient=True, sent=False, kind="server"
            ) from error
        try:
            output, _ = await asyncio.wait_for(child.communicate(job), self._settings.timeout_s)
        except TimeoutError:
            raise ChannelError("no answer in time", transient=True, kind="unreachable") from None
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        return output.decode("ascii", "replace")[:20]


def addresses(text: str) -> list[str]:
    """Return the addresses of a file: a line each; blank lines and those that begin with # are none."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]
