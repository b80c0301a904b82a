"""Finds the command, and turns what went wrong into a sentence and an exit code."""

from __future__ import annotations

import importlib
import sys

import click

from allegro import __version__
from allegro.cli.exit_codes import Exit
from allegro.cli.help import Group
from allegro.core.base.errors import EdgeError, UserError

GROUPS = {
    "Set up": {
        "init": "setup.init:init",
        "pair": "setup.pair:pair",
        "hermes": "setup.hermes:hermes",
        "uninstall": "setup.uninstall:uninstall",
    },
    "Run the programs": {
        "house": "commands.house:house",
        "lane": "commands.lane:lane",
        "council": "commands.lane:council",
    },
    "Decide": {
        "requests": "commands.requests:requests",
        "show": "commands.requests:show",
        "approve": "commands.approve:approve",
        "reject": "commands.requests:reject",
        "withdraw": "commands.requests:withdraw",
        "explain": "commands.requests:explain",
        "ask": "decide.questions:ask",
        "answer": "decide.questions:answer",
    },
    "Run agents": {
        "run": "commands.session:run",
        "sessions": "commands.session:sessions",
        "session": "commands.session:session",
    },
    "Watch": {
        "status": "commands.status:status",
        "events": "commands.events:events",
        "doctor": "commands.doctor:doctor",
        "measures": "watch.measures:measures",
        "report": "watch.report:report",
        "duties": "commands.duties:duties",
        "alerts": "watch.alerts:alerts",
    },
    "Stop everything, and start again": {
        "stop": "commands.stop:stop",
        "thaw": "commands.stop:thaw",
    },
    "Several lanes as a fleet": {
        "fleet": "commands.fleet:fleet",
    },
    "Keys and tokens": {
        "keys": "commands.keys:keys",
        "revoke": "commands.keys:revoke",
    },
    "Try out and practise": {
        "demo": "commands.demo:demo",
        "drill": "commands.drill:drill",
    },
}
"""What a person wants to do: the commands for it, and the module and name of each."""
COMMANDS = {name: place for group in GROUPS.values() for name, place in group.items()}


class LazyGroup(Group):
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
        command = getattr(importlib.import_module(f"allegro.cli.{module}"), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands under what a person wants to do, one column for all groups."""
        wide = max(map(len, COMMANDS))
        for title, names in GROUPS.items():
            rows = []
            for name in names:
                command = self.get_command(ctx, name)
                assert command is not None
                short = command.get_short_help_str(formatter.width - 6 - wide)
                rows.append((name.ljust(wide), short))
            with formatter.section(title):
                formatter.write_dl(rows)


@click.group(
    cls=LazyGroup,
    example="allegro status",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="allegro")
def cli() -> None:
    """Timmy decides, allegro executes.

    Every command takes --help.
    """


def main() -> None:
    """Run a command and end with its exit code: `allegro.cli.exit_codes` lists them."""
    sys.exit(_main())


def _main() -> int:
    try:
        result = cli.main(standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except UserError as error:
        return _say(str(error), error.exit_code)
    except EdgeError as error:
        return _say(str(error), Exit.REFUSED)
    return result if isinstance(result, int) else Exit.DONE


def _say(message: str, code: int) -> int:
    if message:
        click.echo(message, err=True)
    return code
