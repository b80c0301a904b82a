"""First steps: write configurations, make keys, and pair a lane with its house."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from allegro.adapters.crypto.signatures import SigningKey
from allegro.adapters.crypto.tls import make_certificate
from allegro.cli.help import Group
from allegro.cli.output import now_s
from allegro.cli.secrets import passphrase
from allegro.client.socket import default_state_dir
from allegro.config import commented
from allegro.core.base.errors import ConfigError
from allegro.core.settings import HouseSettings, LaneSettings

_PATH = click.Path(path_type=Path)


@click.group(cls=Group, example="allegro init house --config ~/.config/allegro/house.toml")
def init() -> None:
    """Write a commented configuration, and make keys."""


@init.command("house", example="allegro init house --config house.toml --home timmy/house#1")
@click.option("--config", type=_PATH, required=True, help="house.toml to write")
@click.option("--name", default="house", help="Name of the house.")
@click.option("--state-dir", type=_PATH, default=None, help="Folder for keys and archive.")
@click.option(
    "--change-token-file", default="", help="File with the token that opens pull requests."
)
@click.option(
    "--passphrase/--no-passphrase", "ask", default=True, help="Encrypt the sovereign key."
)
@click.option("--home", default="", help="Issue where requests are mirrored: owner/name#1.")
def init_house(
    config: Path, name: str, state_dir: Path | None, change_token_file: str, ask: bool, home: str
) -> None:
    """Make a house: house.toml, and its sovereign, house, sealing and recovery keys."""
    from allegro.adapters.sqlite.ledger import make_ledger  # noqa: PLC0415
    from allegro.house.files import HouseFiles  # noqa: PLC0415
    from allegro.sovereign.keystore import make_house  # noqa: PLC0415

    folder = (state_dir or default_state_dir()).expanduser().absolute()
    _absent(config)
    secret = _new_passphrase() if ask else None
    files = HouseFiles(folder)
    recovery = make_house(files, now_s(), secret)
    make_ledger(files.ledger)
    values = {"house.name": name, "house.state_dir": str(folder)}
    if change_token_file:
        values["forge.change_token_file"] = change_token_file
    if home:
        values["requests.home"] = home
    _write_config(config, commented(HouseSettings, values))
    click.echo(f"wrote {config} and the keys in {folder}")
    click.echo("")
    click.echo("RECOVERY KEY, shown once. Write it down and keep it away from this machine:")
    click.echo("  " + _grouped(recovery.private_bytes().hex()))
    click.echo("It can stop the fleet and name a new sovereign key, and nothing else.")


@init.command(
    "lane",
    example="allegro init lane --config lane.toml --name first --forge https://git.example.org"
    " --token-file daily.token --watch timmy/house --bot allegro",
)
@click.option("--config", type=_PATH, required=True, help="lane.toml to write")
@click.option("--name", required=True, help="Name of the lane: a-z 0-9 -")
@click.option(
    "--state-dir", type=_PATH, default=Path("/var/lib/allegro"), help="Folder for its state."
)
@click.option(
    "--forge", default="", help="Address of Gitea or Forgejo (default: none, sessions only)."
)
@click.option("--token-file", default="", help="File with the daily token.")
@click.option("--watch", multiple=True, help='"owner/name" or "org:name"; repeat.')
@click.option("--bot", multiple=True, help="Login of a fleet user; repeat.")
@click.option("--sessions", type=click.IntRange(0, 2), default=0, help="Agent sessions at once.")
@click.option("--model", default="", help="Name of the first model for sessions.")
@click.option("--model-url", default="", help="Its provider: an OpenAI-compatible base address.")
@click.option(
    "--model-key-file",
    default="",
    help="File with the provider's key (default: none, a local model).",
)
@click.option("--local", is_flag=True, help="This lane runs beside the house.")
@click.option("--listen", default="0.0.0.0:7420", help="Address on which the house connects.")
@click.option(
    "--public-url", default="", help="Address by which the house reaches it: wss://host:port."
)
@click.option(
    "--tls",
    default="self-signed",
    type=click.Choice(["self-signed", "files", "none"]),
    help="Where its TLS certificate comes from.",
)
def init_lane(
    config: Path,
    name: str,
    state_dir: Path,
    listen: str,
    public_url: str,
    tls: str,
    **options: Any,
) -> None:
    """Make a lane: lane.toml, its key and its certificate."""
    from allegro.lane.folder.files import LaneFiles  # noqa: PLC0415

    _absent(config)
    if faults := init_faults(options):
        raise ConfigError(faults)
    files = LaneFiles(state_dir.absolute())
    files.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if files.key.exists():
        raise ConfigError((f"{files.folder} holds a lane already. Nothing was changed",))
    values = {
        "lane.name": name,
        "lane.state_dir": str(files.folder),
        "link.listen": listen,
        "link.tls": tls,
        **_forge_values(options),
        **_session_values(options),
    }
    if public_url:
        values["link.public_url"] = public_url
    SigningKey.make().save(files.key)
    if tls == "self-signed" and not listen.startswith("unix:"):
        make_certificate(files.certificate, files.certificate_key, name, now_s())
    _write_config(config, commented(LaneSettings, values))
    click.echo(f"wrote {config} and the keys in {files.folder}")
    click.echo(f"next: allegro pair --config {config}")


def init_faults(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what is missing for a lane that does something, as sentences."""
    faults = []
    if not options["forge"] and not options["sessions"]:
        faults.append("give --forge, or --sessions, or both")
    if options["forge"] and not (options["token_file"] and options["watch"] and options["bot"]):
        faults.append("--forge needs --token-file, --watch and --bot")
    if options["sessions"] and not (options["model"] and options["model_url"]):
        faults.append("--sessions needs --model and --model-url")
    return tuple(faults)


def _forge_values(options: Mapping[str, Any]) -> dict[str, object]:
    if not options["forge"]:
        return {}
    return {
        "forge.url": options["forge"],
        "forge.token_file": options["token_file"],
        "forge.watch": options["watch"],
        "forge.bots": options["bot"],
    }


def _session_values(options: Mapping[str, Any]) -> dict[str, object]:
    values: dict[str, object] = {"lane.local": True} if options["local"] else {}
    if not options["sessions"]:
        return values
    key = options["model_key_file"]
    rung = {
        "model": options["model"],
        "provider": "first" if key else "local",
        "base_url": options["model_url"],
        **({"key_file": key} if key else {"local": True}),
    }
    return {**values, "hermes.gateways": options["sessions"], "models.rungs": [rung]}


def _absent(config: Path) -> None:
    if config.exists():
        raise ConfigError((f"{config} exists already. Nothing was changed",))


def _write_config(config: Path, text: str) -> None:
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(text, "utf-8")


def _new_passphrase() -> bytes:
    if os.environ.get("ALLEGRO_PASSPHRASE_FILE"):
        return passphrase()
    entered: str = click.prompt(
        "passphrase for the sovereign key", hide_input=True, confirmation_prompt=True, err=True
    )
    return entered.encode()


def _grouped(text: str) -> str:
    return " ".join(text[at : at + 8] for at in range(0, len(text), 8))
