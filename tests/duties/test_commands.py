"""Every command of the command line: its group, the end of its help, old names, typing errors."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from allegro.cli.exit_codes import EVERY_COMMAND, MEANING, Exit
from allegro.cli.help import Command, Ending, Group
from allegro.cli.main import COMMANDS, GROUPS, cli


def everything(
    group: click.Group = cli, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield each command and each group below a group, by its path of names."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from everything(command, (*path, name))


EVERYTHING = [*everything()]
each = pytest.mark.parametrize(
    ("path", "command"), EVERYTHING, ids=[" ".join(p) for p, _ in EVERYTHING]
)


def ending(command: click.Command) -> Ending:
    assert isinstance(command, Command | Group), "its class shows no example"
    return command.ending


def parsed(words: list[str]) -> list[click.Command]:
    """Parse a whole command line with click's own parser; return the commands on its way."""
    assert words[0] == "allegro"
    on_the_way: list[click.Command] = [cli]
    rest = words[1:]
    while isinstance(group := on_the_way[-1], click.Group):
        context = click.Context(group)
        names = group.list_commands(context)
        at = next((n for n, word in enumerate(rest) if word in names), None)
        if at is None:
            break
        group.make_context(group.name, rest[: at + 1])
        command = group.get_command(context, rest[at])
        assert command is not None
        on_the_way.append(command)
        rest = rest[at + 1 :]
    on_the_way[-1].make_context(on_the_way[-1].name, rest)
    return on_the_way


@each
def test_an_example_of_a_command_parses_and_is_of_that_command(
    path: tuple[str, ...], command: click.Command
) -> None:
    del path  # `keys revoke` and `revoke` are one
    assert command in parsed(shlex.split(ending(command).example))


def test_an_example_that_does_not_parse_is_noticed() -> None:
    for line in (
        "allegro fleet drain",
        "allegro status --no-such",
        "allegro sessions --limit many",
    ):
        with pytest.raises(click.UsageError):
            parsed(shlex.split(line))


@each
def test_the_help_of_a_command_ends_with_its_example_and_its_exit_codes(
    path: tuple[str, ...], command: click.Command
) -> None:
    result = CliRunner().invoke(cli, [*path, "--help"])
    assert result.exit_code == 0
    _, _, last = result.output.rpartition("\nExample:\n")
    example, _, codes = last.partition("\n\nExit codes:\n")
    assert example.strip() == ending(command).example
    shown = [int(line.split()[0]) for line in codes.splitlines() if line[2:3].isdigit()]
    assert shown == [int(code) for code in ending(command).exits]
    assert set(EVERY_COMMAND) <= set(shown)


@each
def test_each_command_says_what_it_and_its_options_do(
    path: tuple[str, ...], command: click.Command
) -> None:
    assert command.help, path
    options = [one for one in command.params if isinstance(one, click.Option)]
    assert [one.name for one in options if not one.help and one.name != "log_level"] == []


@each
def test_a_command_that_asks_the_house_says_what_happens_without_it(
    path: tuple[str, ...], command: click.Command
) -> None:
    del path
    if any(one.name == "socket" for one in command.params):
        assert Exit.UNREACHABLE in ending(command).exits


def test_every_command_stands_in_one_group_of_the_help() -> None:
    assert sum(map(len, GROUPS.values())) == len(COMMANDS)
    shown = CliRunner().invoke(cli, ["--help"]).output
    for title, names in GROUPS.items():
        _, _, below = shown.partition(f"\n{title}:\n")
        block = below.partition("\n\n")[0]
        assert [line.split()[0] for line in block.splitlines()] == list(names)
    assert "..." not in shown.partition("\n\nSet up")[2], "a short help is cut"


def test_each_exit_code_has_one_meaning_in_one_place() -> None:
    assert list(MEANING) == list(Exit)


def test_an_old_name_works_and_says_the_new_one() -> None:
    result = CliRunner().invoke(cli, ["fleet", "rest", "--help"])
    assert result.exit_code == 0
    assert "fleet rest` is now `" in result.stderr
    assert "fleet drain`" in result.stderr
    assert "Hand the roles of LANE to another lane" in result.stdout


def test_an_old_name_is_in_no_list() -> None:
    assert "rest" not in CliRunner().invoke(cli, ["fleet", "--help"]).output.split()


@pytest.mark.parametrize(("typed", "meant"), [
    ("stauts", "status"), ("aprove", "approve"), ("fleet drian", "fleet drain"),
    ("fleet rset", "fleet drain"), ("keys rotat", "keys rotate"),
])  # fmt: skip
def test_a_typing_error_is_answered_with_the_name_that_was_meant(typed: str, meant: str) -> None:
    result = CliRunner().invoke(cli, typed.split())
    assert result.exit_code == Exit.USAGE
    assert "Did you mean" in result.stderr
    assert f"{meant}`" in result.stderr


def test_a_name_that_is_like_no_other_is_answered_without_a_guess() -> None:
    result = CliRunner().invoke(cli, ["xyzzy"])
    assert result.exit_code == Exit.USAGE
    assert "there is no command 'xyzzy'" in result.stderr
    assert "Did you mean" not in result.stderr
