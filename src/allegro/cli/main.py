"""Finds the command, and turns what went wrong into a sentence and an exit code."""

from __future__ import annotations

import importlib
import sys

import click

from allegro import __version__
from allegro.core.base.errors import EdgeError, ToldError

COMMANDS = {
    "lane": "run:lane",
    "house": "house:house",
    "init": "setup:init",
    "pair": "setup:pair",
    "keys": "keys:keys",
    "revoke": "keys:revoke",
    "requests": "work:requests",
    "show": "work:show",
    "approve": "work:approve",
    "reject": "work:reject",
    "withdraw": "work:withdraw",
    "explain": "work:explain",
    "run": "sessions:run",
    "sessions": "sessions:sessions",
    "session": "sessions:session",
    "hermes": "hermes:hermes",
    "fleet": "fleet:fleet",
    "council": "run:council",
    "stop": "watch:stop",
    "thaw": "watch:thaw",
    "status": "status:status",
    "events": "watch:events",
    "doctor": "watch:doctor",
    "drill": "drill:drill",
    "demo": "demo:demo",
}


class LazyGroup(click.Group):
    """Imports a command's module when it is used: a running lane loads nothing of the house."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        command = getattr(importlib.import_module(f"allegro.cli.commands.{module}"), name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="allegro")
def cli() -> None:
    """Timmy decides, allegro executes."""


def main() -> None:
    """Run a command. Exit codes: 0 done, 1 refused, 2 usage, 3 not reachable, 4 frozen, 130."""
    sys.exit(_main())


def _main() -> int:
    try:
        result = cli.main(standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        return 130
    except click.ClickException as error:
        error.show()
        return 2
    except ToldError as error:
        return _say(str(error), error.exit_code)
    except EdgeError as error:
        return _say(str(error), 1)
    return result if isinstance(result, int) else 0


def _say(message: str, code: int) -> int:
    if message:
        click.echo(message, err=True)
    return code
