"""How commands speak: JSON or people's lines, colour only on a terminal."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
import structlog
from rich.console import Console

from allegro.adapters.clock import SystemClock
from allegro.cli.exit_codes import Exit
from allegro.core.base.errors import UserError

WIDE = 400

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Failure(UserError):
    """A command that ends with a sentence and an exit code."""

    def __init__(self, message: str, code: int = Exit.REFUSED) -> None:
        super().__init__(message)
        self.exit_code = code


def json_option(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(command)


def socket_option(command: F) -> F:
    return click.option(
        "--socket",
        type=click.Path(path_type=Path),
        default=None,
        help="The house's Unix socket (default: the standard place, or ALLEGRO_SOCKET).",
    )(command)


def console() -> Console:
    """Return a console that writes plain text where there is no terminal."""
    is_seen = sys.stdout.isatty()
    return Console(highlight=False, soft_wrap=not is_seen, width=None if is_seen else WIDE)


def print_json(value: Any) -> None:
    click.echo(msgspec.json.encode(value).decode())


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run the work; say on standard error, once a command, what the house says with any answer."""
    from allegro.client.warnings import HEARD  # noqa: PLC0415 (a running lane loads no client)

    heard: set[str] = set()
    token = HEARD.set(heard)
    try:
        return asyncio.run(work)
    finally:
        HEARD.reset(token)
        _say_once(heard)


def _say_once(heard: set[str]) -> None:
    from allegro.client.warnings import sentence  # noqa: PLC0415 (a running lane loads no client)

    context = click.get_current_context(silent=True)
    said: set[str] = set() if context is None else context.meta.setdefault("allegro.said", set())
    for code in sorted(heard - said):
        click.echo(sentence(code), err=True)
    said |= heard


def log_json(level: str = "info") -> None:
    """Write logs as JSON lines on standard error, never coloured."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def now_s() -> float:
    """Return the Unix time of a command that a person runs."""
    return SystemClock().now_s()
