"""Commands whose help ends with an example and exit codes, and groups that forgive a typed name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import click

from allegro.cli.exit_codes import EVERY_COMMAND, MEANING, Exit

ASKS_HOUSE: Mapping[Exit, str] = {Exit.UNREACHABLE: ""}
"""The extra exit code of a command that needs a running house."""
ONE_ON_A_FOLDER: Mapping[Exit, str] = {
    Exit.USAGE: "wrong usage or configuration, or another process holds the state folder"
}
"""What code 2 means for a daemon, which holds its state folder alone."""
_NOTHING_MORE: Mapping[Exit, str] = {}


class Ending:
    """What a command's help ends with.

    `example` is one whole command line. `exits` are exit codes beside those of every command, or
    codes of every command with a meaning of their own; an empty meaning is the general one.
    """

    def __init__(self, example: str, exits: Mapping[Exit, str]) -> None:
        self.example = example
        self.exits = {
            code: exits.get(code) or MEANING[code] for code in sorted({*EVERY_COMMAND, *exits})
        }
        self.own = {code: meaning for code, meaning in exits.items() if meaning}

    def write(self, formatter: click.HelpFormatter) -> None:
        with formatter.section("Example"):
            formatter.write(f"{'':{formatter.current_indent}}{self.example}\n")
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(code)), text) for code, text in self.exits.items()])


class Command(click.Command):
    """A command that shows an example and its exit codes at the end of its help."""

    def __init__(
        self,
        *args: Any,
        example: str = "",
        exits: Mapping[Exit, str] = _NOTHING_MORE,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.ending = Ending(example, exits)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        self.ending.write(formatter)


class Group(click.Group):
    """A group of commands. It still takes names of the last release, and suggests near ones.

    `renamed` maps a name of the last release to the one that replaced it: it works, is in no list,
    and standard error says the new one.
    """

    command_class = Command

    def __init__(
        self,
        *args: Any,
        example: str = "",
        exits: Mapping[Exit, str] = _NOTHING_MORE,
        renamed: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.ending = Ending(example, exits)
        self.renamed = renamed or {}

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        self.ending.write(formatter)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        typed = args[0]
        name = self.renamed.get(typed, typed)
        if ctx.resilient_parsing:
            return super().resolve_command(ctx, [name, *args[1:]])
        if name != typed:
            click.echo(
                f"`{ctx.command_path} {typed}` is now `{ctx.command_path} {name}`; "
                "the old name works in this release only",
                err=True,
            )
        elif not typed.startswith("-") and self.get_command(ctx, typed) is None:
            raise click.UsageError(self._unknown(ctx, typed), ctx)
        return super().resolve_command(ctx, [name, *args[1:]])

    def _unknown(self, ctx: click.Context, typed: str) -> str:
        near = difflib.get_close_matches(typed, [*self.list_commands(ctx), *self.renamed])
        current = dict.fromkeys(self.renamed.get(name, name) for name in near)
        names = ", ".join(f"`{ctx.command_path} {name}`" for name in current)
        hint = f" Did you mean {names}?" if near else ""
        return f"there is no command {typed!r}.{hint}"
