"""Tells systemd how the program is: ready, alive, stopping (sd_notify)."""

from __future__ import annotations

import os
import socket

from allegro.core.base.untrusted import whole_number


def notify(message: str) -> None:
    """Send one message to the supervisor; nothing happens where there is none."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.sendto(message.encode(), address)
        except OSError:
            return  # a supervisor that went away is no reason to stop


def watchdog_s() -> float | None:
    """Return how often systemd wants a sign of life, None when it does not."""
    every_us = whole_number(os.environ.get("WATCHDOG_USEC", ""))
    return every_us / 2_000_000 if every_us else None
