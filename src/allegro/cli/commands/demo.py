"""`allegro demo`: the whole product in half a minute."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from allegro.cli.exit_codes import Exit
from allegro.cli.help import Command
from allegro.cli.output import Failure, json_option, print_json, run_async
from allegro.config import read_secret

if TYPE_CHECKING:
    from allegro.demo.playground import RealForge

_PATH = click.Path(path_type=Path)


@click.command(cls=Command, example="allegro demo", exits={Exit.REFUSED: "a step failed"})
@click.option("--ask", is_flag=True, help="Ask before the approval is signed.")
@click.option("--keep", type=_PATH, default=None, help="Keep all files in this folder.")
@click.option("--forge", default=None, help="Run on this real Gitea or Forgejo.")
@click.option("--owner-token-file", type=_PATH, default=None, help="A person's token: all scopes.")
@click.option("--daily-token-file", type=_PATH, default=None, help="The lane's daily token.")
@click.option("--change-token-file", type=_PATH, default=None, help="The house's change token.")
@click.option("--hermes", type=_PATH, default=None, help="Environment of a real Hermes Agent.")
@click.option("--remove", is_flag=True, help="Delete what the run in --keep made on the forge.")
@json_option
def demo(as_json: bool, **options: Unpack[_DemoOptions]) -> int:
    """Show the whole product in about ten seconds.

    An issue, a decision, a pull request, an outage, a thief: with real processes, on a simulated
    forge on this machine.
    """
    from allegro.demo import script  # noqa: PLC0415 (the simulator is for the demo alone)

    keep = options["keep"]
    if options["remove"]:
        return _remove(keep, options["owner_token_file"])
    played = script.Options(
        folder=keep,
        keep=keep is not None,
        ask=_press if options["ask"] else None,
        quiet=as_json,
        real=_real_forge(options),
        hermes=options["hermes"],
    )
    report = run_async(script.Play(played).run())
    if as_json:
        print_json(report)
    elif keep is not None:
        click.echo(
            f"kept in {keep}. The forge and the lane have ended, so this house reaches no lane."
            f" To read what it archived: allegro house --config {keep}/house.toml &"
            f" allegro events --socket {keep}/house/house.sock"
        )
    if not report.ok:
        raise Failure("")
    return 0


class _DemoOptions(TypedDict):
    """The options of `demo` beside `--json`."""

    ask: bool
    keep: Path | None
    forge: str | None
    owner_token_file: Path | None
    daily_token_file: Path | None
    change_token_file: Path | None
    hermes: Path | None
    remove: bool


def _remove(keep: Path | None, owner_token_file: Path | None) -> int:
    from allegro.demo.playground import remove  # noqa: PLC0415 (as above)

    if keep is None or owner_token_file is None:
        raise click.UsageError("--remove needs --keep FOLDER and --owner-token-file")
    removed = run_async(remove(keep, read_secret(owner_token_file)))
    click.echo(f"removed {removed}")
    return 0


def _real_forge(options: _DemoOptions) -> RealForge | None:
    from allegro.demo.playground import RealForge  # noqa: PLC0415 (as above)

    url, owner = options["forge"], options["owner_token_file"]
    daily, change = options["daily_token_file"], options["change_token_file"]
    if url is None:
        return None
    if not (owner and daily and change):
        raise click.UsageError("--forge needs the owner, daily and change token files")
    return RealForge(url, read_secret(owner), read_secret(daily), read_secret(change))


def _press() -> bool:
    click.echo("Approve exactly this? [y/N] ", nl=False)
    key = click.getchar() if sys.stdin.isatty() else sys.stdin.readline()[:1]
    click.echo(key)
    return key in "yY"
