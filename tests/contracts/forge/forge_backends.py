"""Where the contract runs: a simulated forge, a real one started here, or one named by address.

Only this module knows which it is. A site tells its address, its tokens and how many issues a
crowd is; everything else is asked for by HTTP.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.patience import patient
from tests.testing.gitea.oracle import Oracle

from allegro.testing.gitea import GiteaSimulator
from allegro.testing.gitea.quirks import Flavour

DAILY_SCOPES = ("write:issue", "read:repository", "read:user", "read:organization")
CHANGE_SCOPES = ("write:repository", "read:user")
BOTS = ("allegro", "allegro-change")
VERSIONS: dict[Flavour, str] = {"gitea": "1.27.0", "forgejo": "14.0.0+gitea-1.22.0"}
START_S = 60.0
NO_REAL_FORGE = (
    "no real forge: set ALLEGRO_GITEA_BIN, or ALLEGRO_GITEA_URL with "
    "ALLEGRO_GITEA_OWNER_TOKEN_FILE, _DAILY_TOKEN_FILE and _CHANGE_TOKEN_FILE"
)


class Stopwatch:
    """The simulator's wall clock, which `hold` lets stand still."""

    def __init__(self) -> None:
        self._held_s: float | None = None

    def __call__(self) -> float:
        return time.time() if self._held_s is None else self._held_s

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        self._held_s = time.time()
        try:
            yield
        finally:
            self._held_s = None


@dataclass(frozen=True)
class Site:
    """A forge with an owner and the two bots. `own` says that we may do anything to it."""

    url: str
    owner: str
    daily: str
    change: str
    own: bool
    crowd: int
    clock: Stopwatch | None = None

    @contextlib.contextmanager
    def one_second(self) -> Iterator[None]:
        """Let the forge's clock stand still where it is simulated."""
        with self.clock.hold() if self.clock else contextlib.nullcontext():
            yield


@contextlib.asynccontextmanager
async def simulated(flavour: Flavour, directory: Path, version: str = "") -> AsyncIterator[Site]:
    """Run a simulated forge; at its end the oracle must have found nothing.

    The oracle knows the description of the newest release: an older `version` is not held to it.
    """
    clock, oracle = Stopwatch(), Oracle(current=flavour == "gitea" and not version)
    simulator = GiteaSimulator(
        directory,
        flavour=flavour,
        version=version or VERSIONS[flavour],
        clock=clock,
        observer=oracle.observe,
    )
    world = simulator.world
    world.add_user("boss", admin=True)
    for login in BOTS:
        world.add_user(login)
    url = await simulator.start()
    try:
        yield Site(
            url,
            world.token("boss"),
            world.token("allegro", DAILY_SCOPES),
            world.token("allegro-change", CHANGE_SCOPES),
            own=True,
            crowd=3_000,
            clock=clock,
        )
    finally:
        await simulator.stop()
    assert version or sorted(set(oracle.problems)) == []


def named_by_address(environment: Mapping[str, str]) -> Site:
    """Return the site of ALLEGRO_GITEA_URL with the tokens in the files named beside it."""

    def token(which: str) -> str:
        return Path(environment[f"ALLEGRO_GITEA_{which}_TOKEN_FILE"]).read_text().strip()

    url = environment["ALLEGRO_GITEA_URL"].rstrip("/")
    return Site(url, token("OWNER"), token("DAILY"), token("CHANGE"), own=False, crowd=300)


class Server:
    """A gitea or forgejo binary as a process with a state folder of its own."""

    def __init__(self, binary: Path, folder: Path, static: str | None) -> None:
        self._binary, self._folder = binary, folder
        self._environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("GITEA_", "FORGEJO_", "GIT_"))
        }
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._write_settings(static)

    def start(self) -> Site:
        self._cli("migrate")
        owner = self._user("boss", ("all",), "--admin")
        daily, change = self._user(BOTS[0], DAILY_SCOPES), self._user(BOTS[1], CHANGE_SCOPES)
        with (self._folder / "console.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*self._command(), "web"], env=self._environment, stdout=log, stderr=log
            )
        url = f"http://127.0.0.1:{self._port}"
        self._wait(f"{url}/api/v1/version")
        return Site(url, owner, daily, change, own=True, crowd=300)

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _command(self) -> list[str]:
        return [str(self._binary), "-c", str(self._folder / "app.ini"), "-w", str(self._folder)]

    def _cli(self, *words: str) -> str:
        done = subprocess.run(
            [*self._command(), *words], env=self._environment, capture_output=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{words[0]}: {done.stderr.decode()}{done.stdout.decode()}")
        return done.stdout.decode()

    def _user(self, login: str, scopes: tuple[str, ...], *more: str) -> str:
        """Make a plain user and return a token. Forgejo's CLI knows no other kind of user."""
        self._cli(
            "admin", "user", "create", "--username", login, "--email", f"{login}@example.test",
            "--password", secrets.token_urlsafe(24), "--must-change-password=false", *more,
        )  # fmt: skip
        output = self._cli(
            "admin", "user", "generate-access-token", "--username", login,
            "--token-name", "contract", "--scopes", ",".join(scopes), "--raw",
        )  # fmt: skip
        tokens: list[str] = re.findall(r"^[0-9a-f]{40}$", output, re.MULTILINE)
        return tokens[0]  # log lines may stand around it

    def _wait(self, address: str) -> None:
        until_s = time.monotonic() + patient(START_S)
        while time.monotonic() < until_s:
            if self._process is not None and self._process.poll() is not None:
                raise RuntimeError(f"the server ended at start: {self._console()}")
            try:
                with urllib.request.urlopen(address, timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        self.stop()
        raise RuntimeError(f"the server did not answer within {START_S} s: {self._console()}")

    def _console(self) -> str:
        return (self._folder / "console.log").read_text(errors="replace")[-2_000:]

    def _write_settings(self, static: str | None) -> None:
        """Write app.ini: loopback only, no mail, no cron, queues in memory."""
        url, folder = f"http://127.0.0.1:{self._port}/", self._folder
        sections: dict[str, dict[str, str]] = {
            "": {"RUN_MODE": "prod", "WORK_PATH": str(folder)},
            "server": {
                "PROTOCOL": "http", "HTTP_ADDR": "127.0.0.1", "HTTP_PORT": str(self._port),
                "DOMAIN": "127.0.0.1", "ROOT_URL": url, "LOCAL_ROOT_URL": url,
                "APP_DATA_PATH": str(folder / "data"), "DISABLE_SSH": "true",
                "OFFLINE_MODE": "true", "LFS_START_SERVER": "false",
            },
            "database": {
                "DB_TYPE": "sqlite3", "PATH": str(folder / "forge.db"),
                "SQLITE_JOURNAL_MODE": "WAL",
            },
            "repository": {"ROOT": str(folder / "repositories"), "DEFAULT_BRANCH": "main"},
            "security": {
                "INSTALL_LOCK": "true", "SECRET_KEY": secrets.token_urlsafe(48),
                "INTERNAL_TOKEN": secrets.token_urlsafe(64),
            },
            "oauth2": {"JWT_SECRET": secrets.token_urlsafe(32)},
            "indexer": {"ISSUE_INDEXER_TYPE": "db"},
            "queue": {"TYPE": "channel"},
            "session": {"PROVIDER": "memory"},
            "actions": {"ENABLED": "false"},
            "service": {"DISABLE_REGISTRATION": "true", "ENABLE_NOTIFY_MAIL": "false"},
            "picture": {"DISABLE_GRAVATAR": "true"},
            "mailer": {"ENABLED": "false"},
            "cron": {"ENABLED": "false"},
            "log": {"MODE": "file", "LEVEL": "warn", "ROOT_PATH": str(folder / "log")},
        }  # fmt: skip
        if os.geteuid() == 0:
            sections[""]["I_AM_BEING_UNSAFE_RUNNING_AS_ROOT"] = "true"
        if static:
            sections["server"]["STATIC_ROOT_PATH"] = static
        lines = []
        for section, keys in sections.items():
            lines += [f"[{section}]"] if section else []
            lines += [f"{key} = {value}" for key, value in keys.items()]
        (folder / "app.ini").write_text("\n".join(lines) + "\n")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
