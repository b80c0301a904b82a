"""Sends one message by Apprise and ends: `python -m allegro.adapters.channels.apprise.child`.

Reads one JSON object from standard input (`url`, `title`, `body`) and writes one word: `sent`,
`failed`, `bad_url` or `not_installed`. The address stands in no argument, since it holds a password.
"""

from __future__ import annotations

import logging
import sys

import msgspec

from allegro.core.base.untrusted import Unreadable, read_json


class Job(msgspec.Struct, frozen=True):
    """One message to one address."""

    url: str
    title: str
    body: str


def main() -> str:
    """Send what standard input asks for; return how it went."""
    job = read_json(sys.stdin.buffer.read(), Job)
    if isinstance(job, Unreadable):
        return "bad_url"
    try:
        import apprise  # noqa: PLC0415  60 MB: nowhere but in this process
    except ImportError:
        return "not_installed"
    logging.disable(logging.CRITICAL)  # its log lines hold addresses
    one = apprise.Apprise()
    if not one.add(job.url):
        return "bad_url"
    taken = one.notify(body=job.body, title=job.title, body_format=apprise.NotifyFormat.TEXT)
    return "sent" if taken else "failed"


if __name__ == "__main__":
    sys.stdout.write(main())
