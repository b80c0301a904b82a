"""Everything that allegro made, or asked a person to make: the list behind `uninstall --plan`.

A test plays the demo and compares this list with every file it left in the state folders. What is
made anew gets its row here, in the same change. Nothing in here touches a disk or the network.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from allegro.adapters.hermes.install import folder_of
from allegro.core.forge.issues import STATUS_SCOPE
from allegro.core.forge.token_audit import NEEDED_SCOPES, ORGANISATION_SCOPE
from allegro.core.settings import HouseSettings, LaneSettings
from allegro.house.files import HouseFiles, socket_of
from allegro.lane.folder.files import LaneFiles

DATABASE_TAILS = ("-wal", "-shm")
CHANGE_SCOPES = ("write:repository", "read:user")


class Made(msgspec.Struct, frozen=True):
    """One thing. `what` is its path, name or address; `by` who made it; `remove` the command or act.

    `owner` is the account it belongs to. `pattern` says that `what` ends in `*`: any number of
    files. `whole` says of a folder that all in it goes with it. A thing is listed whether or not it
    is there.
    """

    kind: str
    what: str
    owner: str
    by: str
    remove: str
    note: str = ""
    pattern: bool = False
    whole: bool = False


def lane_things(settings: LaneSettings, config: Path) -> list[Made]:
    """Return what a lane consists of, in the order in which it is best removed."""
    files = LaneFiles(Path(settings.lane.state_dir).expanduser())
    name = settings.lane.name
    return [
        *_lane_programs(settings),
        _act(
            "roster and pairing",
            name,
            "house",
            f"allegro fleet leave {name}; allegro revoke lane {name} --config house.toml",
            "at home: the house forgets the lane",
        ),
        *_forge_things(settings),
        *_state_files(files.folder, _lane_state(files), "allegro"),
        *_council(files, settings),
        _folder(
            folder_of(settings.hermes, files.folder),
            "allegro",
            "Hermes Agent in an environment of its own, by `allegro hermes install`",
            whole=True,
        ),
        _folder(
            Path("/run/allegro"), "allegro", "the unit's sockets, gone with the unit", whole=True
        ),
        _files("/dev/shm/lane-*", "allegro", "sockets without a unit"),  # noqa: S108
        *_link_socket(settings),
        _folder(files.folder, "allegro", "the state folder, empty by now"),
        *_secrets(
            "allegro",
            {
                settings.forge.token_file: "the daily token",
                settings.webhook.secret_file: "the webhook's secret",
                settings.hermes.key_file: "the key of an existing Hermes",
                settings.link.key_file: "the key of the link's own certificate",
                settings.link.cert_file: "the link's own certificate",
                **_channel_files(settings),
                **{
                    rung.key_file: f"the key of provider {rung.provider}"
                    for rung in settings.models.rungs
                },
            },
        ),
        _file(config, "allegro", "the configuration", "allegro init lane"),
        *_program(),
        *_on_a_server(),
    ]


def house_things(settings: HouseSettings, config: Path) -> list[Made]:
    """Return what a house consists of, in the order in which it is best removed."""
    files = HouseFiles(Path(settings.house.state_dir).expanduser())
    unit = Path("~/.config/systemd/user/allegro-house.service").expanduser()
    plist = Path("~/Library/LaunchAgents/org.example.allegro.house.plist").expanduser()
    log = Path("~/Library/Logs/allegro-house.log").expanduser()
    return [
        Made(
            "unit",
            "allegro-house.service",
            "you",
            "a person, from examples/house.service",
            f"systemctl --user disable --now allegro-house; rm {_quoted(unit)}",
        ),
        Made(
            "setting",
            "linger",
            "you",
            "a person, by `loginctl enable-linger`",
            "loginctl disable-linger",
            "only if nothing else of yours needs it",
        ),
        Made(
            "unit",
            str(plist),
            "you",
            "a person, on macOS",
            f"launchctl bootout gui/$(id -u) {_quoted(plist)}; rm {_quoted(plist)}",
        ),
        _file(log, "you", "the log on macOS", "the plist"),
        Made(
            "token",
            "change",
            "the second fleet user",
            "a person, at the forge",
            "delete it at the forge: Settings, Applications",
            "scopes: " + ", ".join(CHANGE_SCOPES),
        ),
        Made(
            "text on the forge",
            "requests, comments, pull requests, branches",
            "the fleet's users",
            "orders",
            "nothing removes it: it is the record of what was approved",
        ),
        *_state_files(files.folder, _house_state(files), "you"),
        *_socket(socket_of(settings), "you"),
        _files(f"{files.reports}/*", "you", "the reports of each morning"),
        _folder(files.reports, "you", "the reports' folder, empty by now"),
        _files(f"{files.exports}/*", "you", "the log of each day, without words"),
        _folder(files.exports, "you", "the exports' folder, empty by now"),
        _folder(files.folder, "you", "the state folder, empty by now"),
        *_secrets(
            "you",
            {settings.forge.change_token_file: "the change token", **_channel_files(settings)},
        ),
        Made(
            "paper",
            "recovery key",
            "you",
            "allegro init house, shown once",
            "burn it",
            "it can stop the fleet and name a new sovereign key as long as one lane trusts it",
        ),
        _file(config, "you", "the configuration", "allegro init house"),
        *_program(),
    ]


def _channel_files(settings: LaneSettings | HouseSettings) -> dict[str, str]:
    return {
        settings.telegram.token_file: "the Telegram bot's token",
        settings.apprise.urls_file: "the addresses of other channels",
    }


def _lane_programs(settings: LaneSettings) -> Iterator[Made]:
    units = ["allegro-lane"] + ["allegro-council"] * bool(settings.council.listen)
    for unit in units:
        path = f"/etc/systemd/system/{unit}.service"
        yield Made(
            "unit",
            f"{unit}.service",
            "root",
            "a person, from examples/",
            f"sudo systemctl disable --now {unit}; sudo rm {path}; sudo systemctl daemon-reload",
        )


def _forge_things(settings: LaneSettings) -> Iterator[Made]:
    forge = settings.forge
    if not forge.url:
        return
    organisation = any(watch.startswith("org:") for watch in forge.watch)
    scopes = (*NEEDED_SCOPES, *((ORGANISATION_SCOPE,) if organisation else ()))
    where = f"{forge.url}: {', '.join(forge.watch)}"
    yield Made(
        "token",
        "daily",
        " or ".join(forge.bots),
        "a person, at the forge",
        "delete it at the forge: Settings, Applications",
        "scopes: " + ", ".join(scopes),
    )
    for bot in forge.bots:
        yield Made(
            "user",
            bot,
            "the forge",
            "a person, at the forge",
            "take its access away, or delete it at the forge",
            forge.url,
        )
    for label in (forge.triage_label, STATUS_SCOPE + "*"):
        yield Made(
            "label",
            label,
            "each repository",
            "the lane, where it was missing",
            "delete it at the forge: repository, Labels",
            where,
            pattern=label.endswith("*"),
        )
    yield Made(
        "hook",
        "/hook",
        "each repository or organisation",
        "a person, at the forge",
        "delete it at the forge: Settings, Webhooks",
        where if settings.webhook.listen else "none is configured",
    )
    yield Made(
        "branch protection",
        "the default branch",
        "each repository",
        "a person, at the forge",
        "keep it: it protects you from everybody",
        where,
    )


def _lane_state(files: LaneFiles) -> dict[Path, str]:
    return {
        files.key: "the lane's key",
        files.certificate: "the certificate that the house pinned",
        files.certificate_key: "its key",
        files.trust: "whom the lane believes",
        files.paired: "the pairing",
        files.freezes: "the freezes",
        files.journal: "the journal",
        files.sessions: "sessions that are open",
        files.spend: "what the models cost today",
        files.epochs: "the highest epoch of each role",
        files.written: "what the lane wrote last at the council",
        files.crashes: "when the lane crashed",
        files.tallies: "what agent and proxy counted of each session",
        files.duties: "when each scheduled duty ran last, and runs next",
        files.chat: "what was read by chat",
        files.muted: "whose stops by chat count no more",
        files.alerts: "alerts, and messages that wait to be sent",
        files.statement: "what the house said last of itself",
    }


def _house_state(files: HouseFiles) -> dict[Path, str]:
    return {
        files.sovereign: "THE SOVEREIGN KEY: without it nothing can be approved or thawed",
        files.house: "the house's key",
        files.sealing: "the key that opens what lanes sealed",
        files.fleet: "lanes, roster, numbers, fleet secret",
        files.ledger: "requests, receipts, freezes",
        files.archive: "every event that came home",
        files.measures: "figures of the archive; it can be made anew",
        files.folder / "fleet.lock": "held while fleet.json is changed",
    }


def _state_files(folder: Path, named: dict[Path, str], owner: str) -> Iterator[Made]:
    """Return the state files, with what stands beside them: logs of databases, copies, locks."""
    for path, about in named.items():
        yield _file(path, owner, about)
        if path.suffix == ".db":
            for tail in DATABASE_TAILS:
                yield _file(path.with_name(path.name + tail), owner, "its write-ahead log")
        if path.suffix in {".db", ".json"}:
            yield _files(f"{path}.schema-*", owner, "copies of older forms, made at an upgrade")
        if path.suffix in {".json", ".key"}:
            yield _file(path.with_name(path.name + ".new"), owner, "left by a write that was cut")
    yield _file(folder / "running.lock", owner, "held while the program runs")


def _council(lane: LaneFiles, settings: LaneSettings) -> Iterator[Made]:
    if not settings.council.listen:
        return
    from allegro.adapters.nats.server import ServerFiles  # noqa: PLC0415 (only a fleet has nkeys)

    files = ServerFiles(lane.council)
    yield Made(
        "account",
        "the council's nkey users",
        "the council servers",
        "allegro council",
        "none: they live in the files below",
        "one of the lane, one of its keeper in memory",
    )
    for path, about in {
        files.seed: "the lane's account at the council",
        files.certificate: "its certificate",
        files.key: "its key",
        files.offered_certificate: "offered to the next roster",
        files.offered_key: "its key",
        files.trusted: "the members' certificates",
        files.config: "what nats-server runs by",
        files.running: "where it runs",
        files.log: "its log",
        files.folder / "running.lock": "held while the program runs",
        files.seed.with_suffix(".new"): "left by a write that was cut",
        files.running.with_suffix(".new"): "left by a write that was cut",
    }.items():
        yield _file(path, "allegro", about, "allegro council")
    yield _files(f"{files.folder}/*.ports", "allegro", "where nats-server listens")
    yield _files(f"{files.folder}/store-*", "allegro", "the council's store of one roster")
    yield _folder(files.folder, "allegro", "the council's files, empty by now")


def _program() -> Iterator[Made]:
    root = Path(sys.prefix).parent
    yield _folder(root, "whoever installed it", "the program: a clone with its .venv", whole=True)


def _on_a_server() -> Iterator[Made]:
    for path in ("/etc/allegro", "/var/lib/allegro"):
        yield Made(
            "folder",
            path,
            "allegro",
            "a person, as the README says",
            f"sudo rmdir {path}",
            "empty by now",
        )
    yield Made(
        "system user",
        "allegro",
        "root",
        "a person, as the README says",
        "sudo userdel allegro; getent group allegro && sudo groupdel allegro",
    )
    yield Made(
        "firewall rule",
        "TCP to link.listen",
        "root",
        "a person, as the README says",
        "close the port again, the council's too",
    )
    yield Made(
        "log",
        "the system journal",
        "root",
        "systemd",
        "sudo journalctl --rotate --vacuum-time=1s",
        "removes other units' lines too",
    )


def _secrets(owner: str, named: dict[str, str]) -> Iterator[Made]:
    for name, about in named.items():
        if name:
            yield _file(Path(name).expanduser(), owner, about, "a person")


def _socket(path: Path, owner: str) -> Iterator[Made]:
    yield Made(
        "socket", str(path), owner, "allegro", f"rm -f {_quoted(path)}", "it goes with the program"
    )


def _link_socket(settings: LaneSettings) -> Iterator[Made]:
    if settings.link.listen.startswith("unix:"):
        yield from _socket(Path(settings.link.listen.removeprefix("unix:")), "allegro")


def _act(kind: str, what: str, owner: str, remove: str, note: str) -> Made:
    return Made(kind, what, owner, "a person", remove, note)


def _file(path: Path, owner: str, note: str, by: str = "allegro") -> Made:
    return Made("file", str(path), owner, by, f"rm -f {_quoted(path)}", note)


def _files(pattern: str, owner: str, note: str) -> Made:
    folder, _, name = pattern.rpartition("/")
    remove = f"rm -rf {shlex.quote(folder)}/{name}"
    return Made("file", pattern, owner, "allegro", remove, note, pattern=True)


def _folder(path: Path, owner: str, note: str, *, whole: bool = False) -> Made:
    how = "rm -rf" if whole else "rmdir"
    return Made("folder", str(path), owner, "allegro", f"{how} {_quoted(path)}", note, whole=whole)


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def covers(things: Iterable[Made], path: Path) -> bool:
    """Say whether a path is one of these things, or lies in one that goes as a whole."""
    return any(_covers(one, path) for one in things)


def _covers(one: Made, path: Path) -> bool:
    if one.pattern:
        return any(part.match(one.what) for part in (path, *path.parents))
    return Path(one.what) == path or (one.whole and Path(one.what) in path.parents)
