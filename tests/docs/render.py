"""Writes the parts of the documentation that are rendered from code: `python -m tests.docs.render`.

A part stands between `<!-- generated: NAME -->` and `<!-- end: NAME -->`; a test compares.
"""

from __future__ import annotations

import importlib
import re
import typing
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import msgspec

from allegro import config
from allegro.adapters.gitea import differences
from allegro.adapters.sqlite import archive
from allegro.cli.exit_codes import MEANING
from allegro.cli.help import Command, Group
from allegro.cli.main import GROUPS, cli
from allegro.core.authority import gate, policy
from allegro.core.authority import tokens as approvals
from allegro.core.authority.actions import families as actions
from allegro.core.base import backoff
from allegro.core.base.events import Shed
from allegro.core.health import codes
from allegro.core.health.codes.code import COOLDOWN_S, ESCALATIONS, GRACE_S, Way
from allegro.core.measures.answers import value_words
from allegro.core.measures.table import MEASURES
from allegro.core.protocol import messages
from allegro.core.protocol.event_types import shed_class
from allegro.core.protocol.payloads.reading import PAYLOADS
from allegro.core.protocol.queries import QUERIES
from allegro.core.requests import lifecycle
from allegro.core.settings import HouseSettings, LaneSettings, Rung
from allegro.lane.uplink import dispatch
from allegro.link import blobs, dial, entry, handshake, timing, window

ROOT = Path(__file__).parents[2]


def pages() -> list[Path]:
    """Return every Markdown page of the repository's documentation."""
    front = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    folders = [
        path for name in ("docs", "findings") for path in sorted((ROOT / name).rglob("*.md"))
    ]
    return [path for path in (*front, *folders) if path.exists()]


def frames(union: object) -> str:
    """Return the table of one direction of the link, from the message types."""
    lines = ["| frame | fields | meaning |", "|---|---|---|"]
    for message in typing.get_args(union):
        fields = ", ".join(f"`{field.name}`" for field in msgspec.structs.fields(message))
        about = " ".join((message.__doc__ or "").split()) or "–"
        if about.startswith(f"{message.__name__}("):
            about = "–"
        lines.append(f"| `{message.__struct_config__.tag}` | {fields} | {about} |")
    return "\n".join(lines) + "\n"


_GIVEN_UP = {
    Shed.RESERVED: "never", Shed.KEPT: "by age", Shed.SNAPSHOT: "fourth", Shed.METRIC: "third",
    Shed.TOOL_CONTENT: "second", Shed.TEXT_DELTA: "first",
}  # fmt: skip


def events() -> str:
    """Return the table of all events, from the payload types."""
    lines = ["| type | clear facts | meaning | given up |", "|---|---|---|---|"]
    for type_, payload in PAYLOADS.items():
        names = [f.encode_name for f in msgspec.structs.fields(payload)]
        facts = ", ".join(f"`{name}`" for name in names) or "–"
        about = " ".join((payload.__doc__ or "").split())
        lines.append(f"| `{type_}` | {facts} | {about} | {_GIVEN_UP[shed_class(type_)]} |")
    return "\n".join(lines) + "\n"


def queries() -> str:
    """Return the table of all queries, from their parameter types."""
    lines = ["| method | parameters | answer |", "|---|---|---|"]
    for name, query in QUERIES.items():
        fields = ", ".join(f"`{f.name}`" for f in msgspec.structs.fields(query)) or "–"
        lines.append(f"| `{name}` | {fields} | {' '.join((query.__doc__ or '').split())} |")
    return "\n".join(lines) + "\n"


def answers(to: str) -> str:
    """Return the table of the answers whose docstring begins with what they answer.

    `to` is the beginning of that: a method of HTTP, or nothing for a query of the link.
    """
    lines = ["| answers | fields | meaning |", "|---|---|---|"]
    for answer in _answer_types():
        match = re.match(r"Answers (`[^`]+`(?:(?:, | and )`[^`]+`)*)[.:,]? ?(.*)", _about(answer))
        if match is None or not match[1].startswith(tuple(f"`{one}" for one in to.split())):
            continue
        fields = ", ".join(f"`{f.encode_name}`" for f in msgspec.structs.fields(answer))
        lines.append(f"| {match[1]} | {fields} | {match[2] or '–'} |")
    return "\n".join([*lines[:2], *sorted(lines[2:])]) + "\n"


def _answer_types() -> Iterator[type[msgspec.Struct]]:
    for name in ("alerts", "decisions", "duties", "fleet", "forge", "house", "lane", "models",
                 "requests", "sessions"):  # fmt: skip
        module = importlib.import_module(f"allegro.core.protocol.answers.{name}")
        for value in vars(module).values():
            is_ours = isinstance(value, type) and value.__module__ == module.__name__
            if is_ours and issubclass(value, msgspec.Struct):
                yield value


def _about(value: type) -> str:
    return " ".join((value.__doc__ or "").split())


def tokens() -> str:
    """Return the table of all signed tokens, from the token types."""
    lines = ["| `typ` | claims besides `aud` | says |", "|---|---|---|"]
    for claims, typ in approvals.TYPES.items():
        names = [f.name for f in msgspec.structs.fields(claims) if f.name != "aud"]
        about = " ".join((claims.__doc__ or "").split())
        lines.append(f"| `{typ}` | {', '.join(f'`{name}`' for name in names)} | {about} |")
    return "\n".join(lines) + "\n"


def limits() -> str:
    """Return the times and sizes both sides keep to, from their constants."""
    rows = [
        ("the house beats every, and the lane answers each beat", f"{timing.BEAT_S:g} s"),
        ("a peer of which no byte came is dead after", f"{timing.DEAD_S:g} s"),
        ("dialling", f"{dial.CONNECT_S:g} s"),
        ("handshake", f"{timing.HANDSHAKE_S:g} s"),
        (
            "before the log-in: bytes of a connection, of all, and connections",
            f"{entry.ENTRY_BYTES}, {entry.ALL_BYTES}, {entry.MAX_ENTERING}",
        ),
        ("pause before the house dials again, with jitter", f"at most {backoff.LINK.cap_s:g} s"),
        ("a challenge is kept for", f"{dispatch.CHALLENGE_LIFE_S:g} s"),
        ("challenges held at once", f"{dispatch.MAX_CHALLENGES}"),
        ("longest `ttl_s` a lane accepts", f"{gate.MAX_TTL_S} s"),
        ("batches out and not acknowledged", f"{timing.WINDOW_BATCHES}"),
        (
            "entries in a batch, and bytes, about",
            f"{messages.BATCH_ENTRIES}, {messages.BATCH_BYTES}",
        ),
        (
            "a message in one frame, else pieces of",
            f"{messages.WHOLE_BYTES}, {messages.PIECE_BYTES} bytes",
        ),
        (
            "bulk on the way, from and to",
            f"{window.FLOOR_BYTES}, {window.CEILING_BYTES} bytes",
        ),
        (
            "pieces a lane holds, and a house of each lane",
            f"{blobs.LANE_BYTES}, {blobs.HOUSE_BYTES} bytes",
        ),
        ("blobs open at once", f"{blobs.MAX_BLOBS}"),
        ("pieces are forgotten after", f"{blobs.LIFE_S:g} s"),
        ("frame a lane reads", f"{messages.MAX_HOUSE_FRAME} bytes"),
        ("frame a house reads", f"{messages.MAX_LANE_FRAME} bytes"),
        ("token", f"{approvals.MAX_TOKEN_BYTES} characters"),
        ("action", f"{actions.MAX_ACTION_BYTES} bytes"),
        ("certificates in a log-in", f"{handshake.MAX_CERTIFICATES}"),
        ("journals of one lane at the house", f"{archive.MAX_JOURNALS}"),
    ]
    return "\n".join(["| what | limit |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)]) + "\n"


def rungs() -> str:
    """Return the table of what one `[[models.rungs]]` may say, from its type."""
    lines = ["| key | default | meaning |", "|---|---|---|"]
    hints = typing.get_type_hints(Rung, include_extras=True)
    for field in msgspec.structs.fields(Rung):
        metas = [one for one in hints[field.name].__metadata__ if one.description]
        default = "none" if field.default is None else f"`{config.toml_value(field.default)}`"
        default = "required" if field.required else default
        lines.append(f"| `{field.name}` | {default} | {metas[0].description} |")
    return "\n".join(lines) + "\n"


def commands() -> str:
    """Return a table of commands for each thing a person wants to do, from the command line itself."""
    context = click.Context(cli)
    parts = []
    for title, names in GROUPS.items():
        lines = [f"### {title}", "", "| command | options | does |", "|---|---|---|"]
        for name in names:
            command = cli.get_command(context, name)
            assert command is not None
            lines += [
                _command_row(path, one) for path, one in _walk_from(f"allegro {name}", command)
            ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _command_row(name: str, command: click.Command) -> str:
    shown = [
        param.opts[-1] if isinstance(param, click.Option) else param.make_metavar(_context())
        for param in command.params
        if "--help" not in param.opts
    ]
    about = " ".join((command.help or "").split("\n\n")[0].split())
    options = " ".join(f"`{one}`" for one in shown).replace("|", r"\|") or "–"
    return f"| `{name}` | {options} | {about} |"


def exit_codes() -> str:
    """Return the table of exit codes, with what single commands mean by them."""
    lines = ["| code | means | of single commands |", "|---|---|---|"]
    commands = [
        (name, one) for name, one in walk(cli, "allegro") if isinstance(one, Command | Group)
    ]
    for code, meaning in MEANING.items():
        own = [
            f"`{name}`: {one.ending.own[code]}" for name, one in commands if code in one.ending.own
        ]
        lines.append(f"| {int(code)} | {meaning} | {'; '.join(own) or '–'} |")
    return "\n".join(lines) + "\n"


def health_codes() -> str:
    """Return the table of health codes, with the section of the runbook for each."""
    lines = [
        "| code | severity | grace | is about | do | depends on |",
        "|---|---|---|---|---|---|",
    ]
    for code in sorted(codes.CODES.values(), key=lambda one: one.code):
        about = f"[{code.title}](runbook.md#{code.runbook})"
        parent = f"`{code.depends_on}`" if code.depends_on else "–"
        row = [f"`{code.code}`", str(code.severity), span_of(code.grace_s), about, code.fix, parent]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines).replace("{subject}", "SUBJECT") + "\n"


def severities() -> str:
    """Return the table of severities: when a person is told, by which way, and when again."""
    lines = [
        "| severity | told within | by | again | grace | cooldown |",
        "|---|---|---|---|---|---|",
    ]
    for severity, escalation in ESCALATIONS.items():
        row = [str(severity), span_of(escalation.within_s), WAYS[escalation.way]]
        row += [span_of(escalation.again_s) if escalation.again_s else "never"]
        row += [span_of(GRACE_S[severity]), span_of(COOLDOWN_S[severity])]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


WAYS = {
    Way.EVERY: "every channel",
    Way.FIRST: "the first channel that delivers",
    Way.REPORT: "the report",
}


def span_of(seconds: float) -> str:
    """Return a duration of the table as people say it."""
    if not seconds:
        return "at once"
    return f"{seconds / 3600:.0f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"


def measures() -> str:
    """Return the table of measures: what is promised, and how each figure comes about."""
    lines = [
        "| measure | promised | value shown | method | source |",
        "|---|---|---|---|---|",
    ]
    for row in MEASURES:
        promised = "at least" if row.is_least else "at most"
        promised += f" {value_words(row.target, row.unit)}"
        method = f"*not measurable yet: {row.reason}*" if row.reason else row.method
        if row.clock:
            method += "; the time without a link is shown beside it"
        about = f"{row.title} (`{row.name}`)"
        lines.append(f"| {about} | {promised} | {row.shown} | {method} | {row.source} |")
    return "\n".join(lines) + "\n"


def _context() -> click.Context:
    return click.Context(click.Command("allegro"))


def walk(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    """Yield every command a person can type, with its whole name."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield from _walk_from(f"{path} {name}", command)


def _walk_from(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield path, command
    if isinstance(command, click.Group):
        yield from walk(command, path)


BLOCKS: dict[str, Callable[[], str]] = {
    "lane settings": lambda: config.reference(LaneSettings),
    "rungs": rungs,
    "house settings": lambda: config.reference(HouseSettings),
    "policy": policy.render_table,
    "lifecycle": lifecycle.render_table,
    "differences": differences.render_table,
    "tokens": tokens,
    "events": events,
    "queries": queries,
    "answers of a lane": lambda: answers(" ".join(QUERIES)),
    "answers of the house": lambda: answers("GET POST"),
    "frames of the house": lambda: frames(messages.FromHouse),
    "frames of the lane": lambda: frames(messages.FromLane),
    "commands": commands,
    "exit codes": exit_codes,
    "limits": limits,
    "health codes": health_codes,
    "severities": severities,
    "measures": measures,
}

SAMPLES: dict[str, Callable[[], str]] = {
    "examples/lane.toml": lambda: config.commented(
        LaneSettings,
        {
            "lane.name": "allegro",
            "lane.state_dir": "/var/lib/allegro",
            "lane.failure_domain": "example-cloud, region one",
            "forge.url": "https://git.example.org",
            "forge.token_file": "/etc/allegro/daily.token",
            "forge.watch": ["timmy/house", "org:workshop"],
            "forge.bots": ["allegro", "allegro-change"],
            "forge.forbidden_users": ["timmy"],
            "link.listen": "0.0.0.0:7420",
            "link.public_url": "wss://192.0.2.10:7420",
            "status.listen": "127.0.0.1:7421",
        },
    ),
    "examples/house.toml": lambda: config.commented(
        HouseSettings,
        {
            "house.name": "house",
            "house.state_dir": "~/.local/state/allegro",
            "forge.change_token_file": "~/.config/allegro/change.token",
            "requests.home": "timmy/house#1",
        },
    ),
}

_BLOCK = re.compile(
    r"(<!-- generated: (?P<name>[^>]+?) -->\n).*?(<!-- end: (?P=name) -->)", re.DOTALL
)


def rendered(text: str) -> str:
    """Return a page with every generated block as the code renders it now."""
    return _BLOCK.sub(lambda m: f"{m[1]}\n{BLOCKS[m['name']]()}\n{m[3]}", text)


def main() -> None:
    """Rewrite generated blocks and samples in place."""
    for path in pages():
        text = path.read_text("utf-8")
        if rendered(text) != text:
            path.write_text(rendered(text), "utf-8")
    for name, make in SAMPLES.items():
        (ROOT / name).write_text(make(), "utf-8")


if __name__ == "__main__":
    main()
