"""`allegro pair`: three steps, one pasted line each way, six words to compare."""

from __future__ import annotations

from pathlib import Path

import click

from allegro.adapters.crypto.signatures import load_signing_key, verify
from allegro.adapters.crypto.tls import pin_of
from allegro.cli.help import Command
from allegro.cli.output import Failure, json_option, now_s, print_json
from allegro.cli.secrets import passphrase, reload
from allegro.config import load_house, load_lane
from allegro.core.authority.gate import LaneTrust
from allegro.core.authority.pairing import (
    LaneOffer,
    accept_answer,
    offer_line,
    read_offer,
    six_words,
)
from allegro.core.authority.tokens import (
    b64url,
)
from allegro.core.base.errors import ConfigError, Refusal
from allegro.core.settings import LaneSettings

_PATH = click.Path(path_type=Path)


@click.command(cls=Command, example="allegro pair --config /etc/allegro/lane.toml")
@click.option(
    "--config", type=_PATH, required=True, help="lane.toml on the lane, house.toml at home"
)
@click.argument("line", required=False)
@json_option
def pair(config: Path, line: str | None, as_json: bool) -> None:
    """Pair a lane with its house: one pasted line each way.

    1. On the lane, without LINE: prints the lane's line. 2. At home, with the lane's line: prints
    the house's line. 3. On the lane, with the house's line: ends the pairing. Steps 2 and 3 print
    six words each; they must be the same.
    """
    if "[lane]" in _text(config):
        answer = _lane_answer(config, line) if line else _lane_offer(config)
    else:
        answer = _house_answer(config, line)
    if as_json:
        print_json(answer)
        return
    for key, value in answer.items():
        click.echo(f"{key}: {value}" if key != "line" else f"\n{value}\n")


def _text(config: Path) -> str:
    try:
        return config.read_text("utf-8") if config.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError((f"{config.name}: cannot be read: {error}",)) from error


def _lane_offer(config: Path) -> dict[str, str]:
    return {
        "line": offer_line(_offer(load_lane(config))),
        "next": "paste this line at home: allegro pair --config house.toml LINE",
    }


def _offer(settings: LaneSettings) -> LaneOffer:
    from allegro.lane.folder.files import LaneFiles  # noqa: PLC0415

    files, link = LaneFiles(Path(settings.lane.state_dir).expanduser()), settings.link
    if not link.listen:
        raise ConfigError(("lane.toml  link.listen  is off, so no house could connect",))
    key = load_signing_key(files.key)
    plain = link.tls == "none" or link.listen.startswith("unix:")
    pin = ""
    if not plain:
        certificate = Path(link.cert_file) if link.tls == "files" else files.certificate
        pin = pin_of(certificate).hex()
    return LaneOffer(settings.lane.name, b64url(key.public), _public_url(settings, plain), pin)


def _public_url(settings: LaneSettings, plain: bool) -> str:
    link = settings.link
    if link.public_url:
        return link.public_url
    if link.listen.startswith("unix:"):
        return "ws+unix://" + link.listen.removeprefix("unix:")
    if link.listen.startswith(("0.0.0.0:", "[::]:")):
        raise ConfigError(
            (
                "lane.toml  link.public_url  is missing: set the address by which the house reaches this lane",
            )
        )
    return ("ws://" if plain else "wss://") + link.listen


def _house_answer(config: Path, line: str | None) -> dict[str, str]:
    from allegro.house.files import files_of, socket_of  # noqa: PLC0415
    from allegro.sovereign.ceremony import pair as sign_pairing  # noqa: PLC0415
    from allegro.sovereign.keystore import load_sovereign_key  # noqa: PLC0415

    if not line:
        raise Failure(
            "the lane's line is missing. On the lane, run `allegro pair --config lane.toml`", 2
        )
    offer = read_offer(line)
    if isinstance(offer, Refusal):
        raise Failure(str(offer))
    settings = load_house(config)
    files = files_of(settings)
    answer = sign_pairing(files, load_sovereign_key(files, passphrase), offer, now_s())
    reload(socket_of(settings))
    return {
        "line": answer,
        "words": six_words(offer, answer),
        "next": "paste this line on the lane: allegro pair --config lane.toml LINE; compare the words",
    }


def _lane_answer(config: Path, line: str) -> dict[str, str]:
    from allegro.lane.folder.files import LaneFiles  # noqa: PLC0415
    from allegro.lane.folder.forms import save_paired, save_trust  # noqa: PLC0415

    settings = load_lane(config)
    files, offer = LaneFiles(Path(settings.lane.state_dir).expanduser()), _offer(settings)
    if files.trust.exists():
        raise Failure(
            f"this lane is paired already. To pair it again, remove {files.trust.name} and "
            f"{files.paired.name} in {files.folder}"
        )
    accepted = accept_answer(line, offer, now_s=now_s(), verify=verify)
    if isinstance(accepted, Refusal):
        raise Failure(str(accepted))
    trust, paired = accepted
    save_paired(files.paired, paired)
    save_trust(files.trust, LaneTrust(trust))
    return {"words": six_words(offer, line.strip()), "next": f"allegro lane --config {config}"}
